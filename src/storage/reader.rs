use std::sync::Arc;

use super::body::Body;
use super::clock::Clock;
use super::codec::Parts;
use super::error::StorageError;
use super::frame::{self, Read, damage};
use super::record::{kind, read_message};
use super::segment::Segment;
use crate::packet::Message;

/// Bodies that lie within this many bytes of each other are read at once.
const SPAN: u64 = 256 << 10;

/// Reads the messages of `bodies` back, in their order. Those that were written one after the other cost one read together.
///
/// # Errors
/// The first body that cannot be read as it was written.
pub fn load(bodies: &[Arc<Body>], clock: &Clock) -> Result<Vec<Message>, StorageError> {
    let mut messages = Vec::with_capacity(bodies.len());
    let mut chunk = Chunk::default();
    let mut rest = bodies;
    while let Some((body, later)) = rest.split_first() {
        match (body.message(), body.stored_in()) {
            (Some(message), _) => messages.push(message),
            (None, Some((segment, offset))) => {
                let length = body.frame_length();
                if !chunk.holds(&segment, offset, length) {
                    let end = end_of_run(later, &segment, u64::from(offset) + length);
                    chunk = Chunk::read(segment, offset, end)?;
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

/// How far one read should go: over those of the next bodies that follow closely.
fn end_of_run(later: &[Arc<Body>], segment: &Arc<Segment>, first_end: u64) -> u64 {
    let mut end = first_end;
    let limit = first_end + SPAN;
    for body in later {
        let Some((other, offset)) = body.stored_in() else { break };
        let offset = u64::from(offset);
        let follows = Arc::ptr_eq(&other, segment) && offset >= end && offset + body.frame_length() <= limit;
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
    fn read(segment: Arc<Segment>, start: u32, end: u64) -> Result<Self, StorageError> {
        let start = u64::from(start);
        let mut bytes = vec![0; (end - start) as usize];
        let count = segment.file().read_at(&mut bytes, start).map_err(StorageError::io("cannot read", segment.name()))?;
        bytes.truncate(count);
        Ok(Self { segment: Some(segment), start, bytes })
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
