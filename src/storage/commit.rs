use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backend::Backend;
use super::body::{Body, Unwritten};
use super::config::{Durability, Level};
use super::error::{StorageError, is_full};
use super::frame;
use super::journal::{Command, Item, Journal, Pending};
use super::maintain::Cut;
use super::reader;
use super::record::{Publisher, Record, kind, put_commit, put_message, put_queued, put_relocated, put_removed, put_retained};
use super::segment::{HEADER, Place, Segment};
use crate::packet::Message;

/// The one who writes. Takes all that was told since the last time, writes it as one batch, syncs once, and hands back all who waited:
/// idle that is one sync for one message, loaded it fills itself, and busy it waits a little first.
#[derive(Debug)]
pub struct Committer<W> {
    pub(super) journal: Arc<Journal<W>>,
    pub(super) backend: Arc<dyn Backend>,
    /// All that exist, the one that is written to last.
    pub(super) segments: VecDeque<Arc<Segment>>,
    buffer: Vec<u8>,
    /// What the buffer's bodies are told once it is written.
    written: Vec<Written>,
    /// Memory for the items of the batch after the next one.
    items: Vec<Item>,
    /// New bodies that have not been put yet: the session that each waits for, which one it is, the body.
    neighbours: Vec<(u64, usize, Arc<Body>)>,
    /// Those of them that are retained.
    retained: Vec<NewRetained>,
    /// A batch that found no room on the disk; it is tried again.
    stuck: Option<Waiters<W>>,
    /// Something was written and not synced.
    is_unsynced: bool,
    /// Recovery begins at this segment.
    pub(super) checkpoint: u64,
    /// Bytes of the checkpoint before it.
    pub(super) checkpoint_bytes: u64,
    holds: usize,
    pub(super) segment_size: u64,
    min_free_space: u64,
    max_recent: u64,
    level: Level,
    /// The time, from whoever may ask for it.
    now: fn() -> Instant,
    space_looked_at: Option<Instant>,
    /// No new segment could be begun for want of files, and that was told.
    lacks_files: bool,
    /// What the batch before had in it.
    last_records: usize,
}

#[derive(Debug)]
enum Written {
    New(Arc<Body>),
    Moved(Arc<Body>, u32),
}

/// A new body that is its topic's retained message, the one with this number.
#[derive(Debug)]
struct NewRetained {
    number: usize,
    message: Message,
    publisher: Arc<Publisher>,
    place: Place,
}

#[derive(Debug)]
struct Waiters<W> {
    disk: Vec<W>,
    early: Vec<W>,
    weight: usize,
    records: usize,
}

/// What a commit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All that was told is where it should be.
    All,
    /// The disk has no room: try again in a while.
    Stuck,
    /// All is on disk, and there will be no more.
    Stopped,
}

/// A batch may be larger than a segment; places are numbers of four bytes.
const SEGMENT_MAX: u64 = 1 << 30;
/// A segment that grows because no new one can be begun waits from here on: a batch more must not lead beyond four bytes.
const OVERFULL: u64 = 3 << 30;
/// How often free space is asked for.
const SPACE_INTERVAL: Duration = Duration::from_millis(500);
/// A buffer larger than this is given back.
const BUFFER_KEPT: usize = 4 << 20;
/// Room for more items than this, or for more new bodies, is given back.
const ITEMS_KEPT: usize = 1 << 14;
/// After a batch of so many changes the next one is given time to gather ...
const BUSY: usize = 256;
/// ... so much, which is little beside what waits then: fewer and larger writes, and what all its receivers have acknowledged meanwhile
/// is not written at all.
const GATHER_TIME: Duration = Duration::from_micros(300);
/// How long a full disk is left alone.
const STUCK_TIME: Duration = Duration::from_millis(100);

impl<W> Committer<W> {
    pub(super) fn new(
        journal: Arc<Journal<W>>,
        backend: Arc<dyn Backend>,
        segments: VecDeque<Arc<Segment>>,
        checkpoint: (u64, u64),
        config: &Durability,
        now: fn() -> Instant,
    ) -> Self {
        Self {
            journal,
            backend,
            segments,
            buffer: Vec::new(),
            written: Vec::new(),
            items: Vec::new(),
            neighbours: Vec::new(),
            retained: Vec::new(),
            stuck: None,
            is_unsynced: false,
            checkpoint: checkpoint.0,
            checkpoint_bytes: checkpoint.1,
            holds: 0,
            segment_size: config.segment_size.0.min(SEGMENT_MAX),
            min_free_space: config.min_free_space.0,
            max_recent: config.max_recent.0,
            level: config.highest(),
            now,
            space_looked_at: None,
            lacks_files: false,
            last_records: 0,
        }
    }

