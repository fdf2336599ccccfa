use std::collections::VecDeque;

use crate::packet::{PacketId, PublishReason, ReleaseReason, SubscribeReason, UnsubscribeReason};

/// Acknowledgements that we owe, in the order in which their packets came. Answers may come in any other order: they leave in this
/// one `[MQTT-4.6.0-2]`, `[MQTT-4.6.0-3]`, `[MQTT-4.6.0-4]`.
#[derive(Debug, Default)]
pub struct AckQueue {
    /// The token of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
}

/// Names an acknowledgement that is owed.
/// Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AckToken(u64);

/// What became of a PUBLISH, for its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub reason: PublishReason,
    pub note: Note,
}

/// What a client of 5.0 is told besides the code, if it wants to hear it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Note {
    #[default]
    None,
    /// As Reason String.
    Reason(&'static str),
    /// As User Property, with its value.
    Property(&'static str, &'static str),
}

impl From<PublishReason> for Answer {
    fn from(reason: PublishReason) -> Self {
        Self { reason, note: Note::None }
    }
}

/// An answer to one of the client's packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    PubAck(PacketId, PublishReason),
    PubRec(PacketId, PublishReason),
    PubRel(PacketId, ReleaseReason),
    PubComp(PacketId, ReleaseReason),
    /// With a Reason String, if there is one.
    SubAck(PacketId, Box<(Vec<SubscribeReason>, Option<Box<str>>)>),
    UnsubAck(PacketId, Box<Vec<UnsubscribeReason>>),
}

#[derive(Debug)]
struct Entry {
    ack: Ack,
    note: Note,
    is_ready: bool,
}

impl AckQueue {
    /// Takes the next place.
    pub fn open(&mut self, ack: Ack) -> AckToken {
        self.entries.push_back(Entry { ack, note: Note::None, is_ready: false });
        AckToken(self.first + self.entries.len() as u64 - 1)
    }

    /// The answer is known. Says what will be acknowledged, `None` if it was answered before.
    pub fn complete(&mut self, token: AckToken, answer: impl Into<Answer>) -> Option<&Ack> {
        let Answer { reason, note } = answer.into();
        let index = usize::try_from(token.0.checked_sub(self.first)?).ok()?;
        let entry = self.entries.get_mut(index).filter(|entry| !entry.is_ready)?;
        match &mut entry.ack {
            Ack::PubAck(_, known) | Ack::PubRec(_, known) => *known = reason,
            Ack::PubRel(..) | Ack::PubComp(..) | Ack::SubAck(..) | Ack::UnsubAck(..) => {}
        }
        entry.note = note;
        entry.is_ready = true;
        Some(&entry.ack)
    }

    /// All before this one have left.
    pub const fn next_to_leave(&self) -> AckToken {
        AckToken(self.first)
    }

    /// Whether a SUBACK waits.
    pub fn has_suback(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.ack, Ack::SubAck(..)))
    }

    /// The next acknowledgement that may leave.
    pub fn pop_ready(&mut self) -> Option<(Ack, Note)> {
        if !self.entries.front()?.is_ready {
            return None;
        }
        self.first += 1;
        self.entries.pop_front().map(|entry| (entry.ack, entry.note))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    #[test]
    fn answers_out_of_order_leave_in_order() {
        let mut acks = AckQueue::default();
        let tokens: Vec<_> = (1..=3).map(|n| acks.open(Ack::PubAck(id(n), PublishReason::Success))).collect();
        acks.complete(tokens[2], PublishReason::Success);
        assert_eq!(acks.pop_ready(), None);
        acks.complete(tokens[0], PublishReason::QuotaExceeded);
        assert_eq!(acks.pop_ready(), Some((Ack::PubAck(id(1), PublishReason::QuotaExceeded), Note::None)));
        assert_eq!(acks.pop_ready(), None);
        acks.complete(tokens[1], PublishReason::Success);
        assert_eq!(acks.pop_ready(), Some((Ack::PubAck(id(2), PublishReason::Success), Note::None)));
        assert_eq!(acks.pop_ready(), Some((Ack::PubAck(id(3), PublishReason::Success), Note::None)));
        assert!(acks.is_empty());
    }

    #[test]
    fn a_second_answer_to_the_same_packet_is_ignored() {
        let mut acks = AckQueue::default();
        let token = acks.open(Ack::PubRec(id(1), PublishReason::Success));
        assert!(acks.complete(token, PublishReason::Success).is_some());
        assert!(acks.complete(token, PublishReason::QuotaExceeded).is_none());
        assert!(acks.pop_ready().is_some());
        assert!(acks.complete(token, PublishReason::Success).is_none());
    }
}
