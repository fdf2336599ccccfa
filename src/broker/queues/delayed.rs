use std::sync::Arc;
use std::time::{Duration, Instant};

use super::records::{self, COMMON};
use super::waiting::Waiting;
use crate::broker::Broker;
use crate::broker::author::Author;
use crate::broker::deliver::Deliveries;
use crate::broker::publish::{Late, Matched, Publisher};
use crate::broker::quotas::Quota;
use crate::metrics::{DropReason, Limit};
use crate::packet::{Message, PublishReason, UserPropertiesBuf};
use crate::queue::{DelayedFull, properties};
use crate::session::{Answer, Note, Publication};
use crate::storage::{Body, Holder};

/// Messages that are published in one go when their time has come.
const BATCH: usize = 64;
/// When one that could not be published is tried again.
const AGAIN: Duration = Duration::from_secs(1);

impl Broker {
    /// Keeps a message until it is to be published: `$delayed/SECONDS/TOPIC`.
    pub(in crate::broker) fn delay(
        &self,
        publication: &mut Publication<'_>,
        publisher: &Publisher<'_>,
        delay: Duration,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Result<Matched, Answer> {
        let queues = &self.queues;
        if delay > queues.settings.read().max_delay.0 {
            let note = Note::Reason("the delay is longer than [work_queues] max_delay");
            return Err(Answer { reason: PublishReason::QuotaExceeded, note });
        }
        self.may_keep(publication, publisher, true)?;
        let body = match publisher.hints.dedup_id {
            Some(id) => with_dedup_id(publication, id),
            None => match publication.body() {
                Some(body) => body.clone(),
                None => Body::new(publication.message().clone()),
            },
        };
        let (at, author) = (queues.moment(now).plus(delay), publisher.author());
        let mut delayed = queues.delayed.lock();
        let size = u32::try_from(body.size()).unwrap_or(u32::MAX);
        let refused = |limit, note| {
            self.metrics.limit_hits.count(limit);
            Answer { reason: PublishReason::QuotaExceeded, note: Note::Reason(note) }
        };
        // Under the lock, so that no two of them take the same place.
        let full = |quota| publisher.account().and_then(|account| account.full(quota));
        if let Some(limit) = full(Quota::DelayedMessages).or_else(|| full(Quota::QueuedBytes)) {
            return Err(refused(limit, "too much waits already"));
        }
        delayed.schedule(body.clone(), size, at, author).map_err(|full| match full {
            DelayedFull::Messages => refused(Limit::MaxDelayedMessages, "too many delayed messages"),
            DelayedFull::Bytes => refused(Limit::MaxDelayedBytes, "the delayed messages are too many bytes"),
        })?;
        if publication.is_lasting() {
            let holder = Holder { stream: COMMON, is_kept: true, is_wanted_soon: false };
            body.hold(holder).into_iter().for_each(|item| deliveries.batch.journal.push(item));
        }
        self.came_by(publication, publisher, deliveries);
        self.tell_delayed(&mut delayed, deliveries);
        Ok(Matched { count: 1, is_stored: publication.is_kept(), is_repeated: false })
    }

    /// Publishes what is due.
    pub(super) fn release_delayed(&self, now: Instant, deliveries: &mut Deliveries) {
        let wall = self.queues.moment(now);
        loop {
            // Under the lock until the journal knows: that they are released is told behind what their publishing left.
            let mut delayed = self.queues.delayed.lock();
            let due: Vec<_> = std::iter::from_fn(|| delayed.poll_due(wall)).take(BATCH).collect();
            let count = due.len();
            let bodies: Vec<Arc<Body>> = due.iter().map(|due| due.body.clone()).collect();
            let Some(messages) = self.messages_of(&bodies) else { return };
            for (due, message) in due.into_iter().zip(messages) {
                if message.is_expired(now) {
                    deliveries.batch.dropped(DropReason::Expired, 1);
                    continue;
                }
                // Rights may have changed meanwhile.
                if due.owner.as_ref().is_some_and(|author| !author.may_publish(message.topic())) {
                    deliveries.batch.dropped(DropReason::NotAuthorized, 1);
                    continue;
                }
                let publisher = Publisher::late(due.owner.as_ref().map(|author| self.late(author)));
                let mut publication = Publication::stored(&message);
                if self.publish(&mut publication, &publisher, now, deliveries).is_err() {
                    delayed.put_back(due, wall.plus(AGAIN));
                }
            }
            self.tell_delayed(&mut delayed, deliveries);
            if count < BATCH {
                return;
            }
        }
    }

    fn late<'a>(&self, author: &'a Arc<Author>) -> Late<'a> {
        Late { author, session: self.registry.get(&author.registry_key()).map(|session| session.key) }
    }

    fn tell_delayed(&self, delayed: &mut Waiting, deliveries: &mut Deliveries) {
        while let Some(change) = delayed.messages.poll_change() {
            if self.journal.is_some() {
                deliveries.batch.journal.record(records::record(COMMON, records::of_delayed(change)));
            }
        }
        self.submit(&mut deliveries.batch);
        if let Some(at) = delayed.messages.poll_timeout() {
            self.queues.wake.by(at.0);
        }
    }

    /// Messages that wait for their time, and their bytes.
    pub fn delayed_counts(&self) -> (u64, u64) {
        let delayed = &self.queues.delayed.lock().messages;
        (delayed.len() as u64, delayed.bytes())
    }
}

/// Once its prefixes are gone, a property says the same.
fn with_dedup_id(publication: &mut Publication<'_>, id: &str) -> Arc<Body> {
    let mut more = UserPropertiesBuf::new();
    more.push(properties::DEDUP_ID, id);
    let how = (publication.qos, publication.retain, publication.expires_at);
    let message = Message::extended(*publication.view(), |name| name == properties::DEDUP_ID, &more, how);
    let _ = publication.body(); // so that its publisher waits
    Body::new(message)
}
