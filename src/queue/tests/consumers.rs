use super::*;

/// How many messages each client has, in the order of `clients`.
fn shares(deliveries: &[Delivery<u32>], clients: &[ConsumerId]) -> Vec<usize> {
    clients.iter().map(|client| deliveries.iter().filter(|delivery| delivery.consumer == *client).count()).collect()
}

#[test]
fn least_inflight_evens_out() {
    let mut world = world(config());
    let clients = [world.join("a"), world.join("b")];
    world.fill(0..4);
    let out = world.deliveries();
    assert_eq!(shares(&out, &clients), [2, 2]);
    out.iter().filter(|delivery| delivery.consumer == clients[0]).for_each(|delivery| _ = world.ack(delivery, 0));
    world.fill(4..6);
    assert_eq!(shares(&world.deliveries(), &clients), [2, 0]);
}

#[test]
fn round_robin_gives_to_each_in_turn() {
    let mut world = world(Config { strategy: Strategy::RoundRobin, ..config() });
    let clients = [world.join("a"), world.join("b"), world.join("c")];
    world.fill(0..6);
    let order: Vec<_> = world.deliveries().iter().map(|delivery| delivery.consumer).collect();
    assert_eq!(order, [clients, clients].concat());
}

#[test]
fn random_gives_to_all() {
    let mut world = world(Config { strategy: Strategy::Random, max_messages: 10_000, ..config() });
    let clients = ["a", "b", "c", "d"].map(|name| world.join_as(Join { prefetch: 1000, receive_maximum: 1000, ..join(name) }));
    world.fill(0..2000);
    let shares = shares(&world.deliveries(), &clients);
    assert!(shares.iter().all(|share| (350..650).contains(share)), "{shares:?}");
}

#[test]
fn a_window_bounds_what_a_consumer_has() {
    let mut world = world(config());
    let small = world.join_as(Join { prefetch: 3, ..join("small") });
    world.fill(0..10);
    let out = world.deliveries();
    assert_eq!(out.len(), 3);
    world.ack(&out[1], 0);
    assert_eq!(world.bodies(), [3]);
    world.with(|queue| queue.set_window(small, 5, 5));
    assert_eq!(world.bodies(), [4, 5]);
}

#[test]
fn a_packet_that_is_never_acknowledged_takes_room_also_after_its_lease() {
    let mut world = world(config());
    world.join_as(Join { prefetch: 2, receive_maximum: 2, ..join("stuck") });
    world.fill(0..4);
    assert_eq!(world.bodies().len(), 2);
    world.wait(40_000);
    assert!(world.bodies().is_empty(), "nothing more goes down a hole");
    world.join("fresh");
    world.wait(40_000);
    assert_eq!(world.bodies().len(), 4);
}

#[test]
fn a_session_that_lets_go_of_what_it_was_sent_has_made_the_attempt() {
    let mut world = world(config());
    let gone = world.join("gone");
    world.fill([1, 2]);
    let sent = world.next().unwrap();
    world.ack(&sent, 0x97);
    let sent = [world.next().unwrap(), world.next().unwrap()];
    assert_eq!(sent.each_ref().map(|delivery| delivery.attempt), [1, 1], "busy is no attempt");
    let now = world.now;
    world.with(|queue| {
        queue.unanswered(gone, sent[0].lease);
        queue.acknowledged(gone, sent[1].lease, 0x97, now);
        queue.leave(gone, now);
    });
    world.join("fresh");
    world.wait(10_010);
    let attempts: Vec<_> = world.deliveries().iter().map(|delivery| (delivery.body, delivery.attempt)).collect();
    assert_eq!(attempts, [(2, 1), (1, 2)]);
}

#[test]
fn after_a_failure_another_consumer_is_preferred() {
    let mut world = world(config());
    let bad = world.join("bad");
    world.fill([1]);
    let first = world.next().unwrap();
    assert_eq!(first.consumer, bad);
    let good = world.join("good");
    world.fill(2..8);
    world.deliveries();
    world.ack(&first, 0x80);
    world.wait(1_010);
    assert_eq!(world.next().unwrap().consumer, good, "though it has as many messages as the other");
}

#[test]
fn alone_a_consumer_gets_what_it_failed_again() {
    let mut world = world(config());
    world.join("only");
    world.fill([1]);
    for attempt in 1..=5 {
        let delivery = world.next().unwrap();
        assert_eq!(delivery.attempt, attempt);
        world.ack(&delivery, 0x80);
        world.wait(10_010);
    }
    assert_eq!(world.dead_bodies(), [1]);
}

