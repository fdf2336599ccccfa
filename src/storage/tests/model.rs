//! A small broker, a disk that forgets, and a seed that decides all the rest: what was promised is there after every crash.
//!
//! `DUNLIN_STORAGE_SEEDS=1000..50000` runs other seeds than the few of every test run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::promises::{End, Promises};
use super::small_broker::SmallBroker;
use super::*;
use crate::storage::fake::{Call, Random, Trouble};

const LIVES: usize = 5;

/// Tells which seed it was, if there is something to tell.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("again with DUNLIN_STORAGE_SEEDS={}..{}", self.0, self.0 + 1);
        }
    }
}

#[test]
fn what_was_promised_is_there_after_every_crash() {
    let seeds = std::env::var("DUNLIN_STORAGE_SEEDS").unwrap_or_else(|_| "0..100".into());
    let (first, last) = seeds.split_once("..").expect("FIRST..LAST");
    for seed in first.parse().unwrap()..last.parse().unwrap() {
        let _seed = Seed(seed);
        run(seed);
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let config = config(random.pick(&[1024, 4096, 16384]));
    let mut backend = FakeBackend::new();
    let (mut promises, mut messages) = (Promises::default(), 0);
    for _ in 0..LIVES {
        let opened = open_after(End::PowerCut, &mut backend, &config, &mut random);
        let mut life = Life::new(backend, opened, random.number(), promises, messages);
        life.live(&mut random);
        let end = random.pick(&[End::Kill, End::PowerCut]);
        backend = left(end, &life.backend, &mut random);
        let mut old = life.broker.into_inner();
        messages = old.messages;
        let opened = open_after(end, &mut backend, &config, &mut random);
        let found = SmallBroker::new(&opened, 0, Promises::default(), messages);
        old.promises.check(&found.in_words(), end);
        promises = old.promises;
        assert_counts_are_true(&opened.committer, &found);
    }
}

fn left(end: End, backend: &FakeBackend, random: &mut Random) -> FakeBackend {
    if end == End::Kill { backend.kill() } else { backend.crash(random) }
}

/// Opens it, though the process ends again and again while that is tried.
fn open_after(end: End, backend: &mut FakeBackend, config: &Durability, random: &mut Random) -> Opened<u64> {
    while random.one_in(3) {
        backend.fail(Call::Change, 1 + random.below(8), Trouble::Broken, true);
        let opened = open_with(backend, config, None);
        assert!(!matches!(opened, Err(StorageError::Damaged(_))), "{opened:?}");
        *backend = left(end, backend, random);
    }
    open_with(backend, config, None).unwrap()
}

/// Live bytes are those of the bodies that somebody waits for.
fn assert_counts_are_true(committer: &Committer<u64>, broker: &SmallBroker) {
    let mut bodies: Vec<_> = broker.bodies().collect();
    bodies.sort_by_key(|body| Arc::as_ptr(body));
    bodies.dedup_by_key(|body| Arc::as_ptr(body));
    for segment in &committer.segments {
        let its = bodies.iter().filter(|body| body.stored_in().is_some_and(|(there, _)| there.number == segment.number));
        assert_eq!(segment.live(), its.map(|body| body.frame_length()).sum::<u64>(), "{}", segment.name());
    }
}

/// From one start to the next crash.
struct Life {
    backend: FakeBackend,
    committer: Committer<u64>,
    keeper: Keeper<u64>,
    broker: Mutex<SmallBroker>,
    is_over: bool,
}

impl Life {
    fn new(backend: FakeBackend, opened: Opened<u64>, seed: u64, promises: Promises, messages: u64) -> Self {
        let broker = Mutex::new(SmallBroker::new(&opened, seed, promises, messages));
        let committer = opened.committer;
        let keeper = Keeper::new(committer.journal().clone(), Arc::new(backend.clone()));
        Self { backend, committer, keeper, broker, is_over: false }
    }

    fn live(&mut self, random: &mut Random) {
        let turns = random.below(60);
        if random.one_in(2) {
            self.backend.fail(Call::Change, 1 + random.below(3 * turns + 1), Trouble::Broken, true);
        }
        for _ in 0..turns {
            for _ in 0..random.below(8) {
                self.broker.lock().act();
            }
            match random.below(12) {
                0 => self.tend(),
                1 => self.hold(random),
                _ => self.commit(),
            }
            if self.is_over {
                return;
            }
        }
        if random.one_in(2) {
            self.rest();
        }
    }

    /// All is given to the journal and written.
    fn rest(&mut self) {
        self.broker.lock().submit(0);
        self.broker.lock().submit(1);
        self.commit();
        if !self.is_over {
            assert_counts_are_true(&self.committer, &self.broker.lock());
        }
    }

    fn commit(&mut self) {
        self.is_over |= commit(&mut self.committer, &self.broker).is_err();
    }

    fn tend(&mut self) {
        let keeper = &self.keeper;
        self.is_over |= beside(&mut self.committer, &self.broker, |walk| keeper.tend(walk)).is_none();
    }

    /// A copy of what is held opens, and has nothing that was not there.
    fn hold(&mut self, random: &mut Random) {
        let keeper = &self.keeper;
        let held = beside(&mut self.committer, &self.broker, |walk| keeper.hold(walk));
        self.is_over |= held.is_none();
        let Some(Some(held)) = held else { return };
        for _ in 0..random.below(4) {
            self.broker.lock().act();
            self.tend();
            if self.is_over {
                return;
            }
        }
        let copy = self.backend.copy(&held.files);
        open_with(&copy, &config(4096), None).unwrap();
    }
}

fn commit(committer: &mut Committer<u64>, broker: &Mutex<SmallBroker>) -> Result<Committed, StorageError> {
    let mut calls = 0;
    committer.commit(&mut |released| {
        // Those who wait for the operating system come first.
        broker.lock().released(&released, calls % 2 == 1);
        calls += 1;
    })
}

/// Lets the keeper work on a thread of its own, and commits only when it stands still, so that a seed always does the same. `None`: the
/// disk has failed.
fn beside<T: Send>(
    committer: &mut Committer<u64>,
    broker: &Mutex<SmallBroker>,
    work: impl FnOnce(&dyn Walk) -> Result<T, StorageError> + Send,
) -> Option<T> {
    let walk = Show { broker, wants_commit: AtomicBool::new(false) };
    let journal = committer.journal().clone();
    let mut has_failed = false;
    std::thread::scope(|scope| {
        let keeper = scope.spawn(|| work(&walk));
        while !keeper.is_finished() {
            let is_wanted = walk.wants_commit.load(Ordering::Acquire);
            if is_wanted || journal.awaits_answer() {
                if !is_wanted {
                    broker.lock().go_on();
                }
                has_failed = has_failed || commit(committer, broker).is_err();
                walk.wants_commit.store(false, Ordering::Release);
            }
            std::thread::park_timeout(Duration::from_micros(20));
        }
        let result = keeper.join().unwrap();
        if has_failed { None } else { result.ok() }
    })
}

/// Shows the broker while it goes on.
struct Show<'a> {
    broker: &'a Mutex<SmallBroker>,
    wants_commit: AtomicBool,
}

impl Show<'_> {
    fn meanwhile(&self) {
        let wants_commit = {
            let mut broker = self.broker.lock();
            for _ in 0..broker.random.below(3) {
                broker.act();
            }
            broker.random.one_in(4)
        };
        self.wants_commit.store(wants_commit, Ordering::Release);
        while self.wants_commit.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_micros(20));
        }
    }
}

impl Walk for Show<'_> {
    fn walk(&self, walker: &mut Walker<'_>) {
        let numbers: Vec<_> = self.broker.lock().sessions.keys().copied().collect();
        for number in numbers {
            self.meanwhile();
            if let Some(session) = self.broker.lock().sessions.get(&number) {
                session.show(number, walker);
            }
            walker.pause();
        }
        let mut from = String::new();
        loop {
            self.meanwhile();
            let broker = self.broker.lock();
            let Some((topic, retained)) = broker.retained.range(from.clone()..).next() else { return };
            walker.retained(topic, &retained.publisher, &retained.body);
            from = format!("{topic}\0");
        }
    }
}
