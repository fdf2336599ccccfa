//! Space comes back, and nothing that lives goes with it.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::recovery::{header, tell_session};
use super::*;
use crate::storage::fake::{Call, Random, Trouble};

const SEGMENT: u64 = 4096;
const SESSION: u64 = 1;
const LENGTH: usize = 300;

/// The messages that wait for one session, by sequence.
#[derive(Default)]
struct Waiting(Mutex<BTreeMap<u64, Arc<Body>>>);

impl Walk for Waiting {
    fn walk(&self, walker: &mut Walker<'_>) {
        let bodies = self.0.lock();
        walker.session(SESSION, &header());
        bodies.iter().for_each(|(sequence, body)| walker.waiting(&recipient(*sequence), body));
    }
}

/// One session's queue on a small disk.
struct Queue {
    backend: FakeBackend,
    committer: Committer<u64>,
    journal: Arc<Journal<u64>>,
    keeper: Keeper<u64>,
    waiting: Waiting,
    next: u64,
}

impl Queue {
    fn new() -> Self {
        let backend = FakeBackend::new();
        let committer = open_with(&backend, &config(SEGMENT), None).unwrap().committer;
        let journal = committer.journal().clone();
        tell_session(&journal, SESSION);
        let keeper = Keeper::new(journal.clone(), Arc::new(backend.clone()));
        Self { backend, committer, journal, keeper, waiting: Waiting::default(), next: 0 }
    }

    fn enqueue(&mut self) -> u64 {
        let sequence = self.next;
        self.next += 1;
        let body = Body::new(message("t", &payload(sequence), QoS::AtLeastOnce));
        let mut transaction = Transaction::default();
        transaction.push(body.add(recipient(sequence)).unwrap());
        transaction.wait(sequence, Level::Sync);
        self.journal.submit(&mut transaction);
        self.waiting.0.lock().insert(sequence, body);
        sequence
    }

    fn settle(&mut self, sequence: u64) {
        let body = self.waiting.0.lock().remove(&sequence).unwrap();
        if !body.settle(SESSION, sequence) {
            self.journal.tell(Item::Record(Record::Settled { session: SESSION, sequence }));
        }
    }

    fn commit(&mut self) {
        self.committer.commit(&mut |_| ()).unwrap();
    }

    /// Lets the keeper have its way. `false`: the disk failed.
    fn tend(&mut self) -> bool {
        let Self { committer, journal, keeper, waiting, .. } = self;
        std::thread::scope(|scope| {
            let tending = scope.spawn(|| keeper.tend(waiting).is_ok());
            let mut is_well = true;
            while !tending.is_finished() {
                if journal.awaits_answer() {
                    is_well &= committer.commit(&mut |_| ()).is_ok();
                }
                std::thread::park_timeout(Duration::from_micros(20));
            }
            tending.join().unwrap() && is_well
        })
    }

    fn live(&self) -> u64 {
        self.waiting.0.lock().values().map(|body| body.frame_length()).sum()
    }

    fn places(&self) -> BTreeMap<u64, Place> {
        self.waiting.0.lock().iter().map(|(sequence, body)| (*sequence, body.place().unwrap())).collect()
    }

    fn sequences(&self) -> Vec<u64> {
        self.waiting.0.lock().keys().copied().collect()
    }

    /// Enqueues a few that stay among many that go, so that what lives is scattered.
    fn scatter(&mut self, count: usize) {
        for _ in 0..count {
            self.enqueue();
            let goes: Vec<_> = (0..4).map(|_| self.enqueue()).collect();
            self.commit();
            goes.into_iter().for_each(|sequence| self.settle(sequence));
        }
        self.commit();
    }
}

fn recipient(sequence: u64) -> Recipient {
    Recipient { session: SESSION, sequence, qos: QoS::AtLeastOnce, retain: false, notes: None }
}

fn payload(sequence: u64) -> Vec<u8> {
    format!("{sequence:0>LENGTH$}").into_bytes()
}

/// The sequences of all that waits in `backend`, each of which is read and is what it was.
fn found(backend: &FakeBackend) -> Vec<u64> {
    let opened = open_with(backend, &config(SEGMENT), None).unwrap();
    let entries = opened.state.sessions[&SESSION].entries.iter();
    let place = |entry: &EntryState| match entry {
        EntryState::Waiting(_, place) => *place,
        EntryState::Released => panic!("nothing is of QoS 2"),
    };
    let (sequences, bodies): (Vec<_>, Vec<_>) =
        entries.map(|(sequence, entry)| (*sequence, opened.bodies[&place(entry)].clone())).unzip();
    assert_right(&sequences, &bodies, &opened.committer.journal().clock);
    sequences
}

fn assert_right(sequences: &[u64], bodies: &[Arc<Body>], clock: &Clock) {
    let (messages, _) = load(bodies, clock).unwrap();
    for (sequence, message) in sequences.iter().zip(messages) {
        assert_eq!(message.view().payload, payload(*sequence));
    }
}

