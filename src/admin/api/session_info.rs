//! A session as JSON: with EMQX's names, and a few of our own.

use std::sync::Arc;

use serde::Serialize;

use super::Api;
use super::answer::Clocks;
use super::request::Params;
use crate::admin::problem::Problem;
use crate::broker::{SessionHandle, SessionView};
use crate::packet::TopicFilter;
use crate::session::Subscription;

/// A client: its session, and its connection if it has one.
#[derive(Debug, Serialize)]
pub struct ClientInfo {
    clientid: Arc<str>,
    username: Option<Arc<str>>,
    /// Put before its topics; empty for none.
    mountpoint: String,
    listener: Arc<str>,
    node: Arc<str>,
    connected: bool,
    ip_address: Option<String>,
    port: Option<u16>,
    proto_name: &'static str,
    /// 3, 4 or 5, as in CONNECT.
    proto_ver: Option<u8>,
    keepalive: Option<u16>,
    connected_at: Option<String>,
    last_received_at: Option<String>,
    /// Bytes received from it, and per second lately.
    recv_oct: Option<u64>,
    recv_rate: Option<u32>,
    /// Bytes that the client has not taken yet.
    unwritten_bytes: Option<usize>,
    disconnected_at: Option<String>,
    /// Why the last connection ended, and who ended it: `client`, `server`, `network`.
    last_reason: Option<&'static str>,
    last_reason_code: Option<u8>,
    last_ended_by: Option<&'static str>,
    #[serde(flatten)]
    session: SessionInfo,
}

/// What outlives the connection.
#[derive(Debug, Serialize)]
pub struct SessionInfo {
    /// The session outlives the process.
    durable: bool,
    /// Seconds after the connection's end; 4294967295 is for ever.
    expiry_interval: u32,
    expires_at: Option<String>,
    has_will: bool,
    subscriptions_cnt: usize,
    subscriptions_max: usize,
    mqueue_len: usize,
    mqueue_max: usize,
    mqueue_bytes: usize,
    mqueue_bytes_max: u64,
    inflight_cnt: usize,
    inflight_max: usize,
    awaiting_rel_cnt: usize,
}

/// A session without its connection.
#[derive(Debug, Serialize)]
pub struct OfflineInfo {
    clientid: Arc<str>,
    username: Option<Arc<str>>,
    mountpoint: String,
    listener: Arc<str>,
    node: Arc<str>,
    connected: bool,
    #[serde(flatten)]
    session: SessionInfo,
}

/// A subscription, with EMQX's names for the options.
#[derive(Debug, Serialize)]
pub struct SubscriptionInfo {
    clientid: Arc<str>,
    mountpoint: String,
    node: Arc<str>,
    /// The whole filter, the mount point in it.
    topic: String,
    qos: u8,
    /// No Local.
    nl: u8,
    /// Retain As Published.
    rap: u8,
    /// Retain Handling.
    rh: u8,
    /// Subscription Identifier.
    subid: Option<u32>,
}

impl ClientInfo {
    pub fn new(api: &Api, handle: &SessionHandle, view: &SessionView, clocks: &Clocks) -> Self {
        let online = view.online.as_ref();
        let address = online.and_then(|online| online.address);
        let end = view.last_end;
        Self {
            clientid: handle.client_id().clone(),
            username: handle.principal.username.clone(),
            mountpoint: mountpoint(handle),
            listener: handle.listener.clone(),
            node: api.node.clone(),
            connected: online.is_some(),
            ip_address: address.map(|address| address.ip().to_canonical().to_string()),
            port: address.map(|address| address.port()),
            proto_name: "MQTT",
            proto_ver: online.map(|online| online.version as u8),
            keepalive: online.map(|online| online.keep_alive),
            connected_at: online.map(|online| clocks.show(online.inflow.begun())),
            last_received_at: online.map(|online| clocks.show(online.last_received)),
            recv_oct: online.map(|online| online.inflow.received()),
            recv_rate: online.map(|online| online.inflow.rate(clocks.instant())),
            unwritten_bytes: online.map(|online| online.unwritten),
            disconnected_at: end.filter(|_| online.is_none()).map(|end| clocks.show(end.at)),
            last_reason: end.map(|end| end.reason.name_in_disconnect()),
            last_reason_code: end.map(|end| end.reason.0),
            last_ended_by: end.map(|end| end.by.name()),
            session: SessionInfo::new(handle, view, clocks),
        }
    }
}

impl SessionInfo {
    fn new(handle: &SessionHandle, view: &SessionView, clocks: &Clocks) -> Self {
        Self {
            durable: handle.stored_as.is_some(),
            expiry_interval: view.expiry_interval,
            expires_at: view.expires_at.map(|at| clocks.show(at)),
            has_will: view.has_will,
            subscriptions_cnt: view.subscriptions,
            subscriptions_max: view.subscriptions_max,
            mqueue_len: view.queued,
            mqueue_max: view.queued_max,
            mqueue_bytes: view.queued_bytes,
            mqueue_bytes_max: view.queued_bytes_max,
            inflight_cnt: view.inflight,
            inflight_max: view.inflight_max,
            awaiting_rel_cnt: view.received,
        }
    }
}

impl OfflineInfo {
    pub fn new(api: &Api, handle: &SessionHandle, view: &SessionView, clocks: &Clocks) -> Self {
        Self {
            clientid: handle.client_id().clone(),
            username: handle.principal.username.clone(),
            mountpoint: mountpoint(handle),
            listener: handle.listener.clone(),
            node: api.node.clone(),
            connected: view.online.is_some(),
            session: SessionInfo::new(handle, view, clocks),
        }
    }
}

impl SubscriptionInfo {
    pub fn new(api: &Api, handle: &SessionHandle, filter: &TopicFilter, subscription: &Subscription) -> Self {
        let options = subscription.options;
        Self {
            clientid: handle.client_id().clone(),
            mountpoint: mountpoint(handle),
            node: api.node.clone(),
            topic: filter.as_str().into(),
            qos: options.qos as u8,
            nl: options.no_local.into(),
            rap: options.retain_as_published.into(),
            rh: options.retain_handling as u8,
            subid: subscription.identifier,
        }
    }
}

fn mountpoint(handle: &SessionHandle) -> String {
    handle.mount_point.as_deref().unwrap_or_default().into()
}

/// The session that a path means. Where the query does not name a mount point, the one without comes first, then any other.
pub async fn find(api: &Arc<Api>, client_id: &str, params: &mut Params) -> Result<Arc<SessionHandle>, Problem> {
    let missing = || {
        let message = "there is no client with this identifier";
        Problem::new(axum::http::StatusCode::NOT_FOUND, "CLIENTID_NOT_FOUND", message)
    };
    if let Some(mount_point) = params.text("mountpoint")? {
        let mount_point = Some(&*mount_point).filter(|mount_point| !mount_point.is_empty());
        return api.broker.session(mount_point, client_id).ok_or_else(missing);
    }
    if let Some(handle) = api.broker.session(None, client_id) {
        return Ok(handle);
    }
    if api.steward.listeners().iter().all(|listener| listener.mountpoint.is_empty()) {
        return Err(missing());
    }
    let client_id = client_id.to_owned();
    let look = move |api: &Api| {
        let mut found: Option<Arc<SessionHandle>> = None;
        api.broker.visit_sessions(|handle| {
            let is_first = || found.as_ref().is_none_or(|found| handle.registry_key < found.registry_key);
            if **handle.client_id() == *client_id && is_first() {
                found = Some(handle.clone());
            }
        });
        found
    };
    api.walk(look).await?.ok_or_else(missing)
}
