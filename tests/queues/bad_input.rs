//! Requests that cannot be: 5.0 clients are told a code and a reason, older ones nothing, and nothing changes.

use dunlin::packet::{Connect, ForwardedProperties, Packet, QoS, TopicName, Will};

use crate::house::{broker, consumer, drain, enter, fill, jobs_table, payloads, subscribe, take, tell};
use crate::support::client::{V5, V311, connect, delivery, publish};
use crate::support::{Broker, Client};

fn refusals(broker: &Broker) -> f64 {
    broker.metric("dunlin_queue_refusals_total")
}

/// User properties of a packet.
type Pairs<'a> = &'a [(&'a str, &'a str)];

/// Nobody would do what it asks for when it comes.
#[test]
fn a_will_cannot_go_to_a_topic_of_queues() {
    let broker = broker(&jobs_table(""));
    for topic in ["$delayed/1/a", "$queue/jobs/$put/a", "$dedup/1/jobs/a"] {
        let will = Will {
            topic: TopicName::new(topic).unwrap(),
            payload: b"x",
            qos: QoS::AtLeastOnce,
            retain: false,
            delay_interval: 0,
            message_expiry_interval: None,
            properties: ForwardedProperties::default(),
        };
        assert_eq!(Client::refused(broker.address(), Connect { will: Some(will), ..connect(V5) }), 0x90, "{topic}");
    }
}

#[test]
fn a_settlement_that_cannot_be_changes_nothing() {
    let broker = broker(&format!(
        "{}[[queues]]\nname = \"other\"\nbind = [\"other/#\"]\n",
        jobs_table("ack = \"explicit\"\nmax_delay = \"60s\"")
    ));
    let mut publisher = enter(&broker, "publisher");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let mut stranger = consumer(&broker, "stranger", "$queue/other");
    fill(&mut publisher, "jobs/a", &["x"]);
    let got = take(&mut worker);
    crate::house::ack(&mut worker, &got);
    let tag = got.tag();
    let unknown = "AAAAAAAAAAAAAAAAAAAA";
    // Who, the topic, the property, the code.
    let table: &[(bool, String, Pairs<'_>, u8)] = &[
        (true, format!("$queue/jobs/$ack/{unknown}"), &[], 0x90),
        (true, "$queue/jobs/$ack/short".into(), &[], 0x90),
        (true, "$queue/jobs/$ack".into(), &[], 0x90),
        (true, "$queue/jobs/$ack".into(), &[("q-tag", "no tag")], 0x90),
        (true, "$queue/jobs/$ack".into(), &[("q-tag", unknown)], 0x90),
        (true, format!("$queue/jobs/$ack/{tag}/1"), &[], 0x90),
        (true, format!("$queue/jobs/$ack/{tag}/"), &[], 0x90),
        (true, format!("$queue/other/$ack/{tag}"), &[], 0x90),
        (true, format!("$dlq/jobs/$ack/{tag}"), &[], 0x90),
        (true, format!("$queue/none/$ack/{tag}"), &[], 0x90),
        (true, format!("$queue//$ack/{tag}"), &[], 0x90),
        (true, format!("$queue/jobs/$done/{tag}"), &[], 0x90),
        (true, format!("$queue/jobs/$nack/{tag}/61"), &[], 0x97),
        (true, format!("$queue/jobs/$nack/{tag}"), &[("q-delay", "61s")], 0x97),
        (true, format!("$queue/jobs/$nack/{tag}"), &[("q-delay", "soon")], 0x83),
        (true, format!("$queue/jobs/$nack/{tag}/x"), &[], 0x90),
        (true, format!("$queue/jobs/$extend/{tag}"), &[], 0x90),
        (true, format!("$queue/jobs/$extend/{tag}/43201"), &[], 0x97),
        (true, format!("$queue/jobs/$extend/{tag}/99999999999"), &[], 0x90),
        (true, format!("$queue/jobs/$reject/{tag}/1"), &[], 0x90),
        (true, format!("$delayed/1/$queue/jobs/$ack/{tag}"), &[], 0x90),
        (true, format!("$dedup/1/$queue/jobs/$ack/{tag}"), &[], 0x90),
        (false, format!("$queue/jobs/$ack/{tag}"), &[], 0x90),
        (false, format!("$queue/jobs/$nack/{tag}"), &[], 0x90),
        (false, format!("$queue/jobs/$reject/{tag}"), &[], 0x90),
        (false, format!("$queue/jobs/$extend/{tag}/60"), &[], 0x90),
    ];
    for (number, (is_holder, topic, properties, code)) in table.iter().enumerate() {
        let client = if *is_holder { &mut worker } else { &mut stranger };
        let told = tell(client, topic, "", properties);
        assert_eq!((told.reason, told.text.is_some()), (*code, true), "{topic} {properties:?}: {told:?}");
        assert_eq!(refusals(&broker), number as f64 + 1.0, "{topic} is counted");
    }
    // The lease is as it was.
    assert_eq!(drain(&mut worker), []);
    assert_eq!(tell(&mut worker, &format!("$queue/jobs/$ack/{tag}"), "", &[]).reason, 0);
    // It is over now, for its holder too.
    let told = tell(&mut worker, &format!("$queue/jobs/$ack/{tag}"), "", &[]);
    assert_eq!((told.reason, told.text.as_deref()), (0x90, Some("the lease of this tag is over")));
}

#[test]
fn an_older_client_is_told_nothing_of_a_settlement_that_cannot_be() {
    let broker = broker(&jobs_table("ack = \"explicit\""));
    let mut publisher = enter(&broker, "publisher");
    let mut worker = Client::connect(broker.address(), V311, "worker");
    worker.subscribe("$queue/jobs/$lease/#", QoS::AtLeastOnce);
    fill(&mut publisher, "jobs/a", &["x"]);
    let got = take(&mut worker);
    let tag = got.lease().0;
    let mut stranger = Client::connect(broker.address(), V311, "stranger");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let before = refusals(&broker);
        worker.publish("$queue/jobs/$ack/AAAAAAAAAAAAAAAAAAAA", "", qos);
        stranger.publish(&format!("$queue/jobs/$reject/{tag}"), "", qos);
        drain(&mut worker);
        drain(&mut stranger);
        assert_eq!(refusals(&broker), before + 2.0);
    }
    assert_eq!(worker.publish(&format!("$queue/jobs/$ack/{tag}"), "", QoS::AtLeastOnce), 0);
}

