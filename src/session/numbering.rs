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
    /// Messages before this one cannot be lost any more.
    pub safe: u64,
    /// Messages from here on have never been sent.
    pub unsent: u64,
}

/// Identifiers of stored messages; those above are for messages that end with the process, so that none is ever taken for the other.
const STORED_IDS: u16 = 0x7FFF;

impl Numbering {
    pub const fn new(session: u64) -> Self {
        Self { session, next: 0, safe: 0, unsent: 0 }
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
        // Half of all identifiers may be in use at most: there is a free one among the next.
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
}
