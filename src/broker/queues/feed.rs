use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::handle::{QueueHandle, QueueState};
use crate::broker::Broker;
use crate::broker::deliver::Deliveries;
use crate::broker::publish::{Matched, Publisher};
use crate::broker::quotas::Quota;
use crate::packet::{Message, MessageView, PublishReason, UserPropertiesBuf};
use crate::queue::properties::{self, KEY};
use crate::queue::{Enqueue, Enqueued, KeyMode, KeySource, Part, Queue, Refused, UnixMillis};
use crate::session::{Answer, Note, Publication};
use crate::storage::{AROUND, Body, Holder};

/// What the topic of a publish says to queues.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    /// `$dedup/ID/…`
    pub dedup_id: Option<&'a str>,
    /// `$delayed/SECONDS/$queue/…`
    pub delay: Option<Duration>,
}

/// A message that comes when its queue holds less than this, in bytes of memory, stays in memory until it is handed out.
const SOON: u64 = 1 << 20;

/// The queues that a message is for, locked from the look at their room until the journal knows all about it.
pub(in crate::broker) type Locked<'a> = SmallVec<[(&'a Arc<QueueHandle>, MutexGuard<'a, QueueState>); 2]>;

/// What the queues made of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Fed {
    /// So many have it; those that knew it from before are counted too.
    Taken(usize),
    /// All of them have had it before.
    Repeated(usize),
}

/// A text of a publish, to be found out once.
struct Asked<'a> {
    dedup_id: Option<&'a str>,
    delay: Duration,
    expires_at: Option<UnixMillis>,
}

