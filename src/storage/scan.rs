use super::frame::{self, FRAME_HEAD, Read};
use super::record::{Told, kind};

/// Goes through the records of a file.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    offset: usize,
}

/// Where a scan could not go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub offset: usize,
    pub what: &'static str,
}

impl<'a> Scan<'a> {
    pub fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset }
    }

    /// Where the next record begins.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The next record and where it begins; `None` at the end. An error leaves the place as it is.
    pub fn next(&mut self) -> Result<Option<(Told, usize)>, &'static str> {
        match frame::read(self.bytes.get(self.offset..).unwrap_or_default()) {
            Read::End => Ok(None),
            Read::Broken(what) => Err(what),
            Read::Frame(frame) => {
                let told = Told::read(frame.kind, frame.content).ok_or("a record that cannot be read")?;
                let start = self.offset;
                self.offset += frame.length;
                Ok(Some((told, start)))
            }
        }
    }

    /// Whether nothing was written from here on.
    pub fn is_rest_empty(&self) -> bool {
        self.bytes.get(self.offset..).unwrap_or_default().iter().all(|byte| *byte == 0)
    }

    /// Goes on behind what cannot be read in the batch that began at `batch`: with the next record of that batch, if the length of what is
    /// broken leads there, else with the next whole batch. `false`, at the end of the file, if there is none. What only looks like a
    /// record may be what a client has published.
    pub fn skip(&mut self, batch: usize) -> bool {
        let next = self.next_of_batch(batch).or_else(|| self.find_batch(|_| true));
        self.offset = next.unwrap_or(self.bytes.len());
        next.is_some()
    }

    /// The same where there are no batches: to the next thing that can be read as a record.
    pub fn skip_to_record(&mut self) -> bool {
        let next = self.find_later();
        self.offset = next.unwrap_or(self.bytes.len());
        next.is_some()
    }

    /// Where the next record behind this place begins that can be read, if there is one.
    pub fn find_later(&self) -> Option<usize> {
        let mut effort = self.effort();
        let mut offset = self.offset + 1;
        while offset < self.bytes.len() {
            // Reserved space is zeros, and there may be much of it.
            let zeros = self.bytes[offset..].iter().take_while(|byte| **byte == 0).count();
            if zeros > 8 {
                offset += zeros - 8;
            }
            let rest = &self.bytes[offset..];
            if frame::may_begin(rest)
                && let Some(length) = frame::length(rest)
            {
                effort = effort.checked_sub(length)?;
                if matches!(Self::new(rest, 0).next(), Ok(Some(_))) {
                    return Some(offset);
                }
            }
            offset += 1;
        }
        None
    }

    /// Whether a later batch tells that all before it was on disk: then what is broken here was there once.
    pub fn is_followed_by_synced(&self) -> bool {
        self.find_batch(|is_synced| is_synced).is_some()
    }

    /// Behind a broken record, if all from there on to the end of this batch can be read.
    fn next_of_batch(&self, batch: usize) -> Option<usize> {
        let next = self.offset + frame::length(self.bytes.get(self.offset..)?)?;
        let mut rest = Self::new(self.bytes, next);
        loop {
            match rest.next() {
                Ok(Some((Told::Commit { start, .. }, _))) => return (start as usize == batch).then_some(next),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Where the first whole batch behind this place begins, of those that are wanted: the records from where its end says that it began
    /// lead to that end. A client cannot know where in a file its bytes will lie, so that it can make no such batch.
    fn find_batch(&self, is_wanted: impl Fn(bool) -> bool) -> Option<usize> {
        let mut effort = self.effort();
        (self.offset..self.bytes.len()).find_map(|end| {
            let (start, is_synced) = self.commit_at(end)?;
            let is_sane = (self.offset + 1..end).contains(&start) && is_wanted(is_synced);
            (is_sane && self.leads(start, end, &mut effort)).then_some(start)
        })
    }

    /// The end of a batch, if there is one here: where it began, and whether all before that was on disk.
    fn commit_at(&self, offset: usize) -> Option<(usize, bool)> {
        let bytes = self.bytes.get(offset..offset + COMMIT_LENGTH)?;
        if bytes[8] != kind::COMMIT || frame::length(bytes) != Some(COMMIT_LENGTH) {
            return None;
        }
        match Self::new(bytes, 0).next() {
            Ok(Some((Told::Commit { start, is_synced }, _))) => Some((start as usize, is_synced)),
            _ => None,
        }
    }

    /// Whether whole records lead from one place to the other, and none of them ends a batch.
    fn leads(&self, start: usize, end: usize, effort: &mut usize) -> bool {
        let mut scan = Self::new(&self.bytes[..end], start);
        while scan.offset < end {
            let left = frame::length(&scan.bytes[scan.offset..]).and_then(|length| effort.checked_sub(length));
            let Some(left) = left else { return false };
            *effort = left;
            if !matches!(scan.next(), Ok(Some((told, _))) if !matches!(told, Told::Commit { .. })) {
                return false;
            }
        }
        true
    }

    /// So many bytes are read at most while something is looked for.
    const fn effort(&self) -> usize {
        self.bytes.len().saturating_mul(EFFORT)
    }
}

/// Bytes of a record that ends a batch.
const COMMIT_LENGTH: usize = FRAME_HEAD + 5;
/// How often a file is read while something is looked for in it. A client's bytes can look like the beginning of a long record at each place,
/// and like as many ends of batches as fit in.
const EFFORT: usize = 32;

#[cfg(test)]
mod tests {
    use super::super::record::{put_commit, put_removed};
    use super::*;

    /// What a client may have published, with as many ends of batches as fit in, each of which says that it began somewhere else.
    fn forged(length: usize, says: impl Fn(usize) -> usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let start = says(bytes.len());
            put_commit(&mut bytes, start as u32, true);
        }
        bytes
    }

    #[test]
    fn what_a_client_has_published_is_no_later_batch() {
        for says in [|_| u32::MAX as usize, |at| at, |at| at / 2, |at| at + COMMIT_LENGTH, |at| at + 1_000_000] {
            let bytes = forged(100_000, says);
            assert!(!Scan::new(&bytes, 1).is_followed_by_synced());
        }
        let mut bytes = forged(100_000, |at| at / 2);
        let start = bytes.len();
        put_removed(&mut bytes, 7);
        put_commit(&mut bytes, start as u32, true);
        assert!(Scan::new(&bytes, 1).is_followed_by_synced(), "behind it there is one");
        assert!(!Scan::new(&bytes, start).is_followed_by_synced(), "which is not behind itself");
        let mut scan = Scan::new(&bytes, 1);
        assert!(scan.skip(0) && scan.offset() == start);
    }

    /// Each of these places looks like the beginning of a body of 16 MiB, each of which was read: that took hours.
    #[test]
    fn what_looks_like_long_records_is_not_read_again_and_again() {
        let mut bytes = forged(1 << 20, |at| (1 << 20) + at);
        bytes.resize(19 << 20, 1);
        let ends = forged(1 << 16, |at| (1 << 20) + at);
        bytes.extend_from_slice(&ends);
        let mut scan = Scan::new(&bytes, 1);
        assert!(!scan.is_followed_by_synced() && !scan.skip(0));
    }
}
