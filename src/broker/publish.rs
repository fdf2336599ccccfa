use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::FixedState;

use super::Broker;
use super::deliver::Deliveries;
use super::handle::{Receiver, SessionHandle};
use crate::packet::{Message, PublishReason, QoS};
use crate::routing::{Availability, MatchCache, Matches, PublisherHash, Subscriber};
use crate::session::{AckToken, Grant, Publication, Queued};
use crate::storage::Level;

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub struct Publisher<'a> {
    /// `None`: the broker itself.
    pub session: Option<&'a SessionHandle>,
    /// The acknowledgement that it will get, and on which connection.
    pub ack: Option<(u64, AckToken)>,
    /// A person, by way of the admin API.
    pub is_operator: bool,
}

impl<'a> Publisher<'a> {
    pub const BROKER: Publisher<'static> = Publisher { session: None, ack: None, is_operator: false };
    pub const OPERATOR: Publisher<'static> = Publisher { is_operator: true, ..Self::BROKER };

    pub fn of(handle: &'a SessionHandle) -> Self {
        Self { session: Some(handle), ..Publisher::BROKER }
    }

    /// Whether all limits hold, and its messages are stored: not so for the figures that the broker publishes itself.
    pub(super) const fn is_bounded(&self) -> bool {
        self.session.is_some() || self.is_operator
    }

