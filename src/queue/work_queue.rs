use std::collections::VecDeque;

use super::change::Change;
use super::config::Config;
use super::machine::Queue;
use super::snapshot::Showing;
use super::tag::Secret;
use super::time::UnixMillis;
use super::topics::Part;
use super::{QueueName, Record};

/// A queue together with the one that takes its dead letters, as one value under one lock: a death is one change that moves a message
/// from the one to the other, and so is its way back. In both it has the same number.
///
/// Everything that is done to either part goes through [`Self::with`]. After each call: drain [`Self::poll_change`], write what it
/// gives in that order, and then ask both parts for deliveries.
#[derive(Debug)]
pub struct WorkQueue<B> {
    pub(super) main: Queue<B>,
    pub(super) dead: Queue<B>,
    changes: VecDeque<(Part, Change<B>)>,
    /// A walk over it has begun and not ended.
    is_shown: bool,
}

/// Which dead letters go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    /// So many, those that died first.
    First(usize),
    /// The one with this number.
    One(u64),
}

impl<B: Clone> WorkQueue<B> {
    /// An empty one. `seed` is for jitter and lots; the secret must be the one of the data directory.
    pub fn new(name: QueueName, config: Config, secret: Secret, seed: u64, now: UnixMillis) -> Self {
        let dead_config = config.for_dead_letters();
        let main = Queue::new(name.clone(), Part::Main, config, secret, seed, now);
        let dead = Queue::new(name, Part::Dead, dead_config, secret, !seed, now);
        Self { main, dead, changes: VecDeque::new(), is_shown: false }
    }

    /// The numbers of a queue that is made now go on behind those of all that had its name before: consumers may remember them.
    pub fn number_from(&mut self, now: UnixMillis) {
        let first = first_number(now);
        self.main.next_seq = first;
        self.main.reserved = first;
    }

    /// Leaves an empty queue behind, of the same name, and gives what was there.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let Queue { name, config, secret, now, .. } = &self.main;
        let empty = Self::new(name.clone(), config.clone(), *secret, 0, *now);
        std::mem::replace(self, empty)
    }

    pub const fn part(&self, part: Part) -> &Queue<B> {
        match part {
            Part::Main => &self.main,
            Part::Dead => &self.dead,
        }
    }

    /// Bytes of the messages in both parts.
    pub const fn bytes(&self) -> u64 {
        self.main.bytes() + self.dead.bytes()
    }

    /// Does something to one part, and moves what died by it.
    pub fn with<T>(&mut self, part: Part, act: impl FnOnce(&mut Queue<B>) -> T) -> T {
        let result = act(match part {
            Part::Main => &mut self.main,
            Part::Dead => &mut self.dead,
        });
        self.collect();
        result
    }

    /// The next change that must outlive a crash, in the order in which they happened.
    pub fn poll_change(&mut self) -> Option<(Part, Change<B>)> {
        self.changes.pop_front()
    }

    /// What is due by now. Returns whether a lease has run out.
    pub fn handle_timeout(&mut self, now: UnixMillis) -> bool {
        let of_main = self.with(Part::Main, |queue| queue.handle_timeout(now));
        self.with(Part::Dead, |queue| queue.handle_timeout(now)) || of_main
    }

    /// Who has what, also where that would be told later: before a clean end.
    pub fn tell_leases(&mut self) {
        self.with(Part::Main, |queue| queue.tell_leases_until(UnixMillis::NEVER));
        self.with(Part::Dead, |queue| queue.tell_leases_until(UnixMillis::NEVER));
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<UnixMillis> {
        [self.main.poll_timeout(), self.dead.poll_timeout()].into_iter().flatten().min()
    }

    /// Takes other settings for both parts.
    pub fn set_config(&mut self, config: Config) {
        self.dead.set_config(config.for_dead_letters());
        self.main.set_config(config);
    }

    /// Puts dead letters back, with no attempt counted, and says how many. Those that a consumer has stay, and so does the rest once
    /// the queue is full. A message whose key stands still because of it comes before all others of the key, which goes on.
    pub fn redrive(&mut self, which: Which, now: UnixMillis) -> usize {
        let numbers = self.dead.waiting_numbers(which);
        let mut count = 0;
        for seq in numbers {
            if !self.redrive_one(seq, now) {
                break;
            }
            count += 1;
        }
        self.collect();
        count
    }

    /// Lets keys go on that stand still because of messages that are no dead letters any more: `count` of them, or all if there are
    /// fewer. Says how many.
    pub fn unblock_some_of_gone(&mut self, count: usize) -> usize {
        let is_gone = |by: &u64| self.dead.entries.find(*by).is_none();
        let blocked = self.main.ready.blocked.iter();
        let keys: Vec<_> = blocked.filter(|(_, by)| is_gone(by)).map(|(key, _)| *key).take(count).collect();
        self.with(Part::Main, |queue| keys.into_iter().filter(|key| queue.unblock(*key)).count())
    }

    /// Shows the next piece of both parts to `see`: `count` things at the most, and only while `see` says that it takes more. Returns
    /// whether there are more pieces. Between two of them anything may happen to the queue. All pieces together, followed by all changes
    /// from the first one on, or from before it, up to any moment behind the last one, rebuild the queue as it is at that moment.
    pub fn show(&mut self, showing: &mut Showing, count: u32, mut see: impl FnMut(Part, Change<B>) -> bool) -> bool {
        self.is_shown = self.piece(showing, count, &mut see);
        self.is_shown
    }

    /// All that [`Self::show`] shows, at once: a list of changes that rebuilds both parts.
    pub fn snapshot(&self) -> std::vec::IntoIter<(Part, Change<B>)> {
        let (mut showing, mut all) = (Showing::new(), Vec::new());
        let mut see = |part, change| {
            all.push((part, change));
            true
        };
        while self.piece(&mut showing, u32::MAX, &mut see) {}
        all.into_iter()
    }

    /// The queue comes before its dead letters: what dies meanwhile is shown as what it was, or as what it is, or as both.
    fn piece(&self, showing: &mut Showing, count: u32, see: &mut impl FnMut(Part, Change<B>) -> bool) -> bool {
        let part = showing.part;
        match (self.part(part).show(showing.stage, count, &mut |change| see(part, change)), part) {
            (Some(stage), _) => showing.stage = stage,
            (None, Part::Main) => *showing = Showing { part: Part::Dead, ..Showing::new() },
            (None, Part::Dead) => return false,
        }
        true
    }

    /// One message as it is, in one change; `None` if it is not here. For a journal that moves what lives out of an old segment.
    pub fn snapshot_of(&self, part: Part, seq: u64) -> Option<Change<B>> {
        self.part(part).snapshot_of(seq)
    }

    fn redrive_one(&mut self, seq: u64, now: UnixMillis) -> bool {
        let Some(size) = self.dead.size_of(seq) else { return true };
        let now = self.main.advance(now);
        let now = self.main.stamp(seq, now);
        if !self.main.is_free(seq) || !self.main.has_room(size) {
            return false;
        }
        let Some(record) = self.dead.take_redriven(seq, now, |key| self.main.is_blocked_by(key, seq)) else { return true };
        self.main.accept_redriven(&record);
        if self.is_shown {
            // The walk may have passed its place here, and will not find it among the dead letters.
            self.collect();
            self.changes.push_back((Part::Main, Change::Enqueued(record)));
        }
        true
    }

    /// Deaths before what they lead to: the journal then never has a message twice or not at all.
    fn collect(&mut self) {
        gather(&mut self.changes, &mut self.main.changes);
        while let Some(record) = self.main.dead.pop_front() {
            self.dead.accept_dead(record);
        }
        gather(&mut self.changes, &mut self.dead.changes);
    }
}

