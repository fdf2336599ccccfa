//! Later: `$delayed/SECONDS/TOPIC` for every topic, `q-delay` for queues.

use dunlin::packet::{QoS, SubscriptionOptions};

use crate::house::{ack, broker, consumer, drain, enter, fill, jobs, payloads, take, tell, tell_with};
use crate::rights_house::House;
use crate::support::client::V311;
use crate::support::{Client, eventually};

#[test]
fn an_ordinary_topic_gets_its_message_later() {
    let broker = broker("");
    let mut subscriber = enter(&broker, "subscriber");
    subscriber.subscribe("a/b", QoS::ExactlyOnce);
    let mut publisher = Client::connect(broker.address(), V311, "publisher");
    publisher.publish("$delayed/2/a/b", "zero", QoS::AtMostOnce);
    assert_eq!(publisher.publish("$delayed/2/a/b", "one", QoS::AtLeastOnce), 0);
    assert_eq!(publisher.publish("$delayed/2/a/b", "two", QoS::ExactlyOnce), 0);
    assert_eq!(publisher.publish("$delayed/0/a/b", "now", QoS::AtLeastOnce), 0);
    assert_eq!(publisher.publish("$delayed/3600/a/b", "never", QoS::AtLeastOnce), 0);
    publisher.cut();
    assert_eq!(payloads(&drain(&mut subscriber)), ["now"]);
    let got = [take(&mut subscriber), take(&mut subscriber), take(&mut subscriber)];
    assert_eq!(payloads(&got), ["zero", "one", "two"]);
    assert_eq!(got.clone().map(|got| got.qos as u8), [0, 1, 2]);
    assert!(got.iter().all(|got| got.topic == "a/b"));
    assert_eq!(drain(&mut subscriber), []);
}

#[test]
fn it_is_durable_with_all_that_it_says() {
    let mut broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    let told = tell_with(&mut publisher, "$delayed/1/a/b", "x", &[("colour", "red")], |packet| {
        packet.properties.content_type = Some("text/plain");
        packet.retain = true;
    });
    assert_eq!(told.reason, 0);
    assert_eq!(tell(&mut publisher, "$delayed/1/$queue/jobs/$put/b", "y", &[]).reason, 0);
    assert_eq!(tell(&mut publisher, "$delayed/1/jobs/c", "z", &[("q-dedup-id", "1")]).reason, 0);
    assert_eq!(tell(&mut publisher, "$dedup/1/$delayed/1/jobs/c", "again", &[]).reason, 0);
    broker.kill_and_restart();
    let mut subscriber = enter(&broker, "subscriber");
    subscriber.subscribe("a/b", QoS::AtLeastOnce);
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let got = take(&mut subscriber);
    assert_eq!(
        (got.payload.as_str(), got.content_type.as_deref(), got.property("colour")),
        ("x", Some("text/plain"), Some("red"))
    );
    let got = [take(&mut worker), take(&mut worker)];
    let mut both = payloads(&got);
    both.sort_unstable();
    assert_eq!(both, ["y", "z"]);
    let mut publisher = enter(&broker, "publisher");
    assert!(tell(&mut publisher, "jobs/c", "again", &[("q-dedup-id", "1")]).is_duplicate());
    assert_eq!(drain(&mut worker), [], "once each");
    // Retained when its time had come.
    let mut late = enter(&broker, "late");
    late.subscribe("a/b", QoS::AtLeastOnce);
    assert!(take(&mut late).retain);
    // And gone from the disk: another start publishes nothing.
    late.cut();
    broker.kill_and_restart();
    let mut subscriber = enter(&broker, "subscriber");
    subscriber.subscribe("a/b", QoS::AtLeastOnce);
    assert!(take(&mut subscriber).retain);
    assert_eq!(drain(&mut subscriber), []);
}

#[test]
fn a_queue_keeps_a_message_back() {
    let broker = jobs("");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let mut publisher = enter(&broker, "publisher");
    assert_eq!(tell(&mut publisher, "jobs/a", "later", &[("q-delay", "1s")]).reason, 0);
    assert_eq!(tell(&mut publisher, "$queue/jobs/$put/a", "never", &[("q-delay", "1h")]).reason, 0);
    fill(&mut publisher, "jobs/a", &["now"]);
    assert_eq!(payloads(&drain(&mut worker)), ["now"]);
    let got = take(&mut worker);
    assert_eq!((got.payload.as_str(), got.attempt()), ("later", 1));
    ack(&mut worker, &got);
    assert_eq!(drain(&mut worker), []);
}

