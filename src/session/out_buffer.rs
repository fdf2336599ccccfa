use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// Bytes on their way to one peer. Small packets are copied together; large payloads go by reference, for a vectored write.
/// Holds no memory while it is empty.
#[derive(Debug, Default)]
pub struct OutBuffer {
    /// Boxed, since it is nearly always missing: the buffer is part of every connection.
    earlier: Option<Box<VecDeque<Chunk>>>,
    tail: Vec<u8>,
    /// Bytes of the first chunk that the peer has already.
    taken: usize,
    len: usize,
}

/// Bytes of the tail that the peer has and that stay for now, until as few are behind them.
const TAKEN_KEPT: usize = 16 * 1024;

#[derive(Debug)]
enum Chunk {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl OutBuffer {
    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends what `write` adds to the vector that it is given.
    pub fn append_with<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.tail.len();
        let result = write(&mut self.tail);
        self.len += self.tail.len() - before;
        result
    }

    pub fn append(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends bytes without copying them.
    pub fn append_shared(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.seal_tail();
        self.len += bytes.len();
        self.earlier.get_or_insert_default().push_back(Chunk::Shared(bytes));
    }

    /// Appends all of `later` that is not written yet.
    pub fn append_buffer(&mut self, mut later: Self) {
        if self.is_empty() {
            *self = later;
            return;
        }
        if later.is_empty() {
            return;
        }
        later.cut_taken();
        self.seal_tail();
        self.len += later.len;
        if let Some(mut chunks) = later.earlier {
            self.earlier.get_or_insert_default().append(&mut chunks);
        }
        self.tail = later.tail;
    }

    /// Fills `slices` with what comes next; returns how many were used.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let earlier = self.earlier.iter().flat_map(|chunks| chunks.iter());
        let chunks = earlier.map(Chunk::as_slice).chain(std::iter::once(self.tail.as_slice()));
        let mut used = 0;
        for (index, chunk) in chunks.enumerate() {
            let chunk = if index == 0 { &chunk[self.taken..] } else { chunk };
            if chunk.is_empty() {
                continue;
            }
            if used == slices.len() {
                break;
            }
            slices[used] = IoSlice::new(chunk);
            used += 1;
        }
        used
    }

    /// Forgets the first `count` bytes: the peer has them. Memory is given back when nothing is left.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len, "no more can be taken than there is");
        self.len -= count;
        if self.len == 0 {
            *self = Self::default();
            return;
        }
        self.taken += count;
        let Some(earlier) = &mut self.earlier else { return self.forget_taken() };
        while let Some(first) = earlier.front() {
            let length = first.as_slice().len();
            if self.taken < length {
                return;
            }
            self.taken -= length;
            earlier.pop_front();
        }
        self.forget_taken();
    }

    /// A peer that is slow all the time never lets it run empty: the tail, which grows meanwhile, does not keep what the peer has. Each
    /// byte is moved once at most on average.
    fn forget_taken(&mut self) {
        if self.taken >= TAKEN_KEPT && self.taken >= self.tail.len() - self.taken {
            self.tail.drain(..std::mem::take(&mut self.taken));
        }
    }

    /// Lets go of the part of the first chunk that the peer has.
    fn cut_taken(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        match self.earlier.as_mut().and_then(|chunks| chunks.front_mut()) {
            Some(Chunk::Copied(bytes)) => drop(bytes.drain(..taken)),
            Some(Chunk::Shared(bytes)) => drop(bytes.split_to(taken)),
            None => drop(self.tail.drain(..taken)),
        }
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.earlier.get_or_insert_default().push_back(Chunk::Copied(tail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(buffer: &OutBuffer) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let used = buffer.slices(&mut slices);
        slices[..used].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let mut buffer = OutBuffer::default();
        buffer.append(b"abc");
        buffer.append_shared(Bytes::from_static(b"defg"));
        buffer.append(b"hi");
        let mut later = OutBuffer::default();
        later.append_shared(Bytes::from_static(b"jk"));
        later.append(b"l");
        buffer.append_buffer(later);
        for taken in 0..=12 {
            assert_eq!(contents(&buffer), &b"abcdefghijkl"[taken..]);
            assert_eq!(buffer.len(), 12 - taken);
            if taken < 12 {
                buffer.advance(1);
            }
        }
        assert!(buffer.is_empty());
    }

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut buffer = OutBuffer::default();
        buffer.append(&[0; 1000]);
        buffer.append_shared(Bytes::from_static(b"x"));
        buffer.advance(1001);
        assert!(buffer.tail.capacity() == 0 && buffer.earlier.is_none());
    }

    #[test]
    fn what_a_slow_peer_has_taken_does_not_stay_in_memory() {
        let mut buffer = OutBuffer::default();
        let (mut sent, mut taken) = (0_usize, 0_usize);
        for round in 0..5000 {
            // Never empty, and something by reference between now and then.
            while buffer.len() < 64 * 1024 {
                let some = [(sent / 1000) as u8; 1000];
                if sent % 1_000_000 == 999_000 {
                    buffer.append_shared(some.to_vec().into())
                } else {
                    buffer.append(&some)
                }
                sent += 1000;
            }
            assert_eq!(contents(&buffer)[0], (taken / 1000) as u8);
            buffer.advance(700);
            taken += 700;
            let earlier = buffer.earlier.iter().flat_map(|chunks| chunks.iter()).map(|chunk| chunk.as_slice().len());
            assert!(buffer.tail.len() + earlier.sum::<usize>() <= 3 * 65 * 1024 + TAKEN_KEPT, "round {round}");
        }
        assert_eq!(buffer.len(), sent - taken);
    }

    #[test]
    fn a_buffer_that_was_written_from_is_appended_without_what_is_gone() {
        let shared = || Bytes::from_static(b"defg");
        for taken in 0..=9 {
            let mut later = OutBuffer::default();
            later.append(b"abc");
            later.append_shared(shared());
            later.append(b"hi");
            later.advance(taken);
            let mut buffer = OutBuffer::default();
            buffer.append(b"-");
            buffer.append_buffer(later);
            let expected = [b"-", &b"abcdefghi"[taken..]].concat();
            assert_eq!((contents(&buffer), buffer.len()), (expected.clone(), expected.len()));
            buffer.advance(expected.len());
            assert!(buffer.is_empty());
        }
        let (mut buffer, mut later) = (OutBuffer::default(), OutBuffer::default());
        later.append(b"abc");
        later.advance(2);
        buffer.append(b"-");
        buffer.append_buffer(later);
        assert_eq!(contents(&buffer), b"-c");
    }
}
