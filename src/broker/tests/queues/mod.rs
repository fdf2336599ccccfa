//! Work queues on a disk that forgets what was not synced: what was acknowledged to a publisher is done, dead, or still there, however
//! often the machine goes down, and in whatever mood its consumers are.
//!
//! `DUNLIN_CRASH_SEEDS=1000..50000` runs other seeds than the few of every test run.

mod corners;
mod ledger;
mod pieces;
mod sender;
mod several;
mod worker;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;

use ledger::{Ledger, Number, Told};
use sender::Sender;
use worker::Worker;

use super::crashes::{Life, Seed};
use super::*;
use crate::queue::{Backoff, Config, KeyMode, OnDead, Part, QueueName, Which};
use crate::storage::fake::{FakeBackend, Random};
use crate::units::Span;

const LIVES: usize = 4;
const MAX_DELIVERIES: u32 = 3;
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// Each is a key of its own where there are keys; the first feeds both queues.
const TOPICS: [&str; 3] = ["w/a", "w/b", "w/c"];
const JOBS: usize = 0;
const AUDIT: usize = 1;
const QUEUES: [&str; 2] = ["jobs", "audit"];
/// How long one step of the clock is.
const TICK: Duration = Duration::from_millis(250);

struct World {
    random: Random,
    senders: Vec<Sender>,
    workers: Vec<Worker>,
    told: Vec<Told>,
    ledgers: [Ledger; 2],
    configs: Vec<Config>,
    /// Milliseconds since the epoch when this life began, and the clock then.
    wall: u64,
    began: Option<Instant>,
    redrives: bool,
}

#[test]
fn what_a_queue_has_acknowledged_is_done_or_dead_or_still_there_after_any_crash() {
    let seeds = std::env::var("DUNLIN_CRASH_SEEDS").unwrap_or_else(|_| "0..60".into());
    let (first, last) = seeds.split_once("..").expect("FIRST..LAST");
    let mut totals = [0; 3];
    for seed in first.parse().unwrap()..last.parse().unwrap() {
        let _seed = Seed(seed);
        let world = World::new(seed).run();
        totals[0] += world.told.iter().filter(|told| told.is_acknowledged).count();
        totals[1] += world.ledgers.iter().map(|ledger| ledger.done.len()).sum::<usize>();
        totals[2] += world.ledgers.iter().map(|ledger| ledger.dead.len()).sum::<usize>();
    }
    assert!(totals.iter().all(|count| *count > 0), "acknowledged, done, dead: {totals:?}");
}

/// Whether a message of this topic belongs into a queue.
fn feeds(topic: &str, queue: usize) -> bool {
    queue == JOBS || topic == TOPICS[0]
}

