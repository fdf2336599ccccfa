use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::backend::{Backend, StoreFile};
use super::body::Body;
use super::checkpoint::{UNFINISHED, Walker, checkpoint_name, checkpoint_number};
use super::clock::Clock;
use super::codec::Parts;
use super::commit::Committer;
use super::config::Durability;
use super::error::{Damage, StorageError};
use super::frame::{self, Read, damage};
use super::journal::Journal;
use super::record::{Told, kind, read_message};
use super::scan::{Scan, Stop};
use super::segment::{HEADER, Place, Segment, check_header, segment_name, segment_number};
use super::state::State;
use super::work::WorkState;
use crate::metrics::Metrics;
use crate::packet::Message;

/// What is done about damage. Without one, the broker does not start over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recover {
    /// The journal ends before it; all that came later is given up.
    Truncate,
    /// What cannot be read is passed over; the rest is kept.
    Skip,
}

/// A journal that is open, and what was in it.
#[derive(Debug)]
pub struct Opened<W> {
    pub committer: Committer<W>,
    pub state: State,
    pub bodies: HashMap<Place, Arc<Body>>,
    /// The retained messages by their places; all else stays on disk.
    pub messages: HashMap<Place, Message>,
    pub report: Report,
    /// Goes up with every start.
    pub starts: u64,
}

/// What recovery found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub segments: usize,
    pub bytes: u64,
    pub sessions: usize,
    pub waiting: usize,
    pub retained: usize,
    /// Bytes at the end of the last file that were not written to their end: nobody was told that they were.
    pub torn: u64,
    /// What was given up on the operator's word.
    pub given_up: Vec<String>,
}

/// Called as files are read, with bytes read and bytes in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What is found in a data directory, without changing it.
pub(super) struct Found {
    pub state: State,
    pub segments: VecDeque<Arc<Segment>>,
    /// The segment that replay began with, and the bytes of its checkpoint.
    pub checkpoint: (u64, u64),
    pub report: Report,
    /// Where the last segment really ends, if behind that there is something.
    cut: Option<Place>,
    /// Files that are not needed: half a checkpoint, a segment that never got its header.
    leftovers: Vec<String>,
    /// Segments behind a cut that the operator has asked for.
    given_up: Vec<String>,
}

/// Opens a journal, and makes one where none is. `work` folds what the work queues have told.
///
/// # Errors
/// Damage without leave to do something about it; a newer format; what the operating system says.
pub fn open<W>(
    backend: Arc<dyn Backend>,
    config: &Durability,
    recover: Option<Recover>,
    (clock, now): (Clock, fn() -> Instant),
    metrics: Arc<Metrics>,
    work: Box<dyn WorkState>,
    progress: Progress<'_>,
) -> Result<Opened<W>, StorageError> {
    let mut found = find(&*backend, recover, work, progress)?;
    let (bodies, messages) = read_bodies(&mut found, recover, &clock)?;
    put_right(&*backend, &found)?;
    let Found { mut state, mut segments, mut checkpoint, mut report, .. } = found;
    let next = segments.back().map_or(0, |last| last.number + 1).max(checkpoint.0).max(1);
    segments.push_back(Segment::create(&*backend, next, config.segment_size.0)?);
    if checkpoint.0 == 0 {
        checkpoint.0 = segments[0].number;
    }
    (report.sessions, report.waiting, report.retained) = (state.sessions.len(), state.waiting(), state.retained.len());
    report.segments = segments.len();
    state.next_session = state.next_session.max(1);
    if !report.given_up.is_empty() {
        // What was passed over once is not read again.
        let nothing = HashSet::new();
        let mut walker = Walker::begin(&*backend, next, state.next_session, &nothing)?;
        walker.state(&state);
        checkpoint = (next, walker.end()?);
        walker.publish(&*backend, false)?;
    }
    let journal = Arc::new(Journal::new(config, state.next_session, clock, metrics));
    let committer = Committer::new(journal, backend, segments, checkpoint, config, now);
    committer.measure();
    Ok(Opened { committer, state, bodies, messages, report, starts: next })
}

