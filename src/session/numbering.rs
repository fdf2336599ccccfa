use std::collections::VecDeque;

use crate::packet::PacketId;

/// The order of messages in a session that outlives the process. Each message that is stored gets the next number when it is queued, and
/// its Packet Identifier follows from that: after a crash it is sent again under the identifier that the client may know it by, though
/// nothing was written when it was sent.
#[derive(Clone, Debug)]
pub struct Numbering {
    /// The session's own number in the journal.
    pub session: u64,
    /// The number of the next message.
    pub next: u64,
    /// Messages from here on have never been sent.
    pub unsent: u64,
    /// Messages from here on have not been handed to the journal.
    handed: u64,
    /// What was handed and may still be lost, in order. Threads hand on what they have done one after the other, and tell the journal of
    /// it in whatever order: a later part can be safe before an earlier one is.
    under_way: VecDeque<UnderWay>,
}

/// Messages that were handed to the journal together, from `first` on.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    first: u64,
    is_safe: bool,
}

/// Identifiers of stored messages; those above are for messages that end with the process, so that none is ever taken for the other.
const STORED_IDS: u16 = 0x7FFF;

impl Numbering {
    pub const fn new(session: u64) -> Self {
        Self::starting(session, 0, 0)
    }

    /// An identifier for a message that ends with the process, another one for each of many starts.
    pub fn free_id(starts: u64) -> PacketId {
        let ids = u64::from(u16::MAX - STORED_IDS);
        let id = STORED_IDS + 1 + (starts.wrapping_mul(4099) % ids) as u16;
        PacketId::new(id).unwrap_or_else(Self::first_free_id)
    }

    /// One whose next message is `next`, and whose earlier ones cannot be lost.
    pub const fn starting(session: u64, next: u64, unsent: u64) -> Self {
        Self { session, next, unsent, handed: next, under_way: VecDeque::new() }
    }

    /// All that has a number is handed to the journal now. Returns what [`Self::is_safe_from`] is to be told once that cannot be lost.
    pub fn hand(&mut self) -> u64 {
        let first = self.handed;
        self.handed = self.next;
        self.under_way.push_back(UnderWay { first, is_safe: false });
        first
    }

    /// The same where nobody minds if it is lost.
    pub const fn hand_unwatched(&mut self) {
        self.handed = self.next;
    }

    /// What was handed from this number on cannot be lost any more.
    pub fn is_safe_from(&mut self, first: u64) {
        if let Some(part) = self.under_way.iter_mut().find(|part| part.first == first && !part.is_safe) {
            part.is_safe = true;
        }
        while self.under_way.front().is_some_and(|part| part.is_safe) {
            self.under_way.pop_front();
        }
        if self.under_way.is_empty() {
            self.under_way = VecDeque::new();
        }
    }

    /// Whether a message and all before it cannot be lost any more.
    pub fn is_safe(&self, sequence: u64) -> bool {
        sequence < self.handed && self.under_way.front().is_none_or(|part| sequence < part.first)
    }

    /// The identifier of a message by its number.
    pub fn packet_id(sequence: u64) -> PacketId {
        PacketId::new((sequence % u64::from(STORED_IDS)) as u16 + 1).expect("it is at least 1")
    }

    /// Where the identifiers of messages that are not stored begin.
    pub fn first_free_id() -> PacketId {
        PacketId::new(STORED_IDS + 1).expect("it is not 0")
    }

    /// The number for one more message; one whose identifier is in use is passed over.
    pub fn take(&mut self, is_in_use: impl Fn(PacketId) -> bool) -> u64 {
        // Of all of them one is free: there are no more exchanges than that.
        debug_assert!((0..u64::from(STORED_IDS)).any(|next| !is_in_use(Self::packet_id(next))));
        while is_in_use(Self::packet_id(self.next)) {
            self.next += 1;
        }
        self.next += 1;
        self.next - 1
    }

    /// One was sent.
    pub fn sent(&mut self, sequence: u64) {
        self.unsent = self.unsent.max(sequence + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_begin_at_one_and_stay_in_their_half() {
        let mut numbering = Numbering::new(1);
        assert_eq!(Numbering::packet_id(numbering.take(|_| false)), PacketId::FIRST);
        assert_eq!(Numbering::packet_id(32_766).get(), 32_767);
        assert_eq!(Numbering::packet_id(32_767), PacketId::FIRST);
        numbering.next = 32_767;
        assert_eq!(numbering.take(|id| id == PacketId::FIRST), 32_768, "an identifier that is in use is passed over");
        assert_eq!(Numbering::first_free_id().get(), 32_768);
    }

    #[test]
    fn a_message_is_safe_once_all_before_it_are() {
        let mut numbering = Numbering::new(1);
        let number = |numbering: &mut Numbering| numbering.take(|_| false);
        let one = number(&mut numbering);
        assert!(!numbering.is_safe(one), "it is not even handed on");
        let first = numbering.hand();
        let (two, three) = (number(&mut numbering), number(&mut numbering));
        let second = numbering.hand();
        assert!(![one, two, three].iter().any(|number| numbering.is_safe(*number)));
        numbering.is_safe_from(second);
        assert!(![one, two, three].iter().any(|number| numbering.is_safe(*number)), "the thread before is slow");
        numbering.is_safe_from(first);
        assert!([one, two, three].iter().all(|number| numbering.is_safe(*number)));
        let four = number(&mut numbering);
        numbering.hand_unwatched();
        assert!(numbering.is_safe(four));
    }
}
