//! How messages come into queues: ordinary publishes, `$put`, wills, retained ones; and when there is no room.

use dunlin::packet::{Connect, QoS, TopicName, Will};

use crate::house::{ack, broker, consumer, drain, enter, fill, jobs, payloads, take, tell, work_until};
use crate::support::Client;
use crate::support::client::{V5, V31, V311, connect};

const TWO: &str =
    "[[queues]]\nname = \"jobs\"\nbind = [\"jobs/#\"]\n[[queues]]\nname = \"audit\"\nbind = [\"+/a\", \"jobs/#\"]\n";

#[test]
fn one_publish_feeds_subscribers_and_every_queue_that_is_bound() {
    let broker = broker(TWO);
    let mut subscriber = enter(&broker, "subscriber");
    subscriber.subscribe("jobs/+", QoS::AtLeastOnce);
    let mut member = enter(&broker, "member");
    member.subscribe("$share/crew/jobs/#", QoS::AtMostOnce);
    let mut jobs = consumer(&broker, "jobs", "$queue/jobs");
    let mut audit = consumer(&broker, "audit", "$queue/audit");
    for version in [V31, V311, V5] {
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            publisher.publish("jobs/a", "x", qos);
            drain(&mut publisher);
            for client in [&mut subscriber, &mut member, &mut jobs, &mut audit] {
                let got = drain(client);
                assert_eq!(payloads(&got), ["x"], "once, though two filters match");
                assert_eq!(got[0].topic, "jobs/a");
                if got[0].qos == QoS::AtLeastOnce {
                    ack(client, &got[0]);
                }
            }
        }
    }
    // Only what matches.
    fill(&mut enter(&broker, "publisher"), "other/a", &["y"]);
    assert_eq!(drain(&mut jobs), []);
    assert_eq!(payloads(&drain(&mut audit)), ["y"]);
}

#[test]
fn what_only_a_queue_takes_has_a_receiver() {
    let broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    assert_eq!(tell(&mut publisher, "jobs/a", "x", &[]).reason, 0);
    assert_eq!(tell(&mut publisher, "nowhere", "x", &[]).reason, 0x10);
}

#[test]
fn put_fills_one_queue_alone() {
    let broker = broker(TWO);
    let mut subscriber = enter(&broker, "subscriber");
    subscriber.subscribe("#", QoS::AtLeastOnce);
    let mut jobs = consumer(&broker, "jobs", "$queue/jobs");
    let mut audit = consumer(&broker, "audit", "$queue/audit");
    for version in [V31, V311, V5] {
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        assert_eq!(publisher.publish("$queue/audit/$put/any/topic/a", "x", QoS::AtLeastOnce), 0);
        assert_eq!(publisher.publish("$queue/audit/$put/jobs/a", "y", QoS::ExactlyOnce), 0);
        publisher.publish("$queue/audit/$put/jobs/a", "z", QoS::AtMostOnce);
        drain(&mut publisher);
        for (topic, payload) in [("any/topic/a", "x"), ("jobs/a", "y"), ("jobs/a", "z")] {
            let got = take(&mut audit);
            ack(&mut audit, &got);
            assert_eq!((got.topic.as_str(), got.payload.as_str()), (topic, payload));
        }
        assert_eq!(drain(&mut jobs), []);
        assert_eq!(drain(&mut subscriber), []);
    }
}

#[test]
fn put_to_no_queue_is_never_acknowledged() {
    let broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    let told = tell(&mut publisher, "$queue/jibs/$put/a", "x", &[]);
    assert_eq!((told.reason, told.text.as_deref()), (0x90, Some("there is no queue of this name")));
    assert_eq!(publisher.publish("$queue/jibs/$put/a", "x", QoS::ExactlyOnce), 0x90);
    for version in [V31, V311] {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut old = Client::connect(broker.address(), version, "old");
            let id = old.packet_id();
            let packet = crate::support::client::publish("$queue/jibs/$put/a", "x", crate::support::client::delivery(qos, id));
            old.send(&dunlin::packet::Packet::Publish(packet));
            assert!(old.rest().is_empty(), "closed, and nothing said before");
        }
    }
}

#[test]
fn a_topic_under_queue_that_asks_for_nothing_is_refused() {
    let broker = jobs("");
    let mut everyone = enter(&broker, "everyone");
    everyone.subscribe("#", QoS::AtMostOnce);
    everyone.subscribe("+/jobs/#", QoS::AtMostOnce);
    let mut publisher = enter(&broker, "publisher");
    for topic in ["$queue/jobs", "$queue/jobs/a", "$dlq/jobs/$put/a", "$queue/jobs/$put/$SYS/a", "$queue/jobs/$put/"] {
        assert_eq!(tell(&mut publisher, topic, "x", &[]).reason, 0x90, "{topic}");
    }
    publisher.publish("$queue/jobs/$put/a", "x", QoS::AtLeastOnce);
    assert_eq!(drain(&mut everyone), [], "[MQTT-4.7.2-1]");
}

