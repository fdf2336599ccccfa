use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::body::Body;
use super::clock::Clock;
use super::config::{Durability, Level};
use super::error::StorageError;
use super::maintain::Cut;
use super::record::Record;
use crate::metrics::Metrics;
use crate::packet::{TopicFilter, TopicName};

/// What the broker tells of its changes, and who waits until they cannot be lost: the side of the journal that all threads share. `W` is
/// whoever waits; the committer hands them back.
#[derive(Debug)]
pub struct Journal<W> {
    pending: Mutex<Pending<W>>,
    told: Condvar,
    /// Bytes that are told and not written, roughly.
    unwritten: AtomicUsize,
    unwritten_max: usize,
    status: AtomicU8,
    next_session: AtomicU64,
    level: Level,
    session_level: Level,
    topics: Vec<(TopicFilter, Level)>,
    /// Why what was written could not be read back.
    breakdown: Mutex<Option<StorageError>>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
}

/// One thing for the journal.
#[derive(Debug)]
pub enum Item {
    /// A new message, with all that is known to wait for it when its turn comes.
    Body(Arc<Body>),
    Record(Record),
    /// A body whose segment is to go.
    Move(Arc<Body>),
    /// A retained message whose place another one or none takes, told in the same transaction as that.
    Superseded(Arc<Body>),
}

/// Changes that are told together: either all of them survive, or none. Kept and used again, so that it need not be allocated.
#[derive(Debug)]
pub struct Transaction<W> {
    items: Vec<Item>,
    /// Who waits for the disk.
    waiters: Vec<W>,
    /// Who waits for the operating system only.
    early: Vec<W>,
    weight: usize,
}

#[derive(Debug)]
pub(super) struct Pending<W> {
    pub items: Vec<Item>,
    pub waiters: Vec<W>,
    pub early: Vec<W>,
    pub weight: usize,
    pub commands: Vec<Command>,
    pub is_stopping: bool,
    is_idle: bool,
}

/// What the keeper asks of the committer.
#[derive(Debug)]
pub(super) enum Command {
    /// Begin a new segment: a checkpoint will hold all that was told before it.
    Cut(Sender<Cut>),
    /// The same, if a checkpoint is worth it.
    Consider(Sender<Option<Cut>>),
    /// Answer once all that was told before is on disk.
    Sync(Sender<()>),
    /// The same, and tell which segments there are, with their bytes.
    Files(Sender<Vec<(String, u64)>>),
    /// The checkpoint before this segment is on disk: what only older ones need can go.
    Checkpointed {
        segment: u64,
        bytes: u64,
    },
    /// Nothing is removed until the number of releases matches that of these.
    Hold,
    Release,
}

impl<W> Default for Transaction<W> {
    fn default() -> Self {
        Self { items: Vec::new(), waiters: Vec::new(), early: Vec::new(), weight: 0 }
    }
}

impl<W> Default for Pending<W> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            waiters: Vec::new(),
            early: Vec::new(),
            weight: 0,
            commands: Vec::new(),
            is_stopping: false,
            is_idle: false,
        }
    }
}

impl<W> Transaction<W> {
    pub fn push(&mut self, item: Item) {
        self.weight += item.weight();
        self.items.push(item);
    }

    pub fn record(&mut self, record: Record) {
        self.push(Item::Record(record));
    }

    pub fn wait(&mut self, waiter: W, level: Level) {
        self.waiters_of(level).push(waiter);
    }

    /// Those who wait so far, the latest last.
    pub fn waiters_of(&mut self, level: Level) -> &mut Vec<W> {
        if level == Level::Os { &mut self.early } else { &mut self.waiters }
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.waiters.is_empty() && self.early.is_empty()
    }
}

impl Item {
    fn weight(&self) -> usize {
        match self {
            Self::Body(body) | Self::Move(body) => body.size() + 64,
            Self::Record(record) => record.weight(),
            Self::Superseded(_) => 16,
        }
    }
}

const RUNNING: u8 = 0;
const FULL: u8 = 1;
const FAILED: u8 = 2;
const STOPPED: u8 = 3;

/// Changes that nobody waits for are written this much later at the most.
const PATIENCE: Duration = Duration::from_millis(10);
/// How long the committer sleeps when nothing is told: then it looks at the disk's free space.
const IDLE: Duration = Duration::from_secs(1);
/// Bytes that are written although nobody waits for them.
const URGENT: usize = 1 << 20;

impl<W> Journal<W> {
    pub(super) fn new(config: &Durability, next_session: u64, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let topics = config.topics.iter().filter_map(|topic| Some((TopicFilter::new(&topic.filter).ok()?, topic.level)));
        Self {
            pending: Mutex::default(),
            told: Condvar::new(),
            unwritten: AtomicUsize::new(0),
            unwritten_max: usize::try_from(config.max_unwritten.0).unwrap_or(usize::MAX),
            status: AtomicU8::new(RUNNING),
            next_session: AtomicU64::new(next_session),
            level: config.level,
            session_level: config.highest(),
            topics: topics.collect(),
            breakdown: Mutex::new(None),
            clock,
            metrics,
        }
    }

    /// The level of messages to this topic.
    pub fn level(&self, topic: TopicName<'_>) -> Level {
        let special = self.topics.iter().find(|(filter, _)| filter.matches(topic));
        special.map_or(self.level, |(_, level)| *level)
    }

    /// The level of sessions, subscriptions, and exchanges.
    pub const fn session_level(&self) -> Level {
        self.session_level
    }

