//! What stands at the beginning of each payload: who sent it, as which of his messages, and when it was to be sent.

/// Bytes that a stamp takes, and so the smallest payload.
pub const STAMP_LENGTH: usize = 28;

/// Tells our payloads from those of strangers.
const MARK: [u8; 4] = *b"DnB1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Which run of the load tester.
    pub(super) run: u32,
    /// Which stream of that run: messages of one publisher to one topic.
    pub(super) stream: u32,
    /// The how manieth of its stream, from 0.
    pub(super) sequence: u64,
    /// When it was to be sent, in nanoseconds since 1970.
    pub(super) due: u64,
}

impl Stamp {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; STAMP_LENGTH];
        bytes[..4].copy_from_slice(&MARK);
        bytes[4..8].copy_from_slice(&self.run.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.stream.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[20..].copy_from_slice(&self.due.to_le_bytes());
        out.extend_from_slice(&bytes);
    }

    /// `None` if the payload is not one of the load tester's.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let bytes: &[u8; STAMP_LENGTH] = payload.first_chunk()?;
        if bytes[..4] != MARK {
            return None;
        }
        let word = |at: usize| bytes[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let long = |at: usize| bytes[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        Some(Self { run: word(4)?, stream: word(8)?, sequence: long(12)?, due: long(20)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let stamp = Stamp { run: 1, stream: 2, sequence: 3 << 40, due: u64::MAX };
        let mut payload = Vec::new();
        stamp.write(&mut payload);
        assert_eq!(payload.len(), STAMP_LENGTH);
        payload.extend_from_slice(b"filler");
        assert_eq!(Stamp::read(&payload), Some(stamp));
    }

    #[test]
    fn a_strangers_payload_has_none() {
        assert_eq!(Stamp::read(b""), None);
        assert_eq!(Stamp::read(&[b'x'; 64]), None);
        assert_eq!(Stamp::read(b"DnB1 and too short"), None);
    }
}
