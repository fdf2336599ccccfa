use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::Broker;
use super::author::Author;
use super::deliver::Deliveries;
use super::handle::{Receiver, SessionHandle};
use super::queues::{Fed, Hints, Locked, QueueHandle};
use super::quotas::Account;
use crate::packet::{Message, PacketId, PublishReason, QoS, TopicName};
use crate::routing::{MatchCache, Matches, Recipient};
use crate::session::{AckToken, Answer, Grant, Publication};
use crate::storage::Level;

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub struct Publisher<'a> {
    /// `None`: the broker itself.
    pub session: Option<&'a SessionHandle>,
    /// For whom the broker does.
    pub late: Option<Late<'a>>,
    /// The connection whose task does, at the moment.
    pub epoch: Option<u64>,
    /// The acknowledgement that it will get there.
    pub ack: Option<AckToken>,
    /// The identifier that the message came under with QoS 2.
    pub received: Option<PacketId>,
    /// What its topic said to work queues.
    pub hints: Hints<'a>,
    /// Also what it publishes may be stored, though it has no session.
    pub lasts: bool,
}

/// Whose message has waited for its time. The session that it came by need not be there any more.
#[derive(Clone, Copy, Debug)]
pub struct Late<'a> {
    pub author: &'a Arc<Author>,
    /// The key of the session that has the author's client identifier now.
    pub session: Option<u64>,
}

