//! What a client may rely on over a restart, one promise at a time. Each is held after SIGKILL, and after SIGTERM as well.

use dunlin::packet::{Connect, Delivery, Packet, QoS, RetainHandling, SubscriptionOptions};

use crate::failures::{CONFIG, waited, waiting};
use crate::house::{Broker, House};
use crate::steps::{
    begin, expect_pubcomp, expect_pubrec, expect_pubrel, expiring, id, keeping, leave, next_message, pubrel, resume, send, will,
};
use crate::support::client::{V5, V311, connect};
use crate::support::{Client, eventually};

/// Does it with both kinds of end, and clients of both versions.
fn however_it_ends(scenario: impl Fn(&House, &dyn Fn(Broker) -> Broker, dunlin::packet::ProtocolVersion)) {
    for version in [V5, V311] {
        for is_killed in [true, false] {
            let house = House::new(CONFIG);
            let again = |broker: Broker| {
                if is_killed {
                    broker.kill();
                } else {
                    broker.stop();
                }
                house.start()
            };
            scenario(&house, &again, version);
        }
    }
}

/// [MQTT-4.3.3-10] to -12.
#[test]
fn a_qos_2_publish_that_was_received_is_not_delivered_again() {
    however_it_ends(|house, again, version| {
        let broker = house.start();
        waiting(&broker, "s");
        let mut client = begin(broker.address(), keeping(version, "c"));
        send(&mut client, "a/b", "once", Delivery::ExactlyOnce(id(9)), false);
        expect_pubrec(&mut client, id(9));

        let broker = again(broker);
        let mut client = resume(broker.address(), keeping(version, "c"));
        send(&mut client, "a/b", "once", Delivery::ExactlyOnce(id(9)), true);
        expect_pubrec(&mut client, id(9));

        let broker = again(broker);
        let mut client = resume(broker.address(), keeping(version, "c"));
        pubrel(&mut client, id(9));
        assert_eq!(expect_pubcomp(&mut client, id(9)), 0, "the identifier is known");

        // Released, it is free for another message.
        let broker = again(broker);
        let mut client = resume(broker.address(), keeping(version, "c"));
        send(&mut client, "a/b", "another", Delivery::ExactlyOnce(id(9)), false);
        expect_pubrec(&mut client, id(9));
        assert_eq!(waited(&broker, "s"), ["once", "another"]);
    });
}

/// [MQTT-4.4.0-1], [MQTT-4.6.0-1].
#[test]
fn what_was_under_way_to_a_subscriber_goes_on_where_it_was() {
    however_it_ends(|house, again, version| {
        let mut broker = house.start();
        let mut subscriber = begin(broker.address(), keeping(version, "c"));
        subscriber.subscribe("a", QoS::ExactlyOnce);
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        for (payload, qos) in
            [("one", QoS::AtLeastOnce), ("two", QoS::ExactlyOnce), ("three", QoS::ExactlyOnce), ("four", QoS::AtLeastOnce)]
        {
            publisher.publish("a", payload, qos);
        }
        let came: Vec<_> = (0..4).map(|_| next_message(&mut subscriber)).collect();
        let ids: Vec<_> = came.iter().map(|(_, delivery, _)| delivery.packet_id().unwrap()).collect();
        subscriber.pubrec(ids[1]);
        expect_pubrel(&mut subscriber, ids[1]);

        // PUBREL with its identifier, and PUBLISH as they were, in their order: again and again until they are answered.
        for _ in 0..2 {
            broker = again(broker);
            let mut subscriber = resume(broker.address(), keeping(version, "c"));
            expect_pubrel(&mut subscriber, ids[1]);
            for (number, payload) in [(0, "one"), (2, "three"), (3, "four")] {
                assert_eq!(next_message(&mut subscriber), (payload.into(), came[number].1, true));
            }
            subscriber.expect_nothing();
        }
        let mut subscriber = resume(broker.address(), keeping(version, "c"));
        expect_pubrel(&mut subscriber, ids[1]);
        (0..3).for_each(|_| drop(next_message(&mut subscriber)));
        // An identifier that is in use is not given to another message.
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        publisher.publish("a", "five", QoS::ExactlyOnce);
        let (_, delivery, dup) = next_message(&mut subscriber);
        assert!(!ids.contains(&delivery.packet_id().unwrap()) && !dup);

        subscriber.pubcomp(ids[1]);
        subscriber.puback(ids[0]);
        subscriber.pubrec(ids[2]);
        expect_pubrel(&mut subscriber, ids[2]);
        subscriber.pubcomp(ids[2]);
        subscriber.puback(ids[3]);
        leave(subscriber);
        broker.stop();
        let broker = house.start();
        let mut subscriber = resume(broker.address(), keeping(version, "c"));
        assert_eq!(next_message(&mut subscriber), ("five".into(), delivery, true), "what was answered is gone");
        subscriber.expect_nothing();
    });
}

