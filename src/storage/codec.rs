//! Numbers and texts inside records. Little-endian; lengths and most numbers are LEB128 varints.

/// Writes the parts of a record.
pub trait Put {
    fn put_varint(&mut self, value: u64);
    fn put_text(&mut self, text: &str);
    fn put_option(&mut self, text: Option<&str>);
}

impl Put for Vec<u8> {
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_text(&mut self, text: &str) {
        self.put_varint(text.len() as u64);
        self.extend_from_slice(text.as_bytes());
    }

    fn put_option(&mut self, text: Option<&str>) {
        match text {
            None => self.push(0),
            Some(text) => {
                self.push(1);
                self.put_text(text);
            }
        }
    }
}

/// Reads the parts of a record; `None` where they are not what they should be.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a>(pub &'a [u8]);

impl<'a> Parts<'a> {
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    pub fn u8(&mut self) -> Option<u8> {
        Some(self.bytes(1)?[0])
    }

    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.bytes(2)?.try_into().ok()?))
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7F);
            // Bits beyond the 64th, and a last group of nothing, are not what a number is written as.
            if part << shift >> shift != part || shift > 0 && byte == 0 {
                return None;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A number that goes up one at a time, as those of sessions and messages do. One of 2^63 was never reached, and must not be gone
    /// on from.
    pub fn counted(&mut self) -> Option<u64> {
        self.varint().filter(|number| *number < 1 << 63)
    }

    pub fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.varint()?).ok()
    }

    pub fn text(&mut self) -> Option<&'a str> {
        let length = self.number()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    pub fn option(&mut self) -> Option<Option<&'a str>> {
        match self.u8()? {
            0 => Some(None),
            1 => Some(Some(self.text()?)),
            _ => None,
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        let mut bytes = Vec::new();
        for value in [0, 127, 128, 300, u64::MAX] {
            bytes.put_varint(value);
        }
        bytes.put_text("é");
        bytes.put_option(None);
        bytes.put_option(Some("x"));
        let mut parts = Parts(&bytes);
        for value in [0, 127, 128, 300, u64::MAX] {
            assert_eq!(parts.varint(), Some(value));
        }
        assert_eq!((parts.text(), parts.option(), parts.option()), (Some("é"), Some(None), Some(Some("x"))));
        assert!(parts.is_empty() && parts.u8().is_none());
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        let mut bytes = Vec::new();
        bytes.put_text("abc");
        assert_eq!(Parts(&bytes[..3]).text(), None);
        assert_eq!(Parts(&[0x80; 11]).varint(), None);
        assert_eq!(Parts(&[2]).option(), None);
    }
}
