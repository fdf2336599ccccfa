use proptest::prelude::*;

use super::*;

impl Body for u32 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        Some(Self::from_le_bytes(*number))
    }
}

fn written(change: &Change<u32>) -> Vec<u8> {
    let mut bytes = Vec::new();
    change.write(&mut bytes);
    bytes
}

/// A journal with everything in it that a queue says.
fn journal() -> Vec<(Part, Change<u32>)> {
    let mut world = world(Config { on_dead: OnDead::Block, max_messages: 20, ..config() });
    world.fill(0..4);
    world.fill_key("a", [5, 6]);
    let expires_at = Some(START.plus(Duration::from_secs(40)));
    let delay = Duration::from_secs(3);
    world.enqueue(Enqueue { dedup_id: Some("x"), delay, expires_at, ..message(7) }).unwrap();
    world.join("worker");
    let out = world.deliveries();
    world.settle("worker", &out[0], Settle::Extend(Duration::from_secs(100))).unwrap();
    for (body, code) in [(1, 0), (2, 0x80), (3, 0x99), (5, 0x99)] {
        let delivery = out.iter().find(|delivery| delivery.body == body).unwrap();
        world.ack(delivery, code);
    }
    world.with(|queue| queue.delete(3));
    world.with(Queue::pause);
    world.with(Queue::resume);
    let key = world.queue.part(Part::Main).key_of("a");
    world.journal.extend(world.queue.snapshot());
    assert!(world.with(|queue| queue.unblock(key)));
    world.queue.redrive(Which::First(1), world.now);
    world.write();
    world.with(|queue| queue.purge(u64::MAX, usize::MAX));
    let blocked = Change::KeyBlocked { key, by: (1 << 63) - 1 };
    world.journal.extend(ALL_DROPPED.map(|cause| (Part::Main, Change::Dropped { seq: 1, cause })));
    world.journal.push((Part::Main, blocked));
    world.journal
}

const ALL_DROPPED: [DropCause; 3] = [DropCause::Expired, DropCause::Overflow, DropCause::Dead(DeadReason::QueueFull)];

#[test]
fn changes_read_back_as_written_and_no_beginning_of_one_is_a_change() {
    let journal = journal();
    let mut kinds: Vec<_> = journal.iter().map(|(_, change)| written(change)[0]).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, (0..14).collect::<Vec<_>>(), "every kind is there");
    for (_, change) in journal {
        let bytes = written(&change);
        // The body of what is settled is not said.
        let told = match change {
            Change::Settled { seq, .. } => Change::Settled { seq, body: None },
            change => change,
        };
        assert_eq!(Change::read(&bytes), Ok(told));
        for length in 0..bytes.len() {
            assert_eq!(Change::<u32>::read(&bytes[..length]), Err(MalformedChange));
        }
        assert_eq!(Change::<u32>::read(&[&bytes[..], &[0]].concat()), Err(MalformedChange));
    }
}

#[test]
fn common_changes_are_short() {
    let journal = journal();
    let longest = |kind: u8| {
        journal.iter().map(|(_, change)| written(change)).filter(|bytes| bytes[0] == kind).map(|bytes| bytes.len()).max()
    };
    assert!(longest(4) <= Some(4), "settled: {:?}", longest(4));
    assert!(longest(1) <= Some(20), "leased: {:?}", longest(1));
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_the_same(bytes in prop::collection::vec(prop_oneof![0..20_u8, any::<u8>()], 0..60)) {
        if let Ok(change) = Change::<u32>::read(&bytes) {
            prop_assert_eq!(written(&change), bytes);
        }
    }
}