impl Broker {
    /// Puts a message into all of these queues, or into none.
    pub(in crate::broker) fn feed(
        &self,
        locked: &mut Locked<'_>,
        publication: &mut Publication<'_>,
        publisher: &Publisher<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Result<Fed, Answer> {
        let wall = self.queues.wall(now);
        let asked = self.asked(publication, publisher)?;
        let client_id = publisher.client_id().map_or("", |client_id| &**client_id);
        let view = *publication.view();
        let full = |(queue, _): &(&Arc<QueueHandle>, _)| queue.account.as_ref()?.full(Quota::QueuedBytes);
        if let Some(limit) = locked.iter().find_map(full) {
            self.metrics.limit_hits.count(limit);
            let why = Note::Reason("the owner of the queue, or its tenant, has as many bytes waiting as it may");
            return Err(Answer { reason: PublishReason::QuotaExceeded, note: why });
        }
        let mut shared = None;
        let copy_for = |(queue, state): &(&Arc<QueueHandle>, MutexGuard<'_, QueueState>)| {
            let mode = &state.definition.config.key;
            let key = key_of(mode, &view, queue.id.mount_point.as_deref(), client_id);
            let body = match (mode, key) {
                // What other keys are made of, a consumer sees.
                (KeyMode::ClientId, Some(key)) => keyed(publication, key),
                _ => shared.get_or_insert_with(|| body_of(publication)).clone(),
            };
            (key, body)
        };
        let copies: SmallVec<[_; 2]> = locked.iter().map(copy_for).collect();
        if locked.len() > 1 {
            for ((_, state), (_, body)) in locked.iter_mut().zip(&copies) {
                let admits = |queue: &mut Queue<_>| queue.admits(size_of(body), asked.delay, asked.dedup_id, wall);
                state.work.with(Part::Main, admits).map_err(refusal)?;
            }
        }
        let (mut count, mut repeated, is_told) = (0, 0, publication.is_lasting());
        for ((queue, state), (key, body)) in locked.iter_mut().zip(copies) {
            let is_wanted_soon = asked.delay.is_zero() && weight_of(state) < SOON;
            let message = Enqueue {
                size: size_of(&body),
                body: body.clone(),
                key,
                dedup_id: asked.dedup_id,
                delay: asked.delay,
                expires_at: asked.expires_at,
            };
            match state.work.with(Part::Main, |queue| queue.enqueue(message, wall)).map_err(refusal)? {
                Enqueued::Stored { .. } => {
                    count += 1;
                    if is_told {
                        let holder = Holder { stream: queue.number, is_kept: asked.dedup_id.is_some(), is_wanted_soon };
                        body.hold(holder).into_iter().for_each(|item| deliveries.batch.journal.push(item));
                    }
                }
                Enqueued::Duplicate => repeated += 1,
            }
        }
        Ok(if count == 0 && repeated > 0 { Fed::Repeated(repeated) } else { Fed::Taken(count + repeated) })
    }

    /// Tells the journal, lets the queues go, and asks for what can be delivered.
    pub(in crate::broker) fn fed(&self, locked: Locked<'_>, deliveries: &mut Deliveries) {
        let has_journal = self.journal.is_some();
        let mut locked = locked;
        for (queue, state) in &mut locked {
            state.tell(queue, has_journal, &mut deliveries.batch);
            deliveries.touch(queue.number);
        }
        self.submit(&mut deliveries.batch);
    }

    fn asked<'a>(&self, publication: &Publication<'a>, publisher: &Publisher<'a>) -> Result<Asked<'a>, Answer> {
        let Hints { mut dedup_id, delay } = publisher.hints;
        let mut asked_delay = delay.unwrap_or_default();
        for (name, value) in publication.view().properties.user_properties().iter() {
            match name {
                // One that is empty would be the same for all who have nothing to say there.
                properties::DEDUP_ID => dedup_id = dedup_id.or_else(|| Some(value).filter(|value| !value.is_empty())),
                properties::DELAY if delay.is_none() => {
                    let wrong = Note::Reason("q-delay is a duration like \"30s\" or \"500ms\"");
                    asked_delay = properties::parse_delay(value)
                        .map_err(|_| Answer { reason: PublishReason::ImplementationSpecificError, note: wrong })?;
                }
                _ => {}
            }
        }
        let expires_at = publication.expires_at.map(|at| self.queues.wall(at));
        Ok(Asked { dedup_id, delay: asked_delay, expires_at })
    }

    /// Publishes into one queue alone: `$queue/NAME/$put/TOPIC`.
    pub(in crate::broker) fn put(
        &self,
        queue: &Arc<QueueHandle>,
        publication: &mut Publication<'_>,
        publisher: &Publisher<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Result<Matched, Answer> {
        self.may_keep(publication, publisher, true)?;
        let state = queue.lock();
        if state.is_deleted {
            return Err(no_queue());
        }
        let mut locked: Locked<'_> = SmallVec::new();
        locked.push((queue, state));
        let fed = self.feed(&mut locked, publication, publisher, now, deliveries)?;
        self.came_by(publication, publisher, deliveries);
        self.fed(locked, deliveries);
        Ok(Matched::of(fed, publication.is_kept()))
    }
}

/// `$put` to a queue that is not there.
pub(super) fn no_queue() -> Answer {
    Answer { reason: PublishReason::TopicNameInvalid, note: Note::Reason("there is no queue of this name") }
}

fn refusal(refused: Refused) -> Answer {
    match refused {
        Refused::Full => Answer { reason: PublishReason::QuotaExceeded, note: Note::Reason("the queue is full") },
        Refused::DelayTooLong => Answer {
            reason: PublishReason::QuotaExceeded,
            note: Note::Reason("the delay is longer than the queue's max_delay, or than it keeps messages"),
        },
    }
}

/// Bytes that the messages of a queue would take in memory.
fn weight_of(state: &QueueState) -> u64 {
    let queue = state.work.part(Part::Main);
    queue.bytes() + queue.len() as u64 * AROUND as u64
}

fn size_of(body: &Body) -> u32 {
    u32::try_from(body.size()).unwrap_or(u32::MAX)
}

/// The body that sessions keep too, if it is to survive; otherwise one in memory.
fn body_of(publication: &mut Publication<'_>) -> Arc<Body> {
    match publication.body() {
        Some(body) => body.clone(),
        None => Body::new(publication.message().clone()),
    }
}

/// One of its own, that says by which client the message came.
fn keyed(publication: &mut Publication<'_>, key: &str) -> Arc<Body> {
    let mut properties = UserPropertiesBuf::new();
    properties.push(KEY, key);
    let how = (publication.qos, publication.retain, publication.expires_at);
    let message = Message::extended(*publication.view(), |name| name == KEY, &properties, how);
    // Also for others, so that its publisher waits.
    let _ = publication.body();
    Body::new(message)
}

/// The ordering key of a message, as text.
pub(super) fn key_of<'a>(
    mode: &KeyMode,
    view: &MessageView<'a>,
    mount_point: Option<&str>,
    client_id: &'a str,
) -> Option<&'a str> {
    let topic = view.topic.as_str();
    let topic = mount_point.and_then(|mount_point| topic.strip_prefix(mount_point)).unwrap_or(topic);
    let property =
        |wanted: &str| view.properties.user_properties().iter().find_map(|(name, value)| (name == wanted).then_some(value));
    mode.key_of(KeySource { topic, client_id, property })
}
