use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::backend::{Backend, StoreFile};
use super::error::{StorageError, lacks_files};

/// One file of the journal. Whoever holds it can read from it, even if its name is gone.
#[derive(Debug)]
pub struct Segment {
    pub number: u64,
    file: Arc<dyn StoreFile>,
    /// Bytes of bodies in it that somebody still waits for.
    live: AtomicU64,
    /// Bytes of memory that bodies take which are in it, and not only in it.
    recent: AtomicU64,
    /// Bytes written, the header included.
    length: AtomicU64,
}

/// Where a frame begins. Segment numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub segment: u64,
    pub offset: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", segment_name(self.segment), self.offset)
    }
}

const MAGIC: &[u8; 8] = b"dunlin-j";
/// The format that is written; older ones are read.
pub(super) const FORMAT: u32 = 1;
/// Magic (8), format (4), number (8), checksum (4).
pub(super) const HEADER: usize = 24;

pub(super) fn segment_name(number: u64) -> String {
    format!("segment-{number:020}.log")
}

/// The number in a segment's name.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    number_in(name.strip_prefix("segment-")?.strip_suffix(".log")?)
}

/// A number as file names have it, in one way only; one that leaves no room for the next is none.
pub(super) fn number_in(digits: &str) -> Option<u64> {
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| is_number && (1..1 << 63).contains(number))
}

/// The header of a segment, or of a checkpoint before that segment.
pub(super) fn header(number: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    header[12..20].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32fast::hash(&header[..20]);
    header[20..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Checks a header. `Ok(None)`: there is none, as when its first write was lost.
pub(super) fn check_header(name: &str, number: u64, bytes: &[u8]) -> Result<Option<()>, StorageError> {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    if header[..8] != MAGIC[..] {
        return Ok(None);
    }
    let format = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if format > FORMAT {
        return Err(StorageError::Newer { name: name.to_owned(), found: format, known: FORMAT });
    }
    let is_right = crc32fast::hash(&header[..20]).to_le_bytes() == header[20..] && number.to_le_bytes() == header[12..20];
    Ok(is_right.then_some(()))
}

impl Segment {
    /// A new file with its header, which survives a power cut when this returns.
    pub(super) fn create(backend: &dyn Backend, number: u64, size: u64) -> Result<Arc<Self>, StorageError> {
        let name = segment_name(number);
        let file = backend.create(&name).map_err(StorageError::io("cannot create", &name))?;
        if let Err(error) = begin(backend, &*file, number, size) {
            // A reservation that fails may have taken all the space there was. What cannot be removed now is at the next start.
            let _ = file.set_len(0);
            if error.lacks_files() {
                // Its header is on disk: with it, the old segment would not be the last one after a crash.
                file.sync().map_err(|error| StorageError::io("cannot sync", &name)(unsure(error)))?;
            }
            let _ = backend.remove(&name);
            return Err(error);
        }
        Ok(Arc::new(Self::opened(number, file, HEADER as u64)))
    }

    pub(super) fn opened(number: u64, file: Arc<dyn StoreFile>, length: u64) -> Self {
        Self { number, file, live: AtomicU64::new(0), recent: AtomicU64::new(0), length: AtomicU64::new(length) }
    }

    pub(super) fn name(&self) -> String {
        segment_name(self.number)
    }

    pub(super) fn file(&self) -> &dyn StoreFile {
        &*self.file
    }

    pub fn live(&self) -> u64 {
        self.live.load(Ordering::Acquire)
    }

    pub fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    pub(super) fn set_length(&self, length: u64) {
        self.length.store(length, Ordering::Release);
    }

    pub(super) fn add_live(&self, bytes: u64) {
        self.live.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(super) fn take_live(&self, bytes: u64) {
        let before = self.live.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(before >= bytes, "no more dies than has lived");
    }

    pub(super) fn recent(&self) -> u64 {
        self.recent.load(Ordering::Acquire)
    }

    pub(super) fn add_recent(&self, bytes: u64) {
        self.recent.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(super) fn take_recent(&self, bytes: u64) {
        let before = self.recent.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(before >= bytes, "no more is taken than was kept");
    }
}

fn begin(backend: &dyn Backend, file: &dyn StoreFile, number: u64, size: u64) -> Result<(), StorageError> {
    let name = segment_name(number);
    file.reserve(size).map_err(StorageError::io("cannot reserve space for", &name))?;
    file.write_at(&header(number), 0).map_err(StorageError::io("cannot write", &name))?;
    file.sync().map_err(|error| StorageError::io("cannot sync", &name)(unsure(error)))?;
    backend.sync_names().map_err(|error| StorageError::io("cannot sync the folder of", &name)(unsure(error)))
}

/// What the disk has after a sync that failed is unknown, be it for want of room: the old segment must not go on beside this one. Where
/// no file could be opened, nothing was synced.
fn unsure(error: io::Error) -> io::Error {
    if lacks_files(&error) { error } else { io::Error::other(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_headers_tell_their_number() {
        assert_eq!(segment_number(&segment_name(42)), Some(42));
        for none in ["segment-1.log", "segment-+0000000000000000001.log", &segment_name(0), &segment_name(u64::MAX)] {
            assert_eq!(segment_number(none), None, "{none}");
        }
        assert_eq!(segment_number("checkpoint-1"), None);
        assert!(check_header("x", 42, &header(42)).unwrap().is_some());
        assert!(check_header("x", 41, &header(42)).unwrap().is_none());
        assert!(check_header("x", 42, &[0; 24]).unwrap().is_none());
        let mut newer = header(42);
        newer[8] = 2;
        assert!(matches!(check_header("x", 42, &newer), Err(StorageError::Newer { found: 2, .. })));
    }
}
