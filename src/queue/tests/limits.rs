use super::*;
use crate::units::{ByteSize, Span};

fn full(overflow: Overflow) -> World {
    let mut world = world(Config { max_messages: 3, overflow, ..config() });
    world.fill([1, 2, 3]);
    world
}

#[test]
fn a_full_queue_refuses() {
    let mut world = full(Overflow::RejectPublish);
    assert_eq!(world.enqueue(message(4)), Err(Refused::Full));
    assert_eq!(world.stats().counters.overflow_rejected, 1);
    world.join("worker");
    let out = world.deliveries();
    assert_eq!(world.enqueue(message(4)), Err(Refused::Full), "what is leased counts");
    world.ack(&out[0], 0);
    assert!(world.enqueue(message(4)).is_ok());
}

#[test]
fn or_drops_its_oldest_that_nobody_has() {
    let mut world = full(Overflow::DropOldest);
    world.join_as(Join { prefetch: 1, ..join("worker") });
    let first = world.next().unwrap();
    world.fill([4, 5]);
    world.ack(&first, 0);
    assert_eq!(world.bodies(), [4]);
    assert_eq!(world.stats().counters.overflow_dropped, 2);
    assert!(world.dead().is_empty());
}

#[test]
fn or_moves_its_oldest_to_the_dead_letters() {
    let mut world = full(Overflow::DeadLetter);
    world.fill([4]);
    let (body, letter) = world.dead().remove(0);
    assert_eq!((body, letter.reason, letter.attempts, letter.last_client), (1, DeadReason::QueueFull, 0, None));
}

#[test]
fn bytes_count_too() {
    let mut world = world(Config { max_bytes: ByteSize(25), overflow: Overflow::DropOldest, ..config() });
    world.fill([1, 2, 3]);
    assert_eq!((world.stats().depth, world.stats().bytes), (2, 20));
    assert_eq!(world.enqueue(Enqueue { size: 26, ..message(4) }), Err(Refused::Full), "nothing could make room for it");
    assert_eq!(world.stats().depth, 2);
}

#[test]
fn where_all_are_leased_nothing_makes_room() {
    let mut world = full(Overflow::DropOldest);
    world.join("worker");
    assert_eq!(world.bodies().len(), 3);
    assert_eq!(world.enqueue(message(4)), Err(Refused::Full));
    let now = world.now;
    let peeked = world.queue.part(Part::Main).peek(None, 10);
    assert!(peeked.iter().all(|message| message.status == Status::Leased(now.plus(Duration::from_secs(30)))));
}

#[test]
fn what_cannot_fit_makes_nothing_go() {
    for overflow in [Overflow::DropOldest, Overflow::DeadLetter] {
        let mut world = world(Config { max_bytes: ByteSize(50), overflow, ..config() });
        world.fill([1, 2, 3, 4, 5]);
        world.join_as(Join { prefetch: 3, ..join("worker") });
        assert_eq!(world.bodies(), [1, 2, 3]);
        assert_eq!(world.enqueue(Enqueue { size: 25, ..message(6) }), Err(Refused::Full), "20 can go, and 5 are missing");
        assert_eq!((world.stats().depth, world.dead().len()), (5, 0));
    }
}

#[test]
fn a_message_that_would_be_over_before_its_delay_is_refused() {
    let mut world = world(Config { retention: Span::seconds(3), ..config() });
    let delayed = |seconds| Enqueue { delay: Duration::from_secs(seconds), ..message(1) };
    assert_eq!(world.enqueue(delayed(3)), Err(Refused::DelayTooLong));
    let now = world.now;
    let admitted = world.with(|queue| queue.admits(10, Duration::from_secs(3), None, now));
    assert_eq!(admitted, Err(Refused::DelayTooLong));
    world.enqueue(delayed(2)).unwrap();
    world.join("worker");
    world.wait(2_010);
    assert_eq!(world.bodies(), [1]);
}

#[test]
fn the_dead_letters_forget_their_oldest() {
    let mut world = world(Config { max_messages: 3, ..config() });
    world.join("worker");
    for body in 0..5 {
        world.fill([body]);
        let delivery = world.next().unwrap();
        world.ack(&delivery, 0x99);
    }
    assert_eq!(world.dead_bodies(), [2, 3, 4]);
}

#[test]
fn a_repeated_publish_is_taken_once() {
    let mut world = world(config());
    let repeat = Enqueue { dedup_id: Some("order-17"), ..message(1) };
    assert_eq!(world.enqueue(repeat.clone()), Ok(Enqueued::Stored { seq: 1 }));
    world.join_as(Join { is_at_most_once: true, ..join("worker") });
    assert_eq!(world.bodies(), [1]);
    world.wait(299_000);
    assert_eq!(world.enqueue(repeat.clone()), Ok(Enqueued::Duplicate), "also after it was consumed");
    world.restart();
    assert_eq!(world.enqueue(repeat.clone()), Ok(Enqueued::Duplicate), "and after a restart");
    let other = world.enqueue(Enqueue { dedup_id: Some("order-18"), ..message(2) });
    assert!(matches!(other, Ok(Enqueued::Stored { seq: 65_537.. })), "behind all numbers of before: {other:?}");
    world.wait(1_001);
    assert!(matches!(world.enqueue(repeat), Ok(Enqueued::Stored { .. })), "the window is over");
    assert_eq!(world.stats().counters.dedup_hits, 1);
}