/// The first number at a moment: no queue gives out more than a thousand in a millisecond. Below 2^53, so that JavaScript can count so far.
pub(super) const fn first_number(now: UnixMillis) -> u64 {
    now.0.saturating_mul(1000)
}

/// Moves no change where there is none before it: they are large.
fn gather<B>(all: &mut VecDeque<(Part, Change<B>)>, more: &mut VecDeque<(Part, Change<B>)>) {
    if all.is_empty() {
        std::mem::swap(all, more);
    } else {
        all.append(more);
    }
}

impl<B: Clone> Queue<B> {
    /// Takes a message that has died; the change that says so is the other part's.
    pub(super) fn accept_dead(&mut self, record: Record<B>) {
        let now = self.advance(record.enqueued_at);
        // A death is not refused: where nothing can make room, there is one too many for a while.
        let _ = self.make_room(record.size, now);
        self.insert(&record);
    }

    /// Takes a message out on its way back, if nobody has it.
    fn take_redriven(&mut self, seq: u64, now: UnixMillis, blocks: impl Fn(super::Key) -> bool) -> Option<Record<B>> {
        let id = self.entries.find(seq)?;
        let letter = self.letters.get(&seq)?.clone();
        let unblocks = letter.key.filter(|key| blocks(*key));
        let (entry, course) = self.take(id);
        self.names.release(course.holder);
        self.letters.remove(&seq);
        self.counters.redriven += 1;
        self.changes.push_back((self.part, Change::Redriven { seq, at: now, unblocks }));
        let is_first = unblocks.is_some();
        let record =
            Record { key: letter.key, leases: course.leases, is_first, ..Record::new(entry.body, seq, entry.size, now) };
        Some(record)
    }

    fn accept_redriven(&mut self, record: &Record<B>) {
        self.insert(record);
        if let Some(key) = record.key.filter(|_| record.is_first) {
            self.ready.unblock(&mut self.entries, key);
        }
    }

    fn is_blocked_by(&self, key: super::Key, seq: u64) -> bool {
        self.ready.blocked.get(&key) == Some(&seq)
    }

    /// Whether no message has this number. One that died here gave it up, so only a queue made anew can have it.
    fn is_free(&self, seq: u64) -> bool {
        self.entries.find(seq).is_none()
    }

    fn size_of(&self, seq: u64) -> Option<u32> {
        self.entries.find(seq).map(|id| self.entries.slab[id].size)
    }

    /// Numbers of messages that no consumer has.
    fn waiting_numbers(&self, which: Which) -> Vec<u64> {
        let is_waiting = |entry: &&super::entry::Entry<B>| entry.state != super::entry::State::Leased;
        let waiting = self.entries.iter().filter(is_waiting).map(|entry| entry.seq);
        match which {
            Which::All => waiting.collect(),
            Which::First(count) => waiting.take(count).collect(),
            Which::One(seq) => self
                .entries
                .find(seq)
                .map(|id| &self.entries.slab[id])
                .filter(is_waiting)
                .map(|entry| entry.seq)
                .into_iter()
                .collect(),
        }
    }
}