    pub fn journal(&self) -> &Arc<Journal<W>> {
        &self.journal
    }

    /// Commits until told to stop. `release` is given those whose changes are safe.
    ///
    /// # Errors
    /// When writing or syncing failed: nobody is released any more, and nothing must be acknowledged. What the disk has is unknown; only
    /// reading it again, in a new process, tells. Sync is never tried again: the kernel may have forgotten what it could not write.
    pub fn run(&mut self, release: &mut dyn FnMut(Vec<W>)) -> Result<(), StorageError> {
        loop {
            self.journal.wait();
            if self.last_records >= BUSY {
                std::thread::sleep(GATHER_TIME);
            }
            match self.commit(release)? {
                Committed::All => {}
                Committed::Stuck => std::thread::sleep(STUCK_TIME),
                Committed::Stopped => return Ok(()),
            }
        }
    }

    /// One batch.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn commit(&mut self, release: &mut dyn FnMut(Vec<W>)) -> Result<Committed, StorageError> {
        let committed = self.try_commit(release);
        if committed.is_err() {
            self.journal.set_failed();
        }
        committed
    }

    fn try_commit(&mut self, release: &mut dyn FnMut(Vec<W>)) -> Result<Committed, StorageError> {
        if let Some(error) = self.journal.broken_down() {
            return Err(error);
        }
        self.look_at_space();
        if let Some(waiters) = self.stuck.take() {
            if !self.write(waiters, release)? {
                return Ok(Committed::Stuck);
            }
            self.space_looked_at = None;
            self.look_at_space();
        }
        if !self.rotate_if_full()? && self.current().length() > OVERFULL {
            return Ok(Committed::Stuck);
        }
        // That they are to go is told in this batch: once it is synced, nobody misses them.
        let dead = self.dead_segments();
        let memory = std::mem::take(&mut self.items);
        let Pending { items, waiters, early, weight, commands, is_stopping, .. } = self.journal.take(memory);
        let records = items.len();
        self.last_records = records;
        self.encode(items, &dead)?;
        let waiters = Waiters { disk: waiters, early, weight, records };
        if !self.write(waiters, release)? {
            commands.into_iter().for_each(|command| self.journal.command(command));
            return Ok(Committed::Stuck);
        }
        self.remove(dead)?;
        for command in commands {
            self.obey(command)?;
        }
        if is_stopping && self.journal.is_drained() {
            self.sync()?;
            self.journal.set_stopped();
            return Ok(Committed::Stopped);
        }
        Ok(Committed::All)
    }

    fn current(&self) -> &Arc<Segment> {
        self.segments.back().expect("there is always a segment to write to")
    }

    fn encode(&mut self, mut items: Vec<Item>, dead: &[u64]) -> Result<(), StorageError> {
        debug_assert!(self.buffer.is_empty() && self.written.is_empty());
        for item in &items {
            if let Item::Superseded(body) = item {
                body.forget_retained();
            }
        }
        let segment = self.current().clone();
        let base = segment.length() as usize;
        let mut buffer = std::mem::take(&mut self.buffer);
        for item in items.drain(..) {
            match item {
                Item::Body(body) => self.neighbours.push((body.first_session(), self.neighbours.len(), body)),
                Item::Record(record) => {
                    self.put_neighbours(&mut buffer, &segment, base); // It may speak of them.
                    record.put(&mut buffer);
                }
                Item::Superseded(_) => {}
                Item::Move(body) => self.put_moved(&mut buffer, base, body)?,
            }
        }
        self.put_neighbours(&mut buffer, &segment, base);
        dead.iter().for_each(|number| put_removed(&mut buffer, *number));
        if !buffer.is_empty() {
            put_commit(&mut buffer, base as u32, !self.is_unsynced);
        }
        self.buffer = buffer;
        items.shrink_to(ITEMS_KEPT);
        self.items = items;
        Ok(())
    }

    /// New bodies between two records. Those of one session are put side by side, so that it finds them in one read: their order among
    /// sessions means nothing, and within a session it stays. Which of them are retained is said in the order in which they came: of two
    /// of one topic the later one holds.
    fn put_neighbours(&mut self, out: &mut Vec<u8>, segment: &Arc<Segment>, base: usize) {
        let mut neighbours = std::mem::take(&mut self.neighbours);
        let mut retained = std::mem::take(&mut self.retained);
        neighbours.sort_unstable_by_key(|(session, number, _)| (*session, *number));
        for (_, number, body) in neighbours.drain(..) {
            body.begin_write(|unwritten| {
                let place = self.put_body(out, segment, base, &unwritten)?;
                if let Some(publisher) = unwritten.retained {
                    let (message, publisher) = (unwritten.message.clone(), publisher.clone());
                    retained.push(NewRetained { number, message, publisher, place });
                }
                Some((segment.clone(), place.offset))
            });
            if body.place().is_some() {
                self.written.push(Written::New(body));
            }
        }
        retained.sort_unstable_by_key(|retained| retained.number);
        for NewRetained { message, publisher, place, .. } in retained.drain(..) {
            put_retained(out, message.topic().as_str(), &publisher, place);
        }
        neighbours.shrink_to(ITEMS_KEPT);
        retained.shrink_to(ITEMS_KEPT);
        (self.neighbours, self.retained) = (neighbours, retained);
    }

    /// `None`: nobody waits for it any more.
    fn put_body(&self, out: &mut Vec<u8>, segment: &Segment, base: usize, body: &Unwritten<'_>) -> Option<Place> {
        if let Some(received) = body.received {
            Record::Received { session: received.session, packet_id: received.packet_id }.put(out);
        }
        if body.recipients.is_empty() && body.retained.is_none() && !body.is_held {
            return None;
        }
        let place = Place { segment: segment.number, offset: (base + out.len()) as u32 };
        let expires_at = body.message.expires_at.map(|at| self.journal.clock.wall(at));
        frame::put(out, kind::BODY, |out| put_message(out, body.message, expires_at));
        for recipient in body.recipients {
            put_queued(out, recipient, place);
        }
        Some(place)
    }

    /// A body is copied as it is, and all who know where it was are told.
    fn put_moved(&mut self, out: &mut Vec<u8>, base: usize, body: Arc<Body>) -> Result<(), StorageError> {
        let Some((segment, offset)) = body.stored_in() else { return Ok(()) };
        if Arc::strong_count(&body) == 1 {
            return Ok(()); // Nobody else waits for it any more.
        }
        let from = Place { segment: segment.number, offset };
        let mut bytes = vec![0; body.frame_length() as usize];
        reader::read_frame(&segment, offset, &mut bytes)?;
        let to = Place { segment: self.current().number, offset: (base + out.len()) as u32 };
        out.extend_from_slice(&bytes);
        put_relocated(out, from, to);
        self.written.push(Written::Moved(body, to.offset));
        Ok(())
    }

    /// Writes the buffer, syncs if anyone waits for that, and lets all go. `false`: there was no room, and it is kept.
    fn write(&mut self, mut waiters: Waiters<W>, release: &mut dyn FnMut(Vec<W>)) -> Result<bool, StorageError> {
        let segment = self.current().clone();
        let bytes = self.buffer.len();
        if bytes > 0 {
            match segment.file().write_at(&self.buffer, segment.length()) {
                Ok(()) => {}
                Err(error) if is_full(&error) => {
                    self.note_full(true);
                    self.stuck = Some(waiters);
                    return Ok(false);
                }
                Err(error) => return Err(StorageError::io("cannot write", segment.name())(error)),
            }
            self.is_unsynced = true;
        }
        release(std::mem::take(&mut waiters.early));
        if !waiters.disk.is_empty() && self.level == Level::Sync {
            self.sync()?;
        }
        if bytes > 0 {
            segment.set_length(segment.length() + bytes as u64);
            let mut room = self.max_recent.saturating_sub(self.recent());
            for written in self.written.drain(..) {
                match written {
                    Written::New(body) => body.finish_write(&mut room),
                    Written::Moved(body, offset) => body.move_to(segment.clone(), offset),
                }
            }
            self.journal.metrics.storage.histograms.batch_bytes.record(bytes as f64);
            self.journal.metrics.storage.histograms.batch_records.record(waiters.records as f64);
        }
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        self.journal.wrote(waiters.weight);
        release(waiters.disk);
        Ok(true)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if !self.is_unsynced {
            return Ok(());
        }
        let segment = self.current();
        let started = (self.now)();
        segment.file().sync().map_err(|error| StorageError::io("cannot sync", segment.name())(error))?;
        self.journal.metrics.storage.histograms.sync.record((self.now)().saturating_duration_since(started).as_secs_f64());
        self.is_unsynced = false;
        Ok(())
    }

    /// Begins a new segment if this one has its size. `false`: that cannot be now. It is tried again, and all goes on in the old segment,
    /// if there is room in it.
    fn rotate_if_full(&mut self) -> Result<bool, StorageError> {
        if self.current().length() < self.segment_size { Ok(true) } else { self.rotate() }
    }

    fn rotate(&mut self) -> Result<bool, StorageError> {
        // All before a segment is on disk when it begins, whatever the level: recovery relies on it.
        self.sync()?;
        let old = self.current().clone();
        let new = match Segment::create(&*self.backend, old.number + 1, self.segment_size) {
            Ok(new) => new,
            Err(error) if error.is_full() => {
                self.note_full(true);
                return Ok(false);
            }
            Err(error) if error.lacks_files() => {
                if !std::mem::replace(&mut self.lacks_files, true) {
                    tracing::error!(%error, "the journal goes on in its old segment until a file can be opened");
                }
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.lacks_files = false;
        // What was reserved and not used is given back.
        old.file().set_len(old.length()).map_err(StorageError::io("cannot cut", old.name()))?;
        self.segments.push_back(new);
        self.measure();
        Ok(true)
    }

    fn obey(&mut self, command: Command) -> Result<(), StorageError> {
        match command {
            Command::Cut(reply) => {
                if self.rotate()? {
                    let _ = reply.send(Cut::of(self)); // Whoever asked may have stopped meanwhile.
                }
            }
            Command::Consider(reply) => {
                // An empty segment is left over from a checkpoint that failed: it will do.
                let is_cut = Cut::is_worth_it(self) && (self.current().length() == HEADER as u64 || self.rotate()?);
                let _ = reply.send(is_cut.then(|| Cut::of(self)));
            }
            Command::Sync(reply) => {
                self.sync()?;
                let _ = reply.send(());
            }
            Command::Files(reply) => {
                self.sync()?;
                let _ = reply.send(self.segments.iter().map(|segment| (segment.name(), segment.length())).collect());
            }
            Command::Checkpointed { segment, bytes } => {
                self.sync()?;
                (self.checkpoint, self.checkpoint_bytes) = (segment, bytes);
                self.measure();
            }
            Command::Hold => self.holds += 1,
            Command::Release => self.holds -= 1,
        }
        Ok(())
    }

    /// Segments that neither recovery nor any body needs.
    fn dead_segments(&self) -> Vec<u64> {
        if self.holds > 0 {
            return Vec::new();
        }
        let old = self.segments.iter().filter(|segment| segment.number < self.checkpoint);
        old.filter(|segment| segment.live() == 0).map(|segment| segment.number).collect()
    }

    fn remove(&mut self, dead: Vec<u64>) -> Result<(), StorageError> {
        if dead.is_empty() {
            return Ok(());
        }
        self.sync()?; // That they are gone is on disk.
        for number in dead {
            let name = super::segment::segment_name(number);
            self.backend.remove(&name).map_err(StorageError::io("cannot remove", name))?;
            self.segments.retain(|segment| segment.number != number);
        }
        self.measure();
        Ok(())
    }

    fn look_at_space(&mut self) {
        let now = (self.now)();
        if self.space_looked_at.is_some_and(|at| now < at + SPACE_INTERVAL) {
            return;
        }
        self.space_looked_at = Some(now);
        self.measure();
        if self.min_free_space == 0 && self.stuck.is_none() && self.journal.has_room() {
            return;
        }
        // A file system that cannot tell says so again when it is written to.
        let Ok(free) = self.backend.free_space() else { return };
        // Whatever it says: as long as what was taken cannot be written, nothing more is.
        self.note_full(free < self.min_free_space || self.stuck.is_some());
    }

    fn note_full(&self, is_full: bool) {
        if !self.journal.set_full(is_full) {
            return;
        }
        let minimum = self.min_free_space;
        if is_full {
            tracing::error!(
                min_free_space = minimum,
                "the disk is full: QoS 1 and 2 messages that must be stored are refused until there is space"
            );
        } else {
            tracing::warn!(min_free_space = minimum, "the disk has space again: messages are taken as before");
        }
    }

    /// Bytes of memory that bodies on disk take besides.
    fn recent(&self) -> u64 {
        self.segments.iter().map(|segment| segment.recent()).sum()
    }

    /// Brings the gauges up to date.
    pub(super) fn measure(&self) {
        let storage = &self.journal.metrics.storage;
        storage.segment_bytes.set(self.segments.iter().map(|segment| segment.length()).sum());
        storage.live_bytes.set(self.segments.iter().map(|segment| segment.live()).sum());
        storage.recent_bytes.set(self.recent());
        storage.segments.set(self.segments.len() as u64);
    }
}
