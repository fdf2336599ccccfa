use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backoff::Backoff;
use super::key::KeyMode;
use super::name::QueueName;
use crate::packet::TopicFilter;
use crate::units::{ByteSize, Span};

/// `[[queues]]`: one work queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What `$queue/NAME` means. Must be given.
    pub name: Option<QueueName>,
    /// Topic filters whose messages are stored here. Without one, only `$queue/NAME/$put/…` fills it.
    pub bind: Vec<String>,
    /// What settles a message.
    pub ack: AckMode,
    /// How long a consumer has for one message, from its delivery; `$extend` gives it more.
    pub ack_timeout: Span,
    /// Deliveries of one message before it is dead; 0 is no bound.
    pub max_deliveries: u32,
    /// How long a failed message waits before its next attempt.
    pub backoff: Backoff,
    /// Which messages belong together: those of one key are worked on one at a time, in their order.
    pub key: KeyMode,
    /// What happens to a key when one of its messages dies.
    pub on_dead: OnDead,
    /// Whether dead messages go to `$dlq/NAME`; otherwise they are dropped and counted.
    pub dead_letter: bool,
    /// Unsettled messages of one consumer, where it names no Receive Maximum and no `q-prefetch`.
    pub prefetch: u16,
    /// Who gets the next message among the consumers that have room.
    pub strategy: Strategy,
    /// Messages in the queue, leased ones included. Each costs some 120 bytes of memory
    /// besides its body, and some 50 more if it is the only one of its key.
    pub max_messages: u64,
    /// Bytes of topic, properties and payload in the queue.
    pub max_bytes: ByteSize,
    /// What happens when one of these bounds is reached.
    pub overflow: Overflow,
    /// What happens to a message that outlives its Message Expiry Interval or `retention` in the queue.
    pub expired: Expired,
    /// How long a deduplication identifier is remembered; `"0s"`: not at all.
    pub dedup_window: Span,
    /// Deduplication identifiers that are remembered at most; the oldest goes. Each costs some 50 bytes.
    pub dedup_max_ids: u64,
    /// How long a message stays at most; `"0s"`: for ever. The same bound holds for its dead letters.
    pub retention: Span,
    /// How often consumers may answer one message with 0x97 (busy) before that counts as a failure.
    pub max_busy: u16,
    /// The longest `q-delay`, and the longest delay of a `$nack`.
    pub max_delay: Span,
}

/// What settles a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AckMode {
    /// PUBACK or PUBCOMP: for clients that acknowledge when the work is done.
    #[default]
    Puback,
    /// `$ack/TAG` only: for clients whose library acknowledges on its own.
    Explicit,
}

/// What happens to a key when one of its messages dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDead {
    /// The key goes on with its next message.
    #[default]
    Skip,
    /// The key stops until an operator redrives the message or unblocks the key.
    Block,
}

/// Who gets the next message among the consumers that have room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Who has the fewest unsettled messages.
    #[default]
    LeastInflight,
    /// Each in turn.
    RoundRobin,
    /// By lot.
    Random,
}

/// What happens when a queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The new message is refused with 0x97.
    #[default]
    RejectPublish,
    /// The oldest waiting messages make room.
    DropOldest,
    /// The same, and they go to the dead letters.
    DeadLetter,
}

/// What happens to a message that outlives its time in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expired {
    /// It is dropped and counted.
    #[default]
    Drop,
    /// It goes to the dead letters.
    DeadLetter,
}

/// A key whose value cannot be, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub key: &'static str,
    pub message: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: None,
            bind: Vec::new(),
            ack: AckMode::Puback,
            ack_timeout: Span::seconds(30),
            max_deliveries: 5,
            backoff: Backoff::default(),
            key: KeyMode::default(),
            on_dead: OnDead::Skip,
            dead_letter: true,
            prefetch: 16,
            strategy: Strategy::LeastInflight,
            max_messages: 100_000,
            max_bytes: ByteSize(1 << 30),
            overflow: Overflow::RejectPublish,
            expired: Expired::Drop,
            dedup_window: Span::seconds(300),
            dedup_max_ids: 100_000,
            retention: Span::seconds(7 * 86_400),
            max_busy: 100,
            max_delay: Span::seconds(7 * 86_400),
        }
    }
}

