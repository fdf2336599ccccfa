use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout, timeout_at};

use super::api::{self, Api, Ends, Peer, Pending};
use super::dashboard;
use super::problem::Problem;
use super::prometheus::UPKEEP_INTERVAL;
use super::{Exporter, Readiness};
use crate::broker::LogLimiter;
use crate::metrics::Metrics;
use visitors::Visitors;

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 128;
/// Of these, from one address that is not this machine's own; more are closed at once.
const MAX_OF_ADDRESS: usize = 48;
/// Time for the head of a request to arrive, also the longest that an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head: the path may name a topic, and a parameter where a list goes on.
const MAX_HEAD: usize = 80 * 1024;
/// Bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;
/// Time for the head of the response to be made.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest life of a connection, so that a peer that never reads its response gives the place back.
const MAX_LIFETIME: Duration = Duration::from_secs(300);
/// Time for responses under way when the server stops, or a connection's life ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

const INDEX: &str = "Dunlin, an MQTT broker.\n\n/dashboard/ a page for people\n/api/v1    the API; /api/v1/openapi.json says what there is\n/metrics   figures for Prometheus\n/healthz   200 while the process is alive\n\
                     /readyz    200 when clients may be sent here, 503 with the causes otherwise\n";

/// What the requests are answered from.
#[derive(Clone)]
pub struct AdminState {
    pub metrics: Arc<Metrics>,
    pub exporter: Arc<Exporter>,
    pub readiness: Arc<Readiness>,
    /// `None` where only figures and health are served.
    pub api: Option<Arc<Api>>,
    /// Whether the page for people is served; it needs the API.
    pub dashboard: bool,
    /// What is spoken below HTTP; `None` for nothing.
    pub accept: Option<Accept>,
}

/// A connection to speak HTTP on.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Makes a connection fit to speak HTTP on: the TLS handshake.
pub type Accept = Arc<dyn Fn(TcpStream) -> Pending<std::io::Result<Box<dyn Stream>>> + Send + Sync>;

impl AdminState {
    /// Figures and health over plain TCP.
    pub fn new(metrics: Arc<Metrics>, exporter: Arc<Exporter>, readiness: Arc<Readiness>) -> Self {
        Self { metrics, exporter, readiness, api: None, dashboard: false, accept: None }
    }
}

/// Answers HTTP on `listener` until `shutdown`, then lets responses under way end, a few seconds at most.
/// Runs the exporter's upkeep meanwhile. What goes wrong with one connection ends only that one.
pub async fn serve(listener: TcpListener, state: AdminState, shutdown: impl Future<Output = ()>) {
    let app = router(state.clone());
    let (stop, stopping) = watch::channel(false);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (visitors, logs) = (Arc::new(Visitors::default()), LogLimiter::default());
    let mut connections = JoinSet::new();
    let mut upkeep = interval(UPKEEP_INTERVAL);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            _ = upkeep.tick() => state.exporter.upkeep(),
            Some(_) = connections.join_next() => {}
            (stream, peer, place) = accept(&listener, &places) => {
                let Some(visit) = visitors.enter(peer.ip()) else {
                    if let Some(suppressed) = logs.allow("admin address", std::time::Instant::now()) {
                        tracing::warn!(%peer, most = MAX_OF_ADDRESS, suppressed, "an address has too many admin connections");
                    }
                    continue;
                };
                let (app, stopping, accept) = (app.clone(), stopping.clone(), state.accept.clone());
                connections.spawn(async move {
                    let _places = (place, visit);
                    match shake_hands(stream, accept).await {
                        Ok(stream) => serve_connection(stream, peer, app, stopping).await,
                        Err(error) => tracing::debug!(%error, %peer, "an admin connection did not begin"),
                    }
                });
            }
        }
    }
    drop(listener);
    let _ = stop.send(true); // no receiver, no connection
    let _ = timeout(STOP_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await; // the rest is cut
}

/// All paths.
fn router(state: AdminState) -> Router {
    let api = state.api.clone().map_or_else(Router::new, |api| Router::new().nest("/api/v1", api::router(api)));
    let has_dashboard = state.dashboard && state.api.is_some();
    let dashboard = if has_dashboard { dashboard::router() } else { Router::new() };
    Router::new()
        .route("/", get(move |headers: HeaderMap| async move { index(&headers, has_dashboard) }))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(|uri: Uri| async move { Problem::not_found(format!("no such path: {}", uri.path())) })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            let message = format!("{method} is not for {}", uri.path());
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(state)
        .merge(api)
        .merge(dashboard)
        .layer(middleware::from_fn(guard))
}

/// Browsers are led to the page for people.
fn index(headers: &HeaderMap, has_dashboard: bool) -> Response {
    let vary = [(header::VARY, "Accept")];
    if has_dashboard && dashboard::is_browser(headers) {
        return (StatusCode::SEE_OTHER, vary, [(header::LOCATION, dashboard::PATH)]).into_response();
    }
    (vary, INDEX).into_response()
}

async fn metrics(State(state): State<AdminState>) -> Response {
    let text = state.exporter.render(&state.metrics);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn ready(State(state): State<AdminState>) -> Response {
    let causes = state.readiness.unmet();
    if causes.is_empty() {
        return "ready\n".into_response();
    }
    let message = format!("waiting for: {}", causes.join(", "));
    Problem::unavailable("NOT_READY", message).because_of(causes).into_response()
}

/// What holds for every answer.
async fn guard(request: Request, next: Next) -> Response {
    let late = || Problem::unavailable("TIMEOUT", "the answer took too long").into_response();
    let mut response = timeout(REQUEST_TIMEOUT, next.run(request)).await.unwrap_or_else(|_| late());
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The next connection and its place among `MAX_CONNECTIONS`. Safe to be dropped while it waits.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit) {
    let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) => {
                tracing::warn!(%error, "the admin port cannot accept a connection");
                sleep(Duration::from_millis(500)).await; // out of descriptors: do not spin
            }
        }
    }
}

async fn shake_hands(stream: TcpStream, accept: Option<Accept>) -> std::io::Result<Box<dyn Stream>> {
    let Some(accept) = accept else { return Ok(Box::new(stream)) };
    timeout(HEAD_TIMEOUT, accept(stream)).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

async fn serve_connection(stream: Box<dyn Stream>, peer: SocketAddr, app: Router, mut stopping: watch::Receiver<bool>) {
    let app = TowerToHyperService::new(app);
    let ends = Instant::now() + MAX_LIFETIME;
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(Ends(ends));
        app.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let until = async move {
        let _ = timeout_at(ends, stopping.wait_for(|stop| *stop)).await;
    };
    let result = tokio::select! {
        result = &mut connection => result,
        () = until => {
            connection.as_mut().graceful_shutdown();
            timeout(STOP_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an admin connection ended badly");
    }
}

mod visitors;

#[cfg(test)]
mod tests;
