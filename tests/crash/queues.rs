//! The kill test for work queues: publishers that keep the rules, consumers in all moods, a broker that is killed again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, ScopedJoinHandle};

use dunlin::packet::QoS;

use crate::house::House;
use crate::kill::{Plan, seed, storm};
use crate::login::Login;
use crate::model::{History, Key, Message, all};
use crate::publisher::Publisher;
use crate::queue_worker::Worker;
use crate::support::client::{V5, V311};
use crate::world::{Phase, World};

const ONE: QoS = QoS::AtLeastOnce;
const TWO: QoS = QoS::ExactlyOnce;
pub const MAX_DELIVERIES: u32 = 5;
/// One queue without keys and one in which each topic is a key, both fed by ordinary topics; some of them feed both.
pub const QUEUES: [&str; 2] = ["jobs", "lines"];
const JOBS: usize = 0;
const LINES: usize = 1;

const CONFIG: &str = r#"
[durability]
level = "sync"
segment_size = "1MiB"
[[queues]]
name = "jobs"
bind = ["jobs/#", "lines/both/#"]
ack_timeout = "3s"
max_deliveries = 5
backoff = ["50ms"]
dedup_window = "1h"
[[queues]]
name = "lines"
bind = ["lines/#"]
key = "topic"
ack_timeout = "3s"
max_deliveries = 5
backoff = ["50ms"]
dedup_window = "1h"
"#;

/// `DUNLIN_CRASH_CYCLES`, or some few.
fn cycles() -> usize {
    if std::env::var_os("DUNLIN_CRASH_CYCLES").is_some() { crate::kill::cycles() } else { 6 }
}

/// What the consumers of a queue have seen and done, all together.
#[derive(Default)]
pub struct Tally {
    /// Some consumer said that it is done.
    pub done: BTreeSet<Key>,
    /// Taken from the dead letters.
    pub dead: BTreeSet<Key>,
    /// Names (`q-id`) under which a message came after its acknowledgement.
    names: BTreeMap<Key, BTreeSet<String>>,
    /// Per name and attempt: how often it came.
    deliveries: BTreeMap<(String, u32), u32>,
    /// In the order in which they came first.
    first: Vec<Key>,
    seen: BTreeSet<Key>,
    /// What was taken for good at the end, in time and on connections that stay, each name once.
    taken: BTreeSet<String>,
    pub wrong: Vec<String>,
}

impl Tally {
    /// `told` are name and attempt, which a client of 5.0 is told. What comes with DUP is the same delivery again, and yet may be the first
    /// that its consumer sees: the connection before may have ended with it unread.
    pub fn delivered(&mut self, world: &World, key: Key, dup: bool, told: Option<(&str, u32)>) {
        if self.seen.insert(key) {
            self.first.push(key);
        }
        let Some((name, attempt)) = told.filter(|_| !dup) else { return };
        // What came earlier may have been lost with the machine, and been published again.
        if world.sent_by(key.publisher)[key.number].accepted.is_some() {
            self.names.entry(key).or_default().insert(name.to_owned());
        }
        let count = self.deliveries.entry((name.to_owned(), attempt)).or_default();
        *count += 1;
        if attempt > MAX_DELIVERIES || attempt > 1 && *count > 1 {
            self.wrong.push(format!("{key:?} came {count} times as attempt {attempt}"));
        }
    }

    /// At the end, when nobody is killed any more.
    pub fn taken(&mut self, key: Key, name: &str) {
        if !self.taken.insert(name.to_owned()) {
            self.wrong.push(format!("{key:?} is done and dead, or twice one of them"));
        }
    }
}

pub struct Tallies([Mutex<Tally>; 2]);

