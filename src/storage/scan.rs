use super::frame::{self, Read};
use super::record::Told;

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

    /// Goes to the next record behind what cannot be read; `false`, at the end of the file, if there is none.
    pub fn skip(&mut self) -> bool {
        match self.find_later() {
            Some(offset) => {
                self.offset = offset;
                true
            }
            None => {
                self.offset = self.bytes.len();
                false
            }
        }
    }

    /// Where the next record behind this place begins that can be read, if there is one.
    pub fn find_later(&self) -> Option<usize> {
        let mut offset = self.offset + 1;
        while offset < self.bytes.len() {
            // Reserved space is zeros, and there may be much of it.
            let zeros = self.bytes[offset..].iter().take_while(|byte| **byte == 0).count();
            if zeros > 8 {
                offset += zeros - 8;
            }
            if self.is_record_at(offset) {
                return Some(offset);
            }
            offset += 1;
        }
        None
    }

    /// Whether a later batch tells that all before it was on disk: then what is broken here was there once. `batch` is where the broken
    /// batch begins.
    pub fn is_followed_by_synced(&self, batch: usize) -> bool {
        let mut later = Self::new(self.bytes, self.offset);
        while later.skip() {
            while let Ok(Some((told, _))) = later.next() {
                if let Told::Commit { start, is_synced: true } = told
                    && start as usize > batch
                {
                    return true;
                }
            }
        }
        false
    }

    fn is_record_at(&self, offset: usize) -> bool {
        match frame::read(&self.bytes[offset..]) {
            Read::Frame(frame) => Told::read(frame.kind, frame.content).is_some(),
            Read::End | Read::Broken(_) => false,
        }
    }
}
