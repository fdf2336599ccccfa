//! `/status`, `/stats`, `/metrics`: the figures, as JSON. EMQX's names where it has one.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::answer::{Answer, ok};
use super::request::Params;
use super::{Api, Shared};
use crate::admin::Process;
use crate::metrics::{Authentication, Denied, DropReason, Limit, MalformedKind, PacketType};

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/status", get(status)).route("/stats", get(stats)).route("/metrics", get(metrics))
}

async fn status(State(api): Shared, params: Params) -> Answer {
    params.finish()?;
    ok(&status_of(&api))
}

/// The broker at a glance.
pub fn status_of(api: &Api) -> Value {
    let unmet = api.readiness.unmet();
    json!({
        "node": &*api.node,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": api.started.elapsed().as_secs(),
        "ready": unmet.is_empty(),
        "waiting_for": unmet,
        "connections": api.metrics.sessions.online.get(),
        "sessions": api.broker.sessions_len(),
    })
}

async fn stats(State(api): Shared, params: Params) -> Answer {
    params.finish()?;
    ok(&stats_of(&api))
}

/// What there is now.
pub fn stats_of(api: &Api) -> Value {
    let (metrics, traffic, process) = (&api.metrics, api.metrics.traffic(), Process::read());
    let (subscriptions, shared) = api.broker.subscription_counts();
    let (retained, retained_bytes) = api.broker.retained_counts();
    let (sessions, online) = (api.broker.sessions_len() as u64, metrics.sessions.online.get());
    let pending: u64 = metrics.listeners().iter().map(|listener| listener.pending.get()).sum();
    let limits = api.broker.limits();
    json!({
        "node": &*api.node,
        "connections.count": online,
        "connections.max": limits.max_connections,
        "connections.pending.count": pending,
        "sessions.count": sessions,
        "sessions.max": limits.max_sessions,
        "sessions.offline.count": sessions.saturating_sub(online),
        "subscriptions.count": subscriptions,
        "subscriptions.shared.count": shared,
        "retained.count": retained,
        "retained.max": limits.max_retained_messages,
        "retained.bytes": retained_bytes,
        "banned.count": api.broker.bans.len(),
        "banned.max": limits.max_bans,
        "mqueue.count": traffic.queued_messages(),
        "mqueue.bytes": traffic.queued_bytes(),
        "inflight.count": traffic.inflight_messages(),
        "storage.segments.bytes": metrics.storage.segment_bytes.get(),
        "storage.live.bytes": metrics.storage.live_bytes.get(),
        "process.memory.bytes": process.resident_bytes,
        "process.cpu.seconds": process.cpu_seconds,
        "process.fds.count": process.open_fds,
        "process.fds.max": process.max_fds,
        "process.threads.count": process.threads,
    })
}

async fn metrics(State(api): Shared, params: Params) -> Answer {
    params.finish()?;
    ok(&metrics_of(&api))
}

/// What has happened since the start: counters only.
pub fn metrics_of(api: &Api) -> Map<String, Value> {
    let (metrics, traffic) = (&api.metrics, api.metrics.traffic());
    let mut all = Map::new();
    let mut put = |name: String, value: u64| drop(all.insert(name, Value::from(value)));
    put("bytes.received".into(), traffic.total_bytes_received());
    put("bytes.sent".into(), traffic.total_bytes_sent());
    put("payload.bytes.received".into(), traffic.payload_bytes_received());
    put("payload.bytes.sent".into(), traffic.payload_bytes_sent());
    for &kind in PacketType::ALL {
        put(format!("packets.{}.received", kind.name()), traffic.packets_received(kind));
        put(format!("packets.{}.sent", kind.name()), traffic.packets_sent(kind));
    }
    let (mut received, mut sent) = (0, 0);
    for qos in 0..3 {
        put(format!("messages.qos{qos}.received"), traffic.publishes_received(qos));
        put(format!("messages.qos{qos}.sent"), traffic.publishes_sent(qos));
        received += traffic.publishes_received(qos);
        sent += traffic.publishes_sent(qos);
    }
    put("messages.received".into(), received);
    put("messages.sent".into(), sent);
    let mut dropped = 0;
    for &reason in DropReason::ALL {
        put(format!("messages.dropped.{}", reason.name()), traffic.messages_dropped(reason));
        dropped += traffic.messages_dropped(reason);
    }
    put("messages.dropped".into(), dropped);
    for &kind in Authentication::ALL {
        put(format!("authentication.{}", kind.name()), metrics.authentications.get(kind));
    }
    for &kind in Denied::ALL {
        put(format!("authorization.denied.{}", kind.name()), metrics.authorization_denied.get(kind));
    }
    for &limit in Limit::ALL {
        put(format!("limits.hit.{}", limit.name()), metrics.limit_hits.get(limit));
    }
    for &kind in MalformedKind::ALL {
        put(format!("packets.malformed.{}", kind.name()), metrics.malformed_packets.get(kind));
    }
    put("session.resumed".into(), metrics.sessions.resumed.get());
    put("session.takenover".into(), metrics.sessions.taken_over.get());
    put("session.expired".into(), metrics.sessions.expired.get());
    put("wills.published".into(), metrics.wills_published.get());
    put("storage.refused".into(), metrics.storage.refused.get());
    all
}
