//! Consumers that acknowledge late, or never.

use crate::house::{ack, assert_empty, consumer, drain, enter, fill, jobs, payloads, take};
use crate::support::Client;
use crate::support::client::V311;
use dunlin::packet::QoS;

#[test]
fn a_message_that_is_not_acknowledged_in_time_comes_again_as_a_new_one() {
    let broker = jobs("ack_timeout = \"200ms\"");
    for version in [V311, crate::support::client::V5] {
        let mut worker = Client::connect(broker.address(), version, "worker");
        worker.subscribe("$queue/jobs", QoS::AtLeastOnce);
        let mut publisher = enter(&broker, "publisher");
        fill(&mut publisher, "jobs/a", &["x"]);
        let first = take(&mut worker);
        let second = take(&mut worker);
        assert_eq!((second.payload.as_str(), second.dup), ("x", false), "on a live connection nothing is sent again");
        assert_ne!(first.id, second.id, "the first packet is not done yet [MQTT-2.2.1-4]");
        ack(&mut worker, &first);
        ack(&mut worker, &second);
        crate::house::leave(worker);
        assert_empty(&broker, "$queue/jobs", "jobs/a");
    }
}

#[test]
fn a_late_acknowledgement_settles_what_nobody_has_settled_since() {
    let broker = jobs("ack_timeout = \"300ms\"\nmax_deliveries = 0");
    let mut publisher = enter(&broker, "publisher");
    let [mut slow, mut other] = ["ada", "bob"].map(|id| consumer(&broker, id, "$queue/jobs"));
    fill(&mut publisher, "jobs/a", &["x"]);
    let mut first = drain(&mut slow);
    if first.is_empty() {
        std::mem::swap(&mut slow, &mut other);
        first = vec![take(&mut slow)];
    }
    let first = first.remove(0);
    let second = take(&mut other);
    assert_eq!((first.attempt(), second.attempt()), (1, 2), "another consumer has it");
    ack(&mut slow, &first);
    drain(&mut slow);
    // What the other one says of it now is of no weight.
    let told = crate::house::tell(&mut other, &format!("$queue/jobs/$nack/{}", second.tag()), "", &[]);
    assert_eq!(told.reason, 0x90);
    ack(&mut other, &second);
    drain(&mut other);
    crate::house::leave(other);
    crate::house::leave(slow);
    assert_empty(&broker, "$queue/jobs", "jobs/a");
}

#[test]
fn a_stuck_consumer_does_not_hold_up_the_others() {
    let broker = jobs("ack_timeout = \"300ms\"\nprefetch = 2");
    let mut publisher = enter(&broker, "publisher");
    let mut stuck = consumer(&broker, "stuck", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["1", "2", "3", "4"]);
    assert_eq!(payloads(&drain(&mut stuck)), ["1", "2"]);
    let mut good = consumer(&broker, "good", "$queue/jobs");
    let mut done = Vec::new();
    while done.len() < 4 {
        let got = take(&mut good);
        ack(&mut good, &got);
        done.push(got.payload);
    }
    done.sort();
    assert_eq!(done, ["1", "2", "3", "4"]);
}

#[test]
fn messages_that_nobody_acknowledges_die_by_the_clock() {
    let broker = jobs("ack_timeout = \"100ms\"\nmax_deliveries = 2");
    let mut publisher = enter(&broker, "publisher");
    let mut dead = consumer(&broker, "dead", "$dlq/jobs");
    let mut stuck = consumer(&broker, "stuck", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["x"]);
    let letter = take(&mut dead);
    assert_eq!((letter.property("q-dead-reason"), letter.property("q-dead-attempts")), (Some("max-deliveries"), Some("2")));
    assert_eq!((letter.property("q-dead-last-client"), letter.property("q-dead-last-code")), (Some("stuck"), None));
    let attempts: Vec<_> = drain(&mut stuck).iter().map(crate::house::Got::attempt).collect();
    assert_eq!(attempts, [1, 2]);
}
