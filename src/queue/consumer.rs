use std::sync::Arc;
use std::time::Duration;

use super::config::AckMode;
use super::tag::Lease;
use super::time::UnixMillis;

/// A consumer of a queue: one subscription of one session. Never given out twice by one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub(super) u64);

impl ConsumerId {
    /// The number behind it, for callers that keep it where no queue is known.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The consumer of a number that [`Self::get`] gave.
    pub const fn of(number: u64) -> Self {
        Self(number)
    }
}

/// What a consumer asks for when it joins.
#[derive(Clone, Debug)]
pub struct Join {
    /// Only this client may settle what the consumer is given.
    pub client: Arc<str>,
    /// What settles its messages; usually [`super::Config::ack`].
    pub ack: AckMode,
    /// Whether it subscribed with QoS 0: then a message is settled when it is handed out.
    pub is_at_most_once: bool,
    /// Unsettled messages that it takes: its Receive Maximum, its `q-prefetch`, or [`super::Config::prefetch`].
    pub prefetch: u16,
    /// Unacknowledged packets that its connection takes.
    pub receive_maximum: u16,
    /// Packets of this queue that its session has still to acknowledge: those that a session restored from the journal sends again.
    pub unacknowledged: u32,
    /// As whom it was there before and has something to finish, if it has: see [`super::Queue::retire`].
    pub resumes: Option<ConsumerId>,
    /// Whether it is connected now.
    pub is_online: bool,
}

/// What a queue knows of a consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) id: ConsumerId,
    pub(super) client: Arc<str>,
    /// Number of `client` among the names.
    pub(super) name: u32,
    /// Queue and client as its tags have them.
    pub(super) place: u64,
    pub(super) ack: AckMode,
    pub(super) is_at_most_once: bool,
    pub(super) prefetch: u16,
    pub(super) receive_maximum: u16,
    pub(super) is_online: bool,
    /// Whether the caller wants nothing delivered to it for the time being.
    pub(super) is_on_hold: bool,
    /// Whether its connection's window is also used by others.
    pub(super) shares_window: bool,
    /// Whether it stands only for leases that go on: found after a restart, or left behind by a subscription that is over.
    pub(super) is_absent: bool,
    /// Whether it is of the latter kind, and a session knows of it.
    pub(super) is_retired: bool,
    /// Entries that it has.
    pub(super) held: Vec<u32>,
    /// Packets that it has not acknowledged.
    pub(super) packets: u32,
    /// How often its window was halved since it last settled a message.
    pub(super) halvings: u8,
    /// Failures since it last settled a message.
    pub(super) failures: u8,
    /// It gets nothing before that.
    pub(super) rests_until: Option<UnixMillis>,
    /// Leases that a settle topic has ended while their packet is still unacknowledged.
    pub(super) ended_by_word: Vec<Lease>,
    /// Its place among those with room.
    pub(super) rank: Option<Rank>,
}

/// In which order consumers with room are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// One that fails gets what nobody else has room for, until it settles a message.
    pub(super) is_failing: bool,
    pub(super) load: u32,
    pub(super) turn: u64,
    pub(super) index: u32,
}

/// Failures in a row before a consumer rests between messages.
const FAILURES_BEFORE_REST: u8 = 3;
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(5);

impl Consumer {
    /// Whether it would take a message now.
    pub(super) fn has_room(&self) -> bool {
        if !self.is_online || self.is_on_hold || self.is_absent || self.rests_until.is_some() {
            return false;
        }
        self.is_at_most_once || self.held.len() < self.window() && self.packets < u32::from(self.receive_maximum)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0 || self.halvings > 0
    }

    pub(super) fn note_success(&mut self) {
        self.failures = 0;
        self.halvings = 0;
        self.rests_until = None;
    }

    /// It failed a message. Where others could do its work, one that fails again and again pauses more and more in between, so that it
    /// does not use up the attempts of everything in the queue.
    pub(super) fn note_failure(&mut self, has_others: bool, now: UnixMillis) {
        self.failures = self.failures.saturating_add(1);
        if has_others && self.failures >= FAILURES_BEFORE_REST {
            self.rest(self.failures - FAILURES_BEFORE_REST, now);
        }
    }

    /// It said that it is busy: half the window, and a rest where that is one message already.
    pub(super) fn note_busy(&mut self, now: UnixMillis) {
        if self.window() <= 1 {
            self.rest(self.halvings.saturating_sub(self.halvings_to_one()), now);
        }
        self.halvings = self.halvings.saturating_add(1);
    }

    fn rest(&mut self, step: u8, now: UnixMillis) {
        let span = FIRST_REST.saturating_mul(1 << step.min(10)).min(LONGEST_REST);
        self.rests_until = Some(now.plus(span));
    }

    fn window(&self) -> usize {
        usize::from((self.prefetch >> self.halvings.min(15)).max(1))
    }

    const fn halvings_to_one(&self) -> u8 {
        (u16::BITS - 1).saturating_sub(self.prefetch.leading_zeros()) as u8
    }

    pub(super) fn end_by_word(&mut self, lease: Lease) {
        if self.ack == AckMode::Puback {
            self.ended_by_word.push(lease);
        }
    }

    /// Whether a settle topic had ended this lease; asked once.
    pub(super) fn take_ended(&mut self, lease: Lease) -> bool {
        let found = self.ended_by_word.iter().position(|ended| *ended == lease);
        found.map(|at| self.ended_by_word.swap_remove(at)).is_some()
    }
}