#[test]
fn an_older_client_that_publishes_where_nothing_can_be_is_closed() {
    let broker = broker(&jobs_table(""));
    for topic in ["$queue/none/$put/a", "$queue/jobs", "$delayed/soon/a", "$dedup//a", "$delayed/999999999/a"] {
        let mut old = Client::connect(broker.address(), V311, "old");
        let id = old.packet_id();
        old.send(&Packet::Publish(publish(topic, "x", delivery(QoS::AtLeastOnce, id))));
        assert!(old.rest().is_empty(), "{topic}");
        // With QoS 0 there is no acknowledgement that could be missing.
        let mut old = Client::connect(broker.address(), V311, "old");
        old.publish(topic, "x", QoS::AtMostOnce);
        drain(&mut old);
    }
}

#[test]
fn a_filter_that_can_be_no_consumer_is_refused() {
    let broker = broker(&jobs_table(""));
    let long = "x".repeat(129);
    let table: &[(&str, Pairs<'_>, u8)] = &[
        ("$queue/none", &[], 0x8F),
        ("$dlq/none", &[], 0x8F),
        ("$queue/none/$lease/#", &[], 0x8F),
        ("$queue/+", &[], 0x8F),
        ("$queue/#", &[], 0x8F),
        ("$dlq/#", &[], 0x8F),
        ("$queue/+/a", &[], 0x8F),
        ("$queue", &[], 0x8F),
        ("$queue/", &[], 0x8F),
        ("$queue//a", &[], 0x8F),
        ("$queue/$jobs/a", &[], 0x8F),
        ("$queue/jobs/$lease", &[], 0x8F),
        ("$queue/jobs/$lease/+", &[], 0x8F),
        ("$queue/jobs/$ack/#", &[], 0x8F),
        ("$queue/new/$SYS/#", &[], 0x8F),
        ("$dlq/jobs/a", &[], 0x8F),
        ("$delayed/1/a", &[], 0x8F),
        ("$dedup/1/a", &[], 0x8F),
        ("$share/crew/$queue/jobs", &[], 0x8F),
        ("$queue/jobs", &[("q-ack", "maybe")], 0x83),
        ("$queue/jobs", &[("q-prefetch", "0")], 0x83),
        ("$queue/jobs", &[("q-prefetch", "65536")], 0x83),
        ("$queue/jobs", &[("q-prefetch", "some")], 0x83),
        ("$queue/jobs/other", &[], 0x83),
    ];
    let mut client = enter(&broker, "client");
    let mut old = Client::connect(broker.address(), V311, "old");
    let mut publisher = enter(&broker, "publisher");
    for (number, (filter, properties, code)) in table.iter().enumerate() {
        let told = subscribe(&mut client, filter, QoS::AtLeastOnce, properties);
        assert_eq!(told.reason, *code, "{filter} {properties:?}: {told:?}");
        assert!(told.text.is_some(), "{filter} {properties:?}: {told:?}");
        assert_eq!(refusals(&broker), number as f64 + 1.0, "{filter} is counted");
    }
    for (filter, properties, _) in table {
        if properties.is_empty() {
            assert_eq!(subscribe(&mut old, filter, QoS::AtLeastOnce, &[]).reason, 0x80, "{filter}");
        }
    }
    let told = subscribe(&mut client, &format!("$queue/{long}/a"), QoS::AtLeastOnce, &[]);
    assert_eq!(told.reason, 0x8F);
    fill(&mut publisher, "jobs/a", &["x"]);
    assert_eq!(drain(&mut client), [], "none of them has made it a consumer");
    assert_eq!(drain(&mut old), []);
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    assert_eq!(payloads(&drain(&mut worker)), ["x"]);
}

#[test]
fn wildcards_at_the_first_level_bring_nothing_of_queues() {
    let broker = broker(&jobs_table(""));
    for version in [V311, V5] {
        let mut all = Client::connect(broker.address(), version, "all");
        for filter in ["#", "+/#", "+/jobs/#", "+/jobs/$put/a", "+/0/a/+"] {
            all.subscribe(filter, QoS::AtMostOnce);
        }
        let mut publisher = enter(&broker, "publisher");
        assert_eq!(publisher.publish("$queue/jobs/$put/a", "x", QoS::AtLeastOnce), 0);
        assert_eq!(publisher.publish("$queue/jobs/$ack/AAAAAAAAAAAAAAAAAAAA", "x", QoS::AtLeastOnce), 0x90);
        assert_eq!(publisher.publish("$dlq/jobs", "x", QoS::AtLeastOnce), 0x90);
        assert_eq!(drain(&mut all), []);
    }
}
