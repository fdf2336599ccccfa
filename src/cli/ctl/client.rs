//! HTTP to one API.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request, Response, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::exit;

/// Where the API is, and what it wants to see.
#[derive(Debug, Args)]
pub struct Target {
    /// The admin port, with or without /api/v1.
    #[arg(long, global = true, env = "DUNLIN_API_URL", value_name = "URL", default_value = "http://127.0.0.1:18083")]
    url: String,
    /// A key, as `dunlin apikey add` prints it. Better by the environment, where other users do not see it.
    #[arg(long, global = true, env = "DUNLIN_API_KEY", hide_env_values = true, value_name = "NAME.SECRET")]
    key: Option<String>,
    /// For https: the authority that signs the broker's certificate, PEM.
    #[arg(long, global = true, env = "DUNLIN_API_CAFILE", value_name = "FILE")]
    cafile: Option<PathBuf>,
}

/// Why something was not done, and the exit code for it.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub message: String,
}

/// One API.
pub struct Api {
    url: Uri,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    key: Option<String>,
}

/// Time to connect, and for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER_MAX: usize = 256 << 20;
/// Entries of one page.
const PAGE: usize = 1000;

impl Api {
    pub fn new(target: &Target) -> Result<Self, Failure> {
        let usage = |message: String| Failure { code: exit::USAGE, message };
        let url: Uri = target.url.parse().map_err(|error| usage(format!("{:?} is no URL: {error}", target.url)))?;
        let host = url.host().ok_or_else(|| usage(format!("{:?} has no host", target.url)))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let (tls, default_port) = match url.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (Some(Arc::new(tls_config(target.cafile.as_ref()).map_err(usage)?)), 443),
            _ => return Err(usage(format!("{:?} begins neither with http:// nor with https://", target.url))),
        };
        // A line feed comes along from a file easily; the key itself is not told.
        if target.key.as_deref().is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            let why = "the key (--key, DUNLIN_API_KEY) cannot be one: it holds a space, a line feed or what is not ASCII";
            return Err(usage(why.into()));
        }
        Ok(Self { port: url.port_u16().unwrap_or(default_port), host, tls, key: target.key.clone(), url })
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::DELETE, path, None).await
    }

    /// As many entries of a list as are wanted, page by page; 0 is all.
    pub async fn list(&self, path: &str, query: &[(&str, Option<&str>)], limit: usize) -> Result<Vec<Value>, Failure> {
        let wanted = if limit == 0 { usize::MAX } else { limit };
        let (mut entries, mut cursor) = (Vec::new(), None::<String>);
        while entries.len() < wanted {
            let page = (wanted - entries.len()).min(PAGE);
            let mut pairs = form_urlencoded::Serializer::new(String::new());
            pairs.append_pair("limit", &page.to_string());
            for (name, value) in query {
                pairs.extend_pairs(value.iter().map(|value| (*name, *value)));
            }
            pairs.extend_pairs(cursor.iter().map(|cursor| ("cursor", cursor.as_str())));
            let mut answer = self.get(&format!("{path}?{}", pairs.finish())).await?;
            entries.append(&mut entries_of(&mut answer)?);
            cursor = answer["meta"]["cursor"].as_str().map(Into::into);
            if cursor.is_none() {
                break;
            }
        }
        Ok(entries)
    }

    /// An answer whose body is read as it comes.
    pub async fn stream(&self, path: &str) -> Result<Response<Incoming>, Failure> {
        let response = self.send(Method::GET, path, None).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        Err(refused(status, &read(response).await?))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        let answer = read(response).await?;
        if status.is_success() { Ok(answer) } else { Err(refused(status, &answer)) }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response<Incoming>, Failure> {
        let authority =
            self.url.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default().to_owned());
        let base = base(&self.url);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{base}/api/v1{path}"))
            .header(header::HOST, authority.unwrap_or_default())
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)));
        let request =
            request.map_err(|error| Failure { code: exit::USAGE, message: format!("this cannot be asked: {error}") })?;
        let sent = async {
            let stream = self.connect().await.map_err(|error| self.unreachable(&error))?;
            let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(&error))?;
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(|error| self.unreachable(&error))
        };
        timeout(PATIENCE, sent).await.unwrap_or_else(|_| Err(self.unreachable(&"it does not answer in time")))
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
        Ok(Box::new(tokio_rustls::TlsConnector::from(tls.clone()).connect(name, stream).await?))
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> Failure {
        let message = format!("the broker's admin API at {} cannot be reached: {error}", self.url);
        Failure { code: exit::CANNOT_BIND, message }
    }
}

