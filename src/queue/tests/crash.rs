use super::*;

#[test]
fn a_lease_goes_on_over_a_restart_and_comes_back_to_its_client() {
    let mut world = world(config());
    world.fill([1, 2]);
    world.join_as(Join { prefetch: 1, ..join("worker") });
    let before = world.next().unwrap();
    world.wait(10_000);
    world.restart();
    assert_eq!((world.stats().leased, world.stats().consumers), (1, 0));
    let back = world.join_as(Join { prefetch: 1, unacknowledged: 1, ..join("worker") });
    assert_eq!(world.stats().consumers, 1);
    assert!(world.next().is_none(), "it still has the first one");
    // The session sends the packet again with DUP 1; its acknowledgement names the same lease.
    let now = world.now;
    let outcome = world.with(|queue| queue.acknowledged(back, before.lease, 0, now));
    assert_eq!(outcome, Outcome::Settled);
    assert_eq!(world.bodies(), [2]);
}

#[test]
fn what_a_session_had_that_ended_with_the_process_comes_again() {
    let mut world = world(config());
    world.fill([1, 2, 3]);
    world.join_as(Join { prefetch: 1, ..join("kept") });
    world.next().unwrap();
    world.join_as(Join { prefetch: 2, ..join("gone") });
    let (two, _) = (world.next().unwrap(), world.next().unwrap());
    world.restart();
    world.join_as(Join { prefetch: 1, unacknowledged: 1, ..join("kept") });
    let now = world.now;
    world.with(|queue| queue.end_absent(now));
    assert_eq!((world.stats().leased, world.stats().delayed, world.stats().consumers), (1, 2, 1));
    world.wait(1_010);
    world.join("other");
    let again = world.next().unwrap();
    assert_eq!((again.body, again.attempt), (two.body, 2));
    assert_eq!(world.settle("gone", &two, Settle::Ack), Ok(()), "its tag is still known");
}

#[test]
fn the_numbers_of_a_queue_that_is_made_anew_are_new_also_if_none_was_written_down() {
    let mut old = world(config());
    old.queue.number_from(old.now);
    old.fill(0..900);
    let last = old.queue.part(Part::Main).next_number();
    let mut new = world(config());
    new.wait(1);
    new.restart();
    new.fill([1]);
    let first = new.queue.part(Part::Main).peek(None, 1)[0].seq;
    assert!(first >= last, "{first} {last}");
    old.wait(1);
    old.restart();
    old.fill([1]);
    assert!(old.queue.part(Part::Main).peek(None, 1000).last().unwrap().seq >= last);
}

#[test]
fn a_deadline_passes_while_the_process_is_down() {
    let mut world = world(config());
    world.fill([1]);
    world.join("worker");
    let before = world.next().unwrap();
    world.now = world.now.plus(Duration::from_secs(3600));
    world.restart();
    world.wait(0);
    assert_eq!(world.stats().delayed, 1);
    world.wait(1_010);
    world.join("other");
    assert_eq!(world.next().unwrap().attempt, 2);
    assert_eq!(world.settle("worker", &before, Settle::Ack), Ok(()), "its tag is still known");
}

#[test]
fn a_first_delivery_whose_record_is_lost_is_a_first_delivery_again() {
    let mut world = world(config());
    world.fill([1]);
    world.join("worker");
    let before = world.journal.len();
    let lost = world.next().unwrap();
    world.wait(9);
    assert_eq!(world.journal.len(), before, "it may be settled before anyone need know");
    world.wait(1);
    let last = world.journal.last().unwrap().1.clone();
    assert!(matches!(last, Change::Leased { attempts: 1, .. }) && last.durability() == Durability::Lazy);
    world.restart_with(world.journal.len() - 1);
    assert_eq!(world.settle("worker", &lost, Settle::Ack), Ok(()), "what was done then is done");
}

#[test]
fn a_redelivery_waits_for_its_record() {
    let mut world = world(config());
    world.fill([1]);
    world.join("worker");
    let first = world.next().unwrap();
    world.ack(&first, 0x80);
    world.wait(1_010);
    world.next().unwrap();
    assert_eq!(world.journal.last().unwrap().1.durability(), Durability::BeforeDelivery);
}

#[test]
fn a_death_that_was_lost_happens_again() {
    let mut world = world(Config { max_deliveries: 1, ..config() });
    world.fill([1]);
    world.join("worker");
    let only = world.next().unwrap();
    world.ack(&only, 0x80);
    assert!(matches!(world.journal.last().unwrap().1, Change::Died { .. }));
    world.restart_with(world.journal.len() - 1);
    assert!(world.dead().is_empty());
    world.join("other");
    assert!(world.next().is_none(), "it has had its one delivery");
    world.wait(30_010);
    assert_eq!(world.dead_bodies(), [1]);
}