/// Messages in one queue that its index can number.
const MOST_MESSAGES: u64 = 1 << 31;

/// Deliveries that the journal can count.
const MOST_DELIVERIES: u32 = 65_535;

/// The longest time a setting may name: beyond it a date no longer fits everywhere.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Config {
    pub fn named(name: QueueName) -> Self {
        Self { name: Some(name), ..Self::default() }
    }

    /// All that cannot be, each with its key.
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut check = |holds: bool, key, message: &dyn fmt::Display| {
            if !holds {
                findings.push(Finding { key, message: message.to_string() });
            }
        };
        check(self.name.is_some(), "name", &"a queue needs a name");
        for filter in &self.bind {
            if let Err(wrong) = filter_of(filter) {
                check(false, "bind", &format_args!("{filter:?}: {wrong}"));
            }
        }
        check(!self.ack_timeout.is_zero(), "ack_timeout", &"must not be 0: no consumer could settle in time");
        check(self.max_deliveries <= MOST_DELIVERIES, "max_deliveries", &"must be at most 65535; 0 is no bound");
        if let Err(wrong) = self.backoff.check() {
            check(false, "backoff", &wrong);
        }
        check(self.prefetch > 0, "prefetch", &"must not be 0: no consumer would get a message");
        check((1..=MOST_MESSAGES).contains(&self.max_messages), "max_messages", &"must be from 1 to 2147483648");
        check(self.max_bytes.0 > 0, "max_bytes", &"must not be 0");
        check(self.dedup_max_ids <= MOST_MESSAGES, "dedup_max_ids", &"must be at most 2147483648");
        let needs_dead_letters = self.overflow == Overflow::DeadLetter;
        check(self.dead_letter || !needs_dead_letters, "overflow", &"\"dead-letter\" needs dead_letter = true");
        let needs_dead_letters = self.expired == Expired::DeadLetter;
        check(self.dead_letter || !needs_dead_letters, "expired", &"\"dead-letter\" needs dead_letter = true");
        for (key, span) in [
            ("ack_timeout", self.ack_timeout),
            ("dedup_window", self.dedup_window),
            ("retention", self.retention),
            ("max_delay", self.max_delay),
        ] {
            check(span.0 <= LONGEST, key, &"must be at most 36500d");
        }
        findings
    }

    /// The filters of `bind`; those that [`Self::check`] refuses are left out.
    pub fn filters(&self) -> impl Iterator<Item = TopicFilter> + '_ {
        self.bind.iter().filter_map(|filter| filter_of(filter).ok())
    }

    /// The settings of the queue that takes this one's dead letters: nothing dies there a second time, and a full one forgets its
    /// oldest rather than refuse a death.
    #[must_use]
    pub fn for_dead_letters(&self) -> Self {
        Self {
            bind: Vec::new(),
            max_deliveries: 0,
            key: KeyMode::None,
            on_dead: OnDead::Skip,
            dead_letter: false,
            overflow: Overflow::DropOldest,
            expired: Expired::Drop,
            dedup_window: Span::default(),
            ..self.clone()
        }
    }

    /// `None` where there is no bound.
    pub(super) fn retention(&self) -> Option<Duration> {
        (!self.retention.is_zero()).then_some(self.retention.0)
    }

    /// Whether a message may be kept back for so long: one that is kept shorter than that would never be delivered.
    pub(super) fn may_wait(&self, delay: Duration) -> bool {
        delay <= self.max_delay.0 && self.retention().is_none_or(|retention| delay < retention)
    }

    /// Whether a message that has been delivered this often may not be delivered again.
    pub(super) const fn is_last(&self, attempts: u32) -> bool {
        self.max_deliveries > 0 && attempts >= self.max_deliveries
    }
}

/// A filter that a queue may be bound to: what begins with `$` has its own meaning.
fn filter_of(filter: &str) -> Result<TopicFilter, String> {
    if filter.starts_with('$') {
        return Err("a queue is bound to ordinary topics, which do not begin with $".into());
    }
    TopicFilter::new(filter).map_err(|wrong| wrong.to_string())
}