/// Reads all records and folds them, without changing anything.
pub(super) fn find(
    backend: &dyn Backend,
    recover: Option<Recover>,
    work: Box<dyn WorkState>,
    progress: Progress<'_>,
) -> Result<Found, StorageError> {
    let names = backend.list().map_err(StorageError::io("cannot list", "the data directory"))?;
    let mut found = Found {
        state: State::new(work),
        segments: VecDeque::new(),
        checkpoint: (0, 0),
        report: Report::default(),
        cut: None,
        leftovers: names.iter().filter(|name| *name == UNFINISHED).cloned().collect(),
        given_up: Vec::new(),
    };
    let newest = names.iter().filter_map(|name| checkpoint_number(name)).max();
    if let Some(newest) = newest {
        found.read_checkpoint(backend, newest, recover)?;
    }
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    found.check_complete(&numbers, recover)?;
    let mut files = Vec::new();
    for number in numbers {
        let name = segment_name(number);
        let file = backend.open(&name).map_err(StorageError::io("cannot open", &name))?;
        let length = file.len().map_err(StorageError::io("cannot read", &name))?;
        files.push((number, file, length));
    }
    found.pass_over_unbegun(&mut files)?;
    let total = files.iter().map(|(.., length)| length).sum();
    let last = files.last().map(|(number, ..)| *number);
    for (number, file, length) in files {
        found.read_segment(number, file, length, Some(number) == last, recover)?;
        found.report.bytes += length;
        progress(found.report.bytes, total);
        if found.cut.is_some_and(|cut| cut.segment < number) {
            found.given_up.push(segment_name(number));
        }
    }
    let given_up = std::mem::take(&mut found.given_up);
    found.segments.retain(|segment| !given_up.contains(&segment.name()));
    found.given_up = given_up;
    found.state.settle_places();
    Ok(found)
}

