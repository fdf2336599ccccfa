//! Consumers that go away: with their session, or leaving it behind.

use dunlin::packet::QoS;

use crate::house::{
    ack, assert_empty, consumer, drain, enter, enter_kept, fill, jobs, let_be_written, payloads, subscribe, take, tell,
};
use crate::support::client::V311;
use crate::support::{Broker, Client};

/// A client with a kept session, away with one message unacknowledged.
fn gone_with_one(broker: &Broker) -> crate::house::Got {
    let mut worker = enter_kept(broker, "worker").0;
    worker.subscribe("$queue/jobs", QoS::AtLeastOnce);
    let mut publisher = enter(broker, "publisher");
    fill(&mut publisher, "jobs/a", &["x"]);
    let got = take(&mut worker);
    worker.cut();
    got
}

#[test]
fn a_session_that_comes_back_gets_the_same_packet_again() {
    let broker = jobs("");
    let first = gone_with_one(&broker);
    let mut other = consumer(&broker, "other", "$queue/jobs");
    assert_eq!(drain(&mut other), [], "the lease goes on");
    let (mut worker, is_present) = enter_kept(&broker, "worker");
    assert!(is_present);
    let again = take(&mut worker);
    assert_eq!((again.id, again.dup, again.attempt()), (first.id, true, 1), "[MQTT-4.4.0-1]");
    assert_eq!((again.tag(), again.property("q-id")), (first.tag(), first.property("q-id")));
    ack(&mut worker, &again);
    drain(&mut worker);
    worker.cut();
    assert_eq!(drain(&mut other), [], "settled");
    let mut worker = enter_kept(&broker, "worker").0;
    assert_eq!(drain(&mut worker), []);
}

#[test]
fn a_lease_that_runs_out_while_its_consumer_is_away_is_not_sent_again() {
    let broker = jobs("ack_timeout = \"300ms\"");
    gone_with_one(&broker);
    let mut other = consumer(&broker, "other", "$queue/jobs");
    let got = take(&mut other);
    assert_eq!((got.payload.as_str(), got.attempt(), got.dup), ("x", 2, false));
    ack(&mut other, &got);
    drain(&mut other);
    let mut worker = enter_kept(&broker, "worker").0;
    assert_eq!(drain(&mut worker), []);
    let mut publisher = enter(&broker, "publisher");
    fill(&mut publisher, "jobs/a", &["y", "z"]);
    let mut both = drain(&mut worker);
    both.extend(drain(&mut other));
    assert_eq!(both.len(), 2, "it works on as before");
}

#[test]
fn a_lease_that_runs_out_while_its_consumer_is_connected_is_not_sent_again_when_it_comes_back() {
    let mut broker = jobs("ack_timeout = \"300ms\"");
    let mut worker = enter_kept(&broker, "worker").0;
    worker.subscribe("$queue/jobs", QoS::AtLeastOnce);
    let mut publisher = enter(&broker, "publisher");
    fill(&mut publisher, "jobs/a", &["x"]);
    take(&mut worker);
    let mut other = consumer(&broker, "other", "$queue/jobs");
    let got = take(&mut other);
    assert_eq!((got.payload.as_str(), got.attempt()), ("x", 2));
    ack(&mut other, &got);
    drain(&mut other);
    worker.cut();
    broker.wait_for_log("\"disconnected\",\"client\":\"worker\"");
    let mut worker = enter_kept(&broker, "worker").0;
    assert_eq!(drain(&mut worker), []);
}

#[test]
fn nobody_is_lent_anything_while_away() {
    let broker = jobs("");
    let mut worker = enter_kept(&broker, "worker").0;
    worker.subscribe("$queue/jobs", QoS::AtLeastOnce);
    worker.cut();
    let mut publisher = enter(&broker, "publisher");
    // The broker may find out late that it is gone: what it was lent until then is in its session.
    let mut other = consumer(&broker, "other", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["1", "2"]);
    let mut all = drain(&mut other);
    let (mut worker, is_present) = enter_kept(&broker, "worker");
    assert!(is_present);
    all.extend(drain(&mut worker));
    let mut names = payloads(&all);
    names.sort_unstable();
    assert_eq!(names, ["1", "2"]);
    fill(&mut publisher, "jobs/a", &["3", "4", "5", "6"]);
    assert!(!drain(&mut worker).is_empty(), "it is a consumer as before, without subscribing again");
}

