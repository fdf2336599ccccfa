//! `/slow_subscriptions` and `/top_talkers`: who is slow, and who is loud. Found by a walk when somebody asks; nothing is kept for it but
//! a few numbers of each connection.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;

use super::answer::{Answer, list};
use super::page::{Page, Selection};
use super::request::Params;
use super::{Api, Shared};
use crate::admin::problem::Problem;
use crate::broker::{OnlineView, SessionHandle, SessionView};

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/slow_subscriptions", get(slow)).route("/top_talkers", get(talkers))
}

/// A connected client that does not keep up.
#[derive(Debug, Serialize)]
struct SlowInfo {
    #[serde(flatten)]
    who: Who,
    /// For how long it has taken nothing though there was something.
    blocked_ms: u64,
    unwritten_bytes: usize,
    mqueue_len: usize,
    mqueue_bytes: usize,
    inflight_cnt: usize,
}

/// A connected client that sends much.
#[derive(Debug, Serialize)]
struct TalkerInfo {
    #[serde(flatten)]
    who: Who,
    /// Bytes per second, in the last five seconds or more.
    recv_rate: u32,
    /// Bytes since it connected.
    recv_oct: u64,
}

#[derive(Debug, Serialize)]
struct Who {
    clientid: Arc<str>,
    username: Option<Arc<str>>,
    mountpoint: String,
    ip_address: Option<String>,
}

impl Who {
    fn new(handle: &SessionHandle, online: &OnlineView) -> Self {
        Self {
            clientid: handle.client_id().clone(),
            username: handle.principal.username.clone(),
            mountpoint: handle.mount_point.as_deref().unwrap_or_default().into(),
            ip_address: online.address.map(|address| address.ip().to_canonical().to_string()),
        }
    }
}

/// The slowest first: by how long it is blocked, then by what waits.
async fn slow(State(api): Shared, params: Params) -> Answer {
    by_rank(api, params, |handle, view, online, now| {
        let blocked = online.blocked_since.map_or(0, |since| now.saturating_duration_since(since).as_millis() as u64);
        let waiting = online.unwritten + view.queued_bytes;
        if blocked == 0 && view.queued == 0 {
            return None;
        }
        let info = SlowInfo {
            who: Who::new(handle, online),
            blocked_ms: blocked,
            unwritten_bytes: online.unwritten,
            mqueue_len: view.queued,
            mqueue_bytes: view.queued_bytes,
            inflight_cnt: view.inflight,
        };
        Some(([blocked, waiting as u64], info))
    })
    .await
}

/// The loudest first.
async fn talkers(State(api): Shared, params: Params) -> Answer {
    by_rank(api, params, |handle, _, online, now| {
        let (rate, bytes) = (online.inflow.rate(now), online.inflow.received());
        let info = TalkerInfo { who: Who::new(handle, online), recv_rate: rate, recv_oct: bytes };
        (bytes > 0).then_some(([rate.into(), bytes], info))
    })
    .await
}

/// One page of the connected clients that have a rank, the highest first.
async fn by_rank<T: Serialize + Send + 'static>(
    api: Arc<Api>,
    mut params: Params,
    rank: impl Fn(&SessionHandle, &SessionView, &OnlineView, Instant) -> Option<([u64; 2], T)> + Send + 'static,
) -> Answer {
    let page: Page = params.page()?;
    params.finish()?;
    if page.after.is_some() {
        return Err(Problem::bad_request("cursor: ranks change; go on by page"));
    }
    let (data, mut meta) = api
        .walk(move |api| {
            let (now, mut selection) = (Instant::now(), Selection::new(&page));
            api.broker.visit_sessions(|handle| {
                let view = handle.view();
                let Some(online) = &view.online else { return };
                if let Some(([first, second], info)) = rank(handle, &view, online, now) {
                    let key = format!("{:020}{:020}{}", u64::MAX - first, u64::MAX - second, handle.registry_key);
                    selection.offer(&key, || info);
                }
            });
            selection.finish()
        })
        .await?;
    meta.cursor = None;
    list(&data, &meta)
}