impl Found {
    fn read_checkpoint(&mut self, backend: &dyn Backend, number: u64, recover: Option<Recover>) -> Result<(), StorageError> {
        let name = checkpoint_name(number);
        let bytes = read_whole(backend, &name)?;
        let damaged = |offset, what| damage(&name, offset, what);
        if check_header(&name, number, &bytes)?.is_none() {
            self.allow(recover, damaged(0, "a header that is none"))?;
        }
        self.checkpoint = (number, bytes.len() as u64);
        let mut scan = Scan::new(&bytes, HEADER);
        let mut count = 0;
        loop {
            match scan.next() {
                Ok(Some((Told::CheckpointEnd(records), _))) => {
                    if records != count {
                        self.allow(recover, damaged(scan.offset(), "another number of records than were written"))?;
                    }
                    return Ok(());
                }
                Ok(Some((Told::Checkpoint { segment, next_session }, _))) => {
                    self.state.apply(Told::Checkpoint { segment, next_session });
                }
                Ok(Some((told, _))) => {
                    count += 1;
                    self.state.apply(told);
                }
                Ok(None) => return self.allow(recover, damaged(scan.offset(), "an end that is missing")),
                Err(what) => {
                    // More than what cannot be read need not be given up: the journal goes on behind it.
                    self.allow(recover, damaged(scan.offset(), what))?;
                    if !scan.skip_to_record() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// From the checkpoint on, no segment may be missing.
    fn check_complete(&mut self, numbers: &[u64], recover: Option<Recover>) -> Result<(), StorageError> {
        let has_checkpoint = self.checkpoint.0 > 0;
        let first = self.checkpoint.0.max(1);
        let mut expected = first;
        for number in numbers.iter().copied().filter(|number| *number >= first) {
            self.expect(expected, number, recover)?;
            expected = number + 1;
        }
        // The segment behind a checkpoint is there before the checkpoint is.
        if has_checkpoint && expected == first {
            self.expect(expected, expected + 1, recover)?;
        }
        Ok(())
    }

    fn expect(&mut self, expected: u64, found: u64, recover: Option<Recover>) -> Result<(), StorageError> {
        if expected == found || self.cut.is_some() {
            return Ok(());
        }
        self.allow(recover, damage(&segment_name(expected), 0, "the file is missing"))?;
        if recover == Some(Recover::Truncate) {
            self.cut = Some(Place { segment: expected, offset: HEADER as u32 });
        }
        Ok(())
    }

    /// A last segment without a header was being made, when the process ended or there was no room for it: it is no part of the journal,
    /// and the one before it may be torn.
    fn pass_over_unbegun(&mut self, files: &mut Vec<(u64, Arc<dyn StoreFile>, u64)>) -> Result<(), StorageError> {
        while let Some((number, file, length)) = files.last() {
            let name = segment_name(*number);
            let mut bytes = vec![0; (*length).min(HEADER as u64) as usize];
            let read = file.read_at(&mut bytes, 0).map_err(StorageError::io("cannot read", &name))?;
            bytes.truncate(read);
            if *number < self.checkpoint.0 || check_header(&name, *number, &bytes)?.is_some() {
                return Ok(());
            }
            let bytes = read_all(&**file, &name, *length)?;
            if Scan::new(&bytes, 0).find_later().is_some() {
                return Ok(()); // It is damaged.
            }
            self.leftovers.push(name);
            files.pop();
        }
        Ok(())
    }

    fn read_segment(
        &mut self,
        number: u64,
        file: Arc<dyn StoreFile>,
        length: u64,
        is_last: bool,
        recover: Option<Recover>,
    ) -> Result<(), StorageError> {
        let name = segment_name(number);
        if number < self.checkpoint.0 {
            // Only its bodies count, and those that are wanted are looked at later.
            self.segments.push_back(Arc::new(Segment::opened(number, file, length)));
            return Ok(());
        }
        let bytes = read_all(&*file, &name, length)?;
        if check_header(&name, number, &bytes)?.is_none() {
            self.allow(recover, damage(&name, 0, "a header that is none"))?;
        }
        let end = self.replay(&name, number, &bytes, is_last, recover)?;
        self.segments.push_back(Arc::new(Segment::opened(number, file, end as u64)));
        Ok(())
    }

    /// Applies whole batches. Returns where the segment ends.
    fn replay(
        &mut self,
        name: &str,
        number: u64,
        bytes: &[u8],
        is_last: bool,
        recover: Option<Recover>,
    ) -> Result<usize, StorageError> {
        if self.cut.is_some() {
            return Ok(bytes.len()); // Behind what the operator has given up.
        }
        let mut scan = Scan::new(bytes, HEADER);
        let mut batch = Vec::new();
        let mut batch_start = HEADER;
        loop {
            let stop = match scan.next() {
                Ok(Some((Told::Commit { .. }, _))) => {
                    batch.drain(..).for_each(|told| self.state.apply(told));
                    batch_start = scan.offset();
                    continue;
                }
                Ok(Some((told, _))) => {
                    batch.push(told);
                    continue;
                }
                Ok(None) if batch.is_empty() && scan.is_rest_empty() => return Ok(batch_start),
                Ok(None) if batch.is_empty() => Stop { offset: scan.offset(), what: "nothing where a batch was written" },
                Ok(None) => Stop { offset: scan.offset(), what: "a batch without its end" },
                Err(what) => Stop { offset: scan.offset(), what },
            };
            let is_torn = is_last && !scan.is_followed_by_synced();
            if is_torn {
                self.report.torn = (bytes.len() - trailing_zeros(bytes) - batch_start.min(bytes.len())) as u64;
                self.cut = Some(Place { segment: number, offset: batch_start as u32 });
                return Ok(batch_start);
            }
            let place = damage(name, stop.offset, stop.what);
            self.allow(recover, place)?;
            if recover == Some(Recover::Truncate) {
                self.cut = Some(Place { segment: number, offset: batch_start as u32 });
                return Ok(batch_start);
            }
            if !scan.skip(batch_start) {
                batch.drain(..).for_each(|told| self.state.apply(told));
                return Ok(scan.offset());
            }
        }
    }

    /// Goes on over damage if the operator says so, and notes it.
    fn allow(&mut self, recover: Option<Recover>, damage: Damage) -> Result<(), StorageError> {
        match recover {
            None => Err(StorageError::Damaged(damage)),
            Some(Recover::Truncate) => {
                self.report.given_up.push(format!("{damage}; all that was stored after it"));
                Ok(())
            }
            Some(Recover::Skip) => {
                self.report.given_up.push(format!("{damage}; what cannot be read there"));
                Ok(())
            }
        }
    }
}

type Bodies = (HashMap<Place, Arc<Body>>, HashMap<Place, Message>);

/// Looks at every body that somebody waits for.
pub(super) fn read_bodies(found: &mut Found, recover: Option<Recover>, clock: &Clock) -> Result<Bodies, StorageError> {
    let places = found.state.places();
    let retained: HashSet<Place> = found.state.retained.values().map(|retained| retained.place).collect();
    let mut bodies = HashMap::with_capacity(places.len());
    let mut messages = HashMap::with_capacity(retained.len());
    let mut lost = HashSet::new();
    for run in places.chunk_by(|one, other| one.segment == other.segment) {
        let segment = found.segments.iter().find(|segment| segment.number == run[0].segment).cloned();
        let bytes = match &segment {
            Some(segment) => read_segment_bytes(segment)?,
            None => Vec::new(),
        };
        for place in run {
            match segment.as_ref().ok_or("the file is missing").and_then(|segment| body_at(segment, &bytes, *place, clock)) {
                Ok(body) => {
                    if retained.contains(place) {
                        match super::reader::message(&bytes[place.offset as usize..], clock) {
                            Ok(message) => drop(messages.insert(*place, message)),
                            Err(what) => {
                                found.allow(recover, body_damage(*place, what))?;
                                lost.insert(*place);
                                continue;
                            }
                        }
                    }
                    bodies.insert(*place, body);
                }
                Err(what) => {
                    found.allow(recover, body_damage(*place, what))?;
                    lost.insert(*place);
                }
            }
        }
    }
    if !lost.is_empty() {
        let (waiting, retained) = found.state.forget(|place| lost.contains(place));
        found.report.given_up.push(format!("{waiting} messages that waited and {retained} retained ones"));
    }
    Ok((bodies, messages))
}

fn body_damage(place: Place, what: &'static str) -> Damage {
    damage(&segment_name(place.segment), place.offset as usize, what)
}

fn read_segment_bytes(segment: &Segment) -> Result<Vec<u8>, StorageError> {
    let mut bytes = vec![0; segment.length() as usize];
    let read = segment.file().read_at(&mut bytes, 0).map_err(StorageError::io("cannot read", segment.name()))?;
    bytes.truncate(read);
    Ok(bytes)
}

fn body_at(segment: &Arc<Segment>, bytes: &[u8], place: Place, clock: &Clock) -> Result<Arc<Body>, &'static str> {
    let rest = bytes.get(place.offset as usize..).ok_or("the file is too short")?;
    let frame = match frame::read(rest) {
        Read::Frame(frame) if frame.kind == kind::BODY => frame,
        Read::Frame(_) => return Err("another record where a body was written"),
        Read::End => return Err("nothing where a body was written"),
        Read::Broken(what) => return Err(what),
    };
    let stored = read_message(&mut Parts(frame.content)).ok_or("a body that cannot be read")?;
    let expires_at = stored.expires_at.map(|at| clock.instant(at));
    Ok(Body::stored(segment.clone(), place.offset, stored.bytes.len() as u32, stored.qos, expires_at))
}

/// Takes away what is not part of the journal, so that it is not taken for damage the next time.
fn put_right(backend: &dyn Backend, found: &Found) -> Result<(), StorageError> {
    for name in &found.leftovers {
        backend.remove(name).map_err(StorageError::io("cannot remove", name))?;
    }
    for name in &found.given_up {
        backend.rename(name, &format!("{name}.given-up")).map_err(StorageError::io("cannot rename", name))?;
    }
    if let Some(last) = found.segments.back() {
        // What was read may be in the kernel's memory only: after a sync that failed it takes pages for clean that the disk never got.
        let bytes = read_segment_bytes(last)?;
        last.file().write_at(&bytes, 0).map_err(StorageError::io("cannot write", last.name()))?;
        last.file().set_len(last.length()).map_err(StorageError::io("cannot cut", last.name()))?;
        last.file().sync().map_err(StorageError::io("cannot sync", last.name()))?;
    }
    backend.sync_names().map_err(StorageError::io("cannot sync", "the data directory"))
}

fn read_whole(backend: &dyn Backend, name: &str) -> Result<Vec<u8>, StorageError> {
    let file = backend.open(name).map_err(StorageError::io("cannot open", name))?;
    let length = file.len().map_err(StorageError::io("cannot read", name))?;
    read_all(&*file, name, length)
}

fn read_all(file: &dyn StoreFile, name: &str, length: u64) -> Result<Vec<u8>, StorageError> {
    let mut bytes = vec![0; length as usize];
    let read = file.read_at(&mut bytes, 0).map_err(StorageError::io("cannot read", name))?;
    bytes.truncate(read);
    Ok(bytes)
}

fn trailing_zeros(bytes: &[u8]) -> usize {
    bytes.iter().rev().take_while(|byte| **byte == 0).count()
}