    pub(super) fn key(&self) -> Option<u64> {
        self.session.map(|handle| handle.key)
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// How many subscribers it went to, sessions that are offline and groups included.
    pub count: usize,
    /// The journal was told of it: it is owned once that is safe.
    pub is_stored: bool,
}

thread_local! {
    /// What topics matched lately. Generations are unique in the process, so that several brokers can share it.
    static MATCHES: RefCell<MatchCache<Receiver>> = RefCell::new(MatchCache::default());
}

/// Lets go of the handles that this thread has cached.
#[cfg(test)]
pub(super) fn forget_matches() {
    MATCHES.with_borrow_mut(MatchCache::clear);
}

impl Broker {
    /// Owns a message: retains it if it asks for that, and gives it to all who want it. The caller has checked the rights.
    pub fn publish(
        &self,
        publication: &mut Publication<'_>,
        publisher: &Publisher<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Result<Matched, PublishReason> {
        let mut is_stored = false;
        if let Some(journal) = &self.journal {
            // With a full disk, what waits for no acknowledgement goes on without being kept.
            let may_store = publisher.is_bounded() && journal.level(publication.topic()) != Level::Memory;
            publication.set_lasting(may_store && journal.has_room());
            let is_refused = || publication.qos != QoS::AtMostOnce && needs_disk(publication, &self.matches(publication));
            if may_store && !journal.has_room() && is_refused() {
                self.metrics.storage.refused.increment();
                return Err(PublishReason::QuotaExceeded);
            }
        }
        if publication.retain {
            is_stored |= self.retain(publication, publisher, now, &mut deliveries.batch)?;
        }
        // Behind retaining: who subscribes in between finds the message there.
        let matches = self.matches(publication);
        let mut matched = 0;
        for recipient in matches.recipients.iter() {
            let Some(grant) = recipient.grant_for(publisher.key()) else { continue };
            let Receiver::Session(handle) = &recipient.subscriber;
            matched += 1;
            let grant = Grant {
                qos: grant.qos.min(publication.qos),
                retain: publication.retain && grant.retain_as_published, // [MQTT-3.3.1-12], [MQTT-3.3.1-13]
                identifiers: grant.identifiers.clone(),
                share: None,
            };
            if self.traces.is_on() {
                self.trace_delivery(handle.client_id(), publication, &grant);
            }
            deliveries.deliver(handle, publication, grant, publisher, now);
        }
        if !matches.groups.is_empty() {
            matched += self.publish_to_groups(publication, &matches, publisher, now, deliveries);
        }
        is_stored |= publication.is_kept();
        Ok(Matched { count: matched, is_stored })
    }

    /// A message that is stored already: a will, one of the broker's own.
    pub fn publish_message(&self, message: &Arc<Message>, publisher: &Publisher<'_>, now: Instant) {
        let mut deliveries = Deliveries::default();
        self.publish_into(message, publisher, now, &mut deliveries);
        deliveries.flush(self, now);
    }

    /// The same, together with others.
    pub(super) fn publish_into(
        &self,
        message: &Arc<Message>,
        publisher: &Publisher<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) {
        // Nobody waits for an acknowledgement; what could not be retained was counted.
        let _ = self.publish(&mut Publication::stored(message), publisher, now, deliveries);
    }

    fn publish_to_groups(
        &self,
        publication: &mut Publication<'_>,
        matches: &Matches<Receiver>,
        publisher: &Publisher<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> usize {
        let hash = PublisherHash {
            client: publisher.session.map_or(0, |handle| FixedState::default().hash_one(&**handle.client_id())),
            topic: FixedState::default().hash_one(publication.topic().as_str()),
        };
        let mut matched = 0;
        for group in matches.groups.iter() {
            let topic = publication.topic();
            let may_read = |Receiver::Session(member): &Receiver| member.may_read(topic);
            let Some((Receiver::Session(handle), grant)) = group.pick(hash, may_read) else { continue };
            let grant = Grant {
                qos: grant.qos.min(publication.qos),
                retain: publication.retain && grant.retain_as_published,
                identifiers: grant.identifiers,
                share: Some(group.whole_filter().clone()),
            };
            if self.traces.is_on() {
                self.trace_delivery(handle.client_id(), publication, &grant);
            }
            deliveries.deliver(&handle, publication, grant, publisher, now);
            matched += 1;
        }
        matched
    }

    fn matches(&self, publication: &Publication<'_>) -> Arc<Matches<Receiver>> {
        MATCHES.with_borrow_mut(|cache| self.router.lookup(cache, publication.topic()))
    }

    /// Messages of a member of shared groups that has left go to other members; those that no other member may get are told.
    /// A message that was sent with QoS 2 is none of them `[MQTT-4.8.2-5]`. `least` is what the other members must be: a session
    /// that goes on keeps its messages rather than give them to one that is offline, one that ends does not.
    pub(super) fn hand_on(
        &self,
        from: u64,
        messages: Vec<Queued>,
        least: Availability,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> HandedOn {
        let mut handed = HandedOn::default();
        for queued in messages {
            let Some(message) = self.message_of(&queued) else { continue };
            let topic = message.topic();
            let hash = PublisherHash { client: from, topic: FixedState::default().hash_one(topic.as_str()) };
            let group = queued.share().and_then(|filter| self.router.group(filter));
            let may_get = |Receiver::Session(member): &Receiver| member.key != from && member.may_read(topic);
            let next = group.and_then(|group| group.pick(hash, may_get));
            match next {
                Some((receiver, grant)) if receiver.availability() >= least => {
                    let Receiver::Session(handle) = receiver;
                    let grant = Grant {
                        qos: grant.qos.min(queued.published_qos()),
                        retain: queued.retain(),
                        identifiers: grant.identifiers,
                        share: queued.share().cloned(),
                    };
                    let mut publication = Publication::stored(&message).in_body(queued.body().cloned());
                    deliveries.deliver(&handle, &mut publication, grant, &Publisher::BROKER, now);
                    handed.others.push(queued);
                }
                _ => handed.kept.push(queued),
            }
        }
        handed
    }
}

/// Where the messages of a member of shared groups that has left are now.
#[derive(Debug, Default)]
pub(super) struct HandedOn {
    /// With other members.
    pub others: Vec<Queued>,
    /// Nobody else may get them.
    pub kept: Vec<Queued>,
}

/// Whether somebody would keep the message who outlives the process.
fn needs_disk(publication: &Publication<'_>, matches: &Matches<Receiver>) -> bool {
    let is_lasting = |Receiver::Session(handle): &Receiver| handle.stored_as.is_some();
    publication.retain
        || matches.recipients.iter().any(|recipient| is_lasting(&recipient.subscriber))
        || !matches.groups.is_empty()
}
