//! Keeping the journal short: checkpoints, and making room.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::backend::Backend;
use super::body::Body;
use super::checkpoint::{UNFINISHED, Walk, Walker, checkpoint_name};
use super::commit::Committer;
use super::error::StorageError;
use super::journal::{Command, Item, Journal};
use super::segment::Segment;

/// Where a checkpoint is to begin, and what should go afterwards.
#[derive(Debug)]
pub(super) struct Cut {
    /// Replay begins with this segment.
    pub segment: u64,
    /// Segments that are mostly dead.
    pub victims: HashSet<u64>,
}

/// Segments that may be dead or replayed before anything is done about it.
const SLACK: u64 = 2;

impl Cut {
    /// Whether the segments that a replay would read are many, or dead bytes outnumber the living.
    pub fn is_worth_it<W>(committer: &Committer<W>) -> bool {
        let slack = SLACK * committer.segment_size;
        let sum = |segments: &dyn Fn(&Segment) -> u64| committer.segments.iter().map(|segment| segments(segment)).sum::<u64>();
        let log = sum(&|segment| if segment.number < committer.checkpoint { 0 } else { segment.length() });
        let (all, live) = (sum(&Segment::length), sum(&Segment::live));
        log > slack.max(committer.checkpoint_bytes) || all - live.min(all) > live.max(slack) && log > committer.segment_size / 2
    }

    pub fn of<W>(committer: &Committer<W>) -> Self {
        let segments: Vec<_> = committer.segments.iter().cloned().collect();
        let (current, old) = segments.split_last().expect("there is always a segment to write to");
        Self { segment: current.number, victims: victims(old, SLACK * committer.segment_size) }
    }
}

/// The segments with the least life, until no more than half of the rest is dead.
fn victims(segments: &[Arc<Segment>], slack: u64) -> HashSet<u64> {
    let live: u64 = segments.iter().map(|segment| segment.live()).sum();
    let mut all: u64 = segments.iter().map(|segment| segment.length()).sum();
    let mut candidates: Vec<_> = segments.iter().map(|segment| (segment.live(), segment.length(), segment.number)).collect();
    candidates.sort_by_key(|(live, length, _)| live * 1000 / length.max(&1));
    let mut victims = HashSet::new();
    for (its_live, length, number) in candidates {
        let is_enough = all <= live + (live / 2).max(slack);
        if is_enough || its_live * 4 > length * 3 {
            break;
        }
        all -= length - its_live;
        victims.insert(number);
    }
    victims
}

/// Makes checkpoints and has dead segments removed, beside the committer and on a thread of its own.
#[derive(Debug)]
pub struct Keeper<W> {
    journal: Arc<Journal<W>>,
    backend: Arc<dyn Backend>,
    /// One checkpoint at a time.
    turn: parking_lot::Mutex<Backoff>,
    /// Shared with all that is held.
    held: Arc<()>,
}

/// When to try again after a checkpoint that failed: each one costs a segment, and a walk over everything.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    /// Looks that are passed over before the next try.
    passes: u32,
}

/// No more looks than these are passed over.
const PASSES_MAX: u32 = 15;

impl Backoff {
    fn failed(&mut self) {
        self.failures = (self.failures + 1).min(PASSES_MAX.ilog2() + 1);
        self.passes = (1 << self.failures) - 1;
    }

    /// Whether it is too early.
    fn passes(&mut self) -> bool {
        let is_early = self.passes > 0;
        self.passes = self.passes.saturating_sub(1);
        is_early
    }
}

/// Files that stay as they are as long as this lives, and make a whole data directory together.
#[derive(Debug)]
pub struct Held<W> {
    journal: Arc<Journal<W>>,
    _held: Arc<()>,
    /// Names, and how many bytes of each belong to it.
    pub files: Vec<(String, u64)>,
}

impl<W> Drop for Held<W> {
    fn drop(&mut self) {
        self.journal.command(Command::Release);
    }
}

/// Bodies are moved so many bytes at a time, so that others' commits stay quick.
const MOVE_STEP: usize = 1 << 20;

impl<W> Keeper<W> {
    pub fn new(journal: Arc<Journal<W>>, backend: Arc<dyn Backend>) -> Self {
        Self { journal, backend, turn: parking_lot::Mutex::default(), held: Arc::default() }
    }

