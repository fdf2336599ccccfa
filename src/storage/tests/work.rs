//! Records of work queues, whose content storage does not know: their bodies move, their segments go, damage takes only what it hits.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::storage::fake::{Call, Random, Trouble};

const SEGMENT: u64 = 4096;
const STREAM: u64 = 7;
const OTHER: u64 = 8;
const LENGTH: usize = 300;

/// Numbers that are in, with their bodies' places.
#[derive(Debug, Default)]
struct Numbers(BTreeMap<u64, Place>);

impl WorkState for Numbers {
    fn apply(&mut self, stream: u64, place: Option<Place>, content: &[u8]) {
        assert!(stream == STREAM || stream == OTHER);
        let number = u64::from_le_bytes(content.try_into().unwrap());
        match place {
            Some(place) => _ = self.0.insert(number, place),
            None => _ = self.0.remove(&number),
        }
    }

    fn places(&self, see: &mut dyn FnMut(Place)) {
        self.0.values().for_each(|place| see(*place));
    }

    fn move_places(&mut self, change: &mut dyn FnMut(&mut Place)) {
        self.0.values_mut().for_each(change);
    }

    fn forget(&mut self, is_gone: &dyn Fn(&Place) -> bool) -> usize {
        let before = self.0.len();
        self.0.retain(|_, place| !is_gone(place));
        before - self.0.len()
    }

    fn show(&self, tell: Tell<'_>) {
        self.0.iter().for_each(|(number, place)| tell(STREAM, Some(*place), &number.to_le_bytes()));
    }

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any> {
        self
    }
}

/// What is in the queue now.
#[derive(Default)]
struct Live(Mutex<BTreeMap<u64, Arc<Body>>>);

impl Walk for Live {
    fn walk(&self, walker: &mut Walker<'_>) {
        self.0.lock().iter().for_each(|(number, body)| walker.work(STREAM, Some(body), &number.to_le_bytes()));
    }
}

struct Heap {
    backend: FakeBackend,
    committer: Committer<u64>,
    journal: Arc<Journal<u64>>,
    keeper: Keeper<u64>,
    live: Live,
    next: u64,
}

fn open_numbers(backend: &FakeBackend, recover: Option<Recover>) -> Result<Opened<u64>, StorageError> {
    let clock = (Clock::new(Instant::now(), WALL), Instant::now as fn() -> Instant);
    let work = Box::new(Numbers::default());
    open(Arc::new(backend.clone()), &config(SEGMENT), recover, clock, Arc::default(), work, &mut |_, _| ())
}

impl Heap {
    fn new() -> Self {
        let backend = FakeBackend::new();
        let committer = open_numbers(&backend, None).unwrap().committer;
        let journal = committer.journal().clone();
        let keeper = Keeper::new(journal.clone(), Arc::new(backend.clone()));
        Self { backend, committer, journal, keeper, live: Live::default(), next: 0 }
    }

    fn put(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        let body = Body::new(message("t", &payload(number), QoS::AtLeastOnce));
        let mut transaction = Transaction::default();
        let holder = Holder { stream: STREAM, is_kept: false, is_wanted_soon: number.is_multiple_of(2) };
        transaction.push(body.hold(holder).expect("it is new"));
        let content = number.to_le_bytes().as_slice().into();
        transaction.record(Record::Work { stream: STREAM, body: Some(body.clone()), content });
        transaction.wait(number, Level::Sync);
        self.journal.submit(&mut transaction);
        self.live.0.lock().insert(number, body);
        number
    }

    /// It is done; told or not.
    fn take(&mut self, number: u64, is_told: bool) {
        self.live.0.lock().remove(&number).unwrap();
        if is_told {
            let content = number.to_le_bytes().as_slice().into();
            self.journal.tell(Item::Record(Record::Work { stream: STREAM, body: None, content }));
        }
    }

    fn commit(&mut self) {
        self.committer.commit(&mut |_| ()).unwrap();
    }