#[test]
fn not_authorized_gives_it_to_others_and_counts_no_attempt() {
    let mut world = world(config());
    world.join("stranger");
    world.fill([1, 2]);
    let first = world.next().unwrap();
    assert_eq!(world.ack(&first, 0x87), Outcome::Returned);
    let second = world.next().unwrap();
    assert_eq!(second.body, 2, "the stranger is not asked for it again, and gets others");
    world.ack(&second, 0);
    assert!(world.next().is_none());
    world.wait(60_000);
    assert!(world.next().is_none());
    let friend = world.join("friend");
    let again = world.next().unwrap();
    assert_eq!((again.consumer, again.body, again.attempt), (friend, 1, 1));
}

#[test]
fn what_is_set_aside_comes_up_when_a_consumer_that_may_have_it_gets_room() {
    let mut world = world(config());
    world.join("stranger");
    let friend = world.join_as(Join { prefetch: 1, ..join("friend") });
    world.fill(0..20);
    let mut busy = None;
    for _ in 0..3 {
        for delivery in world.deliveries() {
            if delivery.consumer == friend {
                busy = Some(delivery);
            } else {
                world.ack(&delivery, 0x87);
            }
        }
    }
    let mut done = 0;
    while let Some(delivery) = busy.take() {
        assert_eq!(delivery.consumer, friend);
        world.ack(&delivery, 0);
        done += 1;
        for next in world.deliveries() {
            match next.consumer == friend {
                true => busy = Some(next),
                false => _ = world.ack(&next, 0x87),
            }
        }
    }
    assert_eq!(done, 20);
}

#[test]
fn what_is_set_aside_behind_hopeless_ones_is_found_by_and_by() {
    let mut world = world(config());
    world.join("stranger");
    let friend = world.join_as(Join { prefetch: 1, ..join("friend") });
    // All but the last are for neither of them.
    const HOPELESS: u32 = 100;
    world.fill(0..HOPELESS);
    loop {
        let out = world.deliveries();
        out.iter().for_each(|delivery| _ = world.ack(delivery, 0x87));
        if out.is_empty() && world.queue.poll_timeout().is_none_or(|at| at > world.now) {
            break;
        }
    }
    world.fill([HOPELESS, HOPELESS + 1]);
    let mut out = world.deliveries();
    let at = out.iter().position(|delivery| delivery.consumer == friend).unwrap();
    let (busy, other) = (out.swap_remove(at), out.remove(0));
    world.ack(&other, 0x87);
    assert!(world.deliveries().is_empty(), "the friend is busy");
    world.ack(&busy, 0);
    let (mut calls, mut found) = (0, None);
    while found.is_none() {
        assert!(world.queue.poll_timeout().is_some_and(|at| at <= world.now), "there are more to look at");
        found = world.next();
        calls += 1;
    }
    let found = found.unwrap();
    assert_eq!((found.consumer, found.body), (friend, other.body));
    assert!(calls > 2, "not all at once: {calls}");
    world.ack(&found, 0);
    (0..10).for_each(|_| assert!(world.next().is_none()));
    assert!(world.queue.poll_timeout().is_none_or(|at| at > world.now), "all were looked at");
}

#[test]
fn busy_halves_the_window_until_a_message_is_settled() {
    let mut world = world(config());
    world.join_as(Join { prefetch: 8, ..join("worker") });
    world.fill(0..20);
    let out = world.deliveries();
    assert_eq!(out.len(), 8);
    assert_eq!(world.ack(&out[0], 0x97), Outcome::Returned);
    world.ack(&out[1], 0x97);
    assert!(world.deliveries().is_empty(), "six are more than the two that are left of its window");
    world.ack(&out[2], 0);
    let next = world.deliveries();
    assert_eq!(next.len(), 3, "the window is whole again");
    assert!(next.iter().any(|delivery| delivery.body < 2 && delivery.attempt == 1), "busy counts no attempt");
}

#[test]
fn busy_is_bounded() {
    let mut world = world(Config { max_busy: 3, max_deliveries: 1, ..config() });
    world.join_as(Join { prefetch: 1, ..join("worker") });
    world.fill([1]);
    let mut answers = 0;
    for _ in 0..100 {
        if let Some(delivery) = world.next() {
            world.ack(&delivery, 0x97);
            answers += 1;
            assert!(world.next().is_none(), "it rests");
        }
        world.wait(1_000);
    }
    assert_eq!((answers, world.dead_bodies()), (4, vec![1]));
}

