use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::timeout;
use tower_service::Service;

use super::http::HttpError;

/// Connects within a time, the TLS handshake included. A request that gets another connection meanwhile leaves its attempt to the pool,
/// which waits for it for ever.
#[derive(Clone, Debug)]
pub(super) struct TimedConnector {
    connector: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

impl TimedConnector {
    pub(super) const fn new(connector: HttpsConnector<HttpConnector>, timeout: Duration) -> Self {
        Self { connector, timeout }
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

impl Service<Uri> for TimedConnector {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.connector.call(uri), self.timeout);
        Box::pin(async move { timeout(limit, connecting).await.map_err(|_| HttpError::Timeout(limit))? })
    }
}