    /// `false`: the disk failed.
    fn tend(&mut self) -> bool {
        let Self { committer, journal, keeper, live, .. } = self;
        std::thread::scope(|scope| {
            let tending = scope.spawn(|| keeper.tend(live).is_ok());
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

    /// A few that stay among many that go.
    fn scatter(&mut self, count: usize) {
        for _ in 0..count {
            self.put();
            let goes: Vec<_> = (0..4).map(|_| self.put()).collect();
            self.commit();
            goes.into_iter().for_each(|number| self.take(number, true));
        }
        self.commit();
    }

    fn numbers(&self) -> Vec<u64> {
        self.live.0.lock().keys().copied().collect()
    }

    fn places(&self) -> BTreeMap<u64, Place> {
        self.live.0.lock().iter().map(|(number, body)| (*number, body.place().unwrap())).collect()
    }
}

fn payload(number: u64) -> Vec<u8> {
    format!("{number:0>LENGTH$}").into_bytes()
}

/// The numbers that are in `backend`, whose bodies are read and are what they were.
fn found(backend: &FakeBackend, recover: Option<Recover>) -> Vec<u64> {
    let opened = open_numbers(backend, recover).unwrap();
    let numbers = opened.state.work.into_any().downcast::<Numbers>().unwrap().0;
    let bodies: Vec<_> = numbers.values().map(|place| opened.bodies[place].clone()).collect();
    let (messages, _) = load(&bodies, &opened.committer.journal().clock).unwrap();
    for (number, message) in numbers.keys().zip(messages) {
        assert_eq!(message.view().payload, payload(*number));
    }
    numbers.into_keys().collect()
}

#[test]
fn bodies_of_work_queues_move_and_are_found_where_they_are() {
    let mut heap = Heap::new();
    heap.scatter(60);
    let before = heap.places();
    assert!(heap.tend());
    let after = heap.places();
    assert!(before.iter().filter(|(number, place)| after[number] != **place).count() > 10, "many have moved");
    for seed in 0..20 {
        assert_eq!(found(&heap.backend.crash(&mut Random(seed)), None), heap.numbers(), "seed {seed}");
    }
    heap.commit();
    heap.commit(); // what they left goes
    heap.scatter(20);
    assert!(heap.tend(), "once more, onto a checkpoint that is there");
    for seed in 0..20 {
        assert_eq!(found(&heap.backend.crash(&mut Random(seed)), None), heap.numbers(), "seed {seed}");
    }
    assert_eq!(found(&heap.backend.kill(), None), heap.numbers());
}

#[test]
fn a_checkpoint_that_is_given_up_leaves_all_as_it_was() {
    for (call, nth) in [(Call::Create, 2), (Call::Write, 2), (Call::Rename, 1)] {
        let mut heap = Heap::new();
        heap.scatter(30);
        assert!(heap.tend());
        heap.commit();
        heap.commit();
        heap.scatter(30);
        heap.backend.fail(call, nth, Trouble::Full, false);
        heap.tend(); // may be tried again, or not
        heap.backend.heal();
        for seed in 0..10 {
            assert_eq!(found(&heap.backend.crash(&mut Random(seed)), None), heap.numbers(), "{call:?}, seed {seed}");
        }
    }
}

/// A segment goes once nobody in memory waits for what is in it; the record that says why may be lost.
#[test]
fn what_lies_in_a_removed_segment_is_done() {
    let mut heap = Heap::new();
    for _ in 0..60 {
        heap.put();
        heap.commit();
    }
    assert!(heap.tend());
    let first = heap.numbers()[..40].to_vec();
    first.iter().for_each(|number| heap.take(*number, false));
    heap.commit(); // hears of the checkpoint
    heap.commit(); // tells what goes, and removes it
    let left = heap.backend.kill();
    let names = left.list().unwrap();
    assert!(!names.contains(&segment::segment_name(1)), "{names:?}");
    let found = found(&left, None);
    assert!(found.len() < 60 && heap.numbers().iter().all(|number| found.contains(number)), "{found:?}");
}

#[test]
fn skip_gives_up_the_message_that_cannot_be_read_and_no_other() {
    let mut heap = Heap::new();
    for _ in 0..6 {
        heap.put();
        heap.commit();
    }
    let hit = heap.places()[&2];
    let left = heap.backend.kill();
    left.flip(&segment::segment_name(hit.segment), hit.offset as usize + 40, 2);
    assert!(open_numbers(&left, None).is_err(), "it is not started over damage");
    assert_eq!(found(&left, Some(Recover::Skip)), [0, 1, 3, 4, 5]);
    assert_eq!(found(&left, None), [0, 1, 3, 4, 5], "it is wanted once");
}

#[test]
fn what_is_done_with_before_it_is_written_is_not_written() {
    let mut heap = Heap::new();
    let given_up: Vec<_> = (0..3).map(|_| heap.put()).collect();
    let stays = heap.put();
    for number in given_up {
        let body = heap.live.0.lock().remove(&number).unwrap();
        assert!(body.let_go(STREAM), "nobody has to be told");
    }
    heap.commit();
    assert_eq!(found(&heap.backend.kill(), None), [stays]);
    let body = heap.live.0.lock()[&stays].clone();
    assert!(!body.let_go(STREAM), "it is on disk, so its end must be told");
}

/// Gives the journal a message that these streams have, each under its own number.
fn share(heap: &Heap, streams: &[u64], is_kept: bool) -> Arc<Body> {
    let body = Body::new(message("t", &payload(OTHER), QoS::AtLeastOnce));
    let mut transaction = Transaction::default();
    for stream in streams {
        let item = body.hold(Holder { stream: *stream, is_kept, is_wanted_soon: false });
        item.into_iter().for_each(|item| transaction.push(item));
    }
    for stream in streams {
        let content = stream.to_le_bytes().as_slice().into();
        transaction.record(Record::Work { stream: *stream, body: Some(body.clone()), content });
    }
    heap.journal.submit(&mut transaction);
    body
}

#[test]
fn of_two_queues_one_may_let_go_of_what_the_other_keeps() {
    let mut heap = Heap::new();
    let body = share(&heap, &[STREAM, OTHER], false);
    assert!(body.let_go(STREAM));
    heap.commit();
    assert_eq!(found(&heap.backend.kill(), None), [OTHER]);
}

#[test]
fn what_is_remembered_is_written_though_it_is_done_with() {
    let mut heap = Heap::new();
    let body = share(&heap, &[OTHER], true);
    assert!(!body.let_go(OTHER), "its end must be told");
    heap.commit();
    assert_eq!(found(&heap.backend.kill(), None), [OTHER]);
}
