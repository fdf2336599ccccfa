//! 3.8 SUBSCRIBE and 3.9 SUBACK.

use dunlin::packet::{
    ProtocolVersion, QoS, RetainHandling, SubscriptionOptions, TopicFilter, UserProperties, {Packet, Subscribe},
};

use crate::steps::keeping;
use crate::support::client::{V5, V31, V311};
use crate::support::{Broker, Client};
use crate::wire::{Bystanders, packet, prefixed, subscribe, user_property};

const NO_LOCAL: SubscriptionOptions = SubscriptionOptions {
    qos: QoS::AtLeastOnce,
    no_local: true,
    retain_as_published: false,
    retain_handling: RetainHandling::Send,
};

fn with_qos(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..Default::default() }
}

/// Subscribes to all of these in one packet and returns the codes of SUBACK.
fn subscribe_all(client: &mut Client, identifier: Option<u32>, filters: &[(&str, SubscriptionOptions)]) -> Vec<u8> {
    let packet_id = client.packet_id();
    client.send(&Packet::Subscribe(Subscribe {
        packet_id,
        subscription_identifier: identifier,
        user_properties: UserProperties::default(),
        filters: filters.iter().map(|(filter, options)| (TopicFilter::new(filter).expect("a filter"), *options)).collect(),
    }));
    client.expect("SUBACK", |packet| match packet {
        Packet::SubAck(ack) if ack.packet_id == packet_id => Some(ack.reasons.iter().map(|reason| *reason as u8).collect()),
        _ => None,
    })
}

/// [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-2.2.1-6], [MQTT3-3.8.4-1], [MQTT3-3.8.4-2], [MQTT3-2.3.1-7].
#[test]
fn subscribe_is_answered_with_the_same_packet_identifier() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let mut client = Client::connect(broker.address(), version, "numbers");
        for id in [1u16, 256, 0xFFFF, 1] {
            let mut bytes = subscribe(version, &[], "a", 2);
            bytes[2..4].copy_from_slice(&id.to_be_bytes());
            client.send_bytes(&bytes);
            let [high, low] = id.to_be_bytes();
            let expected = if version == V5 { vec![0x90, 4, high, low, 0, 2] } else { vec![0x90, 3, high, low, 2] };
            assert_eq!(client.expect_bytes(), expected);
        }
    }
}

/// [MQTT-3.8.3-2], [MQTT3-3.8.3-3].
#[test]
fn a_subscribe_without_a_filter_is_a_protocol_error() {
    let mut others = Bystanders::start();
    others.refuse(V5, &[("no filter", packet(0x82, &[&[0, 1, 0]]), 0x82)]);
    others.refuse(V311, &[("no filter", packet(0x82, &[&[0, 1]]), 0x82)]);
}

/// [MQTT-3.8.3-5], [MQTT3-3.8.3-4]; 3.8.3.1 for QoS 3 and Retain Handling 3.
#[test]
fn options_that_mean_nothing_close_the_connection() {
    let mut others = Bystanders::start();
    for (what, options, reason) in [
        ("QoS 3", 0x03, 0x82),
        ("retain handling 3", 0x30, 0x82),
        ("bit 6", 0x40, 0x81),
        ("bit 7", 0x80, 0x81),
        ("both bits", 0xC2, 0x81),
    ] {
        others.refuse(V5, &[(what, subscribe(V5, &[], "a", options), reason)]);
    }
    for options in [0x03, 0x04, 0x08, 0x10, 0x20, 0x80, 0xFC] {
        others.refuse(V311, &[("3.1.1", subscribe(V311, &[], "a", options), 0x81)]);
    }
}

/// [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1]; [MQTT3-4.7.1-2], [MQTT3-4.7.1-3], [MQTT3-4.7.3-1].
#[test]
fn filters_that_are_none_close_the_connection() {
    let mut others = Bystanders::start();
    for filter in ["", "a/#/b", "a#", "#a", "#/", "a+", "+a", "a/+b/c", "a/b+", "##", "++"] {
        for version in [V5, V311] {
            others.refuse(version, &[(filter, subscribe(version, &[], filter, 0), 0x8F)]);
        }
    }
    // None of the packet's filters is subscribed to.
    let second = packet(0x82, &[&[0, 1, 0], &prefixed("fine"), &[0], &prefixed("a#"), &[0]]);
    others.refuse(V5, &[("the second of two", second, 0x8F)]);
}

/// [MQTT-4.8.2-1], [MQTT-4.8.2-2].
#[test]
fn shared_subscriptions_have_a_name_and_a_filter() {
    let mut others = Bystanders::start();
    for filter in ["$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#", "$share/g+/a"] {
        others.refuse(V5, &[(filter, subscribe(V5, &[], filter, 0), 0x8F)]);
    }
    let mut client = Client::connect(others.broker.address(), V5, "member");
    for filter in ["$share/g/a", "$share/g//", "$share/g/+", "$share/g/#", "$share/é/a/b", "$share/$x/$y"] {
        client.subscribe(filter, QoS::AtMostOnce);
    }
}

