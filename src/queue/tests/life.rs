use super::*;

#[test]
fn a_message_is_delivered_once_and_gone_when_acknowledged() {
    let mut world = world(config());
    world.fill([1]);
    assert!(world.next().is_none(), "nobody is there");
    let worker = world.join("worker");
    let delivery = world.next().unwrap();
    assert_eq!((delivery.consumer, delivery.body, delivery.attempt), (worker, 1, 1));
    assert_eq!(delivery.deadline, Some(START.plus(Duration::from_secs(30))));
    assert!(world.next().is_none());
    assert_eq!(world.stats().leased, 1);
    assert_eq!(world.ack(&delivery, 0), Outcome::Settled);
    assert!(world.queue.part(Part::Main).is_empty());
    assert_eq!(world.ack(&delivery, 0), Outcome::Stale);
    assert_eq!(world.stats().counters.settled, 1);
}

#[test]
fn messages_without_a_key_leave_in_the_order_in_which_they_came() {
    let mut world = world(config());
    world.fill(0..8);
    world.join("worker");
    assert_eq!(world.bodies(), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_failed_message_comes_again_after_its_backoff() {
    let mut world = world(config());
    world.fill([1]);
    world.join("worker");
    for (attempt, backoff) in [(1, 1_000), (2, 10_000), (3, 10_000)] {
        let delivery = world.next().unwrap();
        assert_eq!(delivery.attempt, attempt);
        assert_eq!(world.ack(&delivery, 0x80), Outcome::Returned);
        world.wait(backoff - 1);
        assert!(world.next().is_none(), "attempt {attempt} came too soon again");
        world.wait(20);
    }
    assert_eq!(world.stats().counters.failed[&0x80], 3);
}

#[test]
fn a_message_dies_after_exactly_as_many_deliveries_as_allowed() {
    let mut world = world(Config { max_deliveries: 3, ..config() });
    world.fill([1, 2]);
    world.join("worker");
    let mut deliveries = 0;
    for _ in 0..10 {
        for delivery in world.deliveries() {
            deliveries += u32::from(delivery.body == 1);
            world.ack(&delivery, if delivery.body == 1 { 0x83 } else { 0 });
        }
        world.wait(20_000);
    }
    assert_eq!(deliveries, 3);
    let (body, letter) = world.dead().remove(0);
    assert_eq!((body, letter.reason, letter.attempts), (1, DeadReason::MaxDeliveries, 3));
    assert_eq!((letter.last_client.as_deref(), letter.last_code), (Some("worker"), Some(0x83)));
    assert!(world.queue.part(Part::Main).is_empty());
}

#[test]
fn without_a_bound_a_message_never_dies() {
    let mut world = world(Config { max_deliveries: 0, ..config() });
    world.fill([1]);
    world.join("worker");
    for attempt in 1..=50 {
        let delivery = world.next().unwrap();
        assert_eq!(delivery.attempt, attempt);
        world.ack(&delivery, 0x80);
        world.wait(20_000);
    }
    assert!(world.dead().is_empty());
}

#[test]
fn a_rejected_message_dies_at_once() {
    let mut world = world(config());
    world.fill([1, 2]);
    world.join("worker");
    let deliveries = world.deliveries();
    assert_eq!(world.ack(&deliveries[0], 0x99), Outcome::Rejected);
    assert_eq!(world.settle("worker", &deliveries[1], Settle::Reject), Ok(()));
    let reasons: Vec<_> = world.dead().into_iter().map(|(_, letter)| (letter.reason, letter.last_code)).collect();
    assert_eq!(reasons, [(DeadReason::Rejected, Some(0x99)), (DeadReason::Rejected, None)]);
}

#[test]
fn without_dead_letters_the_dead_are_dropped_and_counted() {
    let mut world = world(Config { dead_letter: false, ..config() });
    world.fill([1]);
    world.join("worker");
    let delivery = world.next().unwrap();
    world.ack(&delivery, 0x90);
    assert!(world.dead().is_empty() && world.queue.part(Part::Main).is_empty());
    assert_eq!(world.stats().counters.dead[&DeadReason::Rejected], 1);
}

#[test]
fn a_lease_that_runs_out_counts_as_a_failure() {
    let mut world = world(config());
    world.fill([1]);
    world.join("worker");
    world.next().unwrap();
    world.wait(29_999);
    assert_eq!(world.stats().leased, 1);
    world.wait(20);
    assert_eq!((world.stats().leased, world.stats().delayed), (0, 1));
    world.wait(1_010);
    assert_eq!(world.next().unwrap().attempt, 2);
    assert_eq!(world.stats().counters.redelivered[&Cause::Timeout], 1);
}

#[test]
fn a_late_acknowledgement_settles_what_nobody_has_settled_since() {
    let mut world = world(config());
    world.fill([1, 2]);
    let slow = world.join("slow");
    let late: Vec<_> = world.deliveries();
    world.wait(30_010);
    assert!(late.iter().all(|delivery| delivery.consumer == slow));
    // One while it waits, by packet; the other while somebody else has it, by topic.
    assert_eq!(world.ack(&late[0], 0), Outcome::Settled);
    world.wait(1_010);
    world.join("other");
    let again = world.next().unwrap();
    assert_eq!((again.body, again.attempt), (2, 2));
    assert_eq!(world.settle("slow", &late[1], Settle::Ack), Ok(()));
    assert_eq!(world.ack(&again, 0), Outcome::Stale);
    assert_eq!((world.stats().counters.settled, world.stats().counters.settled_late), (2, 2));
}

#[test]
fn a_late_failure_says_nothing() {
    let mut world = world(config());
    world.fill([1]);
    world.join("slow");
    let late = world.next().unwrap();
    world.wait(30_010);
    world.wait(1_010);
    let again = world.next().unwrap();
    assert_eq!(world.ack(&late, 0x80), Outcome::Stale);
    assert_eq!(world.settle("slow", &late, Settle::Reject), Err(SettleError::Over));
    assert_eq!(world.ack(&again, 0), Outcome::Settled);
}

#[test]
fn what_a_topic_has_said_wins_over_the_packet() {
    let mut world = world(config());
    world.fill([1]);
    world.join("worker");
    let delivery = world.next().unwrap();
    assert_eq!(world.settle("worker", &delivery, Settle::Nack(Some(Duration::from_secs(5)))), Ok(()));
    assert_eq!(world.ack(&delivery, 0), Outcome::Freed);
    assert_eq!(world.settle("worker", &delivery, Settle::Ack), Err(SettleError::Over));
    world.wait(4_999);
    assert!(world.next().is_none());
    world.wait(20);
    assert_eq!(world.next().unwrap().attempt, 2);
}

#[test]
fn with_explicit_settling_the_packet_only_frees_the_connection() {
    let mut world = world(Config { ack: AckMode::Explicit, ..config() });
    world.fill(0..3);
    world.join_as(Join { ack: AckMode::Explicit, prefetch: 2, receive_maximum: 1, ..join("worker") });
    let first = world.next().unwrap();
    assert!(world.next().is_none(), "the connection takes one packet at a time");
    assert_eq!(world.ack(&first, 0), Outcome::Freed);
    let second = world.next().unwrap();
    world.ack(&second, 0);
    assert!(world.next().is_none(), "two messages are as many as it takes");
    assert_eq!(world.settle("worker", &first, Settle::Ack), Ok(()));
    assert_eq!(world.next().unwrap().body, 2);
    assert_eq!(world.stats().counters.settled, 1);
}

#[test]
fn an_extended_lease_lasts_longer() {
    let mut world = world(config());
    world.fill([1]);
    world.join("worker");
    let delivery = world.next().unwrap();
    world.wait(20_000);
    assert_eq!(world.settle("worker", &delivery, Settle::Extend(Duration::from_secs(60))), Ok(()));
    world.wait(59_000);
    assert_eq!(world.stats().leased, 1);
    world.wait(1_020);
    assert_eq!(world.stats().leased, 0);
    let too_long = Settle::Extend(EXTEND_MAX + Duration::from_secs(1));
    world.wait(1_000);
    let delivery = world.next().unwrap();
    assert_eq!(world.settle("worker", &delivery, too_long), Err(SettleError::TooLong));
}

#[test]
fn only_the_client_that_got_a_tag_may_use_it() {
    let mut world = world(config());
    world.fill([1, 2]);
    world.join("worker");
    let delivery = world.next().unwrap();
    let tag = delivery.tag.unwrap();
    // The lease of another message with the code of this one.
    let other = world.next().unwrap().tag.unwrap().to_string();
    let forged: Tag = format!("{}{}", &other[..13], &tag.to_string()[13..]).parse().unwrap();
    assert_eq!(forged.lease, Lease { seq: 2, number: 1 });
    let now = world.now;
    for (client, tag) in [("thief", tag), ("worker", forged)] {
        assert_eq!(world.with(|queue| queue.settle(client, tag, Settle::Ack, now)), Err(SettleError::Unknown));
    }
    // The tag of a queue says nothing to the dead letters of it.
    let result = world.with_part(Part::Dead, |queue| queue.settle("worker", tag, Settle::Ack, now));
    assert_eq!(result, Err(SettleError::Unknown));
    assert_eq!(world.stats().counters.settle_refused, 2);
    assert_eq!(world.settle("worker", &delivery, Settle::Ack), Ok(()));
    assert_eq!(world.settle("worker", &delivery, Settle::Ack), Err(SettleError::Over));
}

#[test]
fn tags_read_back_as_written_and_nothing_else_does() {
    let mut world = world(config());
    world.fill([1]);
    world.join("worker");
    let tag = world.next().unwrap().tag.unwrap();
    let text = tag.to_string();
    assert_eq!((text.len(), text.parse()), (Tag::LENGTH, Ok(tag)));
    for wrong in
        ["", "x", &text[1..], &format!("{text}="), &format!("{text}A"), &text.replace(&text[..1], "+"), "/".repeat(20).as_str()]
    {
        assert_eq!(wrong.parse::<Tag>(), Err(InvalidTag), "{wrong}");
    }
}

#[test]
fn qos_0_settles_at_delivery() {
    let mut world = world(config());
    world.fill(0..50);
    world.join_as(Join { is_at_most_once: true, prefetch: 1, ..join("display") });
    let delivery = world.next().unwrap();
    assert_eq!((delivery.tag, delivery.deadline, delivery.attempt), (None, None, 1));
    assert_eq!(world.bodies().len(), 49);
    assert!(world.queue.part(Part::Main).is_empty());
}

#[test]
fn the_backoff_grows_within_its_bounds() {
    let mut random = random::Random::new(1);
    let growing = Backoff::default();
    for (failures, seconds) in [(1, 1.0), (2, 2.0), (3, 4.0), (9, 256.0), (10, 300.0), (1_000_000, 300.0)] {
        let delay = growing.delay(failures, &mut random).as_secs_f64();
        assert!((seconds * 0.8..=seconds * 1.2).contains(&delay), "{delay} after {failures}");
    }
}

#[test]
fn a_delivery_tells_its_story_in_properties() {
    let mut world = world(Config { max_deliveries: 1, ..config() });
    world.fill([1]);
    world.join("worker");
    let delivery = world.next().unwrap();
    let name = QueueName::new("jobs").unwrap();
    let pairs = |delivery: &Delivery<u32>, key| {
        let mut pairs = Vec::new();
        delivery.properties(&name).each(key, |name, value| pairs.push((name, value.to_owned())));
        pairs
    };
    let told = pairs(&delivery, Some("eu"));
    let names: Vec<_> = told.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["q-tag", "q-id", "q-attempt", "q-key", "q-enqueued-at", "q-deadline"]);
    assert_eq!(told[1].1, "jobs:1");
    assert_eq!(told[5].1, (START.0 + 30_000).to_string());
    world.ack(&delivery, 0x83);
    world.with_part(Part::Dead, |queue| queue.join(join("doctor")));
    let letter = world.next_dead().unwrap();
    let told = pairs(&letter, None);
    assert_eq!(told[1].1, "jobs:1", "it is the same message");
    let story: Vec<_> = told[5..].iter().map(|(name, value)| (*name, value.as_str())).collect();
    let at = START.0.to_string();
    let expected = [
        ("q-dead-reason", "max-deliveries"),
        ("q-dead-queue", "jobs"),
        ("q-dead-attempts", "1"),
        ("q-dead-last-client", "worker"),
        ("q-dead-last-code", "131"),
        ("q-dead-at", at.as_str()),
    ];
    assert_eq!(story, expected);
}
