use std::sync::Arc;

use super::dead_letter::{DeadLetter, DeadReason};
use super::key::Key;
use super::time::UnixMillis;

/// What must outlive a crash. A queue hands these out in order; the same changes, applied in that order, rebuild it, and so does
/// every beginning of them. What follows from the clock alone is not said again: a deadline that has passed is found out when the
/// rebuilt queue looks at the time.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<B> {
    /// A message came in; in a list that rebuilds a queue, also what has become of it since.
    Enqueued(Record<B>),
    /// A consumer has it: the attempt counts from here.
    Leased { seq: u64, number: u16, attempts: u32, client: Arc<str>, deadline: UnixMillis },
    /// Its lease runs until then.
    Extended { seq: u64, deadline: UnixMillis },
    /// Its lease is over, and it is ready again at `not_before`. `attempts` is less than the lease said if that did not count.
    Returned { seq: u64, attempts: u32, busy: u16, not_before: UnixMillis, code: Option<u8> },
    /// It is done. The body is for whoever keeps the journal, and not written: a message that was not written yet need not be any more.
    Settled { seq: u64, body: Option<B> },
    /// It is among the dead letters, under the same number, and no longer here. `blocks`: its key stops.
    Died { seq: u64, letter: Arc<DeadLetter>, blocks: Option<Key> },
    /// It is gone without having been done.
    Dropped { seq: u64, cause: DropCause },
    /// Among the dead letters: it is back in its queue, under the same number, with no attempt counted. `unblocks`: the key that
    /// stood still for it goes on, with it before the others.
    Redriven { seq: u64, at: UnixMillis, unblocks: Option<Key> },
    /// A deduplication identifier that is still remembered, though its message need not be here any more.
    Seen { id: DedupId, at: UnixMillis },
    /// Numbers below this may have been given out.
    Reserved { until: u64 },
    /// No message leaves.
    Paused,
    /// Messages leave again.
    Resumed,
    /// A key stands still because of a dead message.
    KeyBlocked { key: Key, by: u64 },
    /// The key goes on.
    KeyUnblocked { key: Key },
}

/// A message in a queue, with all that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<B> {
    /// Its number in the queue: higher than those of all before.
    pub seq: u64,
    pub enqueued_at: UnixMillis,
    /// Before that nobody gets it.
    pub not_before: Option<UnixMillis>,
    pub expires_at: Option<UnixMillis>,
    /// Bytes of topic, properties and payload.
    pub size: u32,
    pub key: Option<Key>,
    /// Remembered with the message, so that a crash cannot forget the one without the other.
    pub dedup_id: Option<DedupId>,
    /// Deliveries so far that count.
    pub attempts: u32,
    /// Answers of "busy" so far.
    pub busy: u16,
    /// Leases so far.
    pub leases: u16,
    /// Before the others of its key, whatever its number: it was handed out before, or came back from the dead for them.
    pub is_first: bool,
    /// Who has it, and how long.
    pub lease: Option<(Arc<str>, UnixMillis)>,
    /// Who had it last.
    pub last_client: Option<Arc<str>>,
    pub last_code: Option<u8>,
    /// Among the dead letters: its story.
    pub dead: Option<Arc<DeadLetter>>,
    /// Where the message itself is.
    pub body: B,
}

impl<B> Record<B> {
    /// The same with something else in place of the body.
    pub fn map_body<C>(self, map: impl FnOnce(B) -> C) -> Record<C> {
        Record {
            seq: self.seq,
            enqueued_at: self.enqueued_at,
            not_before: self.not_before,
            expires_at: self.expires_at,
            size: self.size,
            key: self.key,
            dedup_id: self.dedup_id,
            attempts: self.attempts,
            busy: self.busy,
            leases: self.leases,
            is_first: self.is_first,
            lease: self.lease,
            last_client: self.last_client,
            last_code: self.last_code,
            dead: self.dead,
            body: map(self.body),
        }
    }
}