/// [MQTT-3.8.3-4].
#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let mut others = Bystanders::start();
    others.refuse(V5, &[("no local", subscribe(V5, &[], "$share/g/a", 0x04), 0x82)]);
}

/// 3.8.2.1.2.
#[test]
fn a_subscription_identifier_is_one_number_from_1_on() {
    let mut others = Bystanders::start();
    let with = |properties: &[u8]| subscribe(V5, properties, "a", 0);
    others.refuse(
        V5,
        &[
            ("zero", with(&[0x0B, 0]), 0x82),
            ("two of them", with(&[0x0B, 1, 0x0B, 1]), 0x82),
            ("five bytes", with(&[0x0B, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]), 0x81),
        ],
    );
    let mut client = Client::connect(others.broker.address(), V5, "bounds");
    for identifier in [1, 127, 128, 268_435_455] {
        client.subscribe_with("bounds", SubscriptionOptions::default(), Some(identifier));
        client.publish("bounds", "x", QoS::AtMostOnce);
        assert_eq!(client.expect_publish(|publish| publish.properties.subscription_identifiers.to_vec()), [identifier]);
    }
}

/// [MQTT-3.8.3-3]: the publisher's own session alone is meant.
#[test]
fn no_local_keeps_messages_from_their_own_publisher() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "speaker");
    let mut other = Client::connect(broker.address(), V5, "listener");
    client.subscribe_with("a", NO_LOCAL, None);
    other.subscribe_with("a", NO_LOCAL, None);
    client.publish("a", "mine", QoS::AtLeastOnce);
    client.expect_nothing();
    other.expect_message("a", "mine");
    other.publish("a", "yours", QoS::AtMostOnce);
    client.expect_message("a", "yours");
    // Another subscription of the same client that overlaps wants them.
    client.subscribe("+", QoS::AtMostOnce);
    client.publish("a", "both", QoS::AtMostOnce);
    client.expect_message("a", "both");
    client.expect_nothing();
}

/// [MQTT-3.8.3-3]: it is the Client Identifier that counts, and what was retained is a message too.
#[test]
fn no_local_keeps_retained_messages_from_their_own_publisher() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "speaker");
    client.retain("a", "mine");
    client.subscribe_with("a", NO_LOCAL, None);
    client.expect_nothing();
    let mut other = Client::connect(broker.address(), V5, "listener");
    other.subscribe_with("a", NO_LOCAL, None);
    other.expect_message("a", "mine");
}

/// Two clients of one identifier are two where they belong to different tenants.
#[test]
fn no_local_does_not_take_another_tenants_client_for_its_own() {
    let listener = |name: &str, more: &str| format!("[[listeners]]\nname = '{name}'\nurl = 'tcp://127.0.0.1:0'\n{more}\n");
    let broker = Broker::with_config(&[listener("all", ""), listener("a", "mount_point = 'a/'")].concat());
    let mut tenant = Client::connect(broker.listener("a"), V5, "same");
    tenant.retain("x", "of the tenant");
    let mut client = Client::connect(broker.listener("all"), V5, "same");
    client.subscribe_with("a/#", NO_LOCAL, None);
    client.expect_message("a/x", "of the tenant");
    tenant.subscribe_with("#", NO_LOCAL, None);
    tenant.expect_nothing();
}

/// 3.1.3.2, [MQTT-3.8.3-3]: a will is published for its client.
#[test]
fn no_local_keeps_a_will_from_its_own_session() {
    let broker = Broker::start();
    let connect = dunlin::packet::Connect { will: Some(crate::steps::will("a", "gone")), ..keeping(V5, "mortal") };
    let (mut client, _) = Client::connect_with(broker.address(), connect);
    client.subscribe_with("a", NO_LOCAL, None);
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("a", QoS::AtMostOnce);
    client.cut();
    witness.expect_message("a", "gone");
    let (mut client, was_present) = Client::connect_with(broker.address(), keeping(V5, "mortal"));
    assert!(was_present);
    client.expect_nothing();
}

