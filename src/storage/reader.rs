use std::sync::Arc;

use super::body::{Body, Found};
use super::clock::Clock;
use super::codec::Parts;
use super::error::StorageError;
use super::frame::{self, Read, damage};
use super::record::{kind, read_message};
use super::segment::{Place, Segment};
use crate::packet::Message;

/// One read takes no more than this.
const SPAN: u64 = 256 << 10;
/// Bodies with no more than this between them are read at once: to copy so much costs what another read does.
const GAP: u64 = 4 << 10;

/// The messages of `bodies`, in their order, and how many of them had to be read back. Those that were written one after the other cost
/// one read together; where those of many sessions lie between them, each is read by itself; once one of them had to come from the disk,
/// it is told which part of the file the next ones are in.
///
/// # Errors
/// The first body that cannot be read as it was written.
pub fn load(bodies: &[Arc<Body>], clock: &Clock) -> Result<(Vec<Message>, u64), StorageError> {
    let (mut messages, mut count_read) = (Vec::with_capacity(bodies.len()), 0);
    let mut chunk = Chunk::default();
    for (index, body) in bodies.iter().enumerate() {
        let place = match body.find() {
            Found::Here(message) => {
                messages.push(message);
                continue;
            }
            Found::There(place) if chunk.holds(place, body.frame_length()) => place,
            Found::There(_) => chunk.read(body, &bodies[index + 1..])?,
        };
        messages.push(chunk.message(place, body, clock)?);
        count_read += 1;
    }
    Ok((messages, count_read))
}

/// How far one read should go: over those of the next bodies that follow with no more than `gap` bytes between.
fn end_of_run(later: &[Arc<Body>], segment: u64, first_end: u64, gap: u64) -> u64 {
    let mut end = first_end;
    let limit = first_end + SPAN;
    for body in later {
        let Some(place) = body.stored_at() else { break };
        let offset = u64::from(place.offset);
        let is_near = (end..=end + gap).contains(&offset) && offset + body.frame_length() <= limit;
        if place.segment != segment || !is_near {
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
    /// The segment that the disk was told of, and up to where.
    announced: Option<(u64, u64)>,
}

impl Chunk {
    /// Takes the part that begins with `body` instead, into the same memory, and tells the disk what of `later` comes next if it had to
    /// be asked. Returns where the body is, which is on disk.
    fn read(&mut self, body: &Body, later: &[Arc<Body>]) -> Result<Place, StorageError> {
        let (segment, offset) = body.stored_in().expect("what lies on disk once never lies in memory alone again");
        let (number, start) = (segment.number, u64::from(offset));
        let first_end = start + body.frame_length();
        let end = end_of_run(later, number, first_end, GAP);
        self.bytes.clear();
        self.bytes.resize((end - start) as usize, 0);
        let read = segment.file().read_and_time(&mut self.bytes, start);
        let (count, is_from_disk) = read.map_err(StorageError::io("cannot read", segment.name()))?;
        self.bytes.truncate(count);
        if is_from_disk && self.announced.is_none_or(|(of, up_to)| of != number || up_to < end) {
            let up_to = end_of_run(later, number, first_end, SPAN);
            if up_to > end {
                segment.file().will_read(end, up_to - end);
            }
            self.announced = Some((number, up_to));
        }
        (self.segment, self.start) = (Some(segment), start);
        Ok(Place { segment: number, offset })
    }

    fn holds(&self, place: Place, length: u64) -> bool {
        let is_same = self.segment.as_ref().is_some_and(|there| there.number == place.segment);
        let offset = u64::from(place.offset);
        is_same && offset >= self.start && offset + length <= self.start + self.bytes.len() as u64
    }

    fn message(&self, Place { offset, .. }: Place, body: &Body, clock: &Clock) -> Result<Message, StorageError> {
        let name = || self.segment.as_ref().map(|segment| segment.name()).unwrap_or_default();
        let damaged = |what| StorageError::Damaged(damage(&name(), offset as usize, what));
        let start = (u64::from(offset) - self.start) as usize;
        let bytes =
            self.bytes.get(start..start + body.frame_length() as usize).ok_or_else(|| damaged("a body that is cut short"))?;
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
