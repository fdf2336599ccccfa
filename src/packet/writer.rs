use super::varint::{varint_bytes, varint_length};
use super::{PacketId, ProtocolVersion};

/// Where packets are written: a buffer, or a counter that only learns how long they would be. Writing twice through the same
/// code is what keeps lengths and contents from drifting apart.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    fn packet_id(&mut self, packet_id: PacketId) {
        self.u16(packet_id.get());
    }

    /// A Variable Byte Integer of at most [`super::VARINT_MAX`].
    fn varint(&mut self, value: u32) {
        let (bytes, length) = varint_bytes(value);
        self.put(&bytes[..length]);
    }

    /// Binary Data (1.5.6); what is past 65,535 bytes cannot be told in it and is cut off.
    fn binary(&mut self, bytes: &[u8]) {
        let length = bytes.len().min(usize::from(u16::MAX));
        self.u16(length as u16);
        self.put(&bytes[..length]);
    }

    /// A UTF-8 Encoded String (1.5.4), cut before the character that passes 65,535 bytes.
    fn string(&mut self, text: &str) {
        let mut length = text.len().min(usize::from(u16::MAX));
        while !text.is_char_boundary(length) {
            length -= 1;
        }
        self.binary(&text.as_bytes()[..length]);
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts what is put.
struct Counter(usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// How many bytes `write` puts.
pub(super) fn count(write: impl Fn(&mut dyn Sink)) -> usize {
    let mut counter = Counter(0);
    write(&mut counter);
    counter.0
}

/// A property section: its length, then what `write` puts. Older versions have none.
pub(super) fn put_section(sink: &mut dyn Sink, version: ProtocolVersion, write: impl Fn(&mut dyn Sink)) {
    if version.has_properties() {
        sink.varint(count(&write) as u32);
        write(sink);
    }
}

/// The length of a whole packet with this much after the fixed header.
#[inline]
pub(super) const fn packet_length(remaining_length: usize) -> usize {
    1 + varint_length(remaining_length) + remaining_length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_too_long_for_its_length_field_is_cut_between_characters() {
        let mut out = Vec::new();
        out.string(&format!("{}é", "x".repeat(65_534)));
        assert_eq!(out[..2], [0xFF, 0xFE]);
        assert_eq!(out.len(), 2 + 65_534);
    }
}
