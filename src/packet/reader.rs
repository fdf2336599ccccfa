use super::MalformedPacket;
use super::varint::{Varint, read_varint};

/// Takes the data types of chapter 1.5 off the front of a packet, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes not yet read.
    #[inline]
    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], MalformedPacket> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    /// All that is left.
    #[inline]
    pub(super) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8, MalformedPacket> {
        let (first, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*first)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, MalformedPacket> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*first))
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, MalformedPacket> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*first))
    }

    /// A Variable Byte Integer in its shortest form `[MQTT-1.5.5-1]`.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u32, MalformedPacket> {
        match read_varint(self.rest) {
            Varint::Value { value, length, minimal: true } => {
                self.rest = &self.rest[length..];
                Ok(value)
            }
            Varint::Value { .. } => Err(MalformedPacket::packet("a variable byte integer is longer than needed")),
            Varint::Incomplete => Err(TRUNCATED),
            Varint::TooLong => Err(MalformedPacket::packet("a variable byte integer of more than four bytes")),
        }
    }

    /// Binary Data (1.5.6): two bytes of length, then that many bytes.
    #[inline]
    pub(super) fn binary(&mut self) -> Result<&'a [u8], MalformedPacket> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A UTF-8 Encoded String (1.5.4): well-formed, and without U+0000 `[MQTT-1.5.4-1]`, `[MQTT-1.5.4-2]`.
    #[inline]
    pub(super) fn string(&mut self) -> Result<&'a str, MalformedPacket> {
        let text = self.utf8()?;
        if text.as_bytes().contains(&0) { Err(NUL) } else { Ok(text) }
    }

    /// The same without looking for U+0000, for topics, whose own check does.
    #[inline]
    pub(super) fn utf8(&mut self) -> Result<&'a str, MalformedPacket> {
        std::str::from_utf8(self.binary()?).map_err(|_| NOT_UTF8)
    }

    /// The bytes of a property section: its length, then the properties (2.2.2).
    #[inline]
    pub(super) fn section(&mut self) -> Result<&'a [u8], MalformedPacket> {
        let length = self.varint()?;
        self.take(length as usize)
    }

    /// A packet must end where its fields do.
    #[inline]
    pub(super) fn finish(self) -> Result<(), MalformedPacket> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(MalformedPacket::packet("bytes left over after the packet's last field"))
        }
    }
}

const TRUNCATED: MalformedPacket = MalformedPacket::packet("a field reaches past the end of the packet");
const NOT_UTF8: MalformedPacket = MalformedPacket::packet("a string is not UTF-8");
const NUL: MalformedPacket = MalformedPacket::packet("a string contains U+0000");
