//! `/clients`: who is connected or has a session here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::answer::{Answer, Clocks, changed, done, list, ok};
use super::page::Selection;
use super::request::{Params, PathOf};
use super::session_info::{ClientInfo, SubscriptionInfo, find};
use super::{Api, Shared};
use crate::admin::problem::Problem;
use crate::broker::{QueuedView, SessionHandle, SessionView};
use crate::packet::PacketId;

pub fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/clients", get(clients))
        .route("/clients/{clientid}", get(client).delete(disconnect))
        .route("/clients/{clientid}/subscriptions", get(subscriptions))
        .route("/clients/{clientid}/queue", get(queue))
        .route("/clients/{clientid}/inflight", get(inflight))
}

/// Which clients are wanted, and in which order.
pub struct Wanted {
    client_id: Option<String>,
    like_client_id: Option<String>,
    username: Option<String>,
    like_username: Option<String>,
    listener: Option<String>,
    is_connected: Option<bool>,
    address: Option<IpAddr>,
    version: Option<u8>,
    sort: Sort,
    is_descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    ClientId,
    ConnectedAt,
    Queue,
    Inflight,
    Subscriptions,
}

const SORTS: [(&str, Sort); 5] = [
    ("clientid", Sort::ClientId),
    ("connected_at", Sort::ConnectedAt),
    ("mqueue_len", Sort::Queue),
    ("inflight_cnt", Sort::Inflight),
    ("subscriptions_cnt", Sort::Subscriptions),
];

impl Wanted {
    pub fn read(params: &mut Params) -> Result<Self, Problem> {
        let state = params.choice("conn_state", &["connected", "disconnected"])?;
        let sort = params.choice("sort", &SORTS.map(|(name, _)| name))?;
        let sort = sort.map_or(Sort::ClientId, |place| SORTS[place].1);
        let is_descending = params.choice("order", &["asc", "desc"])? == Some(1);
        if is_descending && sort == Sort::ClientId {
            return Err(Problem::bad_request("order: identifiers go up only"));
        }
        Ok(Self {
            client_id: params.text("clientid")?,
            like_client_id: params.text("like_clientid")?,
            username: params.text("username")?,
            like_username: params.text("like_username")?,
            listener: params.text("listener")?,
            is_connected: state.map(|place| place == 0),
            address: params.value::<IpAddr>("ip_address")?.map(|address| address.to_canonical()),
            version: params.value("proto_ver")?,
            sort,
            is_descending,
        })
    }

    /// By what never changes, without a lock.
    fn may_be(&self, handle: &SessionHandle) -> bool {
        let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| wanted == text);
        let is_like = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| text.contains(wanted));
        let user = handle.principal.username.as_deref();
        is(&self.client_id, handle.client_id())
            && is_like(&self.like_client_id, handle.client_id())
            && self.username.as_deref().is_none_or(|wanted| user == Some(wanted))
            && self.like_username.as_deref().is_none_or(|wanted| user.is_some_and(|user| user.contains(wanted)))
            && is(&self.listener, &handle.listener)
    }

    fn needs_view(&self) -> bool {
        self.sort != Sort::ClientId || self.is_connected.is_some() || self.address.is_some() || self.version.is_some()
    }

    fn is_met(&self, view: &SessionView) -> bool {
        let online = view.online.as_ref();
        let address = online.and_then(|online| online.address).map(|address| address.ip().to_canonical());
        self.is_connected.is_none_or(|wanted| wanted == online.is_some())
            && self.address.is_none_or(|wanted| address == Some(wanted))
            && self.version.is_none_or(|wanted| online.is_some_and(|online| online.version as u8 == wanted))
    }

    /// What it stands by in the list.
    ///
    /// The same whenever it is asked for: cursors hold it. `started`: when the broker did.
    fn key(&self, handle: &SessionHandle, view: &SessionView, started: Instant) -> String {
        let number = match self.sort {
            Sort::ClientId => 0,
            Sort::ConnectedAt => view.online.as_ref().map_or(u64::MAX, |online| {
                u64::try_from(online.inflow.begun().saturating_duration_since(started).as_micros()).unwrap_or(u64::MAX)
            }),
            Sort::Queue => view.queued as u64,
            Sort::Inflight => view.inflight as u64,
            Sort::Subscriptions => view.subscriptions as u64,
        };
        let number = if self.is_descending { u64::MAX - number } else { number };
        format!("{number:020}\0{}", handle.registry_key)
    }

    /// The page of handles that are wanted, by a walk over all.
    pub fn select(&self, api: &Api, mut selection: Selection<Arc<SessionHandle>>) -> Selection<Arc<SessionHandle>> {
        api.broker.visit_sessions(|handle| {
            if !self.may_be(handle) {
                return;
            }
            let view = self.needs_view().then(|| handle.view());
            if view.as_ref().is_some_and(|view| !self.is_met(view)) {
                return;
            }
            match view.filter(|_| self.sort != Sort::ClientId) {
                Some(view) => selection.offer(&self.key(handle, &view, api.started), || handle.clone()),
                None => selection.offer(&handle.registry_key, || handle.clone()),
            }
        });
        selection
    }
}