/// [MQTT-3.8.4-3], [MQTT-3.8.4-4], [MQTT3-3.8.4-3]: QoS, options and identifier are the new ones, and it stays one subscription.
#[test]
fn subscribing_to_the_same_filter_again_replaces_the_subscription() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    publisher.retain("state", "kept");
    for version in [V31, V311, V5] {
        let mut client = Client::connect(broker.address(), version, "again");
        for qos in [QoS::ExactlyOnce, QoS::AtMostOnce, QoS::AtLeastOnce] {
            client.subscribe("state", qos);
            assert_eq!(client.expect_message("state", "kept").qos(), qos.min(QoS::AtLeastOnce), "retained messages come again");
            publisher.publish("state", "new", QoS::ExactlyOnce);
            assert_eq!(client.expect_message("state", "new").qos(), qos);
            client.expect_nothing();
        }
    }
    let mut client = Client::connect(broker.address(), V5, "again");
    let identifiers =
        |client: &mut Client| client.expect_publish(|publish| publish.properties.subscription_identifiers.to_vec());
    for identifier in [Some(1), Some(2), None] {
        client.subscribe_with("plain", with_qos(QoS::AtMostOnce), identifier);
        publisher.publish("plain", "x", QoS::AtMostOnce);
        assert_eq!(identifiers(&mut client), Vec::from_iter(identifier));
    }
    client.subscribe_with("plain", NO_LOCAL, None);
    client.publish("plain", "mine", QoS::AtLeastOnce);
    client.expect_nothing();
    client.subscribe_with("plain", with_qos(QoS::AtMostOnce), None);
    client.publish("plain", "mine", QoS::AtMostOnce);
    client.expect_message("plain", "mine");
}

/// [MQTT-3.8.4-3]: messages that wait are not lost by it.
#[test]
fn replacing_a_subscription_loses_no_message() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    let mut client = Client::connect(broker.address(), V5, "again");
    client.subscribe("a", QoS::AtLeastOnce);
    for number in 0..50 {
        publisher.publish("a", &number.to_string(), QoS::AtLeastOnce);
        let bytes = subscribe(V5, &[], "a", 1);
        client.send_bytes(&bytes);
    }
    let mut seen = 0;
    let mut acknowledged = 0;
    while seen < 50 || acknowledged < 50 {
        let is_ack = client.expect("SUBACK or a message", |packet| match packet {
            Packet::SubAck(_) => Some(true),
            Packet::Publish(publish) => {
                assert_eq!(publish.payload, seen.to_string().as_bytes());
                Some(false)
            }
            _ => None,
        });
        if is_ack { acknowledged += 1 } else { seen += 1 }
    }
}

/// [MQTT-3.8.4-5], [MQTT-3.8.4-6], [MQTT-3.9.3-1], [MQTT3-3.8.4-4], [MQTT3-3.8.4-5], [MQTT3-3.9.3-1].
#[test]
fn each_filter_of_a_packet_is_answered_with_a_code_in_its_place() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let mut client = Client::connect(broker.address(), version, "many");
        let filters = [
            ("a/#", with_qos(QoS::ExactlyOnce)),
            ("b", with_qos(QoS::AtMostOnce)),
            ("c/+", with_qos(QoS::AtLeastOnce)),
            ("b", with_qos(QoS::ExactlyOnce)),
        ];
        assert_eq!(subscribe_all(&mut client, None, &filters), [2, 0, 1, 2]);
        for (topic, qos) in [("a/x", QoS::ExactlyOnce), ("c/x", QoS::AtLeastOnce), ("b", QoS::ExactlyOnce)] {
            let mut publisher = Client::connect(broker.address(), V5, "publisher");
            publisher.publish(topic, "x", QoS::ExactlyOnce);
            assert_eq!(client.expect_message(topic, "x").qos(), qos);
        }
    }
}

/// A broker at which anonymous clients may read `open/#` and nothing else.
fn restricted() -> Broker {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("acl"), "topic readwrite open/#\n").expect("a file");
    let config =
        "[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[auth]\nallow_anonymous = true\nacl_file = \"@DIR@/acl\"\n";
    Broker::with_config_in(folder, config)
}

/// [MQTT-3.8.4-7], [MQTT-3.9.3-2], [MQTT3-3.9.3-2]: a filter that is refused does not harm its neighbours.
#[test]
fn a_filter_that_is_not_authorized_is_refused_alone() {
    let broker = restricted();
    for (version, refused) in [(V311, 0x80), (V5, 0x87)] {
        let mut client = Client::connect(broker.address(), version, "curious");
        let filters = ["open/a", "closed", "$share/g/closed", "open/+"];
        let codes = filters.iter().flat_map(|filter| [&prefixed(filter)[..], &[1]].concat()).collect::<Vec<u8>>();
        let head: &[u8] = if version == V5 { &[0, 1, 0] } else { &[0, 1] };
        client.send_bytes(&packet(0x82, &[head, &codes]));
        let answer = client.expect_bytes();
        assert_eq!(answer[answer.len() - 4..], [1, refused, refused, 1]);
        client.publish("open/a", "x", QoS::AtMostOnce);
        client.expect_message("open/a", "x");
    }
}