#[test]
fn a_consumer_that_fails_everything_does_not_use_up_the_attempts_of_all() {
    let mut world = world(Config { max_deliveries: 3, ..config() });
    let bad = world.join("bad");
    world.join_as(Join { prefetch: 1, ..join("good") });
    world.fill(0..200);
    let mut done = 0;
    let mut working = None;
    // The good one takes a tenth of a second for each message, the bad one fails at once.
    for _ in 0..400 {
        if let Some(delivery) = working.take() {
            world.ack(&delivery, 0);
            done += 1;
        }
        while let Some(delivery) = world.next() {
            if delivery.consumer == bad {
                world.ack(&delivery, 0x80);
            } else {
                working = Some(delivery);
            }
        }
        world.wait(100);
    }
    assert!(world.dead().len() < 10, "{} died", world.dead().len());
    assert!(done > 180, "{done} were done");
}

#[test]
fn a_poison_message_does_not_hold_up_the_others() {
    let mut world = world(config());
    world.join_as(Join { prefetch: 1, ..join("worker") });
    world.fill(0..50);
    let mut done = Vec::new();
    for _ in 0..60 {
        if let Some(delivery) = world.next() {
            world.ack(&delivery, if delivery.body == 0 { 0x80 } else { 0 });
            done.push(delivery.body);
        }
        world.wait(100);
    }
    assert_eq!(done.iter().filter(|body| **body > 0).count(), 49);
}

#[test]
fn a_lost_connection_keeps_its_leases_to_their_deadline() {
    let mut world = world(config());
    let worker = world.join("worker");
    world.fill([1, 2]);
    let out = world.deliveries();
    world.with(|queue| queue.set_online(worker, false));
    world.fill([3]);
    world.wait(10_000);
    assert!(world.next().is_none() && world.stats().leased == 2);
    world.with(|queue| queue.set_online(worker, true));
    assert_eq!(world.ack(&out[0], 0), Outcome::Settled);
    assert_eq!(world.bodies(), [3]);
}

#[test]
fn the_end_of_a_session_gives_its_messages_up_at_once() {
    let mut world = world(config());
    let worker = world.join("worker");
    world.fill([1, 2, 3]);
    let out = world.deliveries();
    let now = world.now;
    world.with(|queue| queue.leave(worker, now));
    assert_eq!((world.stats().leased, world.stats().delayed, world.stats().consumers), (0, 3, 0));
    world.join("other");
    world.wait(1_010);
    let again = world.deliveries();
    assert_eq!(again.iter().map(|delivery| (delivery.body, delivery.attempt)).collect::<Vec<_>>(), [(1, 2), (2, 2), (3, 2)]);
    assert_eq!(world.ack(&out[0], 0), Outcome::Stale, "that consumer is no more");
    assert_eq!(world.settle("worker", &out[0], Settle::Ack), Ok(()), "its client is, and has done the work");
}

#[test]
fn a_consumer_on_hold_gets_nothing() {
    let mut world = world(config());
    let display = world.join_as(Join { is_at_most_once: true, ..join("display") });
    world.with(|queue| queue.set_on_hold(display, true));
    world.fill([1]);
    assert!(world.next().is_none());
    world.with(|queue| queue.set_on_hold(display, false));
    assert_eq!(world.bodies(), [1]);
}

#[test]
fn whose_subscription_is_over_finishes_what_it_has() {
    let mut world = world(Config { ack_timeout: Span::seconds(30), ..config() });
    let retired = world.join("retired");
    world.fill(1..=4);
    let had = world.deliveries();
    world.with(|queue| queue.retire(retired));
    let next = world.join("next");
    world.fill([5]);
    assert_eq!(world.bodies(), [5], "it keeps what it has, and gets nothing more");
    assert_eq!((world.ack(&had[0], 0), world.ack(&had[1], 0x80)), (Outcome::Settled, Outcome::Returned));
    assert_eq!(world.settle("retired", &had[2], Settle::Ack), Ok(()));
    world.wait(1_010);
    let again = world.next().unwrap();
    assert_eq!((again.body, again.attempt, again.consumer), (2, 2, next));
    assert_eq!(world.stats().consumers, 1);
    // Its time runs out, and it was not too late all the same.
    world.wait(30_000);
    assert_eq!(world.ack(&had[3], 0), Outcome::Settled);
    let is_there = |world: &World| world.queue.part(Part::Main).consumers.find(retired).is_some();
    assert!(is_there(&world), "one packet is still to be acknowledged");
    world.ack(&had[2], 0);
    assert!(!is_there(&world));
}

#[test]
fn whose_subscription_is_over_fails_with_its_session() {
    let mut world = world(config());
    let retired = world.join("retired");
    world.fill(1..=3);
    let had = world.deliveries();
    world.with(|queue| queue.retire(retired));
    let now = world.now;
    world.ack(&had[0], 0);
    had[1..].iter().for_each(|delivery| world.with(|queue| queue.unanswered(retired, delivery.lease)));
    assert_eq!(world.with(|queue| queue.held_by(retired)), 2);
    world.with(|queue| queue.leave(retired, now));
    world.join("next");
    world.wait(1_010);
    let again: Vec<_> = world.deliveries().iter().map(|delivery| (delivery.body, delivery.attempt)).collect();
    assert_eq!(again, [(2, 2), (3, 2)]);
    assert_eq!(world.stats().counters.redelivered[&Cause::SessionEnd], 2);
}

