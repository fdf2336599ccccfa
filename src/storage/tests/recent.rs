//! Messages on disk that stay in memory until a work queue has handed them out.

use super::*;
use crate::storage::fake::Call;

const STREAM: u64 = 7;
const OTHER: u64 = 8;
const LENGTH: usize = 100;

struct Bench {
    backend: FakeBackend,
    committer: Committer<u64>,
    journal: Arc<Journal<u64>>,
}

impl Bench {
    /// With room for so many messages of [`LENGTH`].
    fn new(room: u64) -> Self {
        let backend = FakeBackend::new();
        let max_recent = ByteSize(room * weight());
        let committer = open_with(&backend, &Durability { max_recent, ..config(1 << 20) }, None).unwrap().committer;
        let journal = committer.journal().clone();
        Self { backend, committer, journal }
    }

    fn put(&self, streams: &[u64], is_wanted_soon: bool) -> Arc<Body> {
        let body = Body::new(message("t", &[7; LENGTH], QoS::AtLeastOnce));
        let mut transaction = Transaction::default();
        for stream in streams {
            let item = body.hold(Holder { stream: *stream, is_kept: false, is_wanted_soon });
            item.into_iter().for_each(|item| transaction.push(item));
        }
        for stream in streams {
            let content = [1].as_slice().into();
            transaction.record(Record::Work { stream: *stream, body: Some(body.clone()), content });
        }
        self.journal.submit(&mut transaction);
        body
    }

    /// Messages that were read back to get this one.
    fn get(&self, body: &Arc<Body>) -> u64 {
        let before = self.backend.count(Call::Read);
        let (messages, count_read) = load(std::slice::from_ref(body), &self.journal.clock).unwrap();
        assert_eq!(messages[0].view().payload, [7; LENGTH]);
        assert_eq!((self.backend.count(Call::Read) - before) as u64, count_read);
        count_read
    }

    fn commit(&mut self) {
        self.committer.commit(&mut |_| ()).unwrap();
    }

    fn recent(&self) -> u64 {
        self.committer.segments.iter().map(|segment| segment.recent()).sum()
    }

    fn live(&self) -> u64 {
        self.committer.segments.iter().map(|segment| segment.live()).sum()
    }
}

/// Of a message in memory: its topic is one byte.
fn weight() -> u64 {
    (LENGTH + 1 + AROUND) as u64
}

#[test]
fn what_is_handed_out_soon_is_in_memory_until_then_and_on_disk_as_well() {
    let mut bench = Bench::new(10);
    let body = bench.put(&[STREAM], true);
    bench.commit();
    assert!(body.stored_at().is_some() && !body.let_go(STREAM), "it is on disk, so its end must be told");
    assert_eq!(bench.recent(), weight());
    assert_eq!(bench.get(&body), 0);
    assert_eq!(bench.recent(), 0);
    assert_eq!(bench.get(&body), 1, "who has it has it");
    let length = body.frame_length();
    assert_eq!(bench.live(), length);
    drop(body);
    assert_eq!(bench.live(), 0);
}

#[test]
fn what_is_not_handed_out_soon_or_has_no_room_is_read_back() {
    for (room, is_wanted_soon) in [(10, false), (0, true)] {
        let mut bench = Bench::new(room);
        let body = bench.put(&[STREAM], is_wanted_soon);
        bench.commit();
        assert_eq!((bench.recent(), bench.get(&body)), (0, 1));
    }
}

#[test]
fn of_two_queues_each_gets_it_from_memory() {
    let mut bench = Bench::new(10);
    let body = bench.put(&[STREAM, OTHER], true);
    bench.commit();
    assert_eq!([bench.get(&body), bench.get(&body), bench.get(&body)], [0, 0, 1]);
}

#[test]
fn there_is_room_for_so_many_bytes_and_again_when_some_are_gone() {
    let mut bench = Bench::new(2);
    let mut bodies: Vec<_> = (0..3).map(|_| bench.put(&[STREAM], true)).collect();
    bench.commit();
    assert_eq!(bench.recent(), 2 * weight());
    assert_eq!(bench.get(&bodies[2]), 1, "the third had no room");
    bodies.remove(0);
    assert_eq!(bench.recent(), weight(), "one is gone that nobody has asked for");
    let next = bench.put(&[STREAM], true);
    bench.commit();
    assert_eq!((bench.recent(), bench.get(&next)), (2 * weight(), 0));
    bench.committer.measure();
    assert_eq!(bench.journal.metrics.storage.recent_bytes.get(), weight());
}

#[test]
fn what_moves_to_another_segment_is_counted_where_it_lies() {
    let mut bench = Bench::new(10);
    let bodies = [(); 2].map(|()| bench.put(&[STREAM], true));
    bench.commit();
    let before = bodies[0].place();
    bench.journal.tell(Item::Move(bodies[0].clone()));
    bench.commit();
    assert_ne!(bodies[0].place(), before);
    assert_eq!((bench.recent(), bench.live()), (weight(), 2 * bodies[0].frame_length()));
    assert_eq!([bench.get(&bodies[0]), bench.get(&bodies[1])], [1, 0]);
    drop(bodies);
    assert_eq!((bench.recent(), bench.live()), (0, 0));
}
