use super::list::{Linked, Links};
use super::slab::NONE;
use super::time::UnixMillis;
use super::wheel::{Timed, WheelPlace};

/// All messages of a queue, oldest first.
pub(super) const ORDER: usize = 0;
/// The messages of one key in their order; for a message without key, the lane it waits in.
pub(super) const PLACE: usize = 1;

/// A message in a queue. A million of them may wait: every field here costs a megabyte, so what most of them do not have is in their
/// [`Course`].
#[derive(Debug)]
pub(super) struct Entry<B> {
    pub(super) body: B,
    pub(super) seq: u64,
    pub(super) enqueued_at: UnixMillis,
    links: [Links; 2],
    pub(super) size: u32,
    /// Number of its key, or none.
    pub(super) key: u32,
    /// Number of its course, or none.
    pub(super) course: u32,
    pub(super) state: State,
    pub(super) lane: Lane,
    /// Before the others of its key: it was handed out before, or came back from the dead for them.
    pub(super) is_first: bool,
    /// Whether it is among the messages of its key: not while it waits for a delay of its publisher.
    pub(super) is_in_key: bool,
}

/// What has become of a message that was handed out, and what one waits for that has a delay or a lifetime.
#[derive(Debug)]
pub(super) struct Course {
    /// Number of the message.
    pub(super) of: u32,
    pub(super) expires_at: UnixMillis,
    /// Leased: the deadline. Otherwise: before that nobody gets it.
    pub(super) until: UnixMillis,
    /// When its timer goes off.
    pub(super) due: UnixMillis,
    links: Links,
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
    /// The code of its last failure; 0 if that had none.
    pub(super) last_code: u8,
    /// Whether some consumers are not to get it.
    pub(super) has_excluded: bool,
    /// Leased, and the journal has not been told.
    pub(super) is_untold: bool,
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
            links: [Links::default(); 2],
            size,
            key: NONE,
            course: NONE,
            state: State::Ready,
            lane: Lane::None,
            is_first: false,
            is_in_key: false,
        }
    }
}

impl Course {
    /// That of a message to which nothing has happened, and that waits for nothing.
    pub(super) const NONE: Self = Self {
        of: NONE,
        expires_at: UnixMillis::NEVER,
        until: UnixMillis(0),
        due: UnixMillis::NEVER,
        links: Links::NONE,
        holder: NONE,
        held_at: 0,
        attempts: 0,
        busy: 0,
        leases: 0,
        given_up: 0,
        timer: WheelPlace::NONE,
        last_code: 0,
        has_excluded: false,
        is_untold: false,
    };

    pub(super) const fn of(message: u32) -> Self {
        Self { of: message, ..Self::NONE }
    }

    pub(super) fn is_expired(&self, now: UnixMillis) -> bool {
        self.expires_at <= now
    }

    /// The code of its last failure, if that had one.
    pub(super) fn code(&self) -> Option<u8> {
        (self.last_code != 0).then_some(self.last_code)
    }

    /// What its timer waits for.
    pub(super) fn due_as(&self, state: State) -> UnixMillis {
        match state {
            State::Ready => self.expires_at,
            State::Waiting => self.until.min(self.expires_at),
            State::Leased => self.until,
        }
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

impl Linked for Course {
    fn links(&mut self, _: usize) -> &mut Links {
        &mut self.links
    }

    fn next(&self, _: usize) -> u32 {
        self.links.next()
    }
}

impl Timed for Course {
    fn due(&self) -> UnixMillis {
        self.due
    }

    fn place(&mut self) -> &mut WheelPlace {
        &mut self.timer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_only_waits_costs_little_memory() {
        assert!(size_of::<Entry<Box<u8>>>() <= 56, "{}", size_of::<Entry<Box<u8>>>());
    }
}
