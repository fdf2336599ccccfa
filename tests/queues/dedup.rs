//! The same publish twice is one message.

use dunlin::packet::QoS;

use crate::house::{ack, assert_empty, broker, consumer, drain, enter, fill, jobs, payloads, take, tell};
use crate::support::Client;
use crate::support::client::V311;

#[test]
fn a_repeated_publish_is_acknowledged_and_stored_once() {
    let mut broker = jobs("");
    let mut subscriber = enter(&broker, "subscriber");
    subscriber.subscribe("jobs/#", QoS::AtMostOnce);
    let about = [("q-dedup-id", "order-17")];
    let first = tell(&mut enter(&broker, "one"), "jobs/a", "x", &about);
    assert_eq!((first.reason, first.is_duplicate()), (0, false));
    let again = tell(&mut enter(&broker, "two"), "jobs/a", "x", &about);
    assert_eq!((again.reason, again.is_duplicate()), (0, true), "by whichever client");
    assert_eq!(payloads(&drain(&mut subscriber)), ["x"], "subscribers get it once too");
    // By topic it is the same.
    let mut old = Client::connect(broker.address(), V311, "old");
    assert_eq!(old.publish("$dedup/order-17/jobs/a", "x", QoS::AtLeastOnce), 0);
    assert_eq!(old.publish("$dedup/order-17/jobs/a", "x", QoS::ExactlyOnce), 0);
    // Consumed, and remembered.
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let got = drain(&mut worker);
    assert_eq!(payloads(&got), ["x"]);
    ack(&mut worker, &got[0]);
    drain(&mut worker);
    let mut publisher = enter(&broker, "publisher");
    assert!(tell(&mut publisher, "$dedup/order-17/jobs/a", "x", &[]).is_duplicate());
    // Over a crash.
    broker.kill_and_restart();
    let mut publisher = enter(&broker, "publisher");
    assert!(tell(&mut publisher, "jobs/a", "x", &about).is_duplicate());
    assert!(!tell(&mut publisher, "jobs/a", "y", &[("q-dedup-id", "order-18")]).is_duplicate());
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    assert_eq!(take(&mut worker).payload, "y");
}

#[test]
fn an_empty_identifier_is_none() {
    let broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    for payload in ["x", "y"] {
        assert!(!tell(&mut publisher, "jobs/a", payload, &[("q-dedup-id", "")]).is_duplicate());
    }
    assert_eq!(payloads(&drain(&mut consumer(&broker, "worker", "$queue/jobs"))), ["x", "y"]);
}

#[test]
fn an_identifier_is_of_its_queue() {
    let broker =
        broker("[[queues]]\nname = \"jobs\"\nbind = [\"jobs/#\"]\n[[queues]]\nname = \"audit\"\nbind = [\"+/audited\"]\n");
    let mut publisher = enter(&broker, "publisher");
    let about = [("q-dedup-id", "1")];
    assert!(!tell(&mut publisher, "jobs/a", "x", &about).is_duplicate());
    // New for one of the two.
    assert!(!tell(&mut publisher, "jobs/audited", "y", &about).is_duplicate());
    assert!(tell(&mut publisher, "jobs/audited", "z", &about).is_duplicate());
    assert!(tell(&mut publisher, "$queue/jobs/$put/other", "z", &about).is_duplicate());
    assert_eq!(payloads(&drain(&mut consumer(&broker, "a", "$queue/jobs"))), ["x"]);
    assert_eq!(payloads(&drain(&mut consumer(&broker, "b", "$queue/audit"))), ["y"]);
}

#[test]
fn put_takes_an_identifier_by_topic() {
    let broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    for expected in [false, true] {
        assert_eq!(tell(&mut publisher, "$dedup/7/$queue/jobs/$put/a", "x", &[]).is_duplicate(), expected);
    }
    assert_eq!(payloads(&drain(&mut consumer(&broker, "a", "$queue/jobs"))), ["x"]);
}

#[test]
fn an_identifier_is_forgotten_after_the_window_or_when_there_are_too_many() {
    let broker = jobs("dedup_max_ids = 2\ndedup_window = \"2s\"");
    let mut publisher = enter(&broker, "publisher");
    let mut tell = |id: &str| tell(&mut publisher, &format!("$dedup/{id}/jobs/a"), id, &[]).is_duplicate();
    crate::house::until("the window passes", || (!tell("0")).then_some(()));
    crate::house::until("the window passes", || (!tell("0")).then_some(()));
    assert_eq!(["1", "2", "3"].map(&mut tell), [false; 3]);
    assert!(!tell("1"), "the third one has pushed it out");
    assert!(tell("3"));
}

#[test]
fn a_repeat_is_known_while_the_queue_is_full() {
    let broker = jobs("max_messages = 1");
    let mut publisher = enter(&broker, "publisher");
    assert!(!tell(&mut publisher, "$dedup/1/jobs/a", "x", &[]).is_duplicate());
    assert_eq!(tell(&mut publisher, "$dedup/2/jobs/a", "y", &[]).reason, 0x97);
    assert!(tell(&mut publisher, "$dedup/1/jobs/a", "x", &[]).is_duplicate());
    // What was refused was never there.
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let got = take(&mut worker);
    ack(&mut worker, &got);
    drain(&mut worker);
    assert!(!tell(&mut publisher, "$dedup/2/jobs/a", "y", &[]).is_duplicate());
    worker.cut();
    let mut worker = consumer(&broker, "next", "$queue/jobs");
    let got = take(&mut worker);
    assert_eq!(got.payload, "y");
    ack(&mut worker, &got);
    drain(&mut worker);
    crate::house::leave(worker);
    assert_empty(&broker, "$queue/jobs", "jobs/a");
}

#[test]
fn topics_without_a_queue_know_no_repeats() {
    let broker = jobs("");
    let mut subscriber = enter(&broker, "subscriber");
    subscriber.subscribe("plain", QoS::AtMostOnce);
    let mut publisher = enter(&broker, "publisher");
    for _ in 0..2 {
        let told = tell(&mut publisher, "$dedup/1/plain", "x", &[]);
        assert_eq!((told.reason, told.is_duplicate()), (0, false));
    }
    let got = drain(&mut subscriber);
    assert_eq!(payloads(&got), ["x", "x"]);
    assert_eq!(got[0].topic, "plain");
    fill(&mut publisher, "plain", &["y"]);
}
