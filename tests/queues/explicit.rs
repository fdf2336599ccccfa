//! Settling by topic: for clients whose library acknowledges on its own, and for all others who like.

use dunlin::packet::QoS;

use crate::house::{Got, ack, assert_empty, consumer, drain, enter, fill, jobs, let_be_written, payloads, take, tell};
use crate::support::client::{V5, V31, V311};
use crate::support::{Broker, Client};

/// A consumer of the lease form that has acknowledged this one message, as its library does.
fn with_one(broker: &Broker, version: dunlin::packet::ProtocolVersion) -> (Client, Got) {
    let mut publisher = enter(broker, "publisher");
    let mut worker = Client::connect(broker.address(), version, "worker");
    worker.subscribe("$queue/jobs/$lease/#", QoS::AtLeastOnce);
    fill(&mut publisher, "jobs/a/b", &["x"]);
    let got = take(&mut worker);
    ack(&mut worker, &got);
    assert_eq!((got.lease().1, got.payload.as_str()), ("jobs/a/b", "x"));
    (worker, got)
}

fn verb(client: &mut Client, got: &Got, verb: &str, rest: &str) -> u8 {
    tell(client, &format!("$queue/jobs/${verb}/{}{rest}", got.lease().0), "", &[]).reason
}

#[test]
fn a_client_without_properties_settles_by_the_tag_in_the_topic() {
    let broker = jobs("ack = \"explicit\"");
    for version in [V31, V311, V5] {
        let (mut worker, got) = with_one(&broker, version);
        assert_eq!(verb(&mut worker, &got, "ack", ""), 0);
        crate::house::leave(worker);
        assert_empty(&broker, "$queue/jobs", "jobs/a");
    }
}

#[test]
fn settling_with_qos_0_does_the_same() {
    let broker = jobs("ack = \"explicit\"");
    let (mut worker, got) = with_one(&broker, V311);
    worker.publish(&format!("$queue/jobs/$ack/{}", got.lease().0), "", QoS::AtMostOnce);
    drain(&mut worker);
    worker.cut();
    assert_empty(&broker, "$queue/jobs", "jobs/a");
}

#[test]
fn what_is_acknowledged_and_not_settled_comes_again() {
    let broker = jobs("ack = \"explicit\"");
    for version in [V311, V5] {
        let (mut worker, _) = with_one(&broker, version);
        drain(&mut worker);
        worker.cut();
        let mut next = consumer(&broker, "next", "$queue/jobs");
        let got = take(&mut next);
        assert_eq!(got.attempt(), 2);
        assert_eq!(tell(&mut next, &format!("$queue/jobs/$ack/{}", got.tag()), "", &[]).reason, 0);
        crate::house::leave(next);
    }
}

#[test]
fn nack_brings_it_back_after_the_backoff_or_the_delay_that_it_names() {
    let broker = jobs("ack = \"explicit\"\nmax_deliveries = 0\nbackoff = [\"1h\"]");
    let (mut worker, mut got) = with_one(&broker, V5);
    for (rest, properties) in [("/0", &[][..]), ("", &[("q-delay", "10ms")])] {
        let topic = format!("$queue/jobs/$nack/{}{rest}", got.lease().0);
        assert_eq!(tell(&mut worker, &topic, "", properties).reason, 0);
        let again = take(&mut worker);
        assert_eq!(again.attempt(), got.attempt() + 1);
        ack(&mut worker, &again);
        got = again;
    }
    assert_eq!(verb(&mut worker, &got, "nack", ""), 0, "an hour's backoff");
    let mut publisher = enter(&broker, "publisher");
    fill(&mut publisher, "jobs/a", &["next"]);
    assert_eq!(payloads(&drain(&mut worker)), ["next"]);
}

#[test]
fn nack_works_where_the_packet_is_still_unacknowledged() {
    let broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["x"]);
    let got = take(&mut worker);
    assert_eq!(tell(&mut worker, "$queue/jobs/$nack/0", "", &[("q-tag", got.tag())]).reason, 0);
    let again = take(&mut worker);
    assert_eq!(again.attempt(), 2);
    // The word was said; the acknowledgement of the packet that follows settles nothing.
    ack(&mut worker, &got);
    drain(&mut worker);
    worker.cut();
    let mut next = consumer(&broker, "next", "$queue/jobs");
    assert_eq!(take(&mut next).attempt(), 3);
}

