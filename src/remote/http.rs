use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::connector::TimedConnector;

/// How long a connection that nobody uses stays open.
const IDLE_TIME: Duration = Duration::from_secs(30);
const AGENT: &str = concat!("dunlin/", env!("CARGO_PKG_VERSION"));

/// A client for few servers and small answers, over HTTP/1.1, with or without TLS. Redirects are not followed: what is told to one
/// server is not told to another.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<TimedConnector, Full<Bytes>>,
    /// How long a request may take, connecting included.
    timeout: Duration,
    /// The largest answer.
    answer_max: usize,
}

/// Why there is no answer. Holds nothing of what was sent.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("{0}")]
    Connection(String),
    #[error("it answers with {0}")]
    Status(StatusCode),
    #[error("the answer is larger than {0} bytes, or broke off")]
    Body(usize),
}

impl HttpError {
    /// Whether it is the server that cannot answer, whatever it is asked. Any other answer is about the question.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Connection(_) => true,
            Self::Status(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Body(_) => false,
        }
    }
}

impl HttpClient {
    /// `ca_file` names the authorities that are trusted, in PEM; without it, those of the system are. `connections_max` may stay open
    /// while nobody uses them.
    pub fn new(ca_file: Option<&Path>, timeout: Duration, answer_max: usize, connections_max: usize) -> Result<Self, String> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots(ca_file)?)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(connections_max)
            .build(TimedConnector::new(connector, timeout));
        Ok(Self { client, timeout, answer_max })
    }

    /// The body of a GET that is answered with 200.
    pub async fn get(&self, url: &Uri) -> Result<Bytes, HttpError> {
        let request = Request::get(url).header(ACCEPT, "application/json").header(USER_AGENT, AGENT);
        self.send(request.body(Full::default()).map_err(connection)?).await
    }

    /// The body of a POST of JSON that is answered with 200.
    pub async fn post(&self, url: &Uri, authorization: Option<&HeaderValue>, json: Vec<u8>) -> Result<Bytes, HttpError> {
        let mut request = Request::post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.send(request.body(Full::from(json)).map_err(connection)?).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Bytes, HttpError> {
        let exchange = async {
            let response = self.client.request(request).await.map_err(connection)?;
            self.body(response).await
        };
        timeout(self.timeout, exchange).await.unwrap_or(Err(HttpError::Timeout(self.timeout)))
    }

    async fn body(&self, response: Response<Incoming>) -> Result<Bytes, HttpError> {
        if response.status() != StatusCode::OK {
            return Err(HttpError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), self.answer_max).collect().await;
        body.map(|body| body.to_bytes()).map_err(|_| HttpError::Body(self.answer_max))
    }
}

/// With what it is due to: hyper tells that only on asking.
fn connection(error: impl std::error::Error) -> HttpError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    HttpError::Connection(text)
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read(path).map_err(|error| wrong(&error))?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() { Err(wrong(&"no CERTIFICATE section")) } else { Ok(roots) }
}