    /// A number that no session has had before.
    pub fn next_session(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn sessions_so_far(&self) -> u64 {
        self.next_session.load(Ordering::Acquire)
    }

    /// Whether messages that need the disk can be taken: it is neither full nor broken.
    pub fn has_room(&self) -> bool {
        self.status.load(Ordering::Acquire) == RUNNING
    }

    /// So much waits to be written that those whose messages it is should be read from no further.
    pub fn is_behind(&self) -> bool {
        self.unwritten.load(Ordering::Relaxed) > self.unwritten_max
    }

    /// Gives what a thread has gathered. From here on, whoever waits is handed back once it is safe, or never.
    pub fn submit(&self, transaction: &mut Transaction<W>) {
        if transaction.is_empty() {
            return;
        }
        let mut pending = self.pending.lock();
        pending.items.append(&mut transaction.items);
        pending.waiters.append(&mut transaction.waiters);
        pending.early.append(&mut transaction.early);
        let weight = std::mem::take(&mut transaction.weight);
        self.added(pending, weight);
    }

    /// Gives the changes of a thread at once, where their order among those of others matters. Those who wait for them are given later, by
    /// [`Self::submit`]: one for many changes.
    pub fn submit_changes(&self, transaction: &mut Transaction<W>) {
        if transaction.items.is_empty() {
            return;
        }
        let mut pending = self.pending.lock();
        pending.items.append(&mut transaction.items);
        let weight = std::mem::take(&mut transaction.weight);
        self.added(pending, weight);
    }

    /// Tells one change; the order of those told under one lock is kept.
    pub fn tell(&self, item: Item) {
        let weight = item.weight();
        let mut pending = self.pending.lock();
        pending.items.push(item);
        self.added(pending, weight);
    }

    /// Tells changes of which either all or none survive.
    pub fn tell_together<const N: usize>(&self, items: [Item; N]) {
        let weight = items.iter().map(Item::weight).sum();
        let mut pending = self.pending.lock();
        pending.items.extend(items);
        self.added(pending, weight);
    }

    fn added(&self, mut pending: parking_lot::MutexGuard<'_, Pending<W>>, weight: usize) {
        let was_light = pending.weight == 0;
        pending.weight += weight;
        self.unwritten.fetch_add(weight, Ordering::Relaxed);
        let is_news = was_light || pending.is_urgent();
        if is_news && std::mem::take(&mut pending.is_idle) {
            drop(pending);
            self.told.notify_one();
        }
    }

    pub(super) fn command(&self, command: Command) {
        let mut pending = self.pending.lock();
        pending.commands.push(command);
        pending.is_idle = false;
        drop(pending);
        self.told.notify_one();
    }

    /// Asks the committer to end once all that was told is on disk.
    pub fn stop(&self) {
        self.pending.lock().is_stopping = true;
        self.told.notify_one();
    }

    /// Waits until there is something to write, and takes it; after a while also if there is not.
    pub(super) fn wait(&self) {
        let mut pending = self.pending.lock();
        let mut patience = IDLE;
        while !pending.is_urgent() && !self.has_failed() {
            if pending.weight > 0 {
                patience = PATIENCE;
            }
            pending.is_idle = true;
            let is_over = self.told.wait_for(&mut pending, patience).timed_out();
            pending.is_idle = false;
            if is_over {
                return;
            }
        }
    }

    /// `memory` is for the items of the next batch, and empty.
    pub(super) fn take(&self, memory: Vec<Item>) -> Pending<W> {
        let mut pending = self.pending.lock();
        let next = Pending { items: memory, is_stopping: pending.is_stopping, ..Pending::default() };
        std::mem::replace(&mut pending, next)
    }

    /// Someone stands still until the committer has its turn.
    #[cfg(test)]
    pub(super) fn awaits_answer(&self) -> bool {
        matches!(
            self.pending.lock().commands.last(),
            Some(Command::Cut(_) | Command::Consider(_) | Command::Sync(_) | Command::Files(_))
        )
    }

    pub(super) fn is_drained(&self) -> bool {
        self.pending.lock().is_empty()
    }

    pub(super) fn wrote(&self, weight: usize) {
        self.unwritten.fetch_sub(weight, Ordering::Relaxed);
    }

    pub(super) fn set_full(&self, is_full: bool) -> bool {
        let (from, to) = if is_full { (RUNNING, FULL) } else { (FULL, RUNNING) };
        self.status.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// What was written cannot be read back: nothing is acknowledged any more, and the committer ends with this error.
    pub fn break_down(&self, error: StorageError) {
        self.breakdown.lock().get_or_insert(error);
        self.set_failed();
        self.told.notify_one();
    }

    pub(super) fn broken_down(&self) -> Option<StorageError> {
        self.breakdown.lock().take()
    }

    pub(super) fn set_failed(&self) {
        self.status.store(FAILED, Ordering::Release);
    }

    /// Nothing will be written any more.
    pub fn is_over(&self) -> bool {
        self.has_failed() || self.status.load(Ordering::Acquire) == STOPPED
    }

    pub(super) fn set_stopped(&self) {
        self.status.store(STOPPED, Ordering::Release);
    }

    pub fn has_failed(&self) -> bool {
        self.status.load(Ordering::Acquire) == FAILED
    }
}

impl<W> Pending<W> {
    fn is_urgent(&self) -> bool {
        !self.waiters.is_empty()
            || !self.early.is_empty()
            || !self.commands.is_empty()
            || self.is_stopping
            || self.weight > URGENT
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.waiters.is_empty() && self.early.is_empty()
    }
}
