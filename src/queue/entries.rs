use super::entry::{Course, Entry, ORDER, State};
use super::index::Index;
use super::list::{Linked, List};
use super::slab::{NONE, Slab};
use super::time::UnixMillis;
use super::wheel::Wheel;

/// The messages of a queue, by number and by age, with their timers.
#[derive(Debug)]
pub(super) struct Entries<B> {
    pub(super) slab: Slab<Entry<B>>,
    index: Index,
    order: List<ORDER>,
    /// All before it in `order` are leased.
    first_waiting: u32,
    courses: Slab<Course>,
    wheel: Wheel<0>,
    bytes: u64,
    leased: usize,
    leased_bytes: u64,
    waiting: usize,
}

impl<B> Entries<B> {
    pub(super) fn new(now: UnixMillis) -> Self {
        Self {
            slab: Slab::new(),
            index: Index::default(),
            order: List::default(),
            first_waiting: NONE,
            courses: Slab::new(),
            wheel: Wheel::new(now),
            bytes: 0,
            leased: 0,
            leased_bytes: 0,
            waiting: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn leased(&self) -> usize {
        self.leased
    }

    pub(super) const fn leased_bytes(&self) -> u64 {
        self.leased_bytes
    }

    /// Those that nobody gets before some moment.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn find(&self, seq: u64) -> Option<u32> {
        self.index.find(seq, |id| self.slab[id].seq == seq)
    }

    /// Adds a message that is ready, as the youngest.
    pub(super) fn insert(&mut self, entry: Entry<B>) -> u32 {
        let seq = entry.seq;
        self.bytes += u64::from(entry.size);
        let id = self.slab.insert(entry);
        self.index.insert(seq, id, |id| self.slab[id].seq);
        self.order.push_back(&mut self.slab, id);
        if self.first_waiting == NONE {
            self.first_waiting = id;
        }
        id
    }

    /// What has become of a message.
    pub(super) fn course(&self, id: u32) -> &Course {
        self.course_of(&self.slab[id])
    }

    pub(super) fn course_of(&self, entry: &Entry<B>) -> &Course {
        if entry.course == NONE { &Course::NONE } else { &self.courses[entry.course] }
    }

    /// The same, to be changed: from now on it has one.
    pub(super) fn course_mut(&mut self, id: u32) -> &mut Course {
        let entry = &mut self.slab[id];
        if entry.course == NONE {
            entry.course = self.courses.insert(Course::of(id));
        }
        &mut self.courses[entry.course]
    }

    /// Takes a message out that is in no lane and no key any more.
    pub(super) fn remove(&mut self, id: u32) -> (Entry<B>, Course) {
        self.set_state(id, State::Ready);
        if self.first_waiting == id {
            self.first_waiting = self.slab[id].next(ORDER);
        }
        self.order.remove(&mut self.slab, id);
        let entry = self.slab.remove(id);
        self.bytes -= u64::from(entry.size);
        self.index.remove(entry.seq, id);
        let mut course = Course::NONE;
        if entry.course != NONE {
            self.wheel.remove(&mut self.courses, entry.course);
            course = self.courses.remove(entry.course);
        }
        (entry, course)
    }

    pub(super) fn set_state(&mut self, id: u32, state: State) {
        let before = std::mem::replace(&mut self.slab[id].state, state);
        self.leased = self.leased + usize::from(state == State::Leased) - usize::from(before == State::Leased);
        let size = u64::from(self.slab[id].size);
        self.leased_bytes =
            self.leased_bytes + size * u64::from(state == State::Leased) - size * u64::from(before == State::Leased);
        self.waiting = self.waiting + usize::from(state == State::Waiting) - usize::from(before == State::Waiting);
        if before == State::Leased && state != State::Leased && self.is_before_hint(id) {
            self.first_waiting = id;
        }
    }

    /// Sets the timer anew after state, deadline or expiry have changed.
    pub(super) fn retime(&mut self, id: u32) {
        let Entry { course, state, .. } = self.slab[id];
        if course == NONE {
            return;
        }
        self.wheel.remove(&mut self.courses, course);
        let due = self.courses[course].due_as(state);
        self.courses[course].due = due;
        if due != UnixMillis::NEVER {
            self.wheel.insert(&mut self.courses, course);
        }
    }

    /// A message whose time has come: the end of its lease, of its delay, or of its life.
    pub(super) fn pop_due(&mut self, now: UnixMillis) -> Option<u32> {
        self.wheel.pop_due(&mut self.courses, now).map(|course| self.courses[course].of)
    }

    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        self.wheel.next_due()
    }

    pub(super) fn oldest(&self) -> Option<u32> {
        self.order.front()
    }

    pub(super) fn youngest(&self) -> Option<&Entry<B>> {
        self.order.back().map(|id| &self.slab[id])
    }

    /// The oldest that no consumer has.
    pub(super) fn oldest_waiting(&mut self) -> Option<u32> {
        while self.first_waiting != NONE && self.slab[self.first_waiting].state == State::Leased {
            self.first_waiting = self.slab[self.first_waiting].next(ORDER);
        }
        (self.first_waiting != NONE).then_some(self.first_waiting)
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry<B>> {
        self.order.iter(&self.slab).map(|id| &self.slab[id])
    }

    pub(super) fn first_after(&self, seq: u64) -> Option<u32> {
        match self.find(seq) {
            Some(id) => Some(self.slab[id].next(ORDER)).filter(|next| *next != NONE),
            None => self.order.iter(&self.slab).find(|id| self.slab[*id].seq > seq),
        }
    }

    /// Whether it is older than what `first_waiting` names. Age goes by date, then by number: what came back from the dead letters
    /// has an old number and a new date.
    fn is_before_hint(&self, id: u32) -> bool {
        let age = |id: u32| (self.slab[id].enqueued_at, self.slab[id].seq);
        self.first_waiting == NONE || age(id) < age(self.first_waiting)
    }
}