#[test]
fn who_subscribes_again_goes_on_with_what_it_has() {
    let mut world = world(config());
    let two = || Join { prefetch: 2, receive_maximum: 2, ..join("worker") };
    let resumed = |worker| Join { resumes: Some(worker), ..two() };
    let worker = world.join_as(two());
    world.fill(1..=3);
    let had = world.deliveries();
    world.with(|queue| queue.retire(worker));
    assert_ne!(world.join_as(Join { is_online: false, ..two() }), worker, "another session of the client");
    assert_eq!(world.join_as(resumed(worker)), worker);
    assert_eq!(world.next().map(|delivery| delivery.body), None, "its window is full");
    world.ack(&had[0], 0);
    assert_eq!(world.bodies(), [3]);
    // With nothing left to finish, there is nothing to go on with.
    world.with(|queue| queue.leave(worker, START));
    let worker = world.join("worker");
    world.with(|queue| queue.retire(worker));
    assert_ne!(world.join_as(resumed(worker)), worker);
    // Nor is one resumed that is at work.
    let (busy, other) = (world.join("busy"), world.join("other"));
    assert_ne!(world.join_as(resumed(busy)), busy);
    assert!(world.with(|queue| queue.is_consumer(other)));
}

#[test]
fn a_window_that_is_shared_is_asked_about() {
    let mut world = world(config());
    let shared = world.join("shared");
    world.with(|queue| queue.set_shared(shared, true));
    world.fill(1..=3);
    world.fill_key("key", [4, 5]);
    let now = world.now;
    let poll = |world: &mut World, room: bool| {
        let delivery = world.with(|queue| queue.poll_delivery(now, |_| room));
        delivery.map(|delivery| (delivery.body, delivery.consumer))
    };
    assert_eq!(poll(&mut world, true), Some((1, shared)));
    assert_eq!((poll(&mut world, false), poll(&mut world, true)), (None, None), "on hold, until it is said to be over");
    world.tell_leases();
    let leases = world.journal.iter().filter(|(_, change)| matches!(change, Change::Leased { .. })).count();
    assert_eq!((leases, world.stats().leased), (1, 1), "nothing else was lent");
    world.with(|queue| queue.set_on_hold(shared, false));
    // What was to be lent keeps its place.
    let bodies: Vec<_> = std::iter::from_fn(|| poll(&mut world, true)).map(|(body, _)| body).collect();
    assert_eq!(bodies.iter().filter(|body| **body < 4).copied().collect::<Vec<_>>(), [2, 3]);
    assert_eq!(bodies.len(), 3, "two of the key would be two at once");
    // Others take over what it has no room for, though they have more already.
    world.with(|queue| queue.leave(shared, now));
    let other = world.join("other");
    world.fill([6]);
    assert!(poll(&mut world, false).is_some_and(|(_, consumer)| consumer == other));
    let shared = world.join("shared");
    world.with(|queue| queue.set_shared(shared, true));
    world.fill([7, 8]);
    let asked = std::cell::Cell::new(0);
    for _ in 0..2 {
        let delivery = world.with(|queue| queue.poll_delivery(now, |_| asked.replace(asked.get() + 1) > 9));
        assert_eq!(delivery.map(|delivery| delivery.consumer), Some(other));
    }
    assert_eq!(asked.get(), 1, "on hold it is not asked again");
}

/// Whoever finds no room takes nobody's turn.
#[test]
fn what_comes_again_has_its_turn_though_there_is_seldom_room() {
    let mut world = world(config());
    let shared = world.join("shared");
    world.fill(0..10);
    for delivery in world.deliveries() {
        world.ack(&delivery, 0x80);
    }
    world.fill(10..20);
    world.wait(1_010);
    world.with(|queue| queue.set_shared(shared, true));
    let now = world.now;
    let mut bodies = Vec::new();
    for _ in 0..6 {
        let delivery = world.with(|queue| queue.poll_delivery(now, |_| true)).unwrap();
        assert!(world.with(|queue| queue.poll_delivery(now, |_| false)).is_none());
        world.with(|queue| queue.set_on_hold(shared, false));
        world.ack(&delivery, 0);
        bodies.push(delivery.body);
    }
    assert_eq!(bodies.iter().filter(|body| **body < 10).count(), 3, "{bodies:?}");
}