#[test]
fn wills_and_retained_messages_are_work_too() {
    let broker = jobs("");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let will = Will {
        topic: TopicName::new("jobs/will").unwrap(),
        payload: b"gone",
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_interval: 0,
        message_expiry_interval: None,
        properties: Default::default(),
    };
    Client::connect_with(broker.address(), Connect { client_id: "mortal", will: Some(will), ..connect(V5) }).0.cut();
    let got = take(&mut worker);
    assert_eq!((got.topic.as_str(), got.payload.as_str()), ("jobs/will", "gone"));
    ack(&mut worker, &got);
    let mut publisher = enter(&broker, "publisher");
    publisher.retain("jobs/kept", "state");
    let got = take(&mut worker);
    assert_eq!((got.topic.as_str(), got.payload.as_str(), got.retain), ("jobs/kept", "state", false));
    ack(&mut worker, &got);
    let mut subscriber = enter(&broker, "subscriber");
    subscriber.subscribe("jobs/#", QoS::AtLeastOnce);
    let got = take(&mut subscriber);
    assert_eq!((got.payload.as_str(), got.retain), ("state", true), "retained all the same");
    // What was retained before is no work for one who comes later.
    let mut late = consumer(&broker, "late", "$queue/jobs");
    assert_eq!(drain(&mut late), []);
}

#[test]
fn a_full_queue_refuses_and_nobody_else_gets_what_was_refused() {
    let mut broker = broker(
        "[[queues]]\nname = \"jobs\"\nbind = [\"jobs/#\"]\nmax_messages = 2\n[[queues]]\nname = \"audit\"\nbind = [\"jobs/#\"]\n",
    );
    let mut subscriber = enter(&broker, "subscriber");
    subscriber.subscribe("jobs/#", QoS::AtMostOnce);
    let mut publisher = enter(&broker, "publisher");
    fill(&mut publisher, "jobs/a", &["1", "2"]);
    let told = tell(&mut publisher, "jobs/a", "3", &[]);
    assert_eq!((told.reason, told.text.as_deref()), (0x97, Some("the queue is full")));
    assert_eq!(publisher.publish("jobs/a", "4", QoS::ExactlyOnce), 0x97);
    assert_eq!(publisher.publish("$queue/jobs/$put/a", "5", QoS::AtLeastOnce), 0x97);
    publisher.publish("jobs/a", "6", QoS::AtMostOnce);
    drain(&mut publisher);
    let mut old = Client::connect(broker.address(), V311, "old");
    let id = old.packet_id();
    let packet = crate::support::client::publish("jobs/a", "7", crate::support::client::delivery(QoS::AtLeastOnce, id));
    old.send(&dunlin::packet::Packet::Publish(packet));
    assert!(old.rest().is_empty(), "closed without an acknowledgement");
    assert_eq!(payloads(&drain(&mut subscriber)), ["1", "2"]);
    // It is full after a crash too, and has room for one when one is settled.
    broker.kill_and_restart();
    let mut publisher = enter(&broker, "publisher");
    assert_eq!(tell(&mut publisher, "jobs/a", "8", &[]).reason, 0x97);
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let got = take(&mut worker);
    ack(&mut worker, &got);
    drain(&mut worker);
    fill(&mut publisher, "jobs/a", &["9"]);
    assert_eq!(tell(&mut publisher, "jobs/a", "10", &[]).reason, 0x97, "leased ones count");
    let mut audit = consumer(&broker, "audit", "$queue/audit");
    assert_eq!(work_until(&mut audit, "9"), ["1", "2", "9"], "all of the queues or none");
}

#[test]
fn a_full_queue_may_let_its_oldest_go() {
    for policy in ["drop-oldest", "dead-letter"] {
        let broker = jobs(&format!("max_messages = 2\noverflow = \"{policy}\""));
        let mut publisher = enter(&broker, "publisher");
        fill(&mut publisher, "jobs/a", &["1", "2", "3"]);
        let mut worker = consumer(&broker, "worker", "$queue/jobs");
        assert_eq!(payloads(&drain(&mut worker)), ["2", "3"]);
        // Those that somebody has stay: then there is no room.
        assert_eq!(tell(&mut publisher, "jobs/a", "4", &[]).reason, 0x97);
        let mut dead = consumer(&broker, "dead", "$dlq/jobs");
        let letters = drain(&mut dead);
        if policy == "drop-oldest" {
            assert_eq!(letters, []);
        } else {
            assert_eq!(payloads(&letters), ["1"]);
            assert_eq!(letters[0].property("q-dead-reason"), Some("queue-full"));
        }
    }
}

#[test]
fn bytes_are_bounded_too() {
    let broker = jobs("max_bytes = \"1KiB\"");
    let mut publisher = enter(&broker, "publisher");
    let half = "x".repeat(500);
    fill(&mut publisher, "jobs/a", &[&half, &half]);
    assert_eq!(tell(&mut publisher, "jobs/a", &half, &[]).reason, 0x97);
    fill(&mut publisher, "jobs/a", &["x"]);
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash_in_its_order() {
    let mut broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    let names: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    fill(&mut publisher, "jobs/a", &names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let done = work_until(&mut worker, "9");
    assert_eq!(done, names[..10]);
    drain(&mut worker);
    // A settlement is written at the latest with what is acknowledged after it.
    fill(&mut publisher, "jobs/a", &["50"]);
    broker.kill_and_restart();
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let mut rest: Vec<u32> = Vec::new();
    while rest.len() < 41 {
        let got = take(&mut worker);
        ack(&mut worker, &got);
        rest.push(got.payload.parse().unwrap());
    }
    // Those that the first worker had when it was gone have failed once.
    let untouched: Vec<u32> = rest.iter().copied().filter(|number| *number > 25).collect();
    assert_eq!(untouched, (26..=50).collect::<Vec<_>>(), "in their order");
    rest.sort_unstable();
    assert_eq!(rest, (10..=50).collect::<Vec<_>>());
}