async fn clients(State(api): Shared, params: Params) -> Answer {
    page_of(&api, params, ClientInfo::new).await
}

/// A page of the sessions that a query asks for, each as `show` has it.
pub async fn page_of<T: Serialize + Send + 'static>(
    api: &Arc<Api>,
    mut params: Params,
    show: fn(&Api, &SessionHandle, &SessionView, &Clocks) -> T,
) -> Answer {
    let (page, wanted) = (params.page()?, Wanted::read(&mut params)?);
    params.finish()?;
    let (data, meta) = api
        .walk(move |api| {
            let (handles, meta) = wanted.select(api, Selection::new(&page)).finish();
            let clocks = Clocks::now();
            let data: Vec<_> = handles.iter().map(|handle| show(api, handle, &handle.view(), &clocks)).collect();
            (data, meta)
        })
        .await?;
    list(&data, &meta)
}

async fn client(State(api): Shared, PathOf(client_id): PathOf<String>, mut params: Params) -> Answer {
    let handle = find(&api, &client_id, &mut params).await?;
    params.finish()?;
    ok(&ClientInfo::new(&api, &handle, &handle.view(), &Clocks::now()))
}

/// The connection ends; the session goes on.
async fn disconnect(State(api): Shared, PathOf(client_id): PathOf<String>, mut params: Params) -> Answer {
    let handle = find(&api, &client_id, &mut params).await?;
    params.finish()?;
    if !api.broker.disconnect(&handle) {
        return Err(Problem::conflict("NOT_CONNECTED", "the client has a session here, and is not connected"));
    }
    changed(done(), "disconnect")
}

async fn subscriptions(State(api): Shared, PathOf(client_id): PathOf<String>, mut params: Params) -> Answer {
    let (page, handle) = (params.page()?, find(&api, &client_id, &mut params).await?);
    params.finish()?;
    let mut selection = Selection::new(&page);
    handle.visit_subscriptions(|filter, subscription| {
        selection.offer(filter.as_str(), || SubscriptionInfo::new(&api, &handle, filter, subscription));
    });
    let (data, meta) = selection.finish();
    list(&data, &meta)
}

/// A message that waits, or is under way.
#[derive(Debug, Serialize)]
struct MessageInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet_id: Option<u16>,
    /// Not known while the message lies on disk only, or is the client's already.
    topic: Option<String>,
    qos: Option<u8>,
    retain: Option<bool>,
    bytes: usize,
    payload_size: Option<usize>,
    /// The beginning, in base64.
    payload: Option<String>,
    on_disk: bool,
    /// `waiting`, `sent` or `received`: then only PUBCOMP is missing.
    state: &'static str,
}

/// Bytes of a payload that are shown in a list.
const PAYLOAD_EXCERPT: usize = 256;

impl MessageInfo {
    fn new(view: &QueuedView, position: Option<usize>, packet_id: Option<u16>) -> Self {
        let message = view.message.as_ref();
        let payload = message.map(|message| message.payload());
        Self {
            position,
            packet_id,
            topic: message.map(|message| message.topic().as_str().into()),
            qos: Some(view.qos as u8),
            retain: Some(view.retain),
            bytes: view.bytes,
            payload_size: payload.as_ref().map(|payload| payload.len()),
            payload: payload.map(|payload| STANDARD.encode(&payload[..payload.len().min(PAYLOAD_EXCERPT)])),
            on_disk: message.is_none(),
            state: if packet_id.is_some() { "sent" } else { "waiting" },
        }
    }

    fn under_way((id, view): &(PacketId, Option<QueuedView>)) -> Self {
        let id = Some(id.get());
        match view {
            Some(view) => Self::new(view, None, id),
            None => Self {
                position: None,
                packet_id: id,
                topic: None,
                qos: Some(2),
                retain: None,
                bytes: 0,
                payload_size: None,
                payload: None,
                on_disk: false,
                state: "received",
            },
        }
    }
}

/// In the order in which they will be sent; pages by number only, since the queue moves on.
async fn queue(State(api): Shared, PathOf(client_id): PathOf<String>, mut params: Params) -> Answer {
    let (page, handle) = (params.page()?, find(&api, &client_id, &mut params).await?);
    params.finish()?;
    if page.after.is_some() {
        return Err(Problem::bad_request("cursor: a queue has none; go on by page"));
    }
    let skip = page.skip();
    let (count, views) = (handle.view().queued, handle.queued(skip, page.limit));
    let data: Vec<_> = views.iter().zip(skip..).map(|(view, position)| MessageInfo::new(view, Some(position), None)).collect();
    list(&data, &page.meta(Some(count), skip + data.len() < count, None))
}

async fn inflight(State(api): Shared, PathOf(client_id): PathOf<String>, mut params: Params) -> Answer {
    let (page, handle) = (params.page()?, find(&api, &client_id, &mut params).await?);
    params.finish()?;
    if page.after.is_some() {
        return Err(Problem::bad_request("cursor: there is none here; go on by page"));
    }
    let all = handle.inflight();
    let data: Vec<_> = all.iter().skip(page.skip()).take(page.limit).map(MessageInfo::under_way).collect();
    list(&data, &page.meta(Some(all.len()), page.skip() + data.len() < all.len(), None))
}
