//! Messages that cannot be worked on: set aside with their whole story, while the others flow past.

use dunlin::packet::QoS;

use crate::house::{ack, consumer, drain, enter, fill, jobs, payloads, refuse, take, tell, tell_with, until, work_until};
use crate::support::client::V311;
use crate::support::{Broker, Client};

/// Lets a message of this payload die of a worker that rejects it.
fn let_die(broker: &Broker, topic: &str, payload: &str) {
    let mut worker = consumer(broker, "undertaker", "$queue/jobs");
    let mut publisher = enter(broker, "publisher");
    fill(&mut publisher, topic, &[payload]);
    let got = take(&mut worker);
    assert_eq!(got.payload, payload);
    refuse(&mut worker, &got, 0x99);
    crate::house::leave(worker);
}

#[test]
fn dead_letters_that_others_take_the_place_of_are_counted() {
    let broker = jobs("max_messages = 2");
    for number in 0..5 {
        let_die(&broker, "jobs/a", &number.to_string());
    }
    let dropped = "dunlin_queue_dropped_total{queue=\"jobs\",reason=\"dead-overflow\"}";
    until("they are counted", || (broker.metric(dropped) == 3.0).then_some(()));
    assert_eq!(payloads(&drain(&mut consumer(&broker, "dead", "$dlq/jobs"))), ["3", "4"]);
}

#[test]
fn a_poison_message_dies_after_its_last_attempt_and_the_others_flow_past() {
    let broker = jobs("max_deliveries = 3");
    let mut publisher = enter(&broker, "publisher");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let about = [("colour", "red"), ("colour", "blue")];
    let told = tell_with(&mut publisher, "jobs/eu/17", "poison", &about, |packet| {
        packet.properties.content_type = Some("text/plain");
    });
    assert_eq!(told.reason, 0);
    let (mut attempts, mut done, mut id) = (Vec::new(), Vec::new(), None);
    let mut dead = consumer(&broker, "dead", "$dlq/jobs");
    let letter = until("it dies", || {
        fill(&mut publisher, "jobs/eu/18", &["fine"]);
        for got in drain(&mut worker) {
            if got.payload == "poison" {
                attempts.push(got.attempt());
                id = got.property("q-id").map(str::to_owned);
                refuse(&mut worker, &got, 0x83);
            } else {
                ack(&mut worker, &got);
                done.push(got.payload);
            }
        }
        drain(&mut dead).pop()
    });
    assert_eq!(attempts, [1, 2, 3], "exactly max_deliveries");
    assert!(done.len() >= 2, "others flow: {done:?}");
    assert_eq!((letter.topic.as_str(), letter.payload.as_str()), ("jobs/eu/17", "poison"));
    assert_eq!(letter.content_type.as_deref(), Some("text/plain"));
    let colours: Vec<_> = letter.properties.iter().filter(|(name, _)| name == "colour").map(|(_, value)| &**value).collect();
    assert_eq!(colours, ["red", "blue"], "as its publisher gave them");
    for (name, value) in [
        ("q-dead-reason", "max-deliveries"),
        ("q-dead-queue", "jobs"),
        ("q-dead-attempts", "3"),
        ("q-dead-last-client", "worker"),
        ("q-dead-last-code", "131"),
        ("q-attempt", "1"),
    ] {
        assert_eq!(letter.property(name), Some(value), "{name}");
    }
    assert_eq!(letter.property("q-id"), id.as_deref());
    let millis = |name| letter.property(name).unwrap().parse::<u64>().unwrap();
    assert!(millis("q-dead-at") >= millis("q-enqueued-at"));
    assert_eq!(drain(&mut dead), [], "once");
}

#[test]
fn dead_letters_are_worked_on_like_any_queue() {
    let broker = jobs("");
    for name in ["one", "two", "three"] {
        let_die(&broker, "jobs/a", name);
    }
    let mut first = consumer(&broker, "first", "$dlq/jobs");
    let got = drain(&mut first);
    assert_eq!(payloads(&got), ["one", "two", "three"]);
    ack(&mut first, &got[0]);
    // A dead letter does not die again, however often it fails.
    for attempt in 2..9 {
        let topic = format!("$dlq/jobs/$nack/{}/0", if attempt == 2 { got[1].tag().to_owned() } else { again_tag(&mut first) });
        assert_eq!(tell(&mut first, &topic, "", &[]).reason, 0);
    }
    let again = take(&mut first);
    assert_eq!((again.payload.as_str(), again.attempt()), ("two", 8));
    drain(&mut first);
    first.cut();
    // The lease form, for a client without properties.
    let mut old = Client::connect(broker.address(), V311, "old");
    old.subscribe("$dlq/jobs/$lease/#", QoS::AtLeastOnce);
    let mut names = Vec::new();
    let both = [take(&mut old), take(&mut old)];
    for got in both {
        let rest = got.topic.strip_prefix("$dlq/jobs/$lease/").unwrap();
        let (tag, topic) = rest.split_once('/').unwrap();
        assert_eq!(topic, "jobs/a");
        assert_eq!(old.publish(&format!("$dlq/jobs/$ack/{tag}"), "", QoS::AtLeastOnce), 0);
        names.push(got.payload);
    }
    names.sort();
    assert_eq!(names, ["three", "two"]);
    old.cut();
    assert_eq!(drain(&mut consumer(&broker, "next", "$dlq/jobs")), []);
}