#[test]
fn reject_sends_it_to_the_dead_letters() {
    let broker = jobs("ack = \"explicit\"");
    let mut dead = consumer(&broker, "dead", "$dlq/jobs");
    let (mut worker, got) = with_one(&broker, V311);
    assert_eq!(verb(&mut worker, &got, "reject", ""), 0);
    let letter = take(&mut dead);
    assert_eq!((letter.topic.as_str(), letter.property("q-dead-reason")), ("jobs/a/b", Some("rejected")));
    assert_eq!((letter.property("q-dead-last-client"), letter.property("q-dead-last-code")), (Some("worker"), None));
    assert_eq!(tell(&mut dead, &format!("$dlq/jobs/$ack/{}", letter.tag()), "", &[]).reason, 0);
    dead.cut();
    assert_eq!(drain(&mut consumer(&broker, "next", "$dlq/jobs")), []);
}

#[test]
fn extend_gives_more_time_than_its_neighbour_has() {
    let broker = jobs("ack = \"explicit\"\nack_timeout = \"1s\"\nmax_deliveries = 0");
    let mut publisher = enter(&broker, "publisher");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["long", "short"]);
    let got = drain(&mut worker);
    assert_eq!(payloads(&got), ["long", "short"]);
    assert_eq!(tell(&mut worker, &format!("$queue/jobs/$extend/{}/600", got[0].tag()), "", &[]).reason, 0);
    got.iter().for_each(|got| ack(&mut worker, got));
    // Twice the time of a lease passes.
    for attempt in [2, 3] {
        let again = take(&mut worker);
        assert_eq!((again.payload.as_str(), again.attempt()), ("short", attempt));
        ack(&mut worker, &again);
    }
    assert_eq!(tell(&mut worker, "$queue/jobs/$ack", "", &[("q-tag", got[0].tag())]).reason, 0, "it still has it");
}

#[test]
fn the_tag_may_come_as_a_property() {
    let broker = jobs("ack = \"explicit\"");
    let mut publisher = enter(&broker, "publisher");
    let mut dead = consumer(&broker, "dead", "$dlq/jobs");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["ack", "reject", "extend", "nack"]);
    let got = drain(&mut worker);
    for got in &got {
        ack(&mut worker, got);
        let verb = match &*got.payload {
            "nack" => "nack/0",
            "extend" => "extend/60",
            verb => verb,
        };
        let told = tell(&mut worker, &format!("$queue/jobs/${verb}"), "", &[("q-tag", got.tag())]);
        assert_eq!((told.reason, told.text), (0, None), "{verb}");
    }
    assert_eq!(take(&mut dead).payload, "reject");
    let again = take(&mut worker);
    assert_eq!((again.payload.as_str(), again.attempt()), ("nack", 2));
    drain(&mut worker);
    worker.cut();
    let mut next = consumer(&broker, "next", "$queue/jobs");
    let mut rest = vec![take(&mut next).payload, take(&mut next).payload];
    rest.sort();
    assert_eq!(rest, ["extend", "nack"], "what was extended is not settled; what was acknowledged is");
}

#[test]
fn a_consumer_may_ask_for_its_own_way_of_settling() {
    for (of_queue, wish) in [("puback", "explicit"), ("explicit", "puback")] {
        let broker = jobs(&format!("ack = \"{of_queue}\""));
        let mut publisher = enter(&broker, "publisher");
        let mut worker = enter(&broker, "worker");
        assert_eq!(crate::house::subscribe(&mut worker, "$queue/jobs", QoS::AtLeastOnce, &[("q-ack", wish)]).reason, 1);
        fill(&mut publisher, "jobs/a", &["1", "2"]);
        let got = drain(&mut worker);
        ack(&mut worker, &got[0]);
        drain(&mut worker);
        worker.cut();
        let mut next = consumer(&broker, "next", "$queue/jobs");
        let expected: &[&str] = if wish == "explicit" { &["1", "2"] } else { &["2"] };
        let mut all: Vec<String> = expected.iter().map(|_| take(&mut next).payload).collect();
        all.sort();
        assert_eq!(all, expected, "{wish}");
        assert_eq!(drain(&mut next), []);
    }
}

#[test]
fn a_lease_can_be_settled_over_a_crash_and_a_new_connection() {
    let mut broker = jobs("ack = \"explicit\"");
    let mut publisher = enter(&broker, "publisher");
    let mut worker = crate::house::enter_kept(&broker, "worker").0;
    worker.subscribe("$queue/jobs/$lease/#", QoS::AtLeastOnce);
    fill(&mut publisher, "jobs/a", &["1", "2"]);
    let got = drain(&mut worker);
    got.iter().for_each(|got| ack(&mut worker, got));
    drain(&mut worker);
    let_be_written(&broker);
    broker.kill_and_restart();
    // By a session that knows nothing of the subscription; the client is the same.
    let mut worker = enter(&broker, "worker");
    assert_eq!(verb(&mut worker, &got[0], "ack", ""), 0);
    let mut next = consumer(&broker, "next", "$queue/jobs");
    let left = take(&mut next);
    assert_eq!((left.payload.as_str(), left.attempt()), ("2", 2));
    assert_eq!(drain(&mut next), []);
}
