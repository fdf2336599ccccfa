use std::sync::Arc;
use std::time::{Duration, Instant};

use super::feed::{Hints, no_queue};
use crate::broker::Broker;
use crate::broker::deliver::Deliveries;
use crate::broker::handle::SessionHandle;
use crate::broker::publish::{Matched, Publisher};
use crate::broker::route::Routed;
use crate::packet::{Publish, PublishReason, TopicName};
use crate::queue::topics::{PublishTopic, QueueRef, Settle, Target, TopicError};
use crate::queue::{Durability, Part, SettleError, Tag, properties, topics};
use crate::session::{Answer, InboundPublish, Note, Publication};
use crate::storage::Level;

/// A topic that is not an ordinary one: what its prefix asks for.
pub(in crate::broker) type Special<'a> = Result<PublishTopic<'a>, TopicError>;

/// What a PUBLISH needs the right to.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::broker) struct NeededToPublish<'a> {
    /// A topic, as its client names it: the mount point comes before it.
    pub topic: Option<TopicName<'a>>,
    /// One of `$queue/`: no mount point comes before it.
    pub queue: Option<TopicName<'a>>,
}

impl<'a> NeededToPublish<'a> {
    /// Who settles shows the lease instead of a right; what is refused anyway needs none.
    pub fn of(topic: TopicName<'a>) -> Self {
        match Broker::special(topic) {
            None => Self { topic: Some(topic), queue: None },
            Some(Err(_)) => Self::default(),
            Some(Ok(PublishTopic { target, .. })) => match target {
                Target::Topic(topic) => Self { topic: Some(topic), queue: None },
                Target::Put { topic, whole, .. } => Self { topic: Some(topic), queue: Some(whole) },
                Target::Settle { .. } => Self::default(),
            },
        }
    }
}

