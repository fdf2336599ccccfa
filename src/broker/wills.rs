use std::time::{Duration, Instant};

use super::Broker;
use super::deliver::Deliveries;
use super::effects::Effects;
use super::handle::SessionHandle;
use super::log_limiter::excerpt;
use super::publish::Publisher;
use crate::metrics::Denied;
use crate::packet::{self, Message, MessageHead, MessageView, TopicName};
use crate::session::Publication;
use crate::storage::{Clock, StoredWill};

/// A client's last message, with the topic of its mount point (3.1.2.5).
#[derive(Clone, Debug)]
pub struct Will {
    message: Message,
    /// In seconds (3.1.3.2.2).
    pub delay_interval: u32,
    message_expiry_interval: Option<u32>,
    /// Set when the connection is lost: when the delay has passed.
    pub due_at: Option<Instant>,
}

impl Will {
    pub fn new(will: &packet::Will<'_>, topic: TopicName<'_>) -> Self {
        let view = MessageView { topic, properties: will.properties, payload: will.payload };
        Self {
            message: Message::new(view, will.qos, will.retain, None),
            delay_interval: will.delay_interval,
            message_expiry_interval: will.message_expiry_interval,
            due_at: None,
        }
    }

    /// One that was stored.
    pub fn restored(stored: &StoredWill, due_at: Instant) -> Self {
        Self {
            message: stored.message.clone(),
            delay_interval: stored.delay_interval,
            message_expiry_interval: stored.message_expiry_interval,
            due_at: Some(due_at),
        }
    }

    /// What is stored of it.
    pub(super) fn stored(&self, clock: &Clock) -> StoredWill {
        StoredWill {
            message: self.message.clone(),
            delay_interval: self.delay_interval,
            message_expiry_interval: self.message_expiry_interval,
            due_at: self.due_at.map(|at| clock.wall(at)),
        }
    }

    /// The same on another topic.
    pub(super) fn on_topic(&self, topic: TopicName<'_>) -> Self {
        let MessageHead { qos, retain, .. } = *self.message;
        let message = Message::new(MessageView { topic, ..self.message.view() }, qos, retain, None);
        Self { message, ..self.clone() }
    }

    pub fn topic(&self) -> TopicName<'_> {
        self.message.topic()
    }
}

impl Broker {
    /// The broker stops: the wills of all who are connected are published while there is someone to hear them. Those with a delay
    /// are not waited for.
    pub fn publish_all_wills(&self, now: Instant) {
        for handle in self.registry.all() {
            let will =
                handle.lock(|slot| slot.online.as_ref().and_then(|_| slot.will.take_if(|will| will.delay_interval == 0)));
            if let Some(will) = will {
                self.publish_will(&handle, &will, now);
            }
        }
    }

    /// Publishes a will: its lifetime counts from now (3.1.3.2.4). The rights of its owner are asked again.
    pub(super) fn publish_will(&self, owner: &SessionHandle, will: &Will, now: Instant) {
        if !owner.may_publish_will(will.topic()) {
            self.metrics.authorization_denied.count(Denied::Will);
            if let Some(suppressed) = self.log_limiter.allow("will not published", now) {
                let (client, topic) = (&**owner.client_id(), excerpt(will.topic().as_str()));
                tracing::info!(client, topic, suppressed, "will not published: not authorized");
            }
            let mut effects = Effects::default();
            owner.lock(|slot| owner.store_header(slot, self, &mut effects)); // Nor after a restart.
            return self.tell_effects(&mut effects);
        }
        let expires_at = will.message_expiry_interval.map(|seconds| now + Duration::from_secs(seconds.into()));
        let message = will.message.with_expiry(expires_at);
        self.metrics.wills_published.increment();
        let mut deliveries = Deliveries::default();
        let turn = self.turn_of(message.topic(), message.retain);
        let publisher = Publisher::of(owner);
        let published = self.publish_in_turn(&mut Publication::stored(&message), &publisher, now, &mut deliveries);
        if let Err(refused) = published {
            // A client would send its message again; of a will at least those hear who can [MQTT-3.1.2-8].
            self.publish_unkept(&message, &publisher, now, &mut deliveries);
            if let Some(suppressed) = self.log_limiter.allow("will not kept", now) {
                let (client, topic) = (&**owner.client_id(), excerpt(will.topic().as_str()));
                tracing::warn!(
                    client,
                    topic,
                    reason = refused.reason.code().name(),
                    suppressed,
                    "will not kept: there is no room"
                );
            }
        }
        // Both survive together: it is neither lost nor published again.
        owner.lock(|slot| owner.store_header(slot, self, &mut deliveries.batch));
        self.submit(&mut deliveries.batch);
        drop(turn);
        deliveries.flush(self, now);
    }
}