#[test]
fn q_delay_is_for_queues_only() {
    let broker = jobs("");
    let mut subscriber = enter(&broker, "subscriber");
    subscriber.subscribe("#", QoS::AtMostOnce);
    let mut publisher = enter(&broker, "publisher");
    assert_eq!(tell(&mut publisher, "plain", "x", &[("q-delay", "1h")]).reason, 0);
    assert_eq!(tell(&mut publisher, "jobs/a", "y", &[("q-delay", "1h")]).reason, 0);
    assert_eq!(payloads(&drain(&mut subscriber)), ["x", "y"], "subscribers are not kept waiting");
}

/// Else it could be one that the queue refuses, each second anew.
#[test]
fn what_has_waited_by_its_topic_does_not_wait_by_its_property() {
    let broker = jobs("max_delay = \"10s\"");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let mut publisher = enter(&broker, "publisher");
    for delay in ["soon", "30d"] {
        assert_eq!(tell(&mut publisher, "$delayed/1/jobs/a", delay, &[("q-delay", delay)]).reason, 0);
        let got = take(&mut worker);
        assert_eq!(got.payload, delay);
        ack(&mut worker, &got);
    }
    crate::house::until("nothing waits any more", || (broker.metric("dunlin_delayed_messages") == 0.0).then_some(()));
}

