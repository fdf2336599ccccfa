use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;
use tokio::sync::mpsc;

use super::Broker;
use super::client::Client;
use super::log_limiter::excerpt;
use crate::packet::{Packet, Publish, ReasonCode, TopicFilter, TopicName};
use crate::session::{Grant, InboundPublish, Publication};

/// What somebody follows live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follow {
    /// One client: its packets, and what it is sent.
    Client(Box<str>),
    /// Messages to the topics of a filter, from whoever publishes to whoever gets them.
    Topic(TopicFilter),
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct TraceLine {
    /// Milliseconds since 1970.
    pub at: u64,
    pub client_id: Arc<str>,
    /// Where the client connects from, if that is known here.
    pub address: Option<SocketAddr>,
    pub event: &'static str,
    pub topic: Option<Box<str>>,
    /// Bytes of the payload, and its beginning.
    pub payload: Option<(usize, Box<[u8]>)>,
    pub qos: Option<u8>,
    pub retain: Option<bool>,
    /// The rest, for people.
    pub detail: Box<str>,
}

/// Those who follow. While there are none, it costs one look at a number.
#[derive(Debug, Default)]
pub struct Traces {
    followers: RwLock<Vec<Follower>>,
    count: AtomicUsize,
    next: AtomicU64,
}

#[derive(Debug)]
struct Follower {
    number: u64,
    what: Follow,
    lines: mpsc::Sender<TraceLine>,
    dropped: Arc<AtomicU64>,
}

/// Lines for one who follows, until it is dropped.
pub struct Following {
    broker: Arc<Broker>,
    number: u64,
    lines: mpsc::Receiver<TraceLine>,
    dropped: Arc<AtomicU64>,
}

/// Those who may follow at the same time.
pub const FOLLOWERS_MAX: usize = 16;
/// Lines that wait for one who follows; more are dropped, and counted.
pub const LINES_MAX: usize = 1000;
/// Bytes of a payload that a line shows.
const PAYLOAD_MAX: usize = 256;
/// Filters of a packet that a line shows.
const FILTERS_MAX: usize = 10;

impl Following {
    /// The next line; `None` never.
    pub async fn next(&mut self) -> Option<TraceLine> {
        self.lines.recv().await
    }

    /// Lines that were dropped since the last call because nobody took them.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let traces = &self.broker.traces;
        let mut followers = traces.followers.write();
        followers.retain(|follower| follower.number != self.number);
        traces.count.store(followers.len(), Ordering::Release);
    }
}

