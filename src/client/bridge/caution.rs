use std::collections::HashSet;
use std::io::ErrorKind;

use super::leg::LegError;
use crate::packet::{DisconnectReason, PacketId};

/// Finds the message for which the other broker ends the connection, whatever it dislikes about it: our session would send it first over
/// each new one, for ever. Sans-IO.
///
/// When the other broker ends a connection, what it had not answered goes alone over the next ones, message by message. Each end that comes
/// while one is alone counts against it, until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Caution {
    /// Messages that the other broker has not answered, of this connection.
    under_way: HashSet<PacketId>,
    /// So many are still to go alone.
    alone: usize,
    /// The message that was alone when the connection ended, and what speaks against it.
    suspect: Option<(PacketId, u32)>,
}

/// What speaks against a message that is dropped: three ends that name a fault of a packet, or six without a word, which may be due to
/// something else.
const BLAME_MAX: u32 = 6;

impl Caution {
    /// Whether the next message must wait until the one before it is answered.
    pub(super) fn must_wait(&self) -> bool {
        self.alone > 0 && !self.under_way.is_empty()
    }

    /// Whether a message is under suspicion.
    pub(super) fn has_suspect(&self) -> bool {
        self.suspect.is_some()
    }

    /// Whether enough speaks against a message, which is then to be dropped.
    pub(super) fn condemns(&mut self, id: PacketId) -> bool {
        let is_condemned = self.suspect.is_some_and(|(suspect, blame)| suspect == id && blame >= BLAME_MAX);
        if is_condemned {
            self.is_over();
        }
        is_condemned
    }

    /// A message goes to the other broker.
    pub(super) fn sent(&mut self, id: PacketId) {
        self.under_way.insert(id);
    }

    /// The other broker has said yes or no to a message.
    pub(super) fn answered(&mut self, id: PacketId) {
        if self.under_way.remove(&id) {
            self.is_over();
        }
    }

    /// The connection has ended, and so much of it is to [`blame`] on what was under way.
    pub(super) fn ended(&mut self, blame: u32) {
        let under_way = std::mem::take(&mut self.under_way);
        if blame == 0 || under_way.is_empty() {
            return;
        }
        match (self.alone, under_way.iter().next()) {
            (0, _) | (_, None) => self.alone = under_way.len(),
            (_, Some(id)) => {
                let before = self.suspect.filter(|(suspect, _)| suspect == id).map_or(0, |(_, blame)| blame);
                self.suspect = Some((*id, before.saturating_add(blame)));
            }
        }
    }

    fn is_over(&mut self) {
        self.alone = self.alone.saturating_sub(1);
        self.suspect = None;
    }
}

/// How much the end of the connection to the other broker says against the message that was under way.
pub(super) fn blame(error: &LegError) -> u32 {
    match error {
        LegError::Disconnected(
            DisconnectReason::MalformedPacket
            | DisconnectReason::ProtocolError
            | DisconnectReason::NotAuthorized
            | DisconnectReason::TopicNameInvalid
            | DisconnectReason::PacketTooLarge
            | DisconnectReason::QuotaExceeded
            | DisconnectReason::PayloadFormatInvalid
            | DisconnectReason::RetainNotSupported
            | DisconnectReason::QosNotSupported,
        ) => BLAME_MAX / 3,
        LegError::Closed
        | LegError::Disconnected(DisconnectReason::UnspecifiedError | DisconnectReason::ImplementationSpecificError) => 1,
        // It may have closed before it had read all.
        LegError::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
            ) =>
        {
            1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    const FAULT: u32 = BLAME_MAX / 3;

    #[test]
    fn the_message_that_ends_every_connection_is_found_among_those_behind_and_before_it() {
        let mut caution = Caution::default();
        for number in 1..=3 {
            assert!(!caution.must_wait());
            caution.sent(id(number));
        }
        caution.ended(FAULT);
        caution.sent(id(1));
        assert!(caution.must_wait() && !caution.has_suspect());
        caution.answered(id(1));
        assert!(!caution.must_wait(), "the next is alone now");
        for _ in 0..3 {
            assert!(!caution.condemns(id(2)));
            caution.sent(id(2));
            assert!(caution.must_wait());
            caution.ended(FAULT);
            assert!(caution.has_suspect());
        }
        assert!(!caution.condemns(id(3)) && caution.condemns(id(2)));
        assert!(!caution.condemns(id(2)), "another message may have the identifier now");
        caution.sent(id(3));
        assert!(caution.must_wait());
        caution.answered(id(3));
        caution.sent(id(4));
        assert!(!caution.must_wait(), "all that were under way are over");
    }

    #[test]
    fn an_answer_and_ends_for_other_reasons_speak_for_a_message() {
        let mut caution = Caution::default();
        caution.sent(id(1));
        caution.ended(FAULT);
        for _ in 0..9 {
            caution.sent(id(1));
            caution.ended(0);
        }
        assert!(!caution.has_suspect());
        for _ in 0..2 {
            caution.sent(id(1));
            caution.ended(FAULT);
        }
        caution.sent(id(1));
        caution.answered(id(1));
        assert!(!caution.has_suspect() && !caution.condemns(id(1)));
    }

    #[test]
    fn an_end_without_a_word_says_less_and_one_that_is_not_its_doing_nothing() {
        assert_eq!(blame(&LegError::Disconnected(DisconnectReason::TopicNameInvalid)), FAULT);
        assert_eq!(blame(&LegError::Closed), 1);
        assert_eq!(blame(&LegError::Io(ErrorKind::ConnectionReset.into())), 1);
        for other in [
            LegError::Silent,
            LegError::Io(ErrorKind::TimedOut.into()),
            LegError::Disconnected(DisconnectReason::ServerShuttingDown),
            LegError::Disconnected(DisconnectReason::SessionTakenOver),
        ] {
            assert_eq!(blame(&other), 0, "{other}");
        }
    }
}