fn config(name: &str, bind: &str, key: KeyMode) -> Config {
    Config {
        bind: vec![bind.into()],
        ack_timeout: Span(ACK_TIMEOUT),
        max_deliveries: MAX_DELIVERIES,
        backoff: Backoff::List(vec![Span::seconds(1)]),
        dedup_window: Span::seconds(3600),
        key,
        on_dead: OnDead::Skip,
        ..Config::named(QueueName::new(name).unwrap())
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let has_keys = random.one_in(2);
        let redrives = random.one_in(2);
        let key = if has_keys { KeyMode::Topic } else { KeyMode::None };
        let senders = vec![Sender::new("s0", 0, true), Sender::new("s1", 1, true), Sender::new("s2", 2, false)];
        let workers = vec![
            Worker::new("kept", ProtocolVersion::V5, true, JOBS, QoS::AtLeastOnce),
            Worker::new("twice", ProtocolVersion::V5, false, JOBS, QoS::ExactlyOnce),
            Worker::new("old", ProtocolVersion::V311, false, JOBS, QoS::AtLeastOnce),
            Worker::new("clerk", ProtocolVersion::V5, false, AUDIT, QoS::AtLeastOnce),
        ];
        Self {
            random,
            senders,
            workers,
            told: Vec::new(),
            ledgers: [Ledger::new(has_keys), Ledger::new(false)],
            configs: vec![config(QUEUES[JOBS], "w/#", key), config(QUEUES[AUDIT], TOPICS[0], KeyMode::None)],
            wall: WALL,
            began: None,
            redrives,
        }
    }

    fn run(mut self) -> Self {
        let segment_size = self.random.pick(&[1024, 16_384]);
        let mut backend = FakeBackend::new();
        for _ in 0..LIVES {
            let mut life = self.begin(backend.clone(), segment_size);
            let steps = self.random.below(150);
            let left = (0..steps).find_map(|_| self.step(&mut life));
            self.wall = self.now(&life.house) + self.random.below(3000) as u64;
            backend = left.unwrap_or_else(|| self.end(&life));
            self.senders.iter_mut().for_each(Sender::lose);
            self.workers.iter_mut().for_each(Worker::lose);
            self.ledgers.iter_mut().for_each(Ledger::crashed);
        }
        let mut life = self.begin(backend, segment_size);
        self.drain(&mut life);
        self.check();
        self
    }

    fn begin(&mut self, backend: FakeBackend, segment_size: u64) -> Life {
        let life = Life::begin_at(self.wall, backend, segment_size);
        self.began = Some(life.house.now);
        life.house.broker.configure_queues(&self.configs, QueueSettings::default(), life.house.now);
        self.check_present(&life.house);
        life
    }

    /// Milliseconds since the epoch.
    fn now(&self, house: &House) -> u64 {
        let began = self.began.expect("a life has begun");
        self.wall + u64::try_from((house.now - began).as_millis()).unwrap()
    }

    fn end(&mut self, life: &Life) -> FakeBackend {
        if self.random.one_in(2) { life.backend.kill() } else { life.backend.crash(&mut self.random) }
    }

    /// Returns what is left of the disk, if the process has ended.
    fn step(&mut self, life: &mut Life) -> Option<FakeBackend> {
        match self.random.below(24) {
            0..=13 => self.act(&life.house),
            14..=20 => life.commit(),
            21 | 22 => self.pass(life),
            _ if self.random.one_in(4) => return self.tend(life),
            _ if self.random.one_in(4) => {
                let mut acts = self.random.below(10);
                life.tend_while(|house| {
                    if acts > 0 {
                        acts -= 1;
                        self.act(house);
                        self.look(house);
                    }
                });
            }
            _ if self.redrives => self.redrive(life),
            _ => {}
        }
        self.look(&life.house);
        None
    }

    /// A checkpoint is made, and between its pieces anything happens; at times the end of the process.
    fn tend(&mut self, life: &mut Life) -> Option<FakeBackend> {
        let mut left = None;
        life.tend_in_pieces(|life| {
            if left.is_some() {
                return;
            }
            // What was sent since the last pause is read before anything else is: the ledger goes by what came first.
            self.look(&life.house);
            for _ in 0..self.random.below(4) {
                match self.random.below(8) {
                    0 => life.commit(),
                    1 => self.pass(life),
                    2 if self.redrives => self.redrive(life),
                    _ => self.act(&life.house),
                }
                self.look(&life.house);
            }
            if self.random.one_in(60) {
                left = Some(self.end(life));
            }
        });
        if left.is_none() {
            self.look(&life.house);
        }
        left
    }

    fn act(&mut self, house: &House) {
        if self.random.one_in(2) {
            let sender = self.random.below(self.senders.len());
            return self.senders[sender].act(house, &mut self.random, &mut self.told);
        }
        let worker = self.random.below(self.workers.len());
        let ledger = &mut self.ledgers[self.workers[worker].queue];
        self.workers[worker].act(house, &mut self.random, ledger);
    }

    /// The queues do what is due, and everybody reads what there is.
    fn look(&mut self, house: &House) {
        house.broker.tend_queues(house.now);
        let wall = self.now(house);
        self.senders.iter_mut().for_each(|sender| sender.read(house, &mut self.told));
        for worker in &mut self.workers {
            worker.read(house, &mut self.ledgers[worker.queue], &self.told, wall);
        }
    }

    fn pass(&mut self, life: &mut Life) {
        for _ in 0..=self.random.below(20) {
            life.house.now += TICK;
            life.house.broker.handle_timeout(life.house.now);
            self.look(&life.house);
        }
    }

    fn redrive(&mut self, life: &mut Life) {
        let queue = self.random.below(QUEUES.len());
        let which = if self.random.one_in(2) { Which::All } else { Which::First(1) };
        let (broker, now) = (life.house.broker.clone(), life.house.now);
        let id = QueueId::plain(QueueName::new(QUEUES[queue]).unwrap());
        // What comes back begins anew, from when it is back: others may already have it when the operator is told.
        self.ledgers[queue].redriven();
        finish(life, broker.redrive(&id, which, now)).expect("the queue is there");
        self.ledgers[queue].redriven();
    }

    /// Straight after a crash.
    fn check_present(&self, house: &House) {
        for (queue, ledger) in self.ledgers.iter().enumerate() {
            let mut there = BTreeMap::<Number, usize>::new();
            for part in [Part::Main, Part::Dead] {
                for peeked in peek(house, queue, part) {
                    *there.entry(peeked.1).or_default() += 1;
                }
            }
            for (number, told) in self.told.iter().enumerate().filter(|(_, told)| feeds(told.topic, queue)) {
                let count = there.get(&number).copied().unwrap_or(0);
                let is_safe = count > 0 || ledger.done.contains(&number) || told.is_delayed;
                assert!(is_safe || !told.is_acknowledged, "{number} was acknowledged and is not in {}", QUEUES[queue]);
                assert!(count <= 1 || !told.is_once, "{number} is {count} times in {}", QUEUES[queue]);
            }
        }
    }

    /// Good consumers take all that is left, until nothing is.
    fn drain(&mut self, life: &mut Life) {
        for (queue, is_dead) in [(JOBS, false), (AUDIT, false), (JOBS, true), (AUDIT, true)] {
            self.workers.push(Worker::last(queue, is_dead));
        }
        let first = self.workers.len() - 4;
        self.ledgers.iter_mut().for_each(|ledger| ledger.is_draining = true);
        for _ in 0..1000 {
            for sender in &mut self.senders {
                sender.connect(&life.house);
            }
            for worker in &mut self.workers[first..] {
                worker.connect(&life.house);
                worker.accept_all(&life.house, &mut self.ledgers[worker.queue]);
            }
            life.commit();
            life.house.now += TICK;
            life.house.broker.handle_timeout(life.house.now);
            self.look(&life.house);
            let is_empty = |queue| [Part::Main, Part::Dead].iter().all(|part| peek(&life.house, queue, *part).is_empty());
            let delayed = life.house.broker.delayed_counts().0;
            if self.senders.iter().all(Sender::is_idle) && delayed == 0 && is_empty(JOBS) && is_empty(AUDIT) {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn check(&self) {
        for (queue, ledger) in self.ledgers.iter().enumerate() {
            for (number, told) in self.told.iter().enumerate().filter(|(_, told)| feeds(told.topic, queue)) {
                let is_safe = ledger.done.contains(&number) || ledger.dead.contains(&number);
                assert!(is_safe || !told.is_acknowledged, "{number} was acknowledged, and is lost in {}", QUEUES[queue]);
            }
        }
    }
}

/// The numbers of a queue's messages, in the queue and among what was told.
fn peek(house: &House, queue: usize, part: Part) -> Vec<(u64, Number)> {
    let id = QueueId::plain(QueueName::new(QUEUES[queue]).unwrap());
    let (peeked, _) = house.broker.peek(&id, part, None, usize::MAX).expect("the queue is there");
    let number = |payload: &[u8]| std::str::from_utf8(payload).unwrap().parse().unwrap();
    peeked.iter().map(|one| (one.peeked.seq, number(one.message.view().payload))).collect()
}

/// Waits for what waits for the disk.
fn finish<T>(life: &mut Life, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        life.commit();
    }
}
