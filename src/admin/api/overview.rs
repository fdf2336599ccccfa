//! `/overview`: what a page shows first, in one answer, and who it is that asks.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::{Map, Value, json};

use super::access::Caller;
use super::answer::{Answer, ok};
use super::figures::{metrics_of, stats_of, status_of};
use super::request::Params;
use super::{Api, Shared};
use crate::admin::histogram::Histogram;
use crate::admin::problem::Problem;
use crate::metrics::QueueFigures;

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/overview", get(overview))
}

/// The histograms that are told, by their names here and at `/metrics`.
const HISTOGRAMS: [(&str, &str); 3] = [
    ("publish_to_ack_seconds", "dunlin_publish_to_ack_seconds"),
    ("publish_to_delivery_seconds", "dunlin_publish_to_delivery_seconds"),
    ("storage_sync_seconds", "dunlin_storage_sync_seconds"),
];

/// Rates are for the reader to work out, from two answers and the `uptime_ms` of each.
async fn overview(State(api): Shared, Extension(caller): Extension<Caller>, params: Params) -> Answer {
    params.finish()?;
    // Not among the walks: whoever looks at a page should not wait for them.
    let all = tokio::task::spawn_blocking(move || shown(&api, &caller)).await;
    ok(&all.map_err(|_| Problem::internal("the figures could not be read"))?)
}

fn shown(api: &Api, caller: &Caller) -> Value {
    let text = api.exporter.render(&api.metrics);
    let histograms: Map<String, Value> =
        HISTOGRAMS.iter().map(|(name, series)| ((*name).to_owned(), json!(Histogram::read(&text, series)))).collect();
    json!({
        "caller": {"name": &*caller.name, "role": caller.role.name()},
        "uptime_ms": api.started.elapsed().as_millis() as u64,
        "status": status_of(api),
        "stats": stats_of(api),
        "metrics": metrics_of(api),
        "queues": queues_of(api),
        "histograms": histograms,
    })
}

/// All work queues together, by the figures that are kept of them.
fn queues_of(api: &Api) -> Value {
    let queues = api.metrics.queues.get();
    let sum = |read: fn(&QueueFigures) -> u64| queues.iter().map(read).sum::<u64>();
    let oldest = queues.iter().map(|queue| queue.oldest_age_seconds).fold(0.0, f64::max);
    json!({
        "count": queues.len(),
        "ready": sum(|queue| queue.ready),
        "leased": sum(|queue| queue.leased),
        "delayed": sum(|queue| queue.delayed),
        "dead_letters": sum(|queue| queue.dead_letters),
        "settled": sum(|queue| queue.settled),
        "oldest_age_seconds": oldest,
    })
}
