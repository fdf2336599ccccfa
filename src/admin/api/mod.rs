//! The HTTP API: `/api/v1`, with EMQX's nouns, shapes of lists and shapes of errors. `openapi.json` says what there is; a test holds
//! it to that.
//!
//! One file per noun, each with its `routes()`. Handlers work on copies: nothing of the broker is locked for longer than one session,
//! one shard of the registry or a thousand retained topics takes. What walks over everything does so on a thread of its own, and there
//! are only few of those.

mod access;
mod answer;
mod banned;
mod bridges;
mod busiest;
mod clients;
mod config;
mod figures;
mod listeners;
mod operation;
mod overview;
mod page;
mod publish;
mod queues;
mod request;
mod retained;
mod retained_levels;
mod session_info;
mod sessions;
mod steward;
mod subscriptions;
mod topics;
mod trace;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri, header};
use axum::middleware;
use axum::routing::get;
use tokio::sync::Semaphore;

pub use access::{Access, Peer};
pub use steward::{
    BackupState, BackupView, BridgeTopicView, BridgeView, ConfigChanged, ConfigRefusal, ListenerView, OverridesView, Pending,
    Steward,
};
pub use trace::Ends;

use super::problem::Problem;
use super::{Exporter, Readiness};
use crate::broker::{Broker, LogLimiter};
use crate::metrics::Metrics;

/// Walks over all sessions at the same time; more wait.
const WALKS_MAX: usize = 2;
/// Changes at the same time; they do not wait for walks of those who only look.
const CHANGES_MAX: usize = 2;
/// Bytes of a body, where a path does not say otherwise.
const BODY_MAX: usize = 64 * 1024;

/// What the API answers from.
pub struct Api {
    pub broker: Arc<Broker>,
    pub metrics: Arc<Metrics>,
    pub exporter: Arc<Exporter>,
    pub readiness: Arc<Readiness>,
    pub access: Arc<Access>,
    pub steward: Arc<dyn Steward>,
    /// The broker's own name.
    pub node: Arc<str>,
    started: Instant,
    walks: Arc<Semaphore>,
    changes: Arc<Semaphore>,
    logs: LogLimiter,
}

/// What the handlers get.
type Shared = axum::extract::State<Arc<Api>>;

impl Api {
    pub fn new(
        broker: Arc<Broker>,
        exporter: Arc<Exporter>,
        readiness: Arc<Readiness>,
        access: Arc<Access>,
        steward: Arc<dyn Steward>,
        node: &str,
    ) -> Self {
        Self {
            metrics: broker.metrics.clone(),
            broker,
            exporter,
            readiness,
            access,
            steward,
            node: node.into(),
            started: Instant::now(),
            walks: Arc::new(Semaphore::new(WALKS_MAX)),
            changes: Arc::new(Semaphore::new(CHANGES_MAX)),
            logs: LogLimiter::default(),
        }
    }

    /// Work of milliseconds that only looks, away from the threads that serve connections.
    async fn walk<R: Send + 'static>(self: &Arc<Self>, work: impl FnOnce(&Self) -> R + Send + 'static) -> Result<R, Problem> {
        self.apart(&self.walks, work).await
    }

    /// The same for work that changes something.
    async fn change<R: Send + 'static>(self: &Arc<Self>, work: impl FnOnce(&Self) -> R + Send + 'static) -> Result<R, Problem> {
        self.apart(&self.changes, work).await
    }

    async fn apart<R: Send + 'static>(
        self: &Arc<Self>,
        places: &Arc<Semaphore>,
        work: impl FnOnce(&Self) -> R + Send + 'static,
    ) -> Result<R, Problem> {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let api = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&api);
            drop(place);
            result
        });
        done.await.map_err(|_| Problem::internal("the work over the sessions failed"))
    }
}

/// All paths below `/api/v1`.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .merge(banned::routes())
        .merge(bridges::routes())
        .merge(busiest::routes())
        .merge(clients::routes())
        .merge(config::routes())
        .merge(figures::routes())
        .merge(listeners::routes())
        .merge(operation::routes())
        .merge(overview::routes())
        .merge(publish::routes())
        .merge(queues::routes())
        .merge(retained::routes())
        .merge(retained_levels::routes())
        .merge(sessions::routes())
        .merge(subscriptions::routes())
        .merge(topics::routes())
        .merge(trace::routes())
        .route("/openapi.json", get(openapi))
        .fallback(|uri: Uri| async move { Problem::not_found(format!("no such path: {}", uri.path())) })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            let message = format!("{method} is not for {}", uri.path());
            Problem::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(api.clone(), access::guard))
        .with_state(api)
}

/// The document that says what there is.
pub const OPENAPI: &str = include_str!("openapi.json");

async fn openapi() -> impl axum::response::IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}