impl Broker {
    /// Whether a topic is one of ours; `None` for an ordinary one.
    pub(in crate::broker) fn special(topic: TopicName<'_>) -> Option<Special<'_>> {
        // A look at one byte, for the many that are ordinary.
        if !topic.as_str().starts_with('$') {
            return None;
        }
        topics::parse_publish(topic.as_str()).transpose()
    }

    /// Does what a topic of ours asks for.
    pub(in crate::broker) fn route_special(
        &self,
        (handle, epoch): (&Arc<SessionHandle>, u64),
        publish: &InboundPublish<'_>,
        special: Special<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Routed {
        let PublishTopic { dedup_id, delay, target } = match special {
            Ok(publish) => publish,
            Err(error) => {
                self.metrics.queue_refusals.increment();
                return Routed::at_once(Answer { reason: PublishReason::TopicNameInvalid, note: Note::Reason(why(error)) });
            }
        };
        let hints = Hints { dedup_id, delay };
        match target {
            Target::Settle { queue, tag, settle } => {
                match self.settle(handle, publish, (queue, tag, settle), now, deliveries) {
                    Ok(waits) => {
                        let waits = waits == Durability::BeforeAnswer && self.journal.is_some();
                        let wait = waits.then(|| self.stored_level());
                        Routed { answer: PublishReason::Success.into(), wait, is_settling: true }
                    }
                    Err((reason, why)) => {
                        self.metrics.queue_refusals.increment();
                        Routed { answer: Answer { reason, note: Note::Reason(why) }, wait: None, is_settling: true }
                    }
                }
            }
            Target::Put { name, topic, whole } => {
                let Some(queue) = self.queues.find(handle.mount_point.as_deref(), name) else {
                    self.metrics.queue_refusals.increment();
                    return Routed::at_once(no_queue());
                };
                // The right to the topic, and the one to the queue.
                if let Some(refused) = self.refused(handle, whole, deliveries) {
                    return refused;
                }
                self.route_to(
                    (handle, epoch),
                    publish,
                    (topic, hints),
                    now,
                    deliveries,
                    |publication, publisher, deliveries| self.put(&queue, publication, publisher, now, deliveries),
                )
            }
            Target::Topic(topic) => {
                let wait = delay.filter(|delay| !delay.is_zero());
                let hints = Hints { delay: None, ..hints };
                self.route_to(
                    (handle, epoch),
                    publish,
                    (topic, hints),
                    now,
                    deliveries,
                    |publication, publisher, deliveries| match wait {
                        Some(delay) => self.delay(publication, publisher, delay, now, deliveries),
                        None => self.publish(publication, publisher, now, deliveries),
                    },
                )
            }
        }
    }

    /// Publishes for the operator, who has all rights and no lease. Says what the message waits for, if it is stored.
    pub(in crate::broker) fn publish_anywhere(
        &self,
        publish: &Publish<'_>,
        topic: TopicName<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Result<(Matched, Option<Level>), Answer> {
        let invalid = |why| Answer { reason: PublishReason::TopicNameInvalid, note: Note::Reason(why) };
        let special = Self::special(topic).transpose().map_err(|error| invalid(why(error)))?;
        let PublishTopic { dedup_id, delay, target } =
            special.unwrap_or(PublishTopic { dedup_id: None, delay: None, target: Target::Topic(topic) });
        let (topic, queue) = match target {
            Target::Topic(topic) => (topic, None),
            Target::Put { name, topic, .. } => (topic, Some(self.queues.find(None, name).ok_or_else(no_queue)?)),
            Target::Settle { .. } => return Err(invalid("only who holds a lease settles it")),
        };
        let expires_at = publish.properties.message_expiry_interval.map(|seconds| now + Duration::from_secs(seconds.into()));
        let qos = publish.delivery.qos();
        let mut publication = Publication::new(publish.view(topic), qos, publish.retain, expires_at, None);
        let wait = delay.filter(|delay| queue.is_none() && !delay.is_zero());
        let hints = Hints { dedup_id, delay: delay.filter(|_| queue.is_some()) };
        let publisher = Publisher { hints, ..Publisher::OPERATOR };
        let matched = match (queue, wait) {
            (Some(queue), _) => self.put(&queue, &mut publication, &publisher, now, deliveries),
            (None, Some(delay)) => self.delay(&mut publication, &publisher, delay, now, deliveries),
            (None, None) => self.publish(&mut publication, &publisher, now, deliveries),
        }?;
        let level = self.journal.as_ref().filter(|_| matched.is_stored).map(|journal| journal.level(topic));
        Ok((matched, level))
    }

    fn settle(
        &self,
        handle: &Arc<SessionHandle>,
        publish: &InboundPublish<'_>,
        (reference, tag, settle): (QueueRef<'_>, Option<Tag>, Settle),
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Result<Durability, (PublishReason, &'static str)> {
        const INVALID: PublishReason = PublishReason::TopicNameInvalid;
        let properties = publish.packet.properties.forwarded.user_properties();
        let property = |wanted| properties.iter().find_map(|(name, value)| (name == wanted).then_some(value));
        let tag = match tag {
            Some(tag) => tag,
            None => {
                let text = property(properties::TAG).ok_or((INVALID, "no lease is named, by the topic or by q-tag"))?;
                text.parse().map_err(|_| (INVALID, "no tag of a lease"))?
            }
        };
        let settle = match settle {
            Settle::Nack(None) => Settle::Nack(nack_delay(property(properties::DELAY))?),
            settle => settle,
        };
        let queue = self.queues.find(handle.mount_point.as_deref(), reference.name);
        let queue = queue.ok_or((INVALID, "there is no queue of this name"))?;
        let wall = self.queues.moment(now);
        let mut state = queue.lock();
        let settled = state.work.with(reference.part, |queue| queue.settle(handle.client_id(), tag, settle, wall));
        let waits = state.tell(&queue, self.journal.is_some(), &mut deliveries.batch);
        self.submit(&mut deliveries.batch);
        drop(state);
        deliveries.touch(queue.number);
        settled.map(|()| waits).map_err(|error| match error {
            SettleError::Unknown => (INVALID, "no lease of this client has this tag"),
            SettleError::Over => (INVALID, "the lease of this tag is over"),
            SettleError::TooLong => (PublishReason::QuotaExceeded, "the time is longer than the queue allows"),
        })
    }
}

fn nack_delay(text: Option<&str>) -> Result<Option<Duration>, (PublishReason, &'static str)> {
    let wrong = (PublishReason::ImplementationSpecificError, "q-delay is a duration like \"30s\" or \"500ms\"");
    text.map(|text| properties::parse_delay(text).map_err(|_| wrong)).transpose()
}

/// What is wrong with a topic, as a text that lives for ever.
pub(super) const fn why(error: TopicError) -> &'static str {
    match error {
        TopicError::Name(_) => "a queue name is 1 to 128 bytes without / + # and control characters, and does not begin with $",
        TopicError::Topic(_) => "the topic behind the prefix is none",
        TopicError::Tag(_) => "no tag of a lease",
        TopicError::Seconds => "not a whole number of seconds up to 4294967295",
        TopicError::DedupId => "a deduplication identifier is 1 to 256 bytes",
        TopicError::Inner => "after this prefix comes an ordinary topic, or $queue/NAME/$put/TOPIC",
        TopicError::Repeated => "$delayed and $dedup may each stand there once",
        TopicError::NoVerb => "a queue is filled by $queue/NAME/$put/TOPIC, or by the topics it is bound to",
        TopicError::PutToDead => "nothing can be put among the dead letters",
        TopicError::NoSeconds => "$extend needs a number of seconds",
        TopicError::TooLong => "more levels than this topic has",
        TopicError::NoFilter => {
            "a consumer subscribes to $queue/NAME, $queue/NAME/FILTER or $queue/NAME/$lease/#, to $dlq/NAME or $dlq/NAME/$lease/#"
        }
    }
}

/// The part whose rights a filter asks for, as topic filter.
pub(super) fn right_of(reference: QueueRef<'_>) -> String {
    let first = match reference.part {
        Part::Main => "$queue",
        Part::Dead => "$dlq",
    };
    format!("{first}/{}", reference.name)
}