#[test]
fn subscriptions_are_there_with_their_options_and_those_dropped_are_not() {
    however_it_ends(|house, again, version| {
        let broker = house.start();
        let mut client = begin(broker.address(), keeping(version, "c"));
        let options = SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            no_local: version == V5,
            retain_as_published: version == V5,
            retain_handling: if version == V5 { RetainHandling::DoNotSend } else { RetainHandling::Send },
        };
        client.subscribe_with("options/#", options, (version == V5).then_some(77));
        client.subscribe("dropped", QoS::AtLeastOnce);
        client.subscribe("stays", QoS::ExactlyOnce);
        client.subscribe("changed", QoS::ExactlyOnce);
        client.subscribe("changed", QoS::AtMostOnce);
        client.unsubscribe("dropped");

        let broker = again(broker);
        let mut client = resume(broker.address(), keeping(version, "c"));
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        publisher.retain("options/1", "retained");
        client.expect_publish(|publish| {
            assert_eq!(publish.retain, version == V5, "retain as published");
            let identifiers = if version == V5 { &[77][..] } else { &[] };
            assert_eq!(publish.properties.subscription_identifiers.as_slice(), identifiers);
        });
        assert_eq!(publisher.publish("dropped", "x", QoS::AtLeastOnce), 0x10);
        publisher.publish("stays", "x", QoS::ExactlyOnce);
        assert_eq!(client.expect_message("stays", "x").qos(), QoS::ExactlyOnce);
        publisher.publish("changed", "x", QoS::ExactlyOnce);
        assert_eq!(client.expect_message("changed", "x").qos(), QoS::AtMostOnce);
        if version == V5 {
            client.publish("options/2", "my own", QoS::AtMostOnce);
            client.expect_nothing();
        }
    });
}

/// A clean start that was acknowledged, and a session that ended with its connection, do not come back.
#[test]
fn sessions_that_have_ended_stay_so() {
    however_it_ends(|house, again, version| {
        let broker = house.start();
        leave(begin(broker.address(), keeping(version, "kept")));
        let mut client = begin(broker.address(), keeping(version, "anew"));
        client.subscribe("a/#", QoS::AtLeastOnce);
        leave(client);
        leave(begin(broker.address(), Connect { clean_start: true, ..keeping(version, "anew") }));
        let mut transient = begin(broker.address(), Connect { client_id: "transient", ..connect(version) });
        transient.subscribe("a/#", QoS::AtLeastOnce);

        let broker = again(broker);
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        assert_eq!(publisher.publish("a/b", "x", QoS::AtLeastOnce), 0x10, "no subscription is left");
        leave(resume(broker.address(), keeping(version, "kept")));
        begin(broker.address(), Connect { client_id: "transient", ..keeping(version, "transient") });
        let (_, present) = Client::connect_with(broker.address(), keeping(version, "anew"));
        assert_eq!(present, version == V5, "a clean session of 3.1.1 is not kept, a clean start of 5.0 with expiry is");
    });
}

