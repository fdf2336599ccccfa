use std::fmt;

use super::properties::{PropertyId, properties_of};
use super::reader::Reader;
use super::writer::Sink;

/// The User Properties of a packet: in order, names may repeat `[MQTT-3.3.2-18]`. A validated slice of the property section, read when asked.
#[derive(Clone, Copy, Default)]
pub struct UserProperties<'a> {
    /// A run of whole, valid properties; those that are not User Properties are passed over.
    section: &'a [u8],
}

impl<'a> UserProperties<'a> {
    /// A run of properties that were checked before.
    #[inline]
    pub(super) const fn trusted(section: &'a [u8]) -> Self {
        Self { section }
    }

    /// Names and values, in the sender's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.encoded().filter_map(|bytes| {
            let mut reader = Reader::new(&bytes[1..]);
            Some((reader.string().ok()?, reader.string().ok()?))
        })
    }

    pub fn is_empty(&self) -> bool {
        self.encoded().next().is_none()
    }

    pub(super) fn write(&self, sink: &mut dyn Sink) {
        self.encoded().for_each(|bytes| sink.put(bytes));
    }

    /// Each User Property as it is on the wire.
    fn encoded(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        properties_of(self.section).filter_map(|(id, bytes)| (id == PropertyId::UserProperty).then_some(bytes))
    }
}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// User Properties to be sent, in the order in which they are pushed.
#[derive(Clone, Default)]
pub struct UserPropertiesBuf {
    section: Vec<u8>,
}

impl UserPropertiesBuf {
    pub const fn new() -> Self {
        Self { section: Vec::new() }
    }

    /// Adds a pair. Name and value are cut at 65,535 bytes and must not contain U+0000 `[MQTT-1.5.4-2]`.
    pub fn push(&mut self, name: &str, value: &str) {
        self.section.u8(PropertyId::UserProperty as u8);
        self.section.string(name);
        self.section.string(value);
    }

    /// The pairs as bytes of a property section.
    pub fn into_bytes(self) -> Vec<u8> {
        self.section
    }

    /// Forgets all pairs and keeps the memory.
    pub fn clear(&mut self) {
        self.section.clear();
    }

    /// Appends them as they are on the wire.
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.section);
    }

    /// The pairs as packets carry them.
    pub fn as_ref(&self) -> UserProperties<'_> {
        UserProperties { section: &self.section }
    }
}

impl fmt::Debug for UserPropertiesBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_in_order_with_repeated_names() {
        let mut buf = UserPropertiesBuf::new();
        assert!(buf.as_ref().is_empty());
        buf.push("a", "1");
        buf.push("b", "");
        buf.push("a", "2");
        assert_eq!(buf.as_ref().iter().collect::<Vec<_>>(), [("a", "1"), ("b", ""), ("a", "2")]);
    }

    #[test]
    fn equality_is_that_of_the_pairs() {
        let with_expiry_between = b"\x26\0\x01a\0\x011\x02\0\0\0\x09\x26\0\x01b\0\x012";
        let mut buf = UserPropertiesBuf::new();
        buf.push("a", "1");
        assert_ne!(UserProperties::trusted(with_expiry_between), buf.as_ref());
        buf.push("b", "2");
        assert_eq!(UserProperties::trusted(with_expiry_between), buf.as_ref());
    }
}