#[test]
fn delays_have_a_bound() {
    let broker = broker(
        "[work_queues]\nmax_delay = \"60s\"\nmax_delayed_messages = 2\nmax_delayed_bytes = \"1KiB\"\n[[queues]]\nname = \"jobs\"\nbind = [\"jobs/#\"]\nmax_delay = \"30s\"\n",
    );
    let mut publisher = enter(&broker, "publisher");
    for (topic, properties, reason) in [
        ("$delayed/61/a", &[][..], 0x97),
        ("$delayed/x/a", &[], 0x90),
        ("$delayed/-1/a", &[], 0x90),
        ("$delayed/1.5/a", &[], 0x90),
        ("$delayed/4294967296/a", &[], 0x90),
        ("$delayed/1/", &[], 0x90),
        ("$delayed/1", &[], 0x90),
        ("$delayed/1/$delayed/1/a", &[], 0x90),
        ("$delayed/1/$SYS/a", &[], 0x90),
        ("$delayed/31/$queue/jobs/$put/a", &[], 0x97),
        ("jobs/a", &[("q-delay", "31s")], 0x97),
        ("jobs/a", &[("q-delay", "soon")], 0x83),
        (&*format!("$delayed/60/{}", "a".repeat(1100)), &[], 0x97),
        ("$delayed/60/a", &[], 0),
        ("$delayed/30/$queue/jobs/$put/a", &[], 0),
        ("jobs/a", &[("q-delay", "30s")], 0),
        ("$delayed/60/b", &[], 0),
        ("$delayed/60/c", &[], 0x97),
    ] {
        let told = tell(&mut publisher, topic, "x", properties);
        assert_eq!(told.reason, reason, "{topic} {properties:?}: {told:?}");
        assert_eq!(told.text.is_some(), reason != 0, "{topic} {properties:?}: {told:?}");
    }
    let hits = |limit| broker.metric(&format!(r#"dunlin_limit_hits_total{{limit="{limit}"}}"#));
    eventually("the limits are counted", || [hits("max_delayed_messages"), hits("max_delayed_bytes")] == [1.0, 1.0]);
    // Nothing has changed by what was refused.
    assert_eq!(drain(&mut consumer(&broker, "worker", "$queue/jobs")), []);
}

const RIGHTS: &str = "\
user alice
topic write a/#
user bob
topic read a/#
";

fn house() -> House {
    let config = "\
        [limits]\nconnect_timeout = \"1h\"\n[auth]\npassword_file = \"@DIR@/users\"\nacl_file = \"@DIR@/acl\"\n\
        [[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";
    House::furnished(config, RIGHTS)
}

const DENIED: &str = r#"dunlin_messages_dropped_total{reason="not_authorized"}"#;

#[test]
fn what_may_not_be_published_any_more_when_its_time_has_come_is_not() {
    for restarts in [false, true] {
        let mut house = house();
        let mut bob = house.enter("bob", "b");
        bob.subscribe("a/#", QoS::AtLeastOnce);
        let mut alice = house.enter("alice", "a");
        assert_eq!(tell(&mut alice, "$delayed/3/a/secret", "x", &[]).reason, 0);
        assert_eq!(tell(&mut alice, "$delayed/3/a/open", "y", &[]).reason, 0);
        if restarts {
            house.broker.kill_and_restart();
            bob = house.enter("bob", "b");
            bob.subscribe("a/#", QoS::AtLeastOnce);
        }
        house.change("acl", &RIGHTS.replace("write a/#", "write a/open"));
        assert_eq!(take(&mut bob).topic, "a/open", "restarts: {restarts}");
        assert_eq!(drain(&mut bob), [], "restarts: {restarts}");
        eventually("what was not published is counted", || house.metric(DENIED) == 1.0);
    }
}

#[test]
fn what_is_retained_later_is_its_publishers() {
    for restarts in [false, true] {
        let mut house = house();
        let mut alice = house.enter("alice", "a");
        let told = tell_with(&mut alice, "$delayed/1/a/b", "x", &[], |packet| packet.retain = true);
        assert_eq!(told.reason, 0);
        alice.cut();
        if restarts {
            house.broker.kill_and_restart();
        }
        let retained = |house: &House| {
            let mut bob = house.enter("bob", "b");
            bob.subscribe("a/b", QoS::AtLeastOnce);
            drain(&mut bob).iter().filter(|got| got.retain).count()
        };
        eventually("the message is there", || retained(&house) == 1);
        house.change("acl", &format!("{RIGHTS}# read again\n"));
        assert_eq!(retained(&house), 1, "she still may");
        house.change("acl", &RIGHTS.replace("write a/#", "write other"));
        assert_eq!(retained(&house), 0, "it goes with her right");
    }
}

/// [MQTT-3.8.3-3]: the publisher is who asked for it, also after it has come back.
#[test]
fn no_local_holds_later_too() {
    let broker = broker("");
    let mut speaker = enter(&broker, "speaker");
    let mut listener = enter(&broker, "listener");
    assert_eq!(tell(&mut speaker, "$delayed/1/a", "x", &[]).reason, 0);
    speaker.cut();
    let mut speaker = enter(&broker, "speaker");
    for client in [&mut speaker, &mut listener] {
        client.subscribe_with("a", SubscriptionOptions { no_local: true, ..Default::default() }, None);
    }
    assert_eq!(take(&mut listener).payload, "x");
    assert_eq!(drain(&mut speaker), []);
}

/// Nobody's PINGREQ helps: it is the broker that must wake the connection.
#[test]
fn what_a_client_has_delayed_comes_to_itself_too() {
    let broker = broker("");
    let mut speaker = enter(&broker, "speaker");
    speaker.subscribe("a", QoS::AtLeastOnce);
    assert_eq!(tell(&mut speaker, "$delayed/1/a", "mine", &[]).reason, 0);
    assert_eq!(take(&mut speaker).payload, "mine");
    fill(&mut enter(&broker, "other"), "a", &["another's"]);
    assert_eq!(take(&mut speaker).payload, "another's");
}

#[test]
fn the_key_of_a_client_is_that_of_who_asked_for_it() {
    let mut broker = jobs("key = \"client-id\"");
    for (client, topic, payload) in
        [("ada", "$delayed/1/jobs/a", "1"), ("bob", "$delayed/1/jobs/a", "2"), ("ada", "jobs/a", "3")]
    {
        fill(&mut enter(&broker, client), topic, &[payload]);
    }
    broker.kill_and_restart();
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let got = [take(&mut worker), take(&mut worker)];
    assert_eq!(
        got.each_ref().map(|got| (got.property("q-key"), got.payload.as_str())),
        [(Some("ada"), "3"), (Some("bob"), "2")]
    );
    assert_eq!(drain(&mut worker), [], "ada has one already");
    ack(&mut worker, &got[0]);
    assert_eq!(take(&mut worker).payload, "1");
}