#[test]
fn a_session_that_ends_fails_its_messages_at_once() {
    // Nothing else than the end of the session can bring them back in time.
    let broker = jobs("ack_timeout = \"1h\"");
    let mut publisher = enter(&broker, "publisher");
    let mut attempt = 1;
    fill(&mut publisher, "jobs/a", &["x"]);
    for version in [V311, crate::support::client::V5] {
        for says_goodbye in [false, true] {
            let mut worker = Client::connect(broker.address(), version, "worker");
            worker.subscribe("$queue/jobs", QoS::AtLeastOnce);
            let got = take(&mut worker);
            assert!(!got.dup, "a new PUBLISH");
            if got.property("q-attempt").is_some() {
                assert_eq!(got.attempt(), attempt);
            }
            attempt += 1;
            if says_goodbye {
                worker.send_bytes(&[0xE0, 0]);
                worker.expect_close();
            } else {
                worker.cut();
            }
        }
    }
    // The fifth and last.
    let mut worker = consumer(&broker, "last", "$queue/jobs");
    let got = take(&mut worker);
    assert_eq!(got.attempt(), 5);
    worker.cut();
    let mut dead = consumer(&broker, "dead", "$dlq/jobs");
    assert_eq!(take(&mut dead).property("q-dead-attempts"), Some("5"));
}

#[test]
fn who_acknowledges_and_leaves_in_one_breath_is_done() {
    let broker = jobs("ack_timeout = \"1h\"");
    let mut publisher = enter(&broker, "publisher");
    for version in [V311, crate::support::client::V5] {
        fill(&mut publisher, "jobs/a", &["x"]);
        let mut worker = Client::connect(broker.address(), version, "worker");
        worker.subscribe("$queue/jobs", QoS::AtLeastOnce);
        let [high, low] = take(&mut worker).id.expect("QoS 1").get().to_be_bytes();
        worker.send_bytes(&[0x40, 2, high, low, 0xE0, 0]);
        worker.expect_close();
        assert_empty(&broker, "$queue/jobs", "jobs/a");
    }
}

#[test]
fn a_clean_start_ends_the_session_and_its_leases() {
    let broker = jobs("ack_timeout = \"1h\"");
    gone_with_one(&broker);
    let mut worker = enter(&broker, "worker");
    assert_eq!(drain(&mut worker), []);
    let mut other = consumer(&broker, "other", "$queue/jobs");
    assert_eq!(take(&mut other).attempt(), 2);
}

#[test]
fn a_kept_session_survives_a_crash_with_what_it_was_lent_and_wished_for() {
    let mut broker = jobs("");
    let mut worker = enter_kept(&broker, "worker").0;
    let wishes = [("q-ack", "explicit"), ("q-prefetch", "1")];
    assert_eq!(subscribe(&mut worker, "$queue/jobs", QoS::AtLeastOnce, &wishes).reason, 1);
    let mut publisher = enter(&broker, "publisher");
    fill(&mut publisher, "jobs/a", &["1", "2", "3"]);
    let first = take(&mut worker);
    ack(&mut worker, &first);
    assert_eq!(drain(&mut worker), [], "explicit, one at a time: PUBACK settles nothing");
    let_be_written(&broker);
    broker.kill_and_restart();
    let (mut worker, is_present) = enter_kept(&broker, "worker");
    assert!(is_present);
    assert_eq!(drain(&mut worker), [], "it has one still");
    assert_eq!(tell(&mut worker, &format!("$queue/jobs/$ack/{}", first.tag()), "", &[]).reason, 0);
    let second = take(&mut worker);
    assert_eq!((second.payload.as_str(), second.attempt()), ("2", 1));
    ack(&mut worker, &second);
    assert_eq!(drain(&mut worker), [], "one at a time, and explicit, as before");
    assert_eq!(tell(&mut worker, &format!("$queue/jobs/$ack/{}", second.tag()), "", &[]).reason, 0);
    assert_eq!(take(&mut worker).payload, "3");
}