impl<'a> Publisher<'a> {
    /// What the broker says for itself.
    pub const BROKER: Publisher<'static> = Publisher {
        session: None,
        late: None,
        epoch: None,
        ack: None,
        received: None,
        hints: Hints { dedup_id: None, delay: None },
        lasts: false,
    };
    /// What it says for a person, by way of the admin API.
    pub const OPERATOR: Publisher<'static> = Publisher { lasts: true, ..Publisher::BROKER };

    pub fn of(handle: &'a SessionHandle) -> Self {
        Self { session: Some(handle), ..Publisher::BROKER }
    }

    /// What it says for others: delayed messages. They have waited: a delay of a queue's own, which the queue may not even take, is not
    /// looked at.
    pub(super) const fn late(late: Option<Late<'a>>) -> Self {
        Publisher { late, hints: Hints { dedup_id: None, delay: Some(Duration::ZERO) }, ..Publisher::OPERATOR }
    }

    /// Whether all limits hold, and its messages are stored: not so for the figures that the broker publishes itself.
    pub(super) const fn is_bounded(&self) -> bool {
        self.session.is_some() || self.lasts
    }

    /// What the user has, where that is counted.
    pub(super) fn account(&self) -> Option<&'a Arc<Account>> {
        match self.session {
            Some(handle) => handle.account.as_ref(),
            None => self.late.and_then(|late| late.author.account.as_ref()),
        }
    }

    /// Who is said to have published what is kept.
    pub(super) fn author(&self) -> Option<Arc<Author>> {
        match self.session {
            Some(handle) => Some(handle.author()),
            None => self.late.map(|late| late.author.clone()),
        }
    }

    pub(super) fn client_id(&self) -> Option<&'a Arc<str>> {
        match self.session {
            Some(handle) => Some(handle.client_id()),
            None => self.late.map(|late| &late.author.principal.client_id),
        }
    }

    /// The session that No Local speaks of.
    pub(super) fn key(&self) -> Option<u64> {
        match self.session {
            Some(handle) => Some(handle.key),
            None => self.late.and_then(|late| late.session),
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// How many subscribers it went to, sessions that are offline and groups included.
    pub count: usize,
    /// The journal was told of it: it is owned once that is safe.
    pub is_stored: bool,
    /// All work queues that it is for have had it before: nobody gets it again.
    pub is_repeated: bool,
}

impl Matched {
    pub(super) const fn of(fed: Fed, is_stored: bool) -> Self {
        match fed {
            Fed::Taken(count) => Self { count, is_stored, is_repeated: false },
            // What it repeats may not be safe yet.
            Fed::Repeated(count) => Self { count, is_stored: true, is_repeated: true },
        }
    }
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
    ) -> Result<Matched, Answer> {
        // What is retained, and who else gets it, is told before the next one of the topic is published.
        let turn = self.turn_of(publication.topic(), publication.retain);
        let published = self.publish_in_turn(publication, publisher, now, deliveries);
        if turn.is_some() {
            self.submit(&mut deliveries.batch);
        }
        published
    }

    /// The same for one whose turn it is, and who tells the journal before it is over.
    pub(super) fn publish_in_turn(
        &self,
        publication: &mut Publication<'_>,
        publisher: &Publisher<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Result<Matched, Answer> {
        let needs_disk = || needs_disk(publication.retain, &self.matches(publication.topic()));
        let is_wanted = self.journal.as_ref().is_some_and(|journal| !journal.has_room()) && needs_disk();
        self.may_keep(publication, publisher, is_wanted)?;
        if !self.queues.is_empty() {
            let matches = self.matches(publication.topic());
            let mut queues: SmallVec<[&Arc<QueueHandle>; 2]> = matches.recipients.iter().filter_map(Recipient::queue).collect();
            if !queues.is_empty() {
                queues.sort_unstable_by_key(|queue| queue.number); // the order of their locks
                return self.publish_through(&queues, publication, publisher, now, deliveries);
            }
        }
        let mut matched = self.publish_to_sessions(publication, publisher, now, deliveries)?;
        matched.is_stored |= self.came_by(publication, publisher, deliveries);
        Ok(matched)
    }

    /// Gives a message that was refused for want of room to those who can have it without being kept: not to work queues. What cannot be
    /// retained was counted.
    pub(super) fn publish_unkept(
        &self,
        message: &Message,
        publisher: &Publisher<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) {
        let mut publication = Publication::stored(message);
        if publication.retain {
            let _ = self.retain(&mut publication, publisher, now, &mut deliveries.batch);
        }
        self.give_to_sessions(&mut publication, publisher, now, deliveries);
    }

    /// Decides whether a message is to survive. `needs_disk` is whether it must be refused if it cannot.
    pub(super) fn may_keep(
        &self,
        publication: &mut Publication<'_>,
        publisher: &Publisher<'_>,
        needs_disk: bool,
    ) -> Result<(), Answer> {
        let Some(journal) = &self.journal else { return Ok(()) };
        // With a full disk, what waits for no acknowledgement goes on without being kept.
        let may_store = publisher.is_bounded() && journal.level(publication.topic()) != Level::Memory;
        publication.set_lasting(may_store && journal.has_room());
        if may_store && !journal.has_room() && needs_disk && publication.qos != QoS::AtMostOnce {
            self.metrics.storage.refused.increment();
            return Err(PublishReason::QuotaExceeded.into());
        }
        Ok(())
    }

    /// To work queues first: they may refuse it. They stay locked until the journal knows all that became of the message, so that a
    /// crash leaves it with all of them and with its identifier, or with none.
    fn publish_through(
        &self,
        queues: &[&Arc<QueueHandle>],
        publication: &mut Publication<'_>,
        publisher: &Publisher<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Result<Matched, Answer> {
        let mut locked: Locked<'_> = queues.iter().map(|queue| (*queue, queue.lock())).collect();
        locked.retain(|(_, state)| !state.is_deleted);
        if publication.retain {
            self.may_retain(publication, publisher, now)?; // Before anybody has it: who is refused sends it again.
        }
        let fed = self.feed(&mut locked, publication, publisher, now, deliveries)?;
        let mut matched = Matched::of(fed, publication.is_kept());
        if !matched.is_repeated {
            // Another one may have taken the place just now. That is counted, and the message is taken: the queues have it.
            let is_retained =
                publication.retain && self.retain(publication, publisher, now, &mut deliveries.batch).unwrap_or(false);
            let others = self.give_to_sessions(publication, publisher, now, deliveries);
            matched.count += others.count;
            matched.is_stored |= others.is_stored || is_retained;
        }
        matched.is_stored |= self.came_by(publication, publisher, deliveries);
        self.fed(locked, deliveries);
        Ok(matched)
    }

    /// A QoS 2 message of a session that outlives the process is stored together with the identifier that it came under, so that it is
    /// not taken twice `[MQTT-4.3.3-10]`. Returns whether it is.
    pub(super) fn came_by(
        &self,
        publication: &mut Publication<'_>,
        publisher: &Publisher<'_>,
        deliveries: &mut Deliveries,
    ) -> bool {
        let (Some(id), Some(handle)) = (publisher.received, publisher.session) else { return false };
        let (Some(session), Some(body)) = (handle.stored_as, publication.body()) else { return false };
        body.came_by(session, id).into_iter().for_each(|item| deliveries.batch.journal.push(item));
        handle.lock(|slot| slot.session.received_in(id, body));
        true
    }

    fn publish_to_sessions(
        &self,
        publication: &mut Publication<'_>,
        publisher: &Publisher<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Result<Matched, PublishReason> {
        let is_retained = publication.retain && self.retain(publication, publisher, now, &mut deliveries.batch)?;
        let mut matched = self.give_to_sessions(publication, publisher, now, deliveries);
        matched.is_stored |= is_retained;
        Ok(matched)
    }

    /// Behind retaining: who subscribes in between finds the message there.
    fn give_to_sessions(
        &self,
        publication: &mut Publication<'_>,
        publisher: &Publisher<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Matched {
        let matches = self.matches(publication.topic());
        let mut matched = 0;
        for recipient in matches.recipients.iter() {
            let Some(grant) = recipient.grant_for(publisher.key()) else { continue };
            let Receiver::Session(handle) = &recipient.subscriber else { continue };
            matched += 1;
            let grant = Grant {
                qos: grant.qos.min(publication.qos),
                retain: publication.retain && grant.retain_as_published, // [MQTT-3.3.1-12], [MQTT-3.3.1-13]
                identifiers: &grant.identifiers,
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
        Matched { count: matched, is_stored: publication.is_kept(), is_repeated: false }
    }

    /// A message that is stored already: a will, one of the broker's own.
    pub fn publish_message(&self, message: &Message, publisher: &Publisher<'_>, now: Instant) {
        let mut deliveries = Deliveries::default();
        // Nobody waits for an acknowledgement; what could not be retained was counted.
        let _ = self.publish(&mut Publication::stored(message), publisher, now, &mut deliveries);
        deliveries.flush(self, now);
    }

    fn matches(&self, topic: TopicName<'_>) -> Rc<Matches<Receiver>> {
        MATCHES.with_borrow_mut(|cache| self.router.lookup(cache, topic))
    }
}

/// Whether somebody would keep the message who outlives the process.
fn needs_disk(retain: bool, matches: &Matches<Receiver>) -> bool {
    let is_lasting = |receiver: &Receiver| receiver.session().is_none_or(|handle| handle.stored_as.is_some());
    retain || matches.recipients.iter().any(|recipient| is_lasting(&recipient.subscriber)) || !matches.groups.is_empty()
}
