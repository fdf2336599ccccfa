//! Messages of shared subscriptions: each goes to one member of its group (4.8.2).

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::Broker;
use super::deliver::Deliveries;
use super::handle::{Receiver, SessionHandle};
use super::publish::Publisher;
use crate::metrics::DropReason;
use crate::routing::{self, Availability, Matches, PublisherHash, SharedGroup, Subscriber};
use crate::session::{Grant, Publication, Queued, Taken};

/// Where the messages of a member of shared groups that has left are now.
#[derive(Debug, Default)]
pub(super) struct HandedOn {
    /// With other members.
    pub others: Vec<Queued>,
    /// Nobody else may get them.
    pub kept: Vec<Taken>,
}

impl Broker {
    /// Returns how many groups have found someone.
    pub(super) fn publish_to_groups(
        &self,
        publication: &mut Publication<'_>,
        matches: &Matches<Receiver>,
        publisher: &Publisher<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> usize {
        let hash = PublisherHash {
            client: publisher.client_id().map_or(0, |client_id| FixedState::default().hash_one(&**client_id)),
            topic: FixedState::default().hash_one(publication.topic().as_str()),
        };
        let topic = publication.topic();
        let mut matched = 0;
        for group in matches.groups.iter() {
            let is_for = |member: &SessionHandle| member.reaches(group.filter(), topic) && member.may_read(topic);
            let may_get = |member: &Receiver| member.session().is_some_and(|member| is_for(member));
            let is_taken = give_to_one(group, hash, may_get, |handle, grant| {
                let grant = Grant {
                    qos: grant.qos.min(publication.qos),
                    retain: publication.retain && grant.retain_as_published,
                    identifiers: &grant.identifiers,
                    share: Some(group.whole_filter()),
                };
                if self.traces.is_on() {
                    self.trace_delivery(handle.client_id(), publication, &grant);
                }
                deliveries.deliver(handle, publication, grant, publisher, now)
            });
            matched += usize::from(is_taken);
        }
        matched
    }

    /// Messages of a member of shared groups that has left go to other members; those that no other member may get are told.
    /// A message that was sent with QoS 2 is none of them `[MQTT-4.8.2-5]`. `least` is what the other members must be: a session
    /// that goes on keeps its messages rather than give them to one that is offline, one that ends does not.
    pub(super) fn hand_on(
        &self,
        from: u64,
        messages: Vec<Taken>,
        least: Availability,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> HandedOn {
        let mut handed = HandedOn::default();
        for taken in messages {
            let queued = &taken.queued;
            let Some(message) = self.message_of(queued) else { continue };
            let topic = message.topic();
            let hash = PublisherHash { client: from, topic: FixedState::default().hash_one(topic.as_str()) };
            let group = queued.share().and_then(|filter| self.router.group(filter));
            let is_taken = group.is_some_and(|group| {
                let is_for = |member: &SessionHandle| {
                    member.key != from && member.reaches(group.filter(), topic) && member.may_read(topic)
                };
                let may_get =
                    |member: &Receiver| member.availability() >= least && member.session().is_some_and(|member| is_for(member));
                give_to_one(&group, hash, may_get, |handle, grant| {
                    let grant = Grant {
                        qos: grant.qos.min(queued.published_qos()),
                        retain: message.retain && grant.retain_as_published,
                        identifiers: &grant.identifiers,
                        share: queued.share(),
                    };
                    let mut publication = Publication::stored(&message).in_body(queued.body().cloned());
                    deliveries.deliver(handle, &mut publication, grant, &Publisher::BROKER, now)
                })
            });
            if is_taken { handed.others.push(taken.queued) } else { handed.kept.push(taken) }
        }
        handed
    }

    /// The same of a member whose session has ended: what nobody else may get is lost.
    pub(super) fn hand_on_or_drop(&self, from: u64, messages: Vec<Taken>, now: Instant, deliveries: &mut Deliveries) {
        if !messages.is_empty() {
            let HandedOn { kept, .. } = self.hand_on(from, messages, Availability::Offline, now, deliveries);
            deliveries.batch.dropped(DropReason::SessionGone, kept.len() as u64);
        }
    }
}

/// Gives a message to one member of a group. One whose session is just ending, and still a member, takes nothing: then another one is
/// asked. `false`: there is none.
fn give_to_one(
    group: &SharedGroup<Receiver>,
    hash: PublisherHash,
    may_get: impl Fn(&Receiver) -> bool,
    mut give: impl FnMut(&Arc<SessionHandle>, &routing::Grant) -> bool,
) -> bool {
    let mut gone: SmallVec<[u64; 2]> = SmallVec::new();
    loop {
        let is_there = |member: &Receiver| !gone.contains(&member.key()) && may_get(member);
        let given = group.pick_with(hash, is_there, |member, grant| {
            let handle = member.session()?;
            if give(handle, &grant) { None } else { Some(handle.key) }
        });
        match given {
            None => return false,
            Some(None) => return true,
            Some(Some(key)) => gone.push(key),
        }
    }
}
