use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::prometheus::UPKEEP_INTERVAL;
use super::{Exporter, Readiness};
use crate::metrics::Metrics;

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 128;
/// Time for the head of a request to arrive, also the longest that an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;
/// Bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;
/// Time for the head of the response to be made.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest life of a connection, so that a peer that never reads its response gives the place back.
const MAX_LIFETIME: Duration = Duration::from_secs(300);
/// Time for responses under way when the server stops, or a connection's life ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

const INDEX: &str = "Dunlin, an MQTT broker.\n\n/metrics   figures for Prometheus\n/healthz   200 while the process is alive\n\
                     /readyz    200 when clients may be sent here, 503 with the causes otherwise\n";

/// What the requests are answered from.
#[derive(Clone)]
pub struct AdminState {
    pub metrics: Arc<Metrics>,
    pub exporter: Arc<Exporter>,
    pub readiness: Arc<Readiness>,
}

/// Answers HTTP on `listener` until `shutdown`, then lets responses under way end, a few seconds at most.
/// Runs the exporter's upkeep meanwhile. What goes wrong with one connection ends only that one.
pub async fn serve(listener: TcpListener, state: AdminState, shutdown: impl Future<Output = ()>) {
    let app = router(state.clone());
    let (stop, stopping) = watch::channel(false);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut upkeep = interval(UPKEEP_INTERVAL);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            _ = upkeep.tick() => state.exporter.upkeep(),
            Some(_) = connections.join_next() => {}
            (stream, place) = accept(&listener, &places) => {
                let (app, stopping) = (app.clone(), stopping.clone());
                connections.spawn(async move {
                    let _place = place;
                    serve_connection(stream, app, stopping).await;
                });
            }
        }
    }
    drop(listener);
    let _ = stop.send(true); // no receiver, no connection
    let _ = timeout(STOP_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await; // the rest is cut
}

/// All paths. What comes later under `/api/v1` is nested here.
fn router(state: AdminState) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(
            |uri: Uri| async move { Problem::of(StatusCode::NOT_FOUND, "NOT_FOUND", format!("no such path: {}", uri.path())) },
        )
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            let message = format!("{method} is not for {}", uri.path());
            Problem::of(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(guard))
        .with_state(state)
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
    Problem { causes, ..Problem::new("NOT_READY", message) }.with(StatusCode::SERVICE_UNAVAILABLE)
}

/// What holds for every answer.
async fn guard(request: Request, next: Next) -> Response {
    let late = || Problem::of(StatusCode::SERVICE_UNAVAILABLE, "TIMEOUT", "the answer took too long".into());
    let mut response = timeout(REQUEST_TIMEOUT, next.run(request)).await.unwrap_or_else(|_| late());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The body of every error.
#[derive(Serialize)]
struct Problem {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<&'static str>,
}

impl Problem {
    fn new(code: &'static str, message: String) -> Self {
        Self { code, message, causes: Vec::new() }
    }

    fn of(status: StatusCode, code: &'static str, message: String) -> Response {
        Self::new(code, message).with(status)
    }

    fn with(&self, status: StatusCode) -> Response {
        let body = serde_json::to_string(self).expect("a struct of strings is JSON");
        (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// The next connection and its place among `MAX_CONNECTIONS`. Safe to be dropped while it waits.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "the admin port cannot accept a connection");
                sleep(Duration::from_millis(500)).await; // out of descriptors: do not spin
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, app: Router, mut stopping: watch::Receiver<bool>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)));
    let until = async move {
        let _ = timeout(MAX_LIFETIME, stopping.wait_for(|stop| *stop)).await;
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

#[cfg(test)]
mod tests;
