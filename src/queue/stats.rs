use std::collections::BTreeMap;
use std::time::Duration;

use super::dead_letter::DeadReason;

/// The figures of a queue: what is there now, and what has happened since it was made or restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages in the queue, leased and delayed ones included.
    pub depth: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that a consumer has.
    pub leased: u64,
    /// Messages that wait for a delay or a backoff.
    pub delayed: u64,
    /// How long the oldest has been here.
    pub oldest_age: Duration,
    pub consumers: u64,
    /// Keys that have messages.
    pub keys: u64,
    /// Keys that stand still because of a dead message.
    pub blocked_keys: u64,
    /// Deduplication identifiers remembered.
    pub dedup_ids: u64,
    pub is_paused: bool,
    pub counters: Counters,
}

/// What has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub enqueued: u64,
    pub delivered: u64,
    pub settled: u64,
    /// Of those settled, how many by a consumer whose lease was over.
    pub settled_late: u64,
    /// Failed attempts that a reason code told of, by code.
    pub failed: BTreeMap<u8, u64>,
    /// Leases that ended without the message being done, by cause.
    pub redelivered: BTreeMap<Cause, u64>,
    pub dead: BTreeMap<DeadReason, u64>,
    /// Repeated publishes.
    pub dedup_hits: u64,
    /// Publishes that were refused because the queue was full.
    pub overflow_rejected: u64,
    /// Older messages dropped because the queue was full.
    pub overflow_dropped: u64,
    /// Messages that outlived their time and were dropped.
    pub expired: u64,
    /// Messages that an operator took out.
    pub deleted: u64,
    /// Dead letters that went back to their queue.
    pub redriven: u64,
    /// Settle topics refused.
    pub settle_refused: u64,
}

/// Why a lease ended without the message being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A reason code that counts as a failure, or `$nack`.
    Failed,
    /// `ack_timeout` had passed.
    Timeout,
    /// The session of the consumer, or its subscription, has ended.
    SessionEnd,
    /// 0x97.
    Busy,
    /// 0x87.
    NotAuthorized,
    /// It was not sent: its subscription ended, or its connection had no room for it after all.
    Unsent,
}

impl Cause {
    pub const ALL: [Self; 6] = [Self::Failed, Self::Timeout, Self::SessionEnd, Self::Busy, Self::NotAuthorized, Self::Unsent];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::SessionEnd => "session-end",
            Self::Busy => "busy",
            Self::NotAuthorized => "not-authorized",
            Self::Unsent => "unsent",
        }
    }
}

impl Counters {
    pub(super) fn count_redelivery(&mut self, cause: Cause) {
        *self.redelivered.entry(cause).or_default() += 1;
    }

    pub(super) fn count_dead(&mut self, reason: DeadReason) {
        *self.dead.entry(reason).or_default() += 1;
    }

    pub(super) fn count_failure(&mut self, code: u8) {
        *self.failed.entry(code).or_default() += 1;
    }
}