/// The clock runs on while the broker does not.
#[test]
fn expiry_goes_on_while_the_broker_is_down() {
    let house = House::new(CONFIG);
    let broker = house.start();
    for (name, seconds) in [("short", 1), ("long", 3600)] {
        let mut client = begin(broker.address(), expiring(name, true, seconds));
        client.subscribe(name, QoS::AtLeastOnce);
        leave(client);
    }
    let mut online = begin(broker.address(), expiring("short, online", true, 1));
    online.subscribe("short, online", QoS::AtLeastOnce);
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for name in ["short", "long", "short, online"] {
        publisher.publish_with(name, "lasts an hour", QoS::AtLeastOnce, |packet| {
            packet.properties.message_expiry_interval = Some(3600);
        });
        publisher.publish_with(name, "lasts a second", QoS::AtLeastOnce, |packet| {
            packet.properties.message_expiry_interval = Some(1);
        });
    }
    publisher.publish_with("r/short", "x", QoS::AtLeastOnce, |packet| {
        packet.retain = true;
        packet.properties.message_expiry_interval = Some(1);
    });
    publisher.retain("r/long", "x");
    broker.kill();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let broker = house.start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for name in ["short", "short, online"] {
        eventually("it has expired", || publisher.publish(name, "x", QoS::AtLeastOnce) == 0x10);
    }
    let mut client = resume(broker.address(), expiring("long", false, 3600));
    client.expect_publish(|publish| {
        assert_eq!(publish.payload, b"lasts an hour");
        let left = publish.properties.message_expiry_interval.expect("it is handed on");
        assert!((1..3600).contains(&left), "{left} seconds are left");
    });
    client.expect_nothing();
    let mut reader = Client::connect(broker.address(), V5, "reader");
    reader.subscribe("r/#", QoS::AtMostOnce);
    reader.expect_message("r/long", "x");
    reader.expect_nothing();
}

#[test]
fn retained_messages_are_there_as_they_were_set_last() {
    however_it_ends(|house, again, version| {
        let mut broker = house.start();
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        publisher.retain("r/cleared", "old");
        publisher.retain("r/changed", "old");
        publisher.retain("r/stays", "first");
        publisher.retain("r/changed", "new");
        publisher.retain("r/cleared", "");
        for _ in 0..2 {
            broker = again(broker);
            let mut reader = Client::connect(broker.address(), V5, "reader");
            for (topic, payload) in [("r/stays", "first"), ("r/changed", "new")] {
                reader.subscribe(topic, QoS::AtLeastOnce);
                reader.expect_publish(|publish| {
                    assert!(publish.retain);
                    assert_eq!(publish.payload, payload.as_bytes());
                });
            }
            reader.subscribe("r/cleared", QoS::AtLeastOnce);
            reader.expect_nothing();
        }
    });
}

