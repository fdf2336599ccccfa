//! What an operator may look at and do. Everything is a copy; a session is locked only while it is made.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::Broker;
use super::deliver::Deliveries;
use super::effects::{Effects, Waiter};
use super::ending::By;
use super::handle::SessionHandle;
use super::inflow::Inflow;
use super::publish::Matched;
use super::registry::registry_key;
use crate::auth::Principal;
use crate::metrics::Limit;
use crate::packet::{
    DisconnectReason, Message, PacketId, ProtocolVersion, Publish, PublishReason, QoS, ReasonCode, TopicFilter, TopicName,
};
use crate::session::{Answer, ExchangeState, Queued, Subscription};
use crate::storage::Level;

/// A session as it was at one moment.
#[derive(Clone, Debug)]
pub struct SessionView {
    pub online: Option<OnlineView>,
    /// In seconds; `u32::MAX` is for ever.
    pub expiry_interval: u32,
    /// When it ends unless its client comes back.
    pub expires_at: Option<Instant>,
    /// How its last connection ended; `None` if there was none in this process.
    pub last_end: Option<LastEnd>,
    pub subscriptions: usize,
    pub subscriptions_max: usize,
    /// Messages that wait, and their bytes, with the bounds on them.
    pub queued: usize,
    pub queued_max: usize,
    pub queued_bytes: usize,
    pub queued_bytes_max: u64,
    /// QoS 1 and 2 messages that were sent and not acknowledged to the end.
    pub inflight: usize,
    pub inflight_max: usize,
    /// QoS 2 messages that were received and not released.
    pub received: usize,
    pub has_will: bool,
}

/// The connection of a session.
#[derive(Clone, Debug)]
pub struct OnlineView {
    /// `None` on a Unix socket.
    pub address: Option<SocketAddr>,
    pub version: ProtocolVersion,
    /// When it began, and how fast it sends.
    pub inflow: Inflow,
    /// Since when the peer has taken nothing of what is written for it; `None` while it does.
    pub blocked_since: Option<Instant>,
    pub last_received: Instant,
    /// In seconds; zero for none.
    pub keep_alive: u16,
    /// Bytes that the peer has not taken yet.
    pub unwritten: usize,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug)]
pub struct LastEnd {
    pub at: Instant,
    pub reason: ReasonCode,
    pub by: By,
}

/// A message that waits for a session, or is under way to it.
#[derive(Clone, Debug)]
pub struct QueuedView {
    /// `None` for one that lies on disk only.
    pub message: Option<Message>,
    pub qos: QoS,
    pub retain: bool,
    /// Bytes of topic, properties and payload.
    pub bytes: usize,
}

/// A retained message, and who published it: nobody for the broker and its operator.
#[derive(Clone, Debug)]
pub struct RetainedView {
    pub message: Message,
    pub publisher: Option<Principal>,
}

/// Tells when what was done cannot be lost any more; `None` if there is nothing to wait for.
pub type Safe = Option<oneshot::Receiver<()>>;

/// Topics that are looked at under one lock.
const RETAINED_LOOK: usize = 1024;

impl SessionHandle {
    pub fn view(&self) -> SessionView {
        self.lock(|slot| {
            let outbound = &slot.session.outbound;
            let online = slot.online.as_ref().map(|online| OnlineView {
                address: online.address,
                version: online.writer.version,
                inflow: online.inflow,
                blocked_since: online.outbox.blocked_since,
                last_received: online.last_received,
                keep_alive: online.keep_alive,
                unwritten: online.outbox.len(),
            });
            SessionView {
                online,
                expiry_interval: slot.expiry_interval,
                expires_at: slot.expires_at(),
                last_end: slot.past().and_then(|past| past.last_end),
                subscriptions: slot.session.subscriptions.len(),
                subscriptions_max: slot.limits.max_subscriptions,
                queued: outbound.queue.len(),
                queued_max: slot.limits.max_queued_messages,
                queued_bytes: outbound.queue.bytes(),
                queued_bytes_max: slot.limits.max_queued_bytes.0,
                inflight: outbound.inflight.len(),
                inflight_max: if outbound.window() > 0 { outbound.window() } else { slot.limits.max_inflight }.into(),
                received: slot.session.received_len(),
                has_will: slot.will.is_some(),
            }
        })
    }

    /// Shows each subscription, in no order, under the lock of the session: `show` must be quick.
    pub fn visit_subscriptions(&self, mut show: impl FnMut(&TopicFilter, &Subscription)) {
        self.lock(|slot| slot.session.subscriptions.iter().for_each(|(filter, subscription)| show(filter, subscription)));
    }

    /// Up to `limit` messages that wait, behind the first `skip`.
    pub fn queued(&self, skip: usize, limit: usize) -> Vec<QueuedView> {
        self.lock(|slot| slot.session.outbound.queue.iter().skip(skip).take(limit).map(queued_view).collect())
    }

