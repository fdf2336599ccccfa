//! Changes as bytes, for a journal, of the parts that its own records are made of; an optional one comes after a flag. The first byte
//! says which change it is. How a body is written is the caller's business.

use std::sync::Arc;

use super::change::{Change, DedupId, DropCause, Record};
use super::dead_letter::{DeadLetter, DeadReason};
use super::key::Key;
use super::time::UnixMillis;
use crate::storage::{Parts, Put};

/// Bytes that are no change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a change of a queue")]
pub struct MalformedChange;

/// A place where a message is kept, as bytes.
pub trait Body: Sized {
    fn write(&self, out: &mut Vec<u8>);
    /// Takes its bytes off the front.
    fn read(bytes: &mut &[u8]) -> Option<Self>;
}

/// Where the body is written is kept elsewhere.
impl Body for () {
    fn write(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

impl<B> Change<B> {
    /// Appends the change, without the body of a message that came in: that is written elsewhere, or behind it.
    pub fn write_head(&self, out: &mut Vec<u8>) {
        let mut out = Writer(out);
        match self {
            Self::Enqueued(record) => out.kind(0).record(record),
            Self::Leased { seq, number, attempts, client, deadline } => {
                let out = out.kind(1).number(*seq).number(*number).number(*attempts);
                out.0.put_text(client);
                out.number(deadline.0)
            }
            Self::Extended { seq, deadline } => out.kind(2).number(*seq).number(deadline.0),
            Self::Returned { seq, attempts, busy, not_before, code } => {
                out.kind(3).number(*seq).number(*attempts).number(*busy).number(not_before.0).optional(*code)
            }
            Self::Settled { seq, .. } => out.kind(4).number(*seq),
            Self::Died { seq, letter, blocks } => out.kind(5).number(*seq).letter(letter).optional(blocks.map(|key| key.0)),
            Self::Dropped { seq, cause } => out.kind(6).number(*seq).number(number_of(*cause)),
            Self::Redriven { seq, at, unblocks } => out.kind(7).number(*seq).number(at.0).optional(unblocks.map(|key| key.0)),
            Self::Seen { id, at } => out.kind(8).number(id.0[0]).number(id.0[1]).number(at.0),
            Self::Reserved { until } => out.kind(9).number(*until),
            Self::Paused => out.kind(10),
            Self::Resumed => out.kind(11),
            Self::KeyBlocked { key, by } => out.kind(12).number(key.0).number(*by),
            Self::KeyUnblocked { key } => out.kind(13).number(key.0),
        };
    }
}

impl<B: Body> Change<B> {
    /// Appends the change.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_head(out);
        if let Self::Enqueued(record) = self {
            record.body.write(out);
        }
    }

    /// Reads what [`Self::write`] wrote: all of `bytes`, no less and no more.
    pub fn read(bytes: &[u8]) -> Result<Self, MalformedChange> {
        let mut bytes = Reader(Parts(bytes));
        let change = bytes.change().ok_or(MalformedChange)?;
        if bytes.0.is_empty() { Ok(change) } else { Err(MalformedChange) }
    }
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn kind(&mut self, kind: u8) -> &mut Self {
        self.0.push(kind);
        self
    }

    fn number(&mut self, number: impl Into<u64>) -> &mut Self {
        self.0.put_varint(number.into());
        self
    }

    fn optional(&mut self, number: Option<impl Into<u64>>) -> &mut Self {
        match number {
            None => self.kind(0),
            Some(number) => self.kind(1).number(number),
        }
    }

    fn optional_text(&mut self, text: Option<&Arc<str>>) -> &mut Self {
        self.0.put_option(text.map(|text| &**text));
        self
    }

    fn letter(&mut self, letter: &DeadLetter) -> &mut Self {
        self.number(number_of_reason(letter.reason)).number(letter.attempts).optional_text(letter.last_client.as_ref());
        self.optional(letter.last_code).number(letter.at.0).number(letter.enqueued_at.0).optional(letter.key.map(|key| key.0))
    }

    fn record<B>(&mut self, record: &Record<B>) -> &mut Self {
        self.number(record.seq).number(record.enqueued_at.0).number(record.size);
        self.optional(record.not_before.map(|at| at.0)).optional(record.expires_at.map(|at| at.0));
        self.optional(record.key.map(|key| key.0));
        match record.dedup_id {
            None => self.kind(0),
            Some(id) => self.kind(1).number(id.0[0]).number(id.0[1]),
        };
        self.number(record.attempts).number(record.busy).number(record.leases).number(record.is_first);
        self.optional(record.lease.as_ref().map(|(_, deadline)| deadline.0));
        self.optional_text(record.last_client.as_ref()).optional(record.last_code);
        match &record.dead {
            None => self.kind(0),
            Some(letter) => self.kind(1).letter(letter),
        };
        self
    }
}

struct Reader<'a>(Parts<'a>);

