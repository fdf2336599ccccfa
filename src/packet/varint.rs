//! Variable Byte Integers (1.5.5): seven bits a byte, the lowest first, at most four bytes.

/// The largest value, and so the largest Remaining Length: 268,435,455.
pub const VARINT_MAX: u32 = 0x0FFF_FFFF;

/// What stands at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Varint {
    /// A value, and how many bytes it took; `minimal` where fewer would not have done.
    Value { value: u32, length: usize, minimal: bool },
    /// The bytes end before the number does.
    Incomplete,
    /// A fourth byte that says that a fifth follows.
    TooLong,
}

#[inline]
pub(super) fn read_varint(bytes: &[u8]) -> Varint {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Varint::Value { value, length: index + 1, minimal: index == 0 || *byte != 0 };
        }
    }
    if bytes.len() < 4 { Varint::Incomplete } else { Varint::TooLong }
}

/// How many bytes a value takes, 1 to 4; it must not exceed [`VARINT_MAX`].
#[inline]
pub(super) const fn varint_length(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// The bytes of a value, and how many of them count. A packet is measured against [`VARINT_MAX`] before it is written.
#[inline]
pub(super) const fn varint_bytes(value: u32) -> ([u8; 4], usize) {
    let length = varint_length(value as usize);
    let mut bytes = [value as u8 & 0x7F, (value >> 7) as u8 & 0x7F, (value >> 14) as u8 & 0x7F, (value >> 21) as u8 & 0x7F];
    let mut index = 0;
    while index + 1 < length {
        bytes[index] |= 0x80;
        index += 1;
    }
    (bytes, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_each_length_are_those_of_table_1_1() {
        for (value, expected) in [
            (0, &[0x00][..]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ] {
            let (bytes, length) = varint_bytes(value);
            assert_eq!(&bytes[..length], expected);
            assert_eq!(read_varint(expected), Varint::Value { value, length, minimal: true });
        }
    }

    #[test]
    fn padded_numbers_are_told_from_minimal_ones() {
        assert_eq!(read_varint(&[0x80, 0x00]), Varint::Value { value: 0, length: 2, minimal: false });
        assert_eq!(read_varint(&[0xFF, 0x80, 0x00]), Varint::Value { value: 127, length: 3, minimal: false });
    }

    #[test]
    fn a_fifth_byte_is_refused_before_it_is_there() {
        assert_eq!(read_varint(&[0x80, 0x80, 0x80]), Varint::Incomplete);
        assert_eq!(read_varint(&[0x80, 0x80, 0x80, 0x80]), Varint::TooLong);
        assert_eq!(read_varint(&[]), Varint::Incomplete);
    }
}
