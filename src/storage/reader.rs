use std::sync::Arc;

use super::body::Body;
use super::clock::Clock;
use super::codec::Parts;
use super::error::StorageError;
use super::frame::{self, Read, damage};
use super::record::{kind, read_message};
use super::segment::Segment;
use crate::packet::Message;

/// One read takes no more than this.
const SPAN: u64 = 256 << 10;
/// Bodies with no more than this between them are read at once: to copy so much costs what another read does.
const GAP: u64 = 4 << 10;

/// Reads the messages of `bodies` back, in their order. Those that were written one after the other cost one read together; where those
/// of many sessions lie between them, each is read by itself, and the disk is told before which part of the file that will be.
///
/// # Errors
/// The first body that cannot be read as it was written.
pub fn load(bodies: &[Arc<Body>], clock: &Clock) -> Result<Vec<Message>, StorageError> {
    let mut messages = Vec::with_capacity(bodies.len());
    let mut chunk = Chunk::default();
    let mut announced = None;
    let mut rest = bodies;
    while let Some((body, later)) = rest.split_first() {
        match (body.message(), body.stored_in()) {
            (Some(message), _) => messages.push(message),
            (None, Some((segment, offset))) => {
                let length = body.frame_length();
                if !chunk.holds(&segment, offset, length) {
                    let (start, first_end) = (u64::from(offset), u64::from(offset) + length);
                    let end = end_of_run(later, &segment, first_end, GAP);
                    let is_announced = announced.is_some_and(|(number, up_to)| number == segment.number && end <= up_to);
                    if !is_announced {
                        let up_to = end_of_run(later, &segment, first_end, SPAN);
                        if up_to > end {
                            segment.file().will_read(start, up_to - start);
                        }
                        announced = Some((segment.number, up_to));
                    }
                    chunk.read(segment, start, end)?;
                }
                messages.push(chunk.message(offset, length, clock)?);
            }
            // It was written between the two questions: ask again.
            (None, None) => continue,
        }
        rest = later;
    }
    Ok(messages)
}

/// How far one read should go: over those of the next bodies that follow with no more than `gap` bytes between.
fn end_of_run(later: &[Arc<Body>], segment: &Arc<Segment>, first_end: u64, gap: u64) -> u64 {
    let mut end = first_end;
    let limit = first_end + SPAN;
    for body in later {
        let Some((other, offset)) = body.stored_in() else { break };
        let offset = u64::from(offset);
        let is_near = (end..=end + gap).contains(&offset) && offset + body.frame_length() <= limit;
        let follows = Arc::ptr_eq(&other, segment) && is_near;
        if !follows {
            break;
        }
        end = offset + body.frame_length();
    }
    end
}

/// A part of a segment in memory.
#[derive(Default)]
struct Chunk {
    segment: Option<Arc<Segment>>,
    start: u64,
    bytes: Vec<u8>,
}

impl Chunk {
    /// Takes this part instead, into the same memory.
    fn read(&mut self, segment: Arc<Segment>, start: u64, end: u64) -> Result<(), StorageError> {
        self.bytes.clear();
        self.bytes.resize((end - start) as usize, 0);
        let read = segment.file().read_at(&mut self.bytes, start);
        self.bytes.truncate(read.map_err(StorageError::io("cannot read", segment.name()))?);
        (self.segment, self.start) = (Some(segment), start);
        Ok(())
    }

    fn holds(&self, segment: &Arc<Segment>, offset: u32, length: u64) -> bool {
        let is_same = self.segment.as_ref().is_some_and(|there| Arc::ptr_eq(there, segment));
        let offset = u64::from(offset);
        is_same && offset >= self.start && offset + length <= self.start + self.bytes.len() as u64
    }

    fn message(&self, offset: u32, length: u64, clock: &Clock) -> Result<Message, StorageError> {
        let name = || self.segment.as_ref().map(|segment| segment.name()).unwrap_or_default();
        let damaged = |what| StorageError::Damaged(damage(&name(), offset as usize, what));
        let start = (u64::from(offset) - self.start) as usize;
        let bytes = self.bytes.get(start..start + length as usize).ok_or_else(|| damaged("a body that is cut short"))?;
        message(bytes, clock).map_err(damaged)
    }
}

/// The message of a whole frame.
pub(super) fn message(bytes: &[u8], clock: &Clock) -> Result<Message, &'static str> {
    let frame = match frame::read(bytes) {
        Read::Frame(frame) if frame.kind == kind::BODY => frame,
        Read::Frame(_) => return Err("another record where a body was written"),
        Read::End => return Err("nothing where a body was written"),
        Read::Broken(what) => return Err(what),
    };
    let stored = read_message(&mut Parts(frame.content)).ok_or("a body that cannot be read")?;
    stored.message(stored.expires_at.map(|at| clock.instant(at))).ok_or("a body that is no message")
}

/// Fills `bytes` with one frame, whose checksum is right.
pub(super) fn read_frame(segment: &Segment, offset: u32, bytes: &mut [u8]) -> Result<(), StorageError> {
    let read = segment.file().read_at(bytes, offset.into()).map_err(StorageError::io("cannot read", segment.name()))?;
    match frame::read(&bytes[..read]) {
        Read::Frame(frame) if frame.length == bytes.len() => Ok(()),
        Read::Frame(_) => Err(StorageError::Damaged(damage(&segment.name(), offset as usize, "a body of another length"))),
        Read::End => Err(StorageError::Damaged(damage(&segment.name(), offset as usize, "nothing where a body was written"))),
        Read::Broken(what) => Err(StorageError::Damaged(damage(&segment.name(), offset as usize, what))),
    }
}