fn again_tag(client: &mut Client) -> String {
    take(client).tag().to_owned()
}

#[test]
fn dead_letters_survive_a_crash_with_their_story() {
    let mut broker = jobs("");
    let_die(&broker, "jobs/a", "x");
    let mut first = consumer(&broker, "first", "$dlq/jobs");
    let before = take(&mut first);
    crate::house::leave(first);
    // A death is written at the latest with what is acknowledged after it.
    enter(&broker, "publisher").retain("elsewhere", "x");
    broker.kill_and_restart();
    let mut dead = consumer(&broker, "second", "$dlq/jobs");
    let after = take(&mut dead);
    for name in ["q-id", "q-dead-reason", "q-dead-attempts", "q-dead-last-client", "q-dead-last-code", "q-dead-at"] {
        assert!(before.property(name).is_some(), "{name}");
        assert_eq!(before.property(name), after.property(name), "{name}");
    }
}

#[test]
fn without_dead_letters_a_message_that_dies_is_gone() {
    let broker = jobs("dead_letter = false\nmax_deliveries = 1");
    let_die(&broker, "jobs/a", "x");
    assert_eq!(drain(&mut consumer(&broker, "dead", "$dlq/jobs")), []);
    let mut publisher = enter(&broker, "publisher");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["next"]);
    assert_eq!(work_until(&mut worker, "next"), ["next"]);
}

#[test]
fn a_key_goes_on_or_stands_still_when_one_of_its_messages_dies() {
    for (on_dead, expected) in [("skip", &["a2", "b1", "b2"][..]), ("block", &["b1", "b2"])] {
        let mut broker = jobs(&format!("key = \"topic\"\non_dead = \"{on_dead}\"\nmax_deliveries = 1"));
        let mut publisher = enter(&broker, "publisher");
        let mut dead = consumer(&broker, "dead", "$dlq/jobs");
        let mut worker = consumer(&broker, "worker", "$queue/jobs");
        for name in ["a1", "a2", "b1", "b2"] {
            fill(&mut publisher, &format!("jobs/{}", &name[..1]), &[name]);
        }
        let mut done = Vec::new();
        while done.len() < expected.len() {
            let got = take(&mut worker);
            if got.payload == "a1" {
                refuse(&mut worker, &got, 0x80);
            } else {
                ack(&mut worker, &got);
                done.push(got.payload);
            }
        }
        done.sort();
        assert_eq!(done, expected, "{on_dead}");
        assert_eq!(take(&mut dead).payload, "a1");
        assert_eq!(drain(&mut worker), []);
        // It still stands after a crash. A settlement is written at the latest with what is acknowledged after it.
        publisher.retain("elsewhere", "x");
        broker.kill_and_restart();
        let mut publisher = enter(&broker, "publisher");
        let mut worker = consumer(&broker, "worker", "$queue/jobs");
        fill(&mut publisher, "jobs/a", &["a3"]);
        let got = drain(&mut worker);
        assert_eq!(payloads(&got), if on_dead == "skip" { &["a3"][..] } else { &[] }, "{on_dead}");
    }
}

#[test]
fn a_message_that_expires_in_the_queue_is_dropped_or_set_aside() {
    for policy in ["drop", "dead-letter"] {
        let broker = jobs(&format!("expired = \"{policy}\""));
        let mut publisher = enter(&broker, "publisher");
        tell_with(&mut publisher, "jobs/a", "short", &[], |packet| packet.properties.message_expiry_interval = Some(1));
        tell_with(&mut publisher, "jobs/a", "long", &[], |packet| packet.properties.message_expiry_interval = Some(1000));
        let mut dead = consumer(&broker, "dead", "$dlq/jobs");
        if policy == "dead-letter" {
            let letter = take(&mut dead);
            assert_eq!((letter.payload.as_str(), letter.property("q-dead-reason")), ("short", Some("expired")));
            assert_eq!(letter.expiry, None, "it has no time left that could be told");
            assert_eq!(letter.property("q-dead-attempts"), Some("0"));
            ack(&mut dead, &letter);
        } else {
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
        let mut worker = consumer(&broker, "worker", "$queue/jobs");
        let got = take(&mut worker);
        assert_eq!(got.payload, "long", "{policy}");
        assert_eq!(drain(&mut dead), [], "{policy}");
    }
}