#[test]
fn identifiers_are_bounded_in_number() {
    let mut world = world(Config { dedup_max_ids: 2, ..config() });
    for id in ["a", "b", "c", "a"] {
        assert!(matches!(world.enqueue(Enqueue { dedup_id: Some(id), ..message(0) }), Ok(Enqueued::Stored { .. })), "{id}");
    }
    assert_eq!(world.stats().dedup_ids, 2);
    assert_eq!(world.enqueue(Enqueue { dedup_id: Some("c"), ..message(0) }), Ok(Enqueued::Duplicate));
}

#[test]
fn what_was_refused_is_not_remembered() {
    let mut world = full(Overflow::RejectPublish);
    let publish = Enqueue { dedup_id: Some("x"), ..message(4) };
    assert_eq!(world.enqueue(publish.clone()), Err(Refused::Full));
    world.with(|queue| queue.purge(u64::MAX, usize::MAX));
    assert!(matches!(world.enqueue(publish), Ok(Enqueued::Stored { .. })));
}

#[test]
fn a_window_of_zero_remembers_nothing() {
    let mut world = world(Config { dedup_window: Span::default(), ..config() });
    for _ in 0..2 {
        assert!(matches!(world.enqueue(Enqueue { dedup_id: Some("a"), ..message(0) }), Ok(Enqueued::Stored { .. })));
    }
}

#[test]
fn a_delayed_message_comes_when_its_delay_is_over() {
    let mut world = world(config());
    world.join("worker");
    world.enqueue(Enqueue { delay: Duration::from_millis(500), ..message(1) }).unwrap();
    assert_eq!(world.stats().delayed, 1);
    world.wait(499);
    assert!(world.next().is_none());
    world.restart();
    world.join("worker");
    assert!(world.next().is_none(), "a restart does not shorten it");
    world.wait(11);
    assert_eq!(world.bodies(), [1]);
    let too_long = Duration::from_secs(8 * 86_400);
    assert_eq!(world.enqueue(Enqueue { delay: too_long, ..message(1) }), Err(Refused::DelayTooLong));
}

#[test]
fn what_outlives_its_expiry_is_dropped_unless_somebody_has_it() {
    let mut world = world(config());
    let expires_at = Some(START.plus(Duration::from_secs(2)));
    world.enqueue(Enqueue { expires_at, ..message(1) }).unwrap();
    world.enqueue(Enqueue { expires_at, ..message(2) }).unwrap();
    world.enqueue(Enqueue { expires_at, delay: Duration::from_secs(60), ..message(3) }).unwrap();
    world.join_as(Join { prefetch: 1, ..join("worker") });
    let first = world.next().unwrap();
    world.wait(2_010);
    assert_eq!((world.stats().depth, world.stats().counters.expired), (1, 2));
    assert_eq!(world.ack(&first, 0), Outcome::Settled);
}

#[test]
fn what_fails_after_its_expiry_expires() {
    let mut world = world(Config { expired: Expired::DeadLetter, ..config() });
    world.enqueue(Enqueue { expires_at: Some(START.plus(Duration::from_secs(2))), ..message(1) }).unwrap();
    world.join("worker");
    let first = world.next().unwrap();
    world.wait(2_010);
    world.ack(&first, 0x80);
    world.wait(10);
    let (_, letter) = world.dead().remove(0);
    assert_eq!((letter.reason, letter.attempts, letter.last_code), (DeadReason::Expired, 1, Some(0x80)));
}

#[test]
fn nothing_that_has_expired_is_delivered_before_the_timer_has_looked() {
    let mut world = world(config());
    world.enqueue(Enqueue { expires_at: Some(START.plus(Duration::from_secs(2))), ..message(1) }).unwrap();
    world.join("worker");
    world.now = START.plus(Duration::from_secs(3));
    assert!(world.next().is_none());
}

#[test]
fn nothing_stays_longer_than_the_retention() {
    let mut world = world(Config { retention: Span::seconds(100), ..config() });
    world.fill([1]);
    world.wait(50_000);
    world.fill([2]);
    world.join_as(Join { prefetch: 1, ..join("worker") });
    let first = world.next().unwrap();
    world.settle("worker", &first, Settle::Extend(Duration::from_secs(1000))).unwrap();
    world.wait(110_000);
    assert_eq!(world.stats().depth, 2, "what somebody has is waited for");
    world.ack(&first, 0);
    assert!(world.queue.poll_timeout().unwrap() <= world.now);
    world.wait(0);
    assert_eq!((world.stats().depth, world.stats().counters.expired), (0, 1));
}

#[test]
fn the_clock_may_not_run_back() {
    let mut world = world(config());
    world.wait(100_000);
    world.now = START;
    world.fill([1]);
    world.join("worker");
    assert_eq!(world.next().unwrap().enqueued_at, START.plus(Duration::from_secs(100)));
}
