use super::*;
use crate::storage::fake::{Call, Random, Trouble};

struct Bench {
    backend: FakeBackend,
    committer: Committer<u64>,
    journal: Arc<Journal<u64>>,
    released: Vec<u64>,
}

impl Bench {
    fn new(segment_size: u64) -> Self {
        let backend = FakeBackend::new();
        let committer = open_with(&backend, &config(segment_size), None).unwrap().committer;
        let journal = committer.journal().clone();
        Self { backend, committer, journal, released: Vec::new() }
    }

    fn commit(&mut self) -> Result<Committed, StorageError> {
        let released = &mut self.released;
        self.committer.commit(&mut |waiters| released.extend(waiters))
    }

    /// A message for one session, whose publisher waits.
    fn publish(&self, waiter: u64, length: usize, level: Level) -> Arc<Body> {
        self.publish_to(1, waiter, length, level)
    }

    fn publish_to(&self, session: u64, waiter: u64, length: usize, level: Level) -> Arc<Body> {
        let body = Body::new(message("t", &vec![7; length], QoS::AtLeastOnce));
        let recipient = Recipient { session, sequence: waiter, qos: QoS::AtLeastOnce, retain: false, notes: None };
        let mut transaction = Transaction::default();
        transaction.push(body.add(recipient).unwrap());
        transaction.wait(waiter, level);
        self.journal.submit(&mut transaction);
        body
    }

    fn written(&self) -> u64 {
        self.committer.segments.iter().map(|segment| segment.length()).sum()
    }
}

#[test]
fn all_that_was_told_goes_with_one_sync() {
    let mut bench = Bench::new(1 << 20);
    let syncs = bench.backend.count(Call::Sync);
    let _bodies: Vec<_> = (0..50).map(|waiter| bench.publish(waiter, 100, Level::Sync)).collect();
    assert_eq!(bench.commit().unwrap(), Committed::All);
    assert_eq!(bench.released, (0..50).collect::<Vec<_>>());
    assert_eq!(bench.backend.count(Call::Sync), syncs + 1);
}

#[test]
fn who_waits_for_the_system_only_is_released_without_a_sync() {
    let mut bench = Bench::new(1 << 20);
    let _body = bench.publish(1, 100, Level::Os);
    bench.backend.fail(Call::Sync, 1, Trouble::Broken, true);
    bench.commit().unwrap();
    assert_eq!(bench.released, [1]);
    let _body = bench.publish(2, 100, Level::Sync);
    assert!(bench.commit().is_err() && bench.journal.has_failed());
    assert_eq!(bench.released, [1]);
}

#[test]
fn nobody_is_released_by_a_write_or_sync_that_failed() {
    for call in [Call::Write, Call::Sync] {
        let mut bench = Bench::new(1 << 20);
        let _body = bench.publish(1, 100, Level::Sync);
        bench.backend.fail(call, 1, Trouble::Broken, false);
        assert!(bench.commit().is_err() && bench.journal.has_failed() && !bench.journal.has_room());
        assert_eq!(bench.released, [0; 0]);
    }
}

#[test]
fn a_full_disk_holds_all_back_until_there_is_room() {
    let mut bench = Bench::new(4096);
    bench.backend.set_capacity(Some(6000));
    let bodies: Vec<_> = (0..3).map(|waiter| bench.publish(waiter, 3000, Level::Sync)).collect();
    assert_eq!(bench.commit().unwrap(), Committed::Stuck);
    assert!(!bench.journal.has_room() && !bench.journal.has_failed());
    assert!(!bodies[0].settle(1, 0), "it is on its way to the disk");
    bench.journal.tell(Item::Record(Record::Settled { session: 1, sequence: 0 }));
    assert_eq!(bench.commit().unwrap(), Committed::Stuck);
    assert_eq!(bench.released, [0; 0]);
    bench.backend.set_capacity(None);
    assert_eq!(bench.commit().unwrap(), Committed::All);
    assert_eq!(bench.released, [0, 1, 2]);
    std::thread::sleep(std::time::Duration::from_millis(510));
    bench.commit().unwrap();
    assert!(bench.journal.has_room());
}

#[test]
fn bodies_are_read_together_unless_others_lie_between_them() {
    for (between, reads) in [(100, 1), (20_000, 8)] {
        let mut bench = Bench::new(1 << 20);
        let mut bodies = Vec::new();
        let mut others = Vec::new();
        for waiter in 0..8 {
            bodies.push(bench.publish(waiter, 100, Level::Sync));
            others.push(bench.publish(waiter, between, Level::Sync));
        }
        bench.commit().unwrap();
        let count = |call| bench.backend.count(call);
        let before = (count(Call::Read), count(Call::WillRead));
        let (messages, _) = load(&bodies, &bench.journal.clock).unwrap();
        assert!(messages.len() == 8 && messages.iter().all(|message| message.view().payload == [7; 100]));
        let announced = usize::from(reads > 1);
        assert_eq!((count(Call::Read) - before.0, count(Call::WillRead) - before.1), (reads, announced));
    }
}

#[test]
fn what_one_batch_has_for_a_session_is_read_at_once() {
    let mut bench = Bench::new(1 << 20);
    let publish = |waiter| bench.publish_to(1 + waiter % 3, waiter, 10_000, Level::Sync);
    let bodies: Vec<_> = (0..24).map(publish).collect();
    bench.commit().unwrap();
    assert_eq!(bench.released, (0..24).collect::<Vec<_>>(), "who waits hears in the order in which they came");
    let before = bench.backend.count(Call::Read);
    let of_one: Vec<_> = bodies.into_iter().step_by(3).collect();
    assert!(of_one.is_sorted_by_key(|body| body.place()), "its order stays");
    assert_eq!(load(&of_one, &bench.journal.clock).unwrap().0.len(), 8);
    assert_eq!(bench.backend.count(Call::Read), before + 1);
}

