use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::FixedState;

use super::Broker;
use super::deliver::Deliveries;
use super::handle::{Receiver, SessionHandle};
use crate::packet::{Message, PublishReason};
use crate::routing::{Availability, MatchCache, Matches, PublisherHash, Subscriber};
use crate::session::{Grant, Publication};

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub struct Publisher<'a> {
    /// `None`: the broker itself.
    pub session: Option<&'a SessionHandle>,
}

impl<'a> Publisher<'a> {
    pub const BROKER: Publisher<'static> = Publisher { session: None };

    pub fn of(handle: &'a SessionHandle) -> Self {
        Self { session: Some(handle) }
    }

    pub(super) fn key(&self) -> Option<u64> {
        self.session.map(|handle| handle.key)
    }
}

/// How many subscribers a message went to, sessions that are offline and groups included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched(pub usize);

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
        if publication.retain {
            self.retain(publication, publisher, now)?;
        }
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
            deliveries.deliver(handle, publication, grant, publisher.key(), now);
        }
        if !matches.groups.is_empty() {
            matched += self.publish_to_groups(publication, &matches, publisher, now, deliveries);
        }
        Ok(Matched(matched))
    }

    /// A message that is stored already: a will, one of the broker's own.
    pub fn publish_message(&self, message: &Arc<Message>, publisher: &Publisher<'_>, now: Instant) {
        let mut deliveries = Deliveries::default();
        // Nobody waits for an acknowledgement; what could not be retained was counted.
        let _ = self.publish(&mut Publication::stored(message), publisher, now, &mut deliveries);
        deliveries.flush(self, now);
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
            deliveries.deliver(&handle, publication, grant, publisher.key(), now);
            matched += 1;
        }
        matched
    }

    fn matches(&self, publication: &Publication<'_>) -> Arc<Matches<Receiver>> {
        MATCHES.with_borrow_mut(|cache| self.router.lookup(cache, publication.topic()))
    }

    /// Messages of a member of shared groups that has left go to other members; those that no other member may get are returned.
    /// A message that was sent with QoS 2 is none of them `[MQTT-4.8.2-5]`. `least` is what the other members must be: a session
    /// that goes on keeps its messages rather than give them to one that is offline, one that ends does not.
    pub(super) fn hand_on(
        &self,
        from: u64,
        messages: Vec<crate::session::Queued>,
        least: Availability,
        now: Instant,
    ) -> Vec<crate::session::Queued> {
        let mut deliveries = Deliveries::default();
        let mut kept = Vec::new();
        for queued in messages {
            let topic = queued.message.topic();
            let hash = PublisherHash { client: from, topic: FixedState::default().hash_one(topic.as_str()) };
            let group = queued.share.as_ref().and_then(|filter| self.router.group(filter));
            let may_get = |Receiver::Session(member): &Receiver| member.key != from && member.may_read(topic);
            let next = group.and_then(|group| group.pick(hash, may_get));
            match next {
                Some((receiver, grant)) if receiver.availability() >= least => {
                    let Receiver::Session(handle) = receiver;
                    let grant = Grant {
                        qos: grant.qos.min(queued.message.qos),
                        retain: queued.retain,
                        identifiers: grant.identifiers,
                        share: queued.share.clone(),
                    };
                    deliveries.deliver(&handle, &mut Publication::stored(&queued.message), grant, None, now);
                }
                _ => kept.push(queued),
            }
        }
        deliveries.flush(self, now);
        kept
    }
}