/// With its properties and QoS; and one that was taken back, by DISCONNECT or by a return, does not come.
#[test]
fn a_will_with_a_delay_survives() {
    let house = House::new(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    let delayed = |topic, payload, delay_interval| dunlin::packet::Will { delay_interval, ..will(topic, payload) };
    let with = |name, will| Connect { will: Some(will), ..keeping(V5, name) };
    let online = begin(broker.address(), with("online", delayed("a/online", "was online", 1)));
    begin(broker.address(), with("cut", delayed("a/cut", "was cut", 1))).cut();
    leave(begin(broker.address(), with("left", delayed("a/left", "has left", 1))));
    begin(broker.address(), with("back", delayed("a/back", "is back", 1000))).cut();
    let back = resume(broker.address(), keeping(V5, "back"));
    begin(broker.address(), with("later", delayed("a/later", "much later", 1000))).cut();
    broker.kill();
    drop((online, back));

    let broker = house.start();
    let mut subscriber = resume(broker.address(), keeping(V5, "s"));
    let mut came: Vec<_> = (0..2)
        .map(|_| {
            let (payload, delivery, _) = next_message(&mut subscriber);
            assert_eq!(delivery.qos(), QoS::AtLeastOnce);
            subscriber.puback(delivery.packet_id().unwrap());
            payload
        })
        .collect();
    came.sort_unstable();
    assert_eq!(came, ["was cut", "was online"]);
    leave(begin(broker.address(), expiring("witness", true, 0)));
    subscriber.expect_nothing();
    // A clean start ends the session that the last one waits for.
    begin(broker.address(), Connect { clean_start: true, ..keeping(V5, "later") });
    subscriber.expect_message("a/later", "much later");
}

/// With all that a message can carry.
#[test]
fn messages_are_there_whole_and_in_order() {
    however_it_ends(|house, again, version| {
        let broker = house.start();
        waiting(&broker, "s");
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        let long = "long".repeat(50_000);
        for number in 0..50 {
            let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            publisher.publish("a/b", &format!("{number}"), qos);
        }
        publisher.publish_with("a/properties", &long, QoS::AtLeastOnce, |packet| {
            if version == V5 {
                packet.properties.content_type = Some("text/plain");
                packet.properties.response_topic = Some("answers");
                packet.properties.correlation_data = Some(b"\0\x01");
                packet.properties.payload_format_indicator = Some(true);
            }
        });
        publisher.publish("a/empty", "", QoS::AtLeastOnce);
        let broker = again(broker);
        let mut subscriber = resume(broker.address(), keeping(V5, "s"));
        for number in 0..50 {
            let (payload, ..) = next_message(&mut subscriber);
            assert_eq!(payload, format!("{number}"));
        }
        subscriber.expect_publish(|publish| {
            assert_eq!(publish.payload, long.as_bytes());
            if version == V5 {
                assert_eq!(publish.properties.content_type, Some("text/plain"));
                assert_eq!(publish.properties.response_topic, Some("answers"));
                assert_eq!(publish.properties.correlation_data, Some(&b"\0\x01"[..]));
                assert_eq!(publish.properties.payload_format_indicator, Some(true));
            }
        });
        subscriber.expect_message("a/empty", "");
    });
}

/// Of a share group each message waits for one member, over a restart too.
#[test]
fn a_message_of_a_share_group_waits_for_one_member() {
    however_it_ends(|house, again, version| {
        let broker = house.start();
        for name in ["one", "two"] {
            let mut member = begin(broker.address(), keeping(version, name));
            member.subscribe("$share/g/a", QoS::AtLeastOnce);
            leave(member);
        }
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        for number in 0..10 {
            publisher.publish("a", &format!("{number}"), QoS::AtLeastOnce);
        }
        let broker = again(broker);
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        for number in 10..20 {
            publisher.publish("a", &format!("{number}"), QoS::AtLeastOnce);
        }
        let mut came = waited_of(&broker, version, "one");
        came.extend(waited_of(&broker, version, "two"));
        came.sort_unstable_by_key(|payload| payload.parse::<u32>().unwrap());
        assert_eq!(came, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    });
}

fn waited_of(broker: &Broker, version: dunlin::packet::ProtocolVersion, name: &str) -> Vec<String> {
    crate::failures::take_all(&mut resume(broker.address(), keeping(version, name)))
}

/// Levels below "sync" promise less; "os" still survives the process, "memory" nothing.
#[test]
fn what_each_level_of_durability_promises() {
    let config = r#"
    [durability]
    level = "sync"
    [[durability.topics]]
    filter = "a/memory/#"
    level = "memory"
    [[durability.topics]]
    filter = "a/os/#"
    level = "os"
    "#;
    let house = House::new(config);
    let broker = house.start();
    waiting(&broker, "s");
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for topic in ["a/sync/1", "a/memory/1", "a/os/1"] {
        assert_eq!(publisher.publish(topic, topic, QoS::ExactlyOnce), 0);
    }
    broker.kill();
    assert_eq!(waited(&house.start(), "s"), ["a/sync/1", "a/os/1"]);

    let house = House::new("[durability]\nlevel = \"memory\"\n");
    let broker = house.start();
    waiting(&broker, "s");
    broker.kill();
    begin(house.start().address(), keeping(V5, "s"));
}

/// A long queue that is half taken is half there after a restart.
#[test]
fn a_queue_goes_on_where_it_was_taken_to() {
    let house = House::new(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for number in 0..600 {
        publisher.publish("a/b", &format!("{number}"), QoS::AtLeastOnce);
    }
    let mut subscriber = resume(broker.address(), keeping(V5, "s"));
    for number in 0..300 {
        let (payload, delivery, _) = next_message(&mut subscriber);
        assert_eq!(payload, format!("{number}"));
        subscriber.puback(delivery.packet_id().unwrap());
    }
    subscriber.send(&Packet::PingReq);
    leave_loudly(subscriber);
    broker.stop();
    let came = waited(&house.start(), "s");
    assert_eq!(came, (300..600).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// DISCONNECT, with messages still coming in.
fn leave_loudly(mut client: Client) {
    client.send_bytes(&[0xE0, 0]);
    client.rest();
}
