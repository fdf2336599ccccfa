use super::*;

#[test]
fn of_a_key_one_message_is_out_at_a_time_whoever_is_free() {
    let mut world = world(config());
    world.fill_key("a", [1, 2, 3]);
    world.fill_key("b", [11, 12]);
    world.join("one");
    world.join("two");
    let out = world.deliveries();
    assert_eq!(out.iter().map(|delivery| delivery.body).collect::<Vec<_>>(), [1, 11]);
    world.ack(&out[0], 0);
    assert_eq!(world.bodies(), [2]);
}

#[test]
fn a_failed_message_keeps_its_place_before_later_ones_of_its_key() {
    let mut world = world(config());
    world.fill_key("a", [1, 2]);
    world.fill([9]);
    world.join("worker");
    let out = world.deliveries();
    let first = out.iter().find(|delivery| delivery.body == 1).unwrap();
    world.ack(first, 0x80);
    assert!(world.bodies().is_empty(), "the key waits for its backoff");
    world.wait(1_010);
    assert_eq!(world.bodies(), [1]);
}

#[test]
fn a_key_goes_on_when_its_message_dies() {
    let mut world = world(config());
    world.fill_key("a", [1, 2]);
    world.join("worker");
    let first = world.next().unwrap();
    world.ack(&first, 0x99);
    assert_eq!(world.bodies(), [2]);
}

#[test]
fn a_blocked_key_stands_still_until_its_message_comes_back_first() {
    let mut world = world(Config { on_dead: OnDead::Block, ..config() });
    world.fill_key("a", [1, 2, 3]);
    world.fill_key("b", [11]);
    world.join("worker");
    let out = world.deliveries();
    world.ack(&out[0], 0x99);
    world.ack(&out[1], 0);
    assert!(world.bodies().is_empty());
    assert_eq!(world.stats().blocked_keys, 1);
    world.fill_key("a", [4]);
    world.restart();
    world.join("worker");
    assert!(world.bodies().is_empty(), "it stands still after a restart too");
    assert_eq!(world.queue.redrive(Which::One(1), world.now), 1);
    world.write();
    for body in 1..=4 {
        let delivery = world.next().unwrap();
        assert_eq!((delivery.body, delivery.attempt), (body, 1));
        assert!(world.next().is_none());
        world.ack(&delivery, 0);
    }
}

#[test]
fn an_operator_can_let_a_blocked_key_go_on() {
    let mut world = world(Config { on_dead: OnDead::Block, ..config() });
    world.fill_key("a", [1, 2]);
    world.join("worker");
    let first = world.next().unwrap();
    world.ack(&first, 0x99);
    let key = world.queue.part(Part::Main).key_of("a");
    assert_eq!(world.queue.part(Part::Main).blocked_keys().collect::<Vec<_>>(), [(key, 1)]);
    assert!(world.with(|queue| queue.unblock(key)));
    assert!(!world.with(|queue| queue.unblock(key)));
    assert_eq!(world.bodies(), [2]);
}

#[test]
fn an_expired_message_does_not_block_its_key() {
    let mut world = world(Config { on_dead: OnDead::Block, expired: Expired::DeadLetter, ..config() });
    let expires_at = Some(START.plus(Duration::from_secs(1)));
    world.enqueue(Enqueue { key: Some("a"), expires_at, ..message(1) }).unwrap();
    world.fill_key("a", [2]);
    world.wait(1_010);
    world.join("worker");
    assert_eq!(world.bodies(), [2]);
    assert_eq!(world.dead_bodies(), [1]);
}

/// Whoever had it may have done a half of it.
#[test]
fn a_message_that_expires_behind_an_attempt_does_block_its_key() {
    let mut world = world(Config { on_dead: OnDead::Block, expired: Expired::DeadLetter, ..config() });
    let expires_at = Some(START.plus(Duration::from_millis(500)));
    world.enqueue(Enqueue { key: Some("a"), expires_at, ..message(1) }).unwrap();
    world.fill_key("a", [2]);
    world.join("worker");
    let first = world.next().unwrap();
    world.ack(&first, 0x80);
    world.wait(600);
    assert_eq!(world.dead_bodies(), [1]);
    assert!(world.bodies().is_empty());
    assert_eq!(world.stats().blocked_keys, 1);
}

#[test]
fn a_busy_key_leaves_room_for_the_others() {
    let mut world = world(config());
    world.fill_key("busy", 0..100);
    world.fill_key("rare", [1000]);
    world.fill_key("other", [2000]);
    world.join_as(Join { prefetch: 1, ..join("worker") });
    let mut order = Vec::new();
    for _ in 0..4 {
        let delivery = world.next().unwrap();
        order.push(delivery.body);
        world.ack(&delivery, 0);
    }
    assert_eq!(order, [0, 1000, 2000, 1]);
}

#[test]
fn a_delayed_message_takes_its_place_when_its_delay_is_over() {
    let mut world = world(config());
    world.enqueue(Enqueue { key: Some("a"), delay: Duration::from_secs(5), ..message(1) }).unwrap();
    world.fill_key("a", [2, 3]);
    world.join("worker");
    let second = world.next().unwrap();
    assert_eq!(second.body, 2);
    world.wait(5_010);
    world.fill_key("a", [4]);
    world.ack(&second, 0);
    for body in [3, 1, 4] {
        let delivery = world.next().unwrap();
        assert_eq!(delivery.body, body);
        world.ack(&delivery, 0);
    }
}

#[test]
fn only_keys_with_messages_are_known() {
    let mut world = world(config());
    for key in 0..1000 {
        world.fill_key(&key.to_string(), [key]);
    }
    assert_eq!(world.stats().keys, 1000);
    world.join_as(Join { is_at_most_once: true, ..join("worker") });
    world.bodies();
    assert_eq!(world.stats().keys, 0);
}

#[test]
fn a_key_is_what_its_mode_says() {
    let property =
        |name: &str| [("q-key", "k"), ("other", "o")].iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let alias = |name: &str| (name == "mq-key").then_some("emqx");
    let source = KeySource { topic: "a/b/c", client_id: "me", property };
    for (mode, key) in [
        ("none", None),
        ("topic", Some("a/b/c")),
        ("topic-level:2", Some("b")),
        ("topic-level:4", None),
        ("client-id", Some("me")),
        ("property:q-key", Some("k")),
        ("property:other", Some("o")),
        ("property:none", None),
    ] {
        let mode: KeyMode = mode.parse().unwrap();
        assert_eq!(mode.key_of(source), key, "{mode}");
        assert_eq!(mode.to_string().parse(), Ok(mode));
    }
    let source = KeySource { topic: "t", client_id: "me", property: alias };
    assert_eq!(KeyMode::default().key_of(source), Some("emqx"));
    for wrong in ["", "topics", "topic-level", "topic-level:0", "topic-level:x", "property:"] {
        assert!(wrong.parse::<KeyMode>().is_err(), "{wrong}");
    }
}