impl Traces {
    /// Whether anybody follows anything.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Gives a line to those who follow this client or topic; it is made only if there are any.
    fn tell(&self, client_id: Option<&str>, topic: Option<TopicName<'_>>, make: impl FnOnce() -> TraceLine) {
        let followers = self.followers.read();
        let is_meant = |follower: &&Follower| match &follower.what {
            Follow::Client(id) => client_id == Some(&**id),
            Follow::Topic(filter) => topic.is_some_and(|topic| filter.matches(topic)),
        };
        let mut meant = followers.iter().filter(is_meant).peekable();
        if meant.peek().is_none() {
            return;
        }
        let line = make();
        for follower in meant {
            if follower.lines.try_send(line.clone()).is_err() {
                follower.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Broker {
    /// Follows a client or topics from now on; `None` if [`FOLLOWERS_MAX`] do so already.
    pub fn follow(self: &Arc<Self>, what: Follow) -> Option<Following> {
        let mut followers = self.traces.followers.write();
        if followers.len() >= FOLLOWERS_MAX {
            return None;
        }
        let (sender, lines) = mpsc::channel(LINES_MAX);
        let number = self.traces.next.fetch_add(1, Ordering::Relaxed);
        let dropped = Arc::new(AtomicU64::new(0));
        followers.push(Follower { number, what, lines: sender, dropped: dropped.clone() });
        self.traces.count.store(followers.len(), Ordering::Release);
        Some(Following { broker: self.clone(), number, lines, dropped })
    }

    /// A message goes to this client.
    pub(in crate::broker) fn trace_delivery(&self, client_id: &Arc<str>, publication: &Publication<'_>, grant: &Grant<'_>) {
        let topic = publication.topic();
        self.traces.tell(Some(client_id), Some(topic), || TraceLine {
            topic: Some(excerpt(topic.as_str()).into()),
            payload: Some(payload(publication.view().payload)),
            qos: Some(grant.qos as u8),
            retain: Some(grant.retain),
            ..line(client_id, None, "deliver")
        });
    }
}

impl Client {
    /// A packet has come from the client: for those who follow it, as it came.
    pub(super) fn trace_packet(&self, packet: &Packet<'_>) {
        let Some(hold) = &self.hold else { return };
        let (client_id, address) = (hold.handle.client_id(), self.origin.address);
        self.broker.traces.tell(Some(client_id), None, || match packet {
            Packet::Publish(publish) => published(publish, publish.topic, line(client_id, address, "publish")),
            _ => {
                let (event, detail) = told(packet);
                TraceLine { detail: detail.into(), ..line(client_id, address, event) }
            }
        });
    }

    /// A message has come from the client: for those who follow its topic, as the broker knows it, whatever alias and mount point.
    pub(super) fn trace_publish(&self, publish: &InboundPublish<'_>) {
        let Some(hold) = &self.hold else { return };
        let mounted = format!("{}{}", hold.handle.mount_point.as_deref().unwrap_or_default(), publish.topic());
        let Ok(topic) = TopicName::new(&mounted) else { return };
        let client_id = hold.handle.client_id();
        self.broker.traces.tell(None, Some(topic), || {
            published(publish.packet, Some(topic), line(client_id, self.origin.address, "publish"))
        });
    }

    /// The client was let in, sent away, or is gone.
    pub(super) fn trace_event(&self, client_id: &Arc<str>, event: &'static str, reason: Option<ReasonCode>, detail: &str) {
        if !self.broker.traces.is_on() {
            return;
        }
        self.broker.traces.tell(Some(client_id), None, || {
            let reason = reason.map(|reason| format!("{} (0x{:02x}) ", reason.name_in_disconnect(), reason.0));
            let detail = format!("{}{}", reason.unwrap_or_default(), excerpt(detail));
            TraceLine { detail: detail.trim_end().into(), ..line(client_id, self.origin.address, event) }
        });
    }
}

/// A line with what is told of a PUBLISH; one that came under an alias only may have no topic.
fn published(publish: &Publish<'_>, topic: Option<TopicName<'_>>, line: TraceLine) -> TraceLine {
    TraceLine {
        topic: topic.map(|topic| excerpt(topic.as_str()).into()),
        payload: Some(payload(publish.payload)),
        qos: Some(publish.delivery.qos() as u8),
        retain: Some(publish.retain),
        ..line
    }
}

fn told(packet: &Packet<'_>) -> (&'static str, String) {
    match packet {
        Packet::Subscribe(subscribe) => {
            let filters = subscribe.filters.iter().take(FILTERS_MAX);
            let filters = filters.map(|(filter, options)| format!("{} qos{}", excerpt(filter.as_str()), options.qos as u8));
            ("subscribe", filters.collect::<Vec<_>>().join(", "))
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters = unsubscribe.filters.iter().take(FILTERS_MAX).map(|filter| excerpt(filter.as_str()).to_owned());
            ("unsubscribe", filters.collect::<Vec<_>>().join(", "))
        }
        Packet::Disconnect(disconnect) => ("disconnect", disconnect.reason.code().name_in_disconnect().into()),
        Packet::PingReq => ("pingreq", String::new()),
        Packet::PubAck(ack) => ("puback", format!("id {}", ack.packet_id)),
        Packet::PubRec(ack) => ("pubrec", format!("id {}", ack.packet_id)),
        Packet::PubRel(release) => ("pubrel", format!("id {}", release.packet_id)),
        Packet::PubComp(release) => ("pubcomp", format!("id {}", release.packet_id)),
        Packet::Auth(_) => ("auth", String::new()),
        _ => ("packet", String::new()),
    }
}

fn line(client_id: &Arc<str>, address: Option<SocketAddr>, event: &'static str) -> TraceLine {
    TraceLine {
        at: super::wall_clock(),
        client_id: client_id.clone(),
        address,
        event,
        topic: None,
        payload: None,
        qos: None,
        retain: None,
        detail: "".into(),
    }
}

fn payload(bytes: &[u8]) -> (usize, Box<[u8]>) {
    (bytes.len(), bytes[..bytes.len().min(PAYLOAD_MAX)].into())
}
