use super::list::{Linked, Links};
use super::slab::NONE;
use super::time::UnixMillis;
use super::wheel::{Timed, WheelPlace};

/// All messages of a queue, oldest first.
pub(super) const ORDER: usize = 0;
/// The messages of one key in their order; for a message without key, the lane it waits in.
pub(super) const PLACE: usize = 1;
/// A slot of the wheel.
pub(super) const TIMER: usize = 2;

/// A message in a queue. A million of them may wait: every field here costs a megabyte.
#[derive(Debug)]
pub(super) struct Entry<B> {
    pub(super) body: B,
    pub(super) seq: u64,
    pub(super) enqueued_at: UnixMillis,
    pub(super) expires_at: UnixMillis,
    /// Leased: the deadline. Otherwise: before that nobody gets it.
    pub(super) until: UnixMillis,
    links: [Links; 3],
    pub(super) size: u32,
    /// Number of its key, or none.
    pub(super) key: u32,
    /// Leased: the consumer. Otherwise: number of the client that had it last, or none.
    pub(super) holder: u32,
    /// Leased: where among the holder's leases.
    pub(super) held_at: u32,
    pub(super) attempts: u16,
    pub(super) busy: u16,
    /// Leases so far; the number of the present one.
    pub(super) leases: u16,
    /// The last lease whose holder said that it did not do it; 0 if none did. A later word on that lease counts no more.
    pub(super) given_up: u16,
    timer: WheelPlace,
    pub(super) state: State,
    pub(super) lane: Lane,
    /// The code of its last failure; 0 if that had none.
    pub(super) last_code: u8,
    /// Before the others of its key: it was handed out before, or came back from the dead for them.
    pub(super) is_first: bool,
    /// Whether some consumers are not to get it.
    pub(super) has_excluded: bool,
    /// Whether it is among the messages of its key: not while it waits for a delay of its publisher.
    pub(super) is_in_key: bool,
}

/// Where in its life a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// To be had, or in line behind others of its key.
    Ready,
    /// Nobody gets it before `until`.
    Waiting,
    /// A consumer has it.
    Leased,
}

/// Which line a message or a key stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// In none: leased, waiting, behind others.
    None,
    /// Never delivered.
    Fresh,
    /// Delivered before.
    Again,
    /// None of the consumers that had room may have it.
    Parked,
}

impl<B> Entry<B> {
    pub(super) fn new(body: B, seq: u64, size: u32, enqueued_at: UnixMillis) -> Self {
        Self {
            body,
            seq,
            enqueued_at,
            expires_at: UnixMillis::NEVER,
            until: enqueued_at,
            links: [Links::default(); 3],
            size,
            key: NONE,
            holder: NONE,
            held_at: 0,
            attempts: 0,
            busy: 0,
            leases: 0,
            given_up: 0,
            timer: WheelPlace::NONE,
            state: State::Ready,
            lane: Lane::None,
            last_code: 0,
            is_first: false,
            has_excluded: false,
            is_in_key: false,
        }
    }

    pub(super) fn is_expired(&self, now: UnixMillis) -> bool {
        self.expires_at <= now
    }
}

impl<B> Linked for Entry<B> {
    fn links(&mut self, chain: usize) -> &mut Links {
        &mut self.links[chain]
    }

    fn next(&self, chain: usize) -> u32 {
        self.links[chain].next()
    }
}

impl<B> Timed for Entry<B> {
    fn due(&self) -> UnixMillis {
        match self.state {
            State::Ready => self.expires_at,
            State::Waiting => self.until.min(self.expires_at),
            State::Leased => self.until,
        }
    }

    fn place(&mut self) -> &mut WheelPlace {
        &mut self.timer
    }
}
