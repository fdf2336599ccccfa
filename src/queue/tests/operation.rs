use super::*;

#[test]
fn a_paused_queue_takes_and_settles_but_gives_nothing() {
    let mut world = world(config());
    world.fill([1, 2]);
    world.join_as(Join { prefetch: 1, ..join("worker") });
    let first = world.next().unwrap();
    world.with(Queue::pause);
    world.fill([3]);
    assert_eq!(world.ack(&first, 0), Outcome::Settled);
    assert!(world.next().is_none());
    world.restart();
    world.join("worker");
    assert!(world.next().is_none() && world.stats().is_paused);
    world.with(Queue::resume);
    assert_eq!(world.bodies(), [2, 3]);
}

#[test]
fn purging_takes_all_also_what_is_leased() {
    let mut world = world(config());
    world.fill([1, 2]);
    world.fill_key("a", [3, 4]);
    world.join_as(Join { prefetch: 1, ..join("worker") });
    let first = world.next().unwrap();
    assert_eq!(world.with(|queue| queue.purge(u64::MAX, usize::MAX)), 4);
    assert_eq!(world.ack(&first, 0), Outcome::Stale);
    assert_eq!((world.stats().depth, world.stats().bytes, world.stats().leased, world.stats().keys), (0, 0, 0, 0));
    world.fill([5]);
    world.restart();
    world.join("worker");
    assert_eq!(world.bodies(), [5]);
}

#[test]
fn purging_in_pieces_takes_what_was_there_at_the_beginning() {
    let mut world = world(config());
    world.fill(0..5);
    let before = world.queue.part(Part::Main).next_number();
    let purge = |world: &mut World| world.with(|queue| queue.purge(before, 2));
    assert_eq!(purge(&mut world), 2);
    world.fill([7, 8]);
    world.join_as(Join { prefetch: 1, ..join("worker") });
    let leased = world.next().unwrap();
    assert_eq!(leased.body, 2, "the oldest went first");
    assert_eq!([purge(&mut world), purge(&mut world), purge(&mut world)], [2, 1, 0]);
    assert_eq!(world.ack(&leased, 0), Outcome::Stale);
    let rest = world.queue.part(Part::Main).peek(None, 10);
    assert_eq!(rest.iter().map(|peeked| peeked.body).collect::<Vec<_>>(), [7, 8]);
}

#[test]
fn keys_go_on_some_at_a_time() {
    let mut world = world(Config { on_dead: OnDead::Block, max_deliveries: 1, ..config() });
    for (body, key) in [(1, "a"), (2, "b"), (3, "c")] {
        world.fill_key(key, [body, body + 10]);
    }
    world.join("worker");
    for delivery in world.deliveries() {
        world.ack(&delivery, 0x80);
    }
    assert_eq!(world.stats().blocked_keys, 3);
    assert_eq!([2, 2, 2].map(|count| world.with(|queue| queue.unblock_some(count))), [2, 1, 0]);
    world.join("another");
    assert_eq!(world.bodies().len(), 3);
}

#[test]
fn peeking_pages_through_the_queue() {
    let mut world = world(config());
    world.fill(0..7);
    let queue = world.queue.part(Part::Main);
    let first = queue.peek(None, 3);
    let second = queue.peek(Some(first[2].seq), 3);
    let third = queue.peek(Some(second[2].seq), 3);
    let bodies: Vec<_> = [first, second, third].concat().iter().map(|peeked| (peeked.body, peeked.status)).collect();
    assert_eq!(bodies, (0..7).map(|body| (body, Status::Ready)).collect::<Vec<_>>());
    assert_eq!(queue.peek_one(4).unwrap().body, 3);
    assert!(queue.peek_one(8).is_none());
}

#[test]
fn peeking_goes_on_behind_a_message_that_has_left() {
    let mut world = world(config());
    world.fill(0..4);
    assert!(world.with(|queue| queue.delete(2)) && !world.with(|queue| queue.delete(2)));
    let rest = world.queue.part(Part::Main).peek(Some(2), 10);
    assert_eq!(rest.iter().map(|peeked| peeked.body).collect::<Vec<_>>(), [2, 3]);
}