#[test]
fn a_backoff_goes_on_over_a_restart() {
    let mut world = world(config());
    world.fill([1]);
    world.join("worker");
    let first = world.next().unwrap();
    world.ack(&first, 0x80);
    world.wait(500);
    world.restart();
    world.join("worker");
    world.wait(490);
    assert!(world.next().is_none());
    world.wait(20);
    assert_eq!(world.next().unwrap().attempt, 2);
}

#[test]
fn lowering_the_bound_kills_what_has_had_its_attempts() {
    let mut world = world(config());
    world.fill([1]);
    world.join("worker");
    let first = world.next().unwrap();
    world.ack(&first, 0x80);
    world.queue.set_config(Config { max_deliveries: 1, ..config() });
    world.wait(2_000);
    assert!(world.next().is_none());
    assert_eq!(world.dead_bodies(), [1]);
}

#[test]
fn numbers_are_not_given_out_twice_even_if_the_journal_holds_no_message() {
    let mut world = world(config());
    world.fill(0..3);
    world.join_as(Join { is_at_most_once: true, ..join("worker") });
    world.bodies();
    world.journal = world.queue.snapshot().collect();
    assert!(matches!(world.journal[..], [(Part::Main, Change::Reserved { .. }), (Part::Dead, Change::Reserved { .. })]));
    world.restart();
    let Enqueued::Stored { seq } = world.enqueue(message(9)).unwrap() else { panic!("it is new") };
    assert!(seq > 3);
}

#[test]
fn the_order_in_a_key_survives_whatever_its_messages_went_through() {
    let mut world = world(config());
    world.enqueue(Enqueue { key: Some("a"), delay: Duration::from_secs(1), ..message(1) }).unwrap();
    world.fill_key("a", [2]);
    world.wait(500);
    world.fill_key("a", [3]);
    world.join("worker");
    let second = world.next().unwrap();
    world.ack(&second, 0x87);
    world.wait(600);
    world.fill_key("a", [4]);
    for snapshot in [false, true] {
        if snapshot {
            world.journal = world.queue.snapshot().collect();
        }
        world.restart();
    }
    world.join("other");
    for body in [2, 3, 1, 4] {
        let delivery = world.next().unwrap();
        assert_eq!(delivery.body, body);
        world.ack(&delivery, 0);
    }
}

#[test]
fn one_message_can_be_written_anew() {
    let mut world = world(config());
    world.fill([1, 2]);
    world.join_as(Join { prefetch: 1, ..join("worker") });
    world.next().unwrap();
    let copy = world.queue.snapshot_of(Part::Main, 1).unwrap();
    // The old segment goes, and with it all that was said of the message there.
    world.journal.retain(|(_, change)| change.seq() != Some(1));
    world.journal.push((Part::Main, copy));
    world.restart();
    assert_eq!((world.stats().leased, world.stats().depth), (1, 2));
    assert_eq!(world.queue.part(Part::Main).peek(None, 1)[0].body, 1, "it is the oldest still");
    assert!(world.queue.snapshot_of(Part::Main, 3).is_none());
}

#[test]
fn what_was_acknowledged_before_a_restart_takes_no_room_on_the_connection_after_it() {
    let mut world = world(Config { ack: AckMode::Explicit, ..config() });
    world.fill(0..4);
    let explicit = Join { ack: AckMode::Explicit, prefetch: 2, receive_maximum: 2, ..join("worker") };
    world.join_as(explicit.clone());
    let before = world.deliveries();
    before.iter().for_each(|delivery| _ = world.ack(delivery, 0));
    world.restart();
    world.join_as(explicit);
    assert!(world.next().is_none(), "it has two messages still");
    before.iter().for_each(|delivery| assert_eq!(world.settle("worker", delivery, Settle::Ack), Ok(())));
    assert_eq!(world.bodies(), [2, 3]);
}

#[test]
fn messages_keep_their_order_though_the_clock_is_set_back_over_a_restart() {
    let mut world = world(Config { max_deliveries: 1, ..config() });
    world.fill_key("k", [1, 2, 3]);
    world.join("worker");
    let first = world.next().unwrap();
    world.ack(&first, 0x80);
    assert_eq!(world.dead_bodies(), [1]);
    world.now = UnixMillis(world.now.0 - 3_600_000);
    world.restart();
    world.fill_key("k", [4, 5]);
    let now = world.now;
    assert_eq!(world.queue.redrive(Which::All, now), 1);
    world.write();
    world.fill_key("k", [6]);
    world.restart();
    world.join("worker");
    let mut bodies = Vec::new();
    while let Some(delivery) = world.next() {
        bodies.push(delivery.body);
        world.ack(&delivery, 0);
    }
    assert_eq!(bodies, [2, 3, 4, 5, 1, 6]);
}
