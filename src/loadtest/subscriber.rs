//! The receiving side of a client, without a socket.

use super::codec;
use super::desk::Desk;
use super::frame::{self, Frame, Malformed, kind};
use super::settings::{QoS, Version};

/// Filters of one SUBSCRIBE; the next one goes when it is answered.
const FILTERS_AT_ONCE: usize = 100;

#[derive(Debug)]
pub(super) struct Subscriber {
    filters: Vec<String>,
    /// How many of them have been sent.
    asked: usize,
    pub(super) qos: QoS,
    version: Version,
    /// Which book of the worker its messages go into, and as which member of the group that shares it.
    pub(super) book: usize,
    pub(super) member: usize,
}

impl Subscriber {
    pub(super) const fn new(filters: Vec<String>, qos: QoS, version: Version, book: usize, member: usize) -> Self {
        Self { filters, asked: 0, qos, version, book, member }
    }

    /// Sends the next SUBSCRIBE, if there is one to send.
    pub(super) fn subscribe(&mut self, out: &mut Vec<u8>) {
        let filters = &self.filters[self.asked..];
        let filters = &filters[..filters.len().min(FILTERS_AT_ONCE)];
        if filters.is_empty() {
            return;
        }
        self.asked += filters.len();
        let id = u16::try_from(self.asked.div_ceil(FILTERS_AT_ONCE) % 0xffff).unwrap_or(0) + 1;
        codec::subscribe(out, self.version, id, filters, self.qos);
    }

    /// Begins anew, whatever the session has kept.
    pub(super) const fn rewind(&mut self) {
        self.asked = 0;
    }

    pub(super) fn handle_publish(&self, frame: &Frame<'_>, desk: &mut Desk, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let publish = frame.publish(self.version == Version::V5)?;
        match publish.qos {
            0 => {}
            1 => frame::write_ack(out, kind::PUBACK, publish.id),
            2 => frame::write_ack(out, kind::PUBREC, publish.id),
            _ => return Err(Malformed),
        }
        desk.note_delivery(&publish, self.book, self.member);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_told_to_subscribe_again_does() {
        let filters = vec!["a".to_owned(), "b/#".to_owned()];
        let mut subscriber = Subscriber::new(filters, QoS::AtLeastOnce, Version::V4, 0, 0);
        let (mut first, mut nothing, mut again) = (Vec::new(), Vec::new(), Vec::new());
        subscriber.subscribe(&mut first);
        subscriber.subscribe(&mut nothing);
        subscriber.rewind();
        subscriber.subscribe(&mut again);
        assert!(!first.is_empty() && nothing.is_empty());
        assert_eq!(first, again);
    }
}