impl Reader<'_> {
    fn change<B: Body>(&mut self) -> Option<Change<B>> {
        Some(match self.byte()? {
            0 => Change::Enqueued(self.record()?),
            1 => Change::Leased {
                seq: self.seq()?,
                number: self.small()?,
                attempts: self.small()?,
                client: self.text()?,
                deadline: self.moment()?,
            },
            2 => Change::Extended { seq: self.seq()?, deadline: self.moment()? },
            3 => Change::Returned {
                seq: self.seq()?,
                attempts: self.small()?,
                busy: self.small()?,
                not_before: self.moment()?,
                code: self.optional(Self::small)?,
            },
            4 => Change::Settled { seq: self.seq()?, body: None },
            5 => Change::Died { seq: self.seq()?, letter: self.letter()?, blocks: self.optional(Self::key)? },
            6 => Change::Dropped { seq: self.seq()?, cause: self.cause()? },
            7 => Change::Redriven { seq: self.seq()?, at: self.moment()?, unblocks: self.optional(Self::key)? },
            8 => Change::Seen { id: self.dedup_id()?, at: self.moment()? },
            9 => Change::Reserved { until: self.seq()? },
            10 => Change::Paused,
            11 => Change::Resumed,
            12 => Change::KeyBlocked { key: self.key()?, by: self.seq()? },
            13 => Change::KeyUnblocked { key: self.key()? },
            _ => return None,
        })
    }

    fn record<B: Body>(&mut self) -> Option<Record<B>> {
        let (seq, enqueued_at, size) = (self.seq()?, self.moment()?, self.small()?);
        let (not_before, expires_at) = (self.optional(Self::moment)?, self.optional(Self::moment)?);
        let (key, dedup_id) = (self.optional(Self::key)?, self.optional(Self::dedup_id)?);
        let (attempts, busy, leases, is_first) = (self.small()?, self.small()?, self.small()?, self.flag()?);
        let (deadline, last_client) = (self.optional(Self::moment)?, self.optional(Self::text)?);
        let (last_code, dead) = (self.optional(Self::small)?, self.optional(Self::letter)?);
        let lease = match deadline {
            None => None,
            // Who has it is who had it last.
            Some(deadline) => Some((last_client.clone()?, deadline)),
        };
        let record = Record::new(B::read(&mut self.0.0)?, seq, size, enqueued_at);
        Some(Record {
            not_before,
            expires_at,
            key,
            dedup_id,
            attempts,
            busy,
            leases,
            is_first,
            lease,
            last_client,
            last_code,
            dead,
            ..record
        })
    }

    fn letter(&mut self) -> Option<Arc<DeadLetter>> {
        Some(Arc::new(DeadLetter {
            reason: self.reason()?,
            attempts: self.small()?,
            last_client: self.optional(Self::text)?,
            last_code: self.optional(Self::small)?,
            at: self.moment()?,
            enqueued_at: self.moment()?,
            key: self.optional(Self::key)?,
        }))
    }

    fn cause(&mut self) -> Option<DropCause> {
        let number = self.number()?;
        ALL_CAUSES.into_iter().find(|cause| number_of(*cause) == number)
    }

    fn reason(&mut self) -> Option<DeadReason> {
        let number = self.number()?;
        DeadReason::ALL.into_iter().find(|reason| number_of_reason(*reason) == number)
    }

    fn byte(&mut self) -> Option<u8> {
        self.0.u8()
    }

    fn number(&mut self) -> Option<u64> {
        self.0.varint()
    }

    /// The number of a message.
    fn seq(&mut self) -> Option<u64> {
        self.0.counted()
    }

    fn small<N: TryFrom<u64>>(&mut self) -> Option<N> {
        self.0.number()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn moment(&mut self) -> Option<UnixMillis> {
        self.number().map(UnixMillis)
    }

    fn key(&mut self) -> Option<Key> {
        self.number().map(Key)
    }

    fn dedup_id(&mut self) -> Option<DedupId> {
        Some(DedupId([self.number()?, self.number()?]))
    }

    fn text(&mut self) -> Option<Arc<str>> {
        self.0.text().map(Arc::from)
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }
}

const ALL_CAUSES: [DropCause; 7] = [
    DropCause::Expired,
    DropCause::Overflow,
    DropCause::Deleted,
    DropCause::Dead(DeadReason::MaxDeliveries),
    DropCause::Dead(DeadReason::Rejected),
    DropCause::Dead(DeadReason::Expired),
    DropCause::Dead(DeadReason::QueueFull),
];

const fn number_of(cause: DropCause) -> u64 {
    match cause {
        DropCause::Expired => 0,
        DropCause::Overflow => 1,
        DropCause::Deleted => 2,
        DropCause::Dead(reason) => 3 + number_of_reason(reason),
    }
}

const fn number_of_reason(reason: DeadReason) -> u64 {
    match reason {
        DeadReason::MaxDeliveries => 0,
        DeadReason::Rejected => 1,
        DeadReason::Expired => 2,
        DeadReason::QueueFull => 3,
    }
}
