//! The envelope of everything that is written: length, checksum, kind, content.

use super::error::Damage;
use super::record::kind;

/// Bytes before a frame's content: length (4), checksum (4), kind (1).
pub(super) const FRAME_HEAD: usize = 9;
/// Records besides bodies and wills: a few texts of 64 KiB, and a list of identifiers.
const SMALL_MAX: u32 = 1 << 22;
/// A body is at most a packet of 256 MiB, and all other records are smaller.
const FRAME_MAX: usize = (256 << 20) + 1024;

/// A frame that was read: its checksum is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub kind: u8,
    pub content: &'a [u8],
    /// Bytes of the whole frame.
    pub length: usize,
}

/// What stands at a place in a file.
#[derive(Debug)]
pub(super) enum Read<'a> {
    Frame(Frame<'a>),
    /// Zeros, or nothing: nothing was written here.
    End,
    /// Something that is no frame.
    Broken(&'static str),
}

/// Appends a frame whose content `write` adds.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEAD - 1]);
    out.push(kind);
    write(out);
    let length = (out.len() - start - (FRAME_HEAD - 1)) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum(&out[start..start + 4], &out[start + FRAME_HEAD - 1..]);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Whether a frame may begin here, before its checksum is reckoned: only bodies and wills can be long.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    let Some(head) = bytes.first_chunk::<FRAME_HEAD>() else { return false };
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    match head[8] {
        kind::BODY | kind::SESSION => true,
        other => other <= kind::WORK && length < SMALL_MAX,
    }
}

/// Bytes of the whole frame that begins here, as it says itself, if there are so many.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    (length > 0 && length <= FRAME_MAX && bytes.len() >= 8 + length).then_some(8 + length)
}

/// Reads what stands at the beginning of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Read<'_> {
    let Some(head) = bytes.first_chunk::<8>() else {
        return if bytes.iter().all(|byte| *byte == 0) { Read::End } else { Read::Broken("a frame that is cut short") };
    };
    if *head == [0; 8] {
        return Read::End;
    }
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if length == 0 || length > FRAME_MAX {
        return Read::Broken("a length that cannot be");
    }
    let Some(rest) = bytes.get(8..8 + length) else { return Read::Broken("a frame that is cut short") };
    if checksum(&head[..4], rest).to_le_bytes() != head[4..8] {
        return Read::Broken("a wrong checksum");
    }
    Read::Frame(Frame { kind: rest[0], content: &rest[1..], length: 8 + length })
}

fn checksum(length: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(rest);
    hasher.finalize()
}

pub(super) fn damage(file: &str, offset: usize, what: &'static str) -> Damage {
    Damage { file: file.to_owned(), offset: offset as u64, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_and_every_flipped_bit_is_found() {
        let mut bytes = Vec::new();
        put(&mut bytes, 7, |out| out.extend_from_slice(b"content"));
        let Read::Frame(frame) = read(&bytes) else { panic!("a frame") };
        assert_eq!((frame.kind, frame.content, frame.length), (7, &b"content"[..], bytes.len()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read(&flipped), Read::Broken(_)), "bit {bit}");
        }
        for length in 1..bytes.len() {
            assert!(matches!(read(&bytes[..length]), Read::Broken(_)), "{length} bytes");
        }
        assert!(matches!(read(&[]), Read::End) && matches!(read(&[0; 100]), Read::End));
    }
}