impl Tallies {
    pub fn of(&self, queue: usize) -> MutexGuard<'_, Tally> {
        self.0[queue].lock().expect("no actor has panicked")
    }

    /// Whether all that was acknowledged is done or dead.
    fn are_complete(&self, world: &World) -> bool {
        self.missing(world).is_empty()
    }

    fn missing(&self, world: &World) -> Vec<(usize, Key)> {
        let history = world.history();
        let mut missing = Vec::new();
        for queue in [JOBS, LINES] {
            let tally = self.of(queue);
            let owed = all(&history).filter(|(_, message)| message.accepted.is_some() && feeds(&message.topic, queue));
            let open = owed.filter(|(key, _)| !tally.done.contains(key) && !tally.dead.contains(key));
            missing.extend(open.map(|(key, _)| (queue, key)));
        }
        missing
    }
}

/// Whether a topic, with what stands before it, feeds a queue.
fn feeds(topic: &str, queue: usize) -> bool {
    let topic = plain(topic);
    match queue {
        JOBS => topic.starts_with("jobs/") || topic.starts_with("lines/both/"),
        _ => topic.starts_with("lines/"),
    }
}

/// The topic without `$dedup/ID/`.
fn plain(topic: &str) -> &str {
    topic.strip_prefix("$dedup/").and_then(|rest| rest.split_once('/')).map_or(topic, |(_, topic)| topic)
}

#[test]
fn what_a_queue_has_taken_is_done_or_dead_and_neither_lost_nor_doubled_however_often_the_broker_is_killed() {
    let plan = Plan { seed: seed(), cycles: cycles() };
    println!("DUNLIN_CRASH_SEED={} DUNLIN_CRASH_CYCLES={}", plan.seed, plan.cycles);
    let publishers = publishers();
    let world = World::new(plan.seed, publishers.len(), Vec::new());
    let house = House::new(CONFIG);
    let tallies = Tallies(Default::default());
    let kills = play(&plan, &world, &house, &tallies, publishers);

    let missing = tallies.missing(&world);
    let (mut doubled, mut disordered, mut complaints) = (0, Vec::new(), world.complaints());
    let history = world.history();
    let accepted = all(&history).filter(|(_, message)| message.accepted.is_some()).count();
    let (mut done, mut dead) = (0, 0);
    for queue in [JOBS, LINES] {
        let mut tally = tallies.of(queue);
        complaints.append(&mut tally.wrong);
        done += tally.done.len();
        dead += tally.dead.len();
        let is_once = |key: &Key| {
            let message = &history[key.publisher][key.number];
            message.topic.starts_with("$dedup/") || message.qos == TWO && publishes_once(key.publisher)
        };
        doubled += tally.names.iter().filter(|(key, names)| names.len() > 1 && is_once(key)).count();
        if queue == LINES {
            disordered = out_of_order(&tally, &history);
        }
    }
    println!(
        "cycles={} kills={kills} acknowledged={accepted} done={done} dead={dead} lost={} doubled={doubled} out of order={}",
        plan.cycles,
        missing.len(),
        disordered.len(),
    );
    complaints.append(&mut disordered);
    if !missing.is_empty() || doubled > 0 || !complaints.is_empty() {
        let shown: String = complaints.iter().take(20).map(|line| format!("  {line}\n")).collect();
        let missing = &missing[..missing.len().min(20)];
        panic!("seed {}, data directory kept in {}\nlost: {missing:?}\n{shown}", plan.seed, house.keep().display());
    }
    assert!(accepted > plan.cycles * 10 && done > 0 && dead > 0, "all have been at work");
}

/// Messages of one key that came first in another order than they were published in. Those that died may never have been read by those
/// who had them, so they do not count.
fn out_of_order(tally: &Tally, history: &History) -> Vec<String> {
    let mut last: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    let mut found = Vec::new();
    for key in tally.first.iter().filter(|key| !tally.dead.contains(key)) {
        let message = &history[key.publisher][key.number];
        let before = last.insert((key.publisher, plain(&message.topic)), key.number);
        if let Some(before) = before.filter(|before| *before > key.number) {
            let later = &history[key.publisher][before];
            found.push(format!("{key:?}, {message:?}, came first behind number {before}, {later:?}"));
        }
    }
    found
}