    /// The messages under way, with their Packet Identifiers, in the order in which they were sent; `None` for one that the client has
    /// and only PUBCOMP is missing of.
    pub fn inflight(&self) -> Vec<(PacketId, Option<QueuedView>)> {
        self.lock(|slot| {
            let inflight = &slot.session.outbound.inflight;
            let one = |id: PacketId| match &inflight.get(id)?.state {
                ExchangeState::Published(queued) => Some((id, Some(queued_view(queued)))),
                ExchangeState::Released(_) => Some((id, None)),
            };
            inflight.in_order().into_iter().filter_map(one).collect()
        })
    }
}

fn queued_view(queued: &Queued) -> QueuedView {
    QueuedView { message: queued.message(), qos: queued.qos(), retain: queued.retain(), bytes: queued.size() }
}

impl Broker {
    /// Shows each session that is there all the while, once, in no order.
    pub fn visit_sessions(&self, show: impl FnMut(&Arc<SessionHandle>)) {
        self.registry.visit(show);
    }

    pub fn sessions_len(&self) -> usize {
        self.registry.len()
    }

    pub fn session(&self, mount_point: Option<&str>, client_id: &str) -> Option<Arc<SessionHandle>> {
        self.registry.get(&registry_key(mount_point, &client_id.into()))
    }

    /// Ends the session's connection with 0x98 (Administrative action); whether it had one. The session goes on for as long as was
    /// agreed.
    pub fn disconnect(&self, handle: &SessionHandle) -> bool {
        handle.lock(|slot| slot.online.as_mut().map(|online| online.close(DisconnectReason::AdministrativeAction)).is_some())
    }

    /// Ends a session for good, with its connection and all that waits; whether it was this call that ended it.
    pub fn discard_session(&self, handle: &Arc<SessionHandle>, now: Instant) -> bool {
        handle.lock(|slot| slot.evict(DisconnectReason::AdministrativeAction));
        self.end_session(handle, now)
    }

    /// Publishes in the operator's name, also by way of `$delayed/`, `$dedup/` and `$queue/NAME/$put/`: no rights are asked, but all
    /// limits hold. When what it gives can be received from, the message is as safe as one that a client was acknowledged.
    ///
    /// # Errors
    /// As a client would be told.
    pub fn publish_as_operator(
        &self,
        publish: &Publish<'_>,
        topic: TopicName<'_>,
        now: Instant,
    ) -> Result<(Matched, Safe), Answer> {
        self.limits().check_topic(topic.as_str()).map_err(|limit| {
            self.metrics.limit_hits.count(limit);
            PublishReason::TopicNameInvalid
        })?;
        let mut deliveries = Deliveries::default();
        let published = self.publish_anywhere(publish, topic, now, &mut deliveries);
        let level = published.ok().and_then(|(_, level)| level);
        let safe = level.map(|level| wait(&mut deliveries.batch, level));
        deliveries.flush(self, now);
        published.map(|(matched, _)| (matched, safe))
    }

    pub fn retained_message(&self, topic: TopicName<'_>) -> Option<RetainedView> {
        self.retained.get(topic)
    }

    /// Forgets the retained message of a topic; `None` if there is none, else what tells when that is safe.
    pub fn forget_retained(&self, topic: TopicName<'_>) -> Option<Safe> {
        let was_stored = self.retained.remove(topic, |body| self.tell_unretained(topic, body))?;
        let mut effects = Effects::default();
        let safe = self.journal.as_ref().filter(|_| was_stored).map(|_| wait(&mut effects, self.stored_level()));
        self.tell_effects(&mut effects);
        Some(safe)
    }

    /// Shows retained messages in the order of their topics, from `from` on, those that match `filter` if one is given, until `show`
    /// breaks. Other threads have their turn in between.
    pub fn visit_retained(
        &self,
        filter: Option<&TopicFilter>,
        from: Option<&str>,
        mut show: impl FnMut(TopicName<'_>, RetainedView) -> ControlFlow<()>,
    ) {
        let mut next: Option<Box<str>> = from.map(Into::into);
        loop {
            let mut is_over = false;
            next = self.retained.scan(filter, next.as_deref(), RETAINED_LOOK, |topic, view| {
                let flow = show(topic, view);
                is_over = flow.is_break();
                flow
            });
            if is_over || next.is_none() {
                return;
            }
        }
    }

    /// Messages that are retained now, and their bytes.
    pub fn retained_counts(&self) -> (usize, usize) {
        self.retained.counts()
    }

    /// Subscriptions now, and how many of them are shared.
    pub fn subscription_counts(&self) -> (usize, usize) {
        self.router.counts()
    }

    /// A bound of the admin API that was met.
    pub fn count_limit(&self, limit: Limit) {
        self.metrics.limit_hits.count(limit);
    }
}

fn wait(effects: &mut Effects, level: Level) -> oneshot::Receiver<()> {
    let (told, safe) = oneshot::channel();
    effects.journal.wait(Waiter::Told(told), level);
    safe
}