/// Bodies are put side by side by session; which of them are retained must not be told in that order. (The broker tells a message together
/// with the end of the one before it, and one after the other, so that no two of a topic come this far.)
#[test]
fn of_two_retained_messages_of_one_batch_the_later_one_holds() {
    let mut bench = Bench::new(1 << 20);
    for (session, payload) in [(9, "earlier"), (1, "later")] {
        let body = bench.publish_to(session, 1, payload.len(), Level::Sync);
        // Told before it is known to be retained, and what it takes the place of is told later still.
        assert!(body.retain(Arc::default()).is_none());
    }
    bench.commit().unwrap();
    let opened = open_with(&bench.backend.kill(), &config(1 << 20), None).unwrap();
    let place = opened.state.retained["t"].place;
    assert_eq!(opened.bodies[&place].size(), "t".len() + "later".len());
}

#[test]
fn a_message_that_all_are_done_with_is_not_written() {
    let mut bench = Bench::new(1 << 20);
    let before = bench.written();
    let body = bench.publish(1, 100, Level::Sync);
    assert!(body.settle(1, 1));
    bench.commit().unwrap();
    assert_eq!((bench.written(), &bench.released[..]), (before, &[1][..]));
    assert!(body.place().is_none());
}

/// The segment went when the last body in it did, and the record that said so was still in a thread's hand: the next start found a
/// message whose file was missing, and refused.
#[test]
fn a_segment_can_go_before_it_is_told_why() {
    let mut bench = Bench::new(200);
    let body = bench.publish(1, 300, Level::Sync);
    bench.commit().unwrap();
    let held = body.place().unwrap();
    drop(body);
    bench.committer.checkpoint = held.segment + 5; // As if a checkpoint had come between.
    bench.journal.tell(Item::Record(Record::Settled { session: 9, sequence: 9 }));
    bench.commit().unwrap();
    assert!(!bench.backend.list().unwrap().contains(&segment::segment_name(held.segment)));
}

#[test]
fn sessions_that_settle_while_it_is_written_are_done_with_it_in_the_end() {
    for round in 0..50 {
        let mut bench = Bench::new(1 << 20);
        let body = bench.publish(0, 100, Level::Sync);
        let journal = bench.journal.clone();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for sequence in 1..20 {
                    let qos = QoS::AtLeastOnce;
                    let news = body.add(Recipient { session: 1, sequence, qos, retain: false, notes: None });
                    news.into_iter().for_each(|item| journal.tell(item));
                    if sequence % 2 == 1 && !body.settle(1, sequence) {
                        journal.tell(Item::Record(Record::Settled { session: 1, sequence }));
                    }
                }
            });
            for _ in 0..5 {
                bench.commit().unwrap();
            }
        });
        bench.commit().unwrap();
        let (length, bytes) = (bench.written() as usize, bench.backend.bytes(&segment::segment_name(1)));
        let mut waiting = std::collections::BTreeSet::new();
        let mut scan = scan::Scan::new(&bytes[..length], segment::HEADER);
        while let Ok(Some((told, _))) = scan.next() {
            match told {
                record::Told::Queued(recipient, _) => drop(waiting.insert(recipient.sequence)),
                record::Told::Settled(_, sequence) => drop(waiting.remove(&sequence)),
                _ => {}
            }
        }
        let expected: Vec<_> = (0..20).filter(|sequence| sequence % 2 == 0).collect();
        assert_eq!(waiting.into_iter().collect::<Vec<_>>(), expected, "round {round}");
    }
}

/// ext4 takes all there is and then says that it is not enough; what it took stayed with a file that was never used.
#[test]
fn a_segment_that_finds_no_room_leaves_what_there_is_to_the_old_one() {
    let mut bench = Bench::new(4096);
    let _first = bench.publish(1, 5000, Level::Sync);
    bench.commit().unwrap();
    bench.backend.set_capacity(Some(bench.backend.used() + 2000));
    let _second = bench.publish(2, 1000, Level::Sync);
    assert_eq!((bench.commit().unwrap(), &bench.released[..]), (Committed::All, &[1, 2][..]));
    let names = |bench: &Bench| bench.backend.list().unwrap().len();
    assert_eq!(names(&bench), 1);
    bench.backend.set_capacity(None);
    let _third = bench.publish(3, 1000, Level::Sync);
    assert_eq!((bench.commit().unwrap(), names(&bench)), (Committed::All, 2));
}

#[test]
fn without_files_the_journal_goes_on_in_its_old_segment() {
    for call in [Call::Create, Call::SyncNames] {
        let mut bench = Bench::new(1024);
        let mut bodies = vec![bench.publish(0, 2000, Level::Sync)];
        bench.commit().unwrap();
        bench.backend.fail(call, 1, Trouble::NoFiles, true);
        for waiter in 1..4 {
            bodies.push(bench.publish(waiter, 2000, Level::Sync));
            assert_eq!(bench.commit().unwrap(), Committed::All);
            assert!(bench.journal.has_room());
        }
        for seed in 0..20 {
            let left = bench.backend.crash(&mut Random(seed));
            open_with(&left, &config(1024), None).unwrap();
        }
        assert_eq!((bench.backend.list().unwrap().len(), bench.committer.segments.len()), (1, 1));
        bench.backend.heal();
        bodies.push(bench.publish(4, 2000, Level::Sync));
        bench.commit().unwrap();
        assert_eq!((bench.released.len(), bench.committer.segments.len()), (5, 2));
    }
}