#[test]
fn disk_in_use_stays_under_three_times_what_lives() {
    let mut queue = Queue::new();
    queue.scatter(300);
    assert!(queue.tend());
    let mut worst = 0;
    for round in 0..3000 {
        let sequence = queue.enqueue();
        queue.commit();
        queue.settle(sequence);
        if round % 8 == 0 {
            assert!(queue.tend());
        }
        worst = worst.max(queue.backend.used());
    }
    assert!(worst < 3 * queue.live(), "{worst} bytes for {}", queue.live());
}

#[test]
fn a_body_that_was_moved_is_read_where_it_is_now() {
    let mut queue = Queue::new();
    queue.scatter(60);
    let before = queue.places();
    assert!(queue.tend());
    let after = queue.places();
    assert!(before.iter().filter(|(sequence, place)| after[sequence] != **place).count() > 10, "many have moved");
    queue.commit();
    let names = queue.backend.list().unwrap();
    let gone = before.values().any(|place| !names.contains(&segment::segment_name(place.segment)));
    assert!(gone, "what they left is gone");
    let bodies: Vec<_> = queue.waiting.0.lock().values().cloned().collect();
    assert_right(&queue.sequences(), &bodies, &queue.journal.clock);
    for seed in 0..20 {
        assert_eq!(found(&queue.backend.crash(&mut Random(seed))), queue.sequences(), "seed {seed}");
    }
}

#[test]
fn files_vanish_when_all_is_drained() {
    let mut queue = Queue::new();
    queue.scatter(100);
    assert!(queue.backend.used() > 10 * SEGMENT);
    queue.sequences().into_iter().for_each(|sequence| queue.settle(sequence));
    queue.commit();
    assert!(queue.tend());
    queue.commit(); // Hears that the checkpoint is there.
    queue.commit(); // Removes what nobody needs any more.
    let names = queue.backend.list().unwrap();
    assert_eq!(names.len(), 2, "a checkpoint and the segment behind it: {names:?}");
    assert!(queue.backend.used() < 2 * SEGMENT);
    assert_eq!(found(&queue.backend.kill()), [0; 0]);
}

/// Right before the new checkpoint has its name, right after, and while the older one goes.
#[test]
fn a_crash_about_a_checkpoints_rename_loses_nothing() {
    for (call, nth) in [(Call::Rename, 1), (Call::SyncNames, 2), (Call::Remove, 1)] {
        let mut queue = Queue::new();
        queue.scatter(30);
        assert!(queue.tend());
        queue.commit();
        queue.commit();
        queue.scatter(30);
        // The first time that names are synced is for the segment that begins.
        queue.backend.fail(call, nth, Trouble::Broken, true);
        assert!(!queue.tend(), "{call:?} was to fail");
        let has_name = !queue.backend.list().unwrap().contains(&checkpoint::UNFINISHED.to_owned());
        assert_eq!(has_name, call != Call::Rename);
        for seed in 0..20 {
            assert_eq!(found(&queue.backend.crash(&mut Random(seed))), queue.sequences(), "{call:?}, seed {seed}");
        }
        assert_eq!(found(&queue.backend.kill()), queue.sequences(), "{call:?}");
    }
}

#[test]
fn checkpoints_that_fail_are_tried_more_seldom_and_leave_no_empty_segments() {
    let mut queue = Queue::new();
    queue.scatter(60);
    queue.backend.fail(Call::Rename, 1, Trouble::Broken, true);
    let segments = |queue: &Queue| queue.committer.segments.len();
    assert!(!queue.tend());
    let after_one = segments(&queue);
    let failed = (0..100).filter(|_| !queue.tend()).count();
    assert!((5..10).contains(&failed), "{failed} of 100");
    assert_eq!(segments(&queue), after_one, "nothing was written, and the last one is still empty");
    queue.backend.heal();
    let before = queue.committer.checkpoint;
    assert!((0..20).all(|_| queue.tend()));
    queue.commit();
    assert!(queue.committer.checkpoint > before);
    assert_eq!(found(&queue.backend.kill()), queue.sequences());
}

/// A backup whose bodies were gone or garbled passed for a good one.
#[test]
fn a_check_reads_all_that_a_start_reads() {
    let mut queue = Queue::new();
    queue.scatter(60);
    assert!(queue.tend());
    queue.commit();
    queue.commit();
    let clock = &queue.journal.clock;
    let check = |backend: &FakeBackend| Summary::check(backend, Box::new(NoWork), clock).map(|(summary, _)| summary);
    assert_eq!(check(&queue.backend).unwrap().sessions[0].messages, queue.sequences().len());
    let places = queue.places();
    let old = places.values().find(|place| place.segment < queue.committer.checkpoint).expect("not all have moved");
    let (garbled, less) = (queue.backend.kill(), queue.backend.kill());
    garbled.flip(&segment::segment_name(old.segment), old.offset as usize + 50, 3);
    less.remove(&segment::segment_name(old.segment)).unwrap();
    for bad in [garbled, less] {
        assert!(Summary::read(&bad, Box::new(NoWork)).is_ok(), "records alone do not tell");
        assert!(matches!(check(&bad), Err(StorageError::Damaged(_))));
    }
    assert!(matches!(check(&FakeBackend::new()), Err(StorageError::Nothing)));
}