/// What HTTP is spoken on.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The path that the API is below; who names the API itself means the same.
fn base(url: &Uri) -> &str {
    let path = url.path().trim_end_matches('/');
    path.strip_suffix("/api/v1").unwrap_or(path).trim_end_matches('/')
}

/// What is in one page of a list.
fn entries_of(answer: &mut Value) -> Result<Vec<Value>, Failure> {
    let data = answer.get_mut("data").and_then(Value::as_array_mut);
    data.map(std::mem::take).ok_or_else(|| Failure { code: exit::FAILURE, message: "the answer is no list".into() })
}

/// A part of a path.
pub fn encoded(part: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    part.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

async fn read(response: Response<Incoming>) -> Result<Value, Failure> {
    let broken =
        |error: &dyn std::fmt::Display| Failure { code: exit::FAILURE, message: format!("the answer is broken: {error}") };
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_MAX).collect();
    let body = timeout(PATIENCE, body).await.map_err(|error| broken(&error))?.map_err(|error| broken(&error))?;
    let bytes = body.to_bytes();
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|error| broken(&error))
}

fn refused(status: StatusCode, answer: &Value) -> Failure {
    let code = match status {
        StatusCode::NOT_FOUND => exit::NOT_FOUND,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => exit::NOT_ALLOWED,
        _ => exit::FAILURE,
    };
    let message = match (answer["code"].as_str(), answer["message"].as_str()) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        _ => format!("the answer is {status}"),
    };
    Failure { code, message }
}

fn tls_config(cafile: Option<&PathBuf>) -> Result<ClientConfig, String> {
    let path = cafile.ok_or("https needs --cafile: the authority that signs the broker's certificate")?;
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_that_is_no_list_is_an_error_and_no_panic() {
        for mut answer in [json!([1]), json!("text"), json!(7), json!(true), json!(null), json!({}), json!({"data": 1})] {
            let failure = entries_of(&mut answer).unwrap_err();
            assert_eq!((failure.code, failure.message.as_str()), (exit::FAILURE, "the answer is no list"));
        }
        assert_eq!(entries_of(&mut json!({"data": [1, 2]})).unwrap(), [json!(1), json!(2)]);
    }

    #[test]
    fn the_url_may_name_the_api() {
        for (url, wanted) in [
            ("http://a:1", ""),
            ("http://a:1/", ""),
            ("http://a:1/api/v1", ""),
            ("http://a:1/api/v1/", ""),
            ("http://a:1/broker/", "/broker"),
            ("http://a:1/broker/api/v1", "/broker"),
            ("http://a:1/my-api/v1", "/my-api/v1"),
        ] {
            assert_eq!(base(&url.parse().unwrap()), wanted, "{url}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_one_is_wrong_usage_and_is_not_told() {
        let new = |key: &str| Api::new(&Target { url: "http://a:1".into(), key: Some(key.into()), cafile: None });
        assert!(new("ops.abc-_1").is_ok());
        for key in ["ops.abc\n", "ops.abc\u{e4}", "ops abc"] {
            let failure = new(key).err().unwrap();
            assert_eq!(failure.code, exit::USAGE, "{key:?}");
            assert!(failure.message.contains("DUNLIN_API_KEY") && !failure.message.contains("abc"), "{}", failure.message);
        }
    }

    #[test]
    fn a_part_of_a_path_stays_one_part() {
        assert_eq!(encoded("a/b?c#d%e"), "a%2Fb%3Fc%23d%25e");
        assert_eq!([encoded("."), encoded(".."), encoded("")], [".", "..", ""]);
    }
}