#[test]
fn the_judge_of_queues_finds_what_came_in_another_order_and_nothing_else() {
    let world = World::new(1, 1, Vec::new());
    for _ in 0..2 {
        let (topic, qos, sent) = ("lines/a".into(), ONE, world.tick());
        let message = Message {
            topic,
            qos,
            retain: false,
            clears: false,
            sent,
            accepted: None,
            is_will: false,
            withdrawn: false,
            cycle: 0,
        };
        world.sent_by(0).push(message);
    }
    let key = |number| Key { publisher: 0, number };
    let judged = |came: &[(usize, bool)], dead: &[usize]| {
        let mut tally = Tally { dead: dead.iter().copied().map(key).collect(), ..Tally::default() };
        came.iter().for_each(|(number, dup)| tally.delivered(&world, key(*number), *dup, None));
        out_of_order(&tally, &world.history()).len()
    };
    assert_eq!(judged(&[(0, false), (1, false), (0, false)], &[]), 0);
    assert_eq!(judged(&[(1, false), (0, false)], &[]), 1);
    assert_eq!(judged(&[(1, false), (0, false)], &[0]), 0, "who had it may never have read it");
    // Read first when it was sent again; that it was done was lost with the machine, and it comes once more.
    assert_eq!(judged(&[(0, true), (1, false), (0, false)], &[]), 0);
    assert_eq!(judged(&[(1, true), (0, true)], &[]), 1);
}

/// Publishers with a session: by QoS 2 they publish once.
fn publishes_once(publisher: usize) -> bool {
    publisher < 3
}

fn publishers() -> Vec<Publisher> {
    let cast = [
        ("press0", V5, true, &[ONE, TWO][..], "jobs", false),
        ("press1", V311, true, &[ONE, TWO], "lines/both", false),
        ("press2", V5, true, &[TWO], "lines/one", false),
        ("press3", V5, false, &[ONE], "jobs", true),
        ("press4", V311, false, &[ONE], "lines/both", true),
    ];
    let publisher =
        |(index, (name, version, keeps, qos, place, dedups)): (usize, (&str, _, bool, &'static [QoS], &str, bool))| {
            let topics = ["a", "b", "c"].map(|end| format!("{place}/{name}/{end}")).to_vec();
            let login = Login::new(name, version, keeps);
            Publisher { index, login, topics, qos, retains: false, dedups, window: 8, leisure: 60 }
        };
    cast.into_iter().enumerate().map(publisher).collect()
}

fn workers() -> Vec<Worker> {
    let mut workers = Vec::new();
    for (queue, name) in QUEUES.iter().enumerate() {
        for (number, (version, keeps)) in [(V5, true), (V5, false), (V311, false), (V5, false)].into_iter().enumerate() {
            workers.push(Worker { login: Login::new(&format!("{name} {number}"), version, keeps), queue, buries: false });
        }
        workers.push(Worker { login: Login::new(&format!("{name} gravedigger"), V5, false), queue, buries: true });
    }
    workers
}

fn play(plan: &Plan, world: &World, house: &House, tallies: &Tallies, publishers: Vec<Publisher>) -> usize {
    thread::scope(|scope| {
        let _end = crate::kill::AtEnd(world);
        let publishers: Vec<_> = publishers.into_iter().map(|actor| scope.spawn(|| actor.run(world))).collect();
        let workers: Vec<_> = workers().into_iter().map(|actor| scope.spawn(|| actor.run(world, tallies))).collect();
        let kills = storm(plan, world, house);
        let mut broker = house.start();
        world.open(broker.address());
        world.enter(Phase::Finish);
        world.wait_until("publishers finish", || publishers.iter().all(ScopedJoinHandle::is_finished));
        world.enter(Phase::Drain);
        world.wait_until("consumers take what is left", || tallies.are_complete(world));
        // What would come twice comes now.
        thread::sleep(std::time::Duration::from_secs(1));
        if !broker.is_running() {
            world.complain(format!("the broker has ended by itself:\n{}", broker.told()));
        }
        world.enter(Phase::Over);
        workers.into_iter().for_each(|worker| worker.join().expect("the worker has not panicked"));
        kills
    })
}
