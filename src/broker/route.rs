use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Broker;
use super::deliver::Deliveries;
use super::handle::SessionHandle;
use super::publish::{Matched, Publisher};
use super::queues::Hints;
use crate::auth::RightAnswer;
use crate::metrics::{Denied, DropReason};
use crate::packet::{Delivery, PublishReason, TopicName};
use crate::queue::properties;
use crate::session::{Answer, InboundPublish, Note, Publication};
use crate::storage::Level;

/// What became of a client's PUBLISH.
#[derive(Clone, Copy, Debug)]
pub(super) struct Routed {
    pub answer: Answer,
    /// It is answered once what was told cannot be lost.
    pub wait: Option<Level>,
    /// It was about a lease, and no message.
    pub is_settling: bool,
}

impl Routed {
    pub(super) fn at_once(answer: impl Into<Answer>) -> Self {
        Self { answer: answer.into(), wait: None, is_settling: false }
    }
}

impl Broker {
    /// What a client gets instead that may not publish to a whole topic; `None`: it may.
    pub(super) fn refused(&self, handle: &SessionHandle, topic: TopicName<'_>, deliveries: &mut Deliveries) -> Option<Routed> {
        let reason = match handle.may_publish(topic) {
            RightAnswer::Allow => return None,
            RightAnswer::Deny => PublishReason::NotAuthorized,
            RightAnswer::Unavailable => PublishReason::UnspecifiedError,
        };
        self.metrics.authorization_denied.count(Denied::Publish);
        deliveries.batch.dropped(DropReason::NotAuthorized, 1);
        Some(Routed::at_once(reason))
    }

    /// Gives a client's message to the broker, if the client may publish it.
    pub(super) fn route(
        &self,
        from: (&Arc<SessionHandle>, u64),
        publish: &InboundPublish<'_>,
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Routed {
        let publish_it = |publication: &mut Publication<'_>, publisher: &Publisher<'_>, deliveries: &mut Deliveries| {
            self.publish(publication, publisher, now, deliveries)
        };
        self.route_to(from, publish, (publish.topic(), Hints::default()), now, deliveries, publish_it)
    }

    /// The same to another topic than that of the packet, as its client names it, and by other means.
    pub(super) fn route_to(
        &self,
        (handle, epoch): (&Arc<SessionHandle>, u64),
        publish: &InboundPublish<'_>,
        (topic, hints): (TopicName<'_>, Hints<'_>),
        now: Instant,
        deliveries: &mut Deliveries,
        own: impl FnOnce(&mut Publication<'_>, &Publisher<'_>, &mut Deliveries) -> Result<Matched, Answer>,
    ) -> Routed {
        let mounted;
        let topic = match &handle.mount_point {
            None => topic,
            Some(mount_point) => {
                mounted = format!("{mount_point}{topic}");
                match TopicName::new(&mounted) {
                    Ok(topic) => topic,
                    Err(_) => return Routed::at_once(PublishReason::TopicNameInvalid),
                }
            }
        };
        if let Some(refused) = self.refused(handle, topic, deliveries) {
            return refused;
        }
        let packet = &publish.packet;
        let expires_at = packet.properties.message_expiry_interval.map(|seconds| now + Duration::from_secs(seconds.into()));
        let scratch = std::mem::take(&mut deliveries.scratch);
        let mut publication = Publication::new(packet.view(topic), packet.delivery.qos(), packet.retain, expires_at, scratch);
        let received = match packet.delivery {
            Delivery::ExactlyOnce(id) => Some(id),
            Delivery::AtMostOnce | Delivery::AtLeastOnce(_) => None,
        };
        let (epoch, ack) = (Some(epoch), publish.ack);
        let publisher = Publisher { epoch, ack, received, hints, ..Publisher::of(handle) };
        let result = own(&mut publication, &publisher, deliveries);
        deliveries.scratch = publication.into_scratch();
        match result {
            Ok(Matched { count, is_stored, is_repeated }) => {
                let wait = self.journal.as_ref().filter(|_| is_stored).map(|journal| journal.level(topic));
                let mut answer = Answer::from(PublishReason::Success);
                if count == 0 {
                    deliveries.batch.dropped(DropReason::NoSubscriber, 1);
                    answer.reason = PublishReason::NoMatchingSubscribers;
                }
                if is_repeated {
                    answer.note = Note::Property(properties::DUPLICATE, "1");
                }
                Routed { answer, wait, is_settling: false }
            }
            Err(answer) => Routed::at_once(answer),
        }
    }
}