/// 3.9.3, table 3-8: a well-formed filter over the server's limits is refused alone.
#[test]
fn a_filter_over_the_limits_is_refused_alone() {
    let broker = Broker::with_config(
        "[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[limits]\nmax_subscriptions = 2\nmax_topic_levels = 3\n",
    );
    for (version, too_deep, too_many) in [(V311, 0x80, 0x80), (V5, 0x8F, 0x97)] {
        let mut client = Client::connect(broker.address(), version, "greedy");
        let plain = with_qos(QoS::AtMostOnce);
        let filters = [("a", plain), ("a/b/c/d", plain), ("b", plain), ("c", plain), ("a", plain)];
        client.send(&Packet::Subscribe(Subscribe {
            packet_id: crate::steps::id(1),
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            filters: filters.iter().map(|(filter, options)| (TopicFilter::new(filter).expect("a filter"), *options)).collect(),
        }));
        let answer = client.expect_bytes();
        assert_eq!(answer[answer.len() - 5..], [0, too_deep, 0, too_many, 0]);
    }
}

/// [MQTT-3.8.4-8], [MQTT3-3.8.4-6]: the lower of what was published and what was granted.
#[test]
fn a_message_is_delivered_with_the_lower_of_both_qos() {
    let broker = Broker::start();
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for version in [V31, V311, V5] {
        for granted in all {
            let mut client = Client::connect(broker.address(), version, "subscriber");
            client.subscribe("a", granted);
            for published in all {
                publisher.publish("a", "x", published);
                assert_eq!(client.expect_message("a", "x").qos(), granted.min(published));
            }
        }
    }
}

/// 4.8.2, 3.8.4: a group is no new subscriber of what was.
#[test]
fn retained_messages_are_not_sent_to_shared_subscriptions() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "member");
    client.retain("a", "kept");
    client.subscribe("$share/g/a", QoS::AtLeastOnce);
    client.expect_nothing();
    client.publish("a", "new", QoS::AtMostOnce);
    client.expect_message("a", "new");
}

/// 4.8.2: with the group's own subscription beside it, both get the message.
#[test]
fn a_shared_subscription_and_a_plain_one_are_two() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    let mut client = Client::connect(broker.address(), V5, "member");
    client.subscribe_with("$share/g/a", with_qos(QoS::AtMostOnce), Some(1));
    client.subscribe_with("a", with_qos(QoS::AtMostOnce), Some(2));
    publisher.publish("a", "x", QoS::AtMostOnce);
    let mut seen: Vec<u32> =
        (0..2).flat_map(|_| client.expect_publish(|publish| publish.properties.subscription_identifiers.to_vec())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [1, 2]);
    client.expect_nothing();
}

/// 3.8.2.1.3: they mean nothing to the server.
#[test]
fn user_properties_of_subscribe_are_taken() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "chatty");
    client.send_bytes(&subscribe(V5, &[user_property("a", "1"), user_property("a", "1")].concat(), "a", 0));
    assert_eq!(client.expect_bytes(), [0x90, 4, 0, 1, 0, 0]);
}

/// 4.1, [MQTT-3.1.2-5]: options and identifier are part of the session.
#[test]
fn a_session_keeps_the_options_of_its_subscriptions() {
    let broker = Broker::start();
    let (mut client, _) = Client::connect_with(broker.address(), keeping(V5, "keeper"));
    let options = SubscriptionOptions { retain_as_published: true, ..NO_LOCAL };
    client.subscribe_with("a", options, Some(5));
    client.send_bytes(&[0xE0, 0]);
    client.expect_close();
    let (mut client, _) = Client::connect_with(broker.address(), keeping(V5, "keeper"));
    client.publish("a", "mine", QoS::AtLeastOnce);
    client.expect_nothing();
    Client::connect(broker.address(), V5, "other").retain("a", "theirs");
    client.expect_publish(|publish| {
        assert!(publish.retain);
        assert_eq!((publish.delivery.qos(), &publish.properties.subscription_identifiers[..]), (QoS::AtLeastOnce, &[5][..]));
    });
}

/// 4.7.1, 4.7.2 in short: what chapter 4 tells of filters holds for every version.
#[test]
fn wildcards_do_not_reach_topics_that_begin_with_a_dollar() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        expect_only(&broker, version, "#", "$private/a");
        expect_only(&broker, version, "+/a", "$private/a");
    }
}

fn expect_only(broker: &Broker, version: ProtocolVersion, filter: &str, hidden: &str) {
    let mut client = Client::connect(broker.address(), version, "client");
    let mut publisher = Client::connect(broker.address(), version, "publisher");
    client.subscribe(filter, QoS::AtMostOnce);
    publisher.publish(hidden, "hidden", QoS::AtLeastOnce);
    publisher.publish("open/a", "seen", QoS::AtLeastOnce);
    client.expect_message("open/a", "seen");
    client.subscribe(hidden, QoS::AtMostOnce);
    publisher.publish(hidden, "by name", QoS::AtLeastOnce);
    client.expect_message(hidden, "by name");
}
