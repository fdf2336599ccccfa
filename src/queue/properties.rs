//! The user properties by which MQTT 5 clients and queues speak to each other.

use std::sync::Arc;
use std::time::Duration;

use super::config::AckMode;
use super::dead_letter::DeadLetter;
use super::name::QueueName;
use super::tag::Tag;
use super::time::UnixMillis;
use crate::units::Span;

/// Publisher, delivery: the ordering key.
pub const KEY: &str = "q-key";
/// The same, as EMQX has it.
pub const KEY_ALIAS: &str = "mq-key";
/// Publisher: the identifier by which a repeated publish is known.
pub const DEDUP_ID: &str = "q-dedup-id";
/// Publisher: deliver later. `$nack`: the delay.
pub const DELAY: &str = "q-delay";
/// Acknowledgement of a repeated publish: `1`.
pub const DUPLICATE: &str = "q-duplicate";
/// Delivery, settling: the lease.
pub const TAG: &str = "q-tag";
/// Delivery: the message, the same over redeliveries and redrives. What an idempotent consumer stores.
pub const ID: &str = "q-id";
/// Delivery: which attempt it is, from 1.
pub const ATTEMPT: &str = "q-attempt";
/// Delivery: when the message came into the queue.
pub const ENQUEUED_AT: &str = "q-enqueued-at";
/// Delivery: until when the consumer has time.
pub const DEADLINE: &str = "q-deadline";
/// SUBSCRIBE: what settles, as [`super::AckMode`] is written.
pub const ACK: &str = "q-ack";
/// SUBSCRIBE: how many unsettled messages the consumer takes.
pub const PREFETCH: &str = "q-prefetch";
/// Dead letter: why.
pub const DEAD_REASON: &str = "q-dead-reason";
/// Dead letter: in which queue.
pub const DEAD_QUEUE: &str = "q-dead-queue";
/// Dead letter: deliveries before.
pub const DEAD_ATTEMPTS: &str = "q-dead-attempts";
/// Dead letter: the client that had it last.
pub const DEAD_LAST_CLIENT: &str = "q-dead-last-client";
/// Dead letter: the reason code of the last failure, if it had one.
pub const DEAD_LAST_CODE: &str = "q-dead-last-code";
/// Dead letter: when.
pub const DEAD_AT: &str = "q-dead-at";

/// Whether only a delivery has it, and the queue says what is in it. What a publisher has put there, or whoever hands a delivery on, would
/// be taken for that.
pub fn is_of_delivery(name: &str) -> bool {
    let of_dead_letters = [DEAD_REASON, DEAD_QUEUE, DEAD_ATTEMPTS, DEAD_LAST_CLIENT, DEAD_LAST_CODE, DEAD_AT];
    [TAG, ID, ATTEMPT, ENQUEUED_AT, DEADLINE].contains(&name) || of_dead_letters.contains(&name)
}

/// A `q-delay` that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("q-delay is a duration like \"30s\" or \"500ms\"")]
pub struct InvalidDelay;

/// Reads the value of `q-delay`: `"30s"`, `"500ms"`, or a number of seconds.
pub fn parse_delay(text: &str) -> Result<Duration, InvalidDelay> {
    text.parse::<Span>().map(|span| span.0).map_err(|_| InvalidDelay)
}

/// Reads the value of `q-ack`: `"puback"` or `"explicit"`.
pub fn parse_ack(text: &str) -> Option<AckMode> {
    match text {
        "puback" => Some(AckMode::Puback),
        "explicit" => Some(AckMode::Explicit),
        _ => None,
    }
}

/// Reads the value of `q-prefetch`: a number from 1 to 65535.
pub fn parse_prefetch(text: &str) -> Option<u16> {
    text.parse().ok().filter(|prefetch| *prefetch > 0)
}

/// What a delivery tells its consumer besides the message.
#[derive(Clone, Debug)]
pub struct DeliveryProperties {
    /// None where the delivery itself settles the message.
    pub tag: Option<Tag>,
    /// The queue that the message came to first, dead or not.
    pub queue: QueueName,
    pub seq: u64,
    pub attempt: u32,
    pub enqueued_at: UnixMillis,
    pub deadline: Option<UnixMillis>,
    pub dead: Option<Arc<DeadLetter>>,
}

impl DeliveryProperties {
    /// Hands out each name with its value. `key` is the ordering key where the message does not carry it itself.
    pub fn each(&self, key: Option<&str>, mut push: impl FnMut(&'static str, &str)) {
        let mut digits = itoa::Buffer::new();
        if let Some(tag) = &self.tag {
            push(TAG, tag.text(&mut [0; Tag::LENGTH]));
        }
        push(ID, &[self.queue.as_str(), ":", digits.format(self.seq)].concat());
        push(ATTEMPT, digits.format(self.attempt));
        if let Some(key) = key {
            push(KEY, key);
        }
        push(ENQUEUED_AT, digits.format(self.enqueued_at.0));
        if let Some(deadline) = self.deadline {
            push(DEADLINE, digits.format(deadline.0));
        }
        if let Some(dead) = &self.dead {
            each_of_dead_letter(dead, &self.queue, &mut push);
        }
    }
}

fn each_of_dead_letter(dead: &DeadLetter, queue: &QueueName, push: &mut impl FnMut(&'static str, &str)) {
    let mut digits = itoa::Buffer::new();
    push(DEAD_REASON, dead.reason.as_str());
    push(DEAD_QUEUE, queue.as_str());
    push(DEAD_ATTEMPTS, digits.format(dead.attempts));
    if let Some(client) = &dead.last_client {
        push(DEAD_LAST_CLIENT, client);
    }
    if let Some(code) = dead.last_code {
        push(DEAD_LAST_CODE, digits.format(code));
    }
    push(DEAD_AT, digits.format(dead.at.0));
}