fn with_dead(bodies: impl IntoIterator<Item = u32>) -> World {
    let mut world = world(config());
    world.fill(bodies);
    world.join("worker");
    for delivery in world.deliveries() {
        world.ack(&delivery, 0x99);
    }
    world
}

#[test]
fn redriving_starts_the_attempts_anew() {
    let mut world = with_dead(0..5);
    assert_eq!(world.queue.redrive(Which::One(3), world.now), 1);
    assert_eq!(world.queue.redrive(Which::First(2), world.now), 2);
    assert_eq!(world.queue.redrive(Which::One(3), world.now), 0, "it is no longer there");
    world.write();
    assert_eq!(world.dead_bodies(), [3, 4]);
    world.restart();
    world.join("worker");
    let out = world.deliveries();
    assert_eq!(out.iter().map(|delivery| (delivery.body, delivery.attempt)).collect::<Vec<_>>(), [(0, 1), (1, 1), (2, 1)]);
    assert_eq!(world.queue.redrive(Which::All, world.now), 2);
    assert!(world.dead().is_empty());
}

#[test]
fn redriving_stops_where_the_queue_is_full() {
    let mut world = with_dead(0..5);
    world.queue.set_config(Config { max_messages: 2, overflow: Overflow::DropOldest, ..config() });
    assert_eq!(world.queue.redrive(Which::All, world.now), 2);
    assert_eq!((world.stats().depth, world.dead().len()), (2, 3));
}

#[test]
fn dead_letters_are_consumed_like_any_message() {
    let mut world = with_dead([1, 2]);
    let now = world.now;
    let doctor = world.with_part(Part::Dead, |queue| queue.join(Join { prefetch: 1, ..join("doctor") }));
    let first = world.next_dead().unwrap();
    assert_eq!((first.consumer, first.body), (doctor, 1));
    assert_eq!(world.queue.redrive(Which::All, now), 1, "what somebody has stays");
    world.with_part(Part::Dead, |queue| queue.acknowledged(doctor, first.lease, 0, now));
    assert!(world.queue.part(Part::Dead).is_empty());
}

#[test]
fn a_dead_letter_fails_as_often_as_it_likes() {
    let mut world = with_dead([1]);
    let doctor = world.with_part(Part::Dead, |queue| queue.join(join("doctor")));
    for _ in 0..20 {
        let letter = world.next_dead().unwrap();
        assert_eq!(letter.dead.unwrap().reason, DeadReason::Rejected);
        let now = world.now;
        world.with_part(Part::Dead, |queue| queue.acknowledged(doctor, letter.lease, 0x99 - 0x19, now));
        world.wait(20_000);
    }
    assert_eq!(world.dead_bodies(), [1]);
}

#[test]
fn settings_change_while_it_runs_and_nothing_is_lost() {
    let mut world = world(config());
    world.fill(0..10);
    world.join_as(Join { prefetch: 2, ..join("worker") });
    let out = world.deliveries();
    let tight = Config {
        max_messages: 3,
        max_deliveries: 1,
        ack_timeout: Span::seconds(5),
        strategy: Strategy::RoundRobin,
        ..config()
    };
    world.queue.set_config(tight);
    assert_eq!(world.stats().depth, 10);
    assert_eq!(world.enqueue(message(99)), Err(Refused::Full));
    world.ack(&out[0], 0x80);
    assert_eq!(world.dead_bodies(), [0]);
    let next = world.next().unwrap();
    assert_eq!(next.deadline, Some(START.plus(Duration::from_secs(5))));
    world.ack(&next, 0);
    world.ack(&out[1], 0);
    assert_eq!(world.bodies(), [3, 4]);
}

#[test]
fn the_oldest_age_is_that_of_what_is_not_done() {
    let mut world = world(config());
    world.fill([1]);
    world.wait(5_000);
    world.fill([2]);
    assert_eq!(world.stats().oldest_age, Duration::from_secs(5));
    world.join_as(Join { prefetch: 1, ..join("worker") });
    let first = world.next().unwrap();
    world.ack(&first, 0);
    assert_eq!(world.stats().oldest_age, Duration::ZERO);
}