/// What stands for a deduplication identifier: a keyed hash of it, long enough that two never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DedupId(pub [u64; 2]);

/// Why a message went away undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropCause {
    /// It outlived its time.
    Expired,
    /// It made room for a newer one.
    Overflow,
    /// It would have died, and the queue keeps no dead letters.
    Dead(DeadReason),
    /// An operator took it out.
    Deleted,
}

/// What has to wait until a change is safe on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: it is written with what comes next. Lost, it only means that something happens a second time.
    Lazy,
    /// The delivery that the lease is for.
    BeforeDelivery,
    /// The answer to whoever caused it: the acknowledgement of a publish, the result of a command.
    BeforeAnswer,
}

impl<B> Change<B> {
    /// What has to wait for it.
    ///
    /// A lost `Settled` means one delivery more, which at-least-once allows. The bound on deliveries must hold over crashes, though:
    /// a redelivery waits for its `Leased`, so that no numbered attempt happens twice. A *first* delivery does not wait, because it
    /// would cost each message a trip to the disk, and is told a little later, if the message is not settled by then; if the machine
    /// dies before that record is written, the message is delivered as a first attempt again. A death may be lost: the last `Leased` is safe by then, so the message dies again, and what came of its
    /// dead letter was written later and is lost with it. Whoever asked for it, though, is not answered before.
    pub const fn durability(&self) -> Durability {
        match self {
            Self::Leased { attempts: 2.., .. } => Durability::BeforeDelivery,
            Self::Leased { .. }
            | Self::Extended { .. }
            | Self::Returned { .. }
            | Self::Settled { .. }
            | Self::Dropped { .. }
            | Self::Seen { .. }
            | Self::Reserved { .. } => Durability::Lazy,
            Self::Enqueued(_)
            | Self::Died { .. }
            | Self::Redriven { .. }
            | Self::Paused
            | Self::Resumed
            | Self::KeyBlocked { .. }
            | Self::KeyUnblocked { .. } => Durability::BeforeAnswer,
        }
    }

    /// The same with something else in place of the body.
    pub fn map_body<C>(self, map: impl FnOnce(B) -> C) -> Change<C> {
        match self {
            Self::Enqueued(record) => Change::Enqueued(record.map_body(map)),
            Self::Leased { seq, number, attempts, client, deadline } => {
                Change::Leased { seq, number, attempts, client, deadline }
            }
            Self::Extended { seq, deadline } => Change::Extended { seq, deadline },
            Self::Returned { seq, attempts, busy, not_before, code } => {
                Change::Returned { seq, attempts, busy, not_before, code }
            }
            Self::Settled { seq, body } => Change::Settled { seq, body: body.map(map) },
            Self::Died { seq, letter, blocks } => Change::Died { seq, letter, blocks },
            Self::Dropped { seq, cause } => Change::Dropped { seq, cause },
            Self::Redriven { seq, at, unblocks } => Change::Redriven { seq, at, unblocks },
            Self::Seen { id, at } => Change::Seen { id, at },
            Self::Reserved { until } => Change::Reserved { until },
            Self::Paused => Change::Paused,
            Self::Resumed => Change::Resumed,
            Self::KeyBlocked { key, by } => Change::KeyBlocked { key, by },
            Self::KeyUnblocked { key } => Change::KeyUnblocked { key },
        }
    }

    /// The message that it is about, if it is about one.
    pub const fn seq(&self) -> Option<u64> {
        match self {
            Self::Enqueued(Record { seq, .. })
            | Self::Leased { seq, .. }
            | Self::Extended { seq, .. }
            | Self::Returned { seq, .. }
            | Self::Settled { seq, .. }
            | Self::Died { seq, .. }
            | Self::Dropped { seq, .. }
            | Self::Redriven { seq, .. } => Some(*seq),
            _ => None,
        }
    }
}
