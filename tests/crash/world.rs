//! What the actors of the kill test share: where the broker is now, the clock, what was sent, what came.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::model::{Audience, Delivery, History, Judgement, Key, Message, Tick};
use crate::support::PATIENCE;

pub struct World {
    pub seed: u64,
    clock: AtomicU64,
    phase: AtomicU8,
    cycle: AtomicUsize,
    /// Grows with everything that gets on, so that standing still is seen.
    progress: AtomicU64,
    door: Mutex<Option<SocketAddr>>,
    opened: Condvar,
    history: Vec<Mutex<Vec<Message>>>,
    audiences: Vec<Mutex<Attendance>>,
    wrong: Mutex<Vec<String>>,
}

/// An audience while the test runs.
pub struct Attendance {
    pub audience: Audience,
    /// What must still come; told once all is published.
    owed: Option<HashSet<Key>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Publish, be killed, resume.
    Storm = 0,
    /// Publishers bring what they have begun to its end.
    Finish = 1,
    /// Subscribers take what is left.
    Drain = 2,
    /// Go home.
    Over = 3,
}

impl World {
    pub fn new(seed: u64, publishers: usize, audiences: Vec<Audience>) -> Self {
        Self {
            seed,
            clock: AtomicU64::new(1),
            phase: AtomicU8::new(Phase::Storm as u8),
            cycle: AtomicUsize::new(0),
            progress: AtomicU64::new(0),
            door: Mutex::new(None),
            opened: Condvar::new(),
            history: (0..publishers).map(|_| Mutex::default()).collect(),
            audiences: audiences.into_iter().map(|audience| Mutex::new(Attendance { audience, owed: None })).collect(),
            wrong: Mutex::default(),
        }
    }

    /// A moment later than all before, as long as those who compare them have heard from each other.
    pub fn tick(&self) -> Tick {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Storm,
            1 => Phase::Finish,
            2 => Phase::Drain,
            _ => Phase::Over,
        }
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
        self.opened.notify_all();
    }

    pub fn cycle(&self) -> usize {
        self.cycle.load(Ordering::SeqCst)
    }

    /// A broker is there.
    pub fn open(&self, address: SocketAddr) {
        self.cycle.fetch_add(1, Ordering::SeqCst);
        *lock(&self.door) = Some(address);
        self.opened.notify_all();
    }

    /// It is not any more.
    pub fn close(&self) {
        *lock(&self.door) = None;
    }

    /// Where to connect, once there is a broker; `None` when the test is over.
    pub fn wait_for_broker(&self) -> Option<SocketAddr> {
        let mut door = lock(&self.door);
        while self.phase() < Phase::Over {
            if let Some(address) = *door {
                return Some(address);
            }
            door = self.opened.wait_timeout(door, Duration::from_millis(100)).expect("no panic at the door").0;
        }
        None
    }

    /// The connection did not last; not to be tried again in a tight loop.
    pub fn take_breath(&self) {
        std::thread::sleep(Duration::from_millis(3));
    }

    /// Waits while the phase lasts; `false` once it is another.
    pub fn pause(&self, span: Duration, phase: Phase) -> bool {
        let end = Instant::now() + span;
        while self.phase() == phase {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
        false
    }

    pub fn advance(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Waits for `done`; gives up when nothing gets on for a while.
    pub fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let mut last = (self.progress(), Instant::now());
        while !done() {
            std::thread::sleep(Duration::from_millis(10));
            if self.progress() != last.0 {
                last = (self.progress(), Instant::now());
            }
            if last.1.elapsed() > PATIENCE {
                return self.complain(format!("it stands still: {what}"));
            }
        }
    }

    /// Something happened that must not.
    pub fn complain(&self, what: String) {
        lock(&self.wrong).push(format!("in cycle {}: {what}", self.cycle()));
    }

    pub fn complaints(&self) -> Vec<String> {
        lock(&self.wrong).clone()
    }

    pub fn has_publisher(&self, publisher: usize) -> bool {
        publisher < self.history.len()
    }

    /// The messages of a publisher.
    pub fn sent_by(&self, publisher: usize) -> MutexGuard<'_, Vec<Message>> {
        lock(&self.history[publisher])
    }

    pub fn audience(&self, index: usize) -> MutexGuard<'_, Attendance> {
        lock(&self.audiences[index])
    }

    pub fn history(&self) -> History {
        self.history.iter().map(|messages| lock(messages).clone()).collect()
    }

    /// All is published: tells every audience what must still come.
    pub fn settle(&self) {
        let history = self.history();
        for attendance in &self.audiences {
            let mut attendance = lock(attendance);
            let mut owed = attendance.audience.owed(&history);
            for delivery in &attendance.audience.deliveries {
                owed.remove(&delivery.key);
            }
            attendance.owed = Some(owed);
        }
    }

    pub fn judge(&self) -> Judgement {
        let history = self.history();
        let mut judgement = Judgement::default();
        for attendance in &self.audiences {
            lock(attendance).audience.judge(&history, &mut judgement);
        }
        judgement
    }
}

impl Attendance {
    pub fn deliver(&mut self, delivery: Delivery) {
        if let Some(owed) = &mut self.owed {
            owed.remove(&delivery.key);
        }
        self.audience.deliveries.push(delivery);
    }

    /// Whether all that was owed has come.
    pub fn has_all(&self) -> bool {
        self.owed.as_ref().is_some_and(HashSet::is_empty)
    }

    pub fn has(&self, key: Key) -> bool {
        self.audience.deliveries.iter().any(|delivery| delivery.key == key)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no actor has panicked")
}