    /// Makes a checkpoint and makes room, if it is worth it. Returns whether it was. Called again and again; after one that failed some of
    /// the calls are passed over.
    ///
    /// # Errors
    /// When a checkpoint cannot be written, which leaves the older one in force. A full disk is no error.
    pub fn tend(&self, state: &dyn Walk) -> Result<bool, StorageError> {
        let mut backoff = self.turn.lock();
        if backoff.passes() {
            return Ok(false);
        }
        let Some(cut) = self.ask(Command::Consider).flatten() else { return Ok(false) };
        let made = self.checkpoint(&cut, state);
        if made.is_ok() {
            *backoff = Backoff::default()
        } else {
            backoff.failed()
        }
        match made {
            Ok(_) => Ok(true),
            Err(error) if error.is_full() => {
                let _ = self.backend.remove(UNFINISHED); // What there is of it may be what the disk is short of.
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a checkpoint now, and holds all files for a copy.
    ///
    /// # Errors
    /// As [`Self::tend`]; `None` if the committer has stopped.
    pub fn hold(&self, state: &dyn Walk) -> Result<Option<Held<W>>, StorageError> {
        let _turn = self.turn.lock();
        self.journal.command(Command::Hold);
        let mut held = Held { journal: self.journal.clone(), _held: self.held.clone(), files: Vec::new() };
        let Some(cut) = self.ask(Command::Cut) else { return Ok(None) };
        let Some(bytes) = self.checkpoint(&cut, state)? else { return Ok(None) };
        // What the walk saw may lie in segments that began since.
        let Some(segments) = self.ask(Command::Files) else { return Ok(None) };
        held.files.push((checkpoint_name(cut.segment), bytes));
        held.files.extend(segments);
        Ok(Some(held))
    }

    fn checkpoint(&self, cut: &Cut, state: &dyn Walk) -> Result<Option<u64>, StorageError> {
        let mut walker = Walker::begin(&*self.backend, cut.segment, self.journal.sessions_so_far(), &cut.victims)?;
        state.walk(&mut walker);
        let bytes = walker.end()?;
        if !self.wait_for(&std::mem::take(&mut walker.unwritten)) {
            return Ok(None);
        }
        walker.publish(&*self.backend, Arc::strong_count(&self.held) > 1)?;
        let segment = cut.segment;
        self.journal.command(Command::Checkpointed { segment, bytes });
        self.journal.metrics.storage.checkpoint_bytes.set(bytes);
        if self.move_out(std::mem::take(&mut walker.to_move)).is_none() {
            return Ok(None);
        }
        self.journal.command(Command::Checkpointed { segment, bytes });
        tracing::debug!(segment, bytes, moved_from = cut.victims.len(), "checkpoint written");
        Ok(Some(bytes))
    }

    /// Waits until the bodies are on disk, or nobody wants them any more. `false`: the committer has stopped.
    fn wait_for(&self, bodies: &[Arc<Body>]) -> bool {
        loop {
            // First the look, then the sync: what is written in between is not synced.
            let are_written = !bodies.iter().any(|body| body.is_wanted_unwritten());
            if self.ask(Command::Sync).is_none() {
                return false;
            }
            if are_written {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// `None`: the committer has stopped.
    fn move_out(&self, mut bodies: Vec<Arc<Body>>) -> Option<()> {
        let mut step = 0;
        bodies.sort_by_key(|body| body.place());
        bodies.dedup_by(|one, other| Arc::ptr_eq(one, other));
        for body in bodies {
            step += body.size();
            self.journal.tell(Item::Move(body));
            if step > MOVE_STEP {
                self.ask(Command::Sync)?;
                step = 0;
            }
        }
        self.ask(Command::Sync)
    }

    /// `None`: the committer has stopped, or could not do it.
    fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Option<T> {
        let (reply, answer): (_, Receiver<T>) = channel();
        self.journal.command(command(reply));
        loop {
            match answer.recv_timeout(Duration::from_millis(200)) {
                Ok(answer) => return Some(answer),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) if !self.journal.is_over() => {}
                Err(_) => return None,
            }
        }
    }
}
