//! 4.3 and 4.4: the exchanges of the three qualities of service, in both directions, and what is resent when.

use std::thread::sleep;
use std::time::Duration;

use dunlin::packet::{Delivery, Packet, ProtocolVersion, PublishAck, PublishReason, QoS, Release, ReleaseReason};

use crate::steps::{
    begin, expect_puback, expect_pubcomp, expect_pubrec, expect_pubrel, id, keeping, leave, lose, next_id, next_message,
    pubrel, refuse_puback, refuse_pubrec, resume, send,
};
use crate::support::client::{V5, V31, V311};
use crate::support::{Broker, Client};

const ALL: [ProtocolVersion; 3] = [V31, V311, V5];
const RESUMABLE: [ProtocolVersion; 2] = [V311, V5];

fn name(version: ProtocolVersion) -> &'static str {
    match version {
        V31 => "v31",
        V311 => "v311",
        V5 => "v5",
    }
}

/// A client with a session of its own that has subscribed to `a` with QoS 2, and a publisher.
fn pair(broker: &Broker, version: ProtocolVersion) -> (Client, Client) {
    let mut client = begin(broker.address(), keeping(version, name(version)));
    client.subscribe("a", QoS::ExactlyOnce);
    (client, Client::connect(broker.address(), V5, "publisher"))
}

/// `[MQTT-4.3.1-1]`: at most once, DUP 0 and no acknowledgement.
#[test]
fn qos_0_is_sent_once_and_not_acknowledged() {
    let broker = Broker::start();
    for version in ALL {
        let (mut client, mut publisher) = pair(&broker, version);
        publisher.publish("a", "x", QoS::AtMostOnce);
        publisher.expect_nothing();
        assert_eq!(next_message(&mut client), ("x".into(), Delivery::AtMostOnce, false));
        client.expect_nothing();
    }
}

/// `[MQTT-4.3.2-4]`, `[MQTT-2.2.1-5]`: PUBACK under the identifier of the PUBLISH.
#[test]
fn qos_1_is_acknowledged_under_its_identifier_and_handed_on() {
    let broker = Broker::start();
    for version in ALL {
        let (mut subscriber, _) = pair(&broker, version);
        let mut client = Client::connect(broker.address(), version, "sender");
        for number in [1, 65_535, 300] {
            send(&mut client, "a", "x", Delivery::AtLeastOnce(id(number)), false);
            assert_eq!(expect_puback(&mut client, id(number)), 0);
            let (_, received) = next_id(&mut subscriber);
            subscriber.puback(received);
        }
    }
}

/// `[MQTT-4.3.2-5]`: after PUBACK the same identifier is a new message, whatever DUP says. `[MQTT-3.3.1-3]`: DUP is not handed on.
#[test]
fn qos_1_under_the_same_identifier_is_a_new_message() {
    let broker = Broker::start();
    for version in ALL {
        let (mut subscriber, _) = pair(&broker, version);
        let mut client = Client::connect(broker.address(), version, "sender");
        for (payload, dup) in [("first", false), ("again", true), ("other", false)] {
            send(&mut client, "a", payload, Delivery::AtLeastOnce(id(5)), dup);
            expect_puback(&mut client, id(5));
            let (received, delivery, dup) = next_message(&mut subscriber);
            assert_eq!((received.as_str(), dup), (payload, false));
            subscriber.puback(delivery.packet_id().unwrap());
        }
    }
}

/// `[MQTT-4.3.3-8]` to `[MQTT-4.3.3-11]`: until PUBREL the same identifier is the same message, answered by PUBREC each time and
/// handed on once; after PUBREL it is a new one.
#[test]
fn qos_2_is_handed_on_once_until_it_is_released() {
    let broker = Broker::start();
    for version in ALL {
        let (mut subscriber, _) = pair(&broker, version);
        let mut client = Client::connect(broker.address(), version, "sender");
        for payload in ["one", "two"] {
            for dup in [false, true, true, false] {
                send(&mut client, "a", payload, Delivery::ExactlyOnce(id(3)), dup);
                assert_eq!(expect_pubrec(&mut client, id(3)), 0);
            }
            pubrel(&mut client, id(3));
            assert_eq!(expect_pubcomp(&mut client, id(3)), 0);
            let (received, packet_id) = next_id(&mut subscriber);
            assert_eq!(received, payload);
            subscriber.expect_nothing();
            subscriber.pubrec(packet_id);
            expect_pubrel(&mut subscriber, packet_id);
            subscriber.pubcomp(packet_id);
        }
    }
}

/// `[MQTT-4.3.3-11]`, table 3-7: PUBREL is answered by PUBCOMP, also when its identifier is not known.
#[test]
fn a_pubrel_is_always_answered() {
    let broker = Broker::start();
    for version in ALL {
        let mut client = Client::connect(broker.address(), version, "c");
        for _ in 0..2 {
            pubrel(&mut client, id(4));
            assert_eq!(expect_pubcomp(&mut client, id(4)), if version == V5 { 0x92 } else { 0 });
        }
    }
}

/// 4.3.3, 4.4: the exchange goes on where it was when the connection was lost: before PUBREC, or before PUBCOMP.
#[test]
fn qos_2_of_a_client_is_handed_on_once_over_connections() {
    let mut broker = Broker::start();
    for version in RESUMABLE {
        let mut subscriber = Client::connect(broker.address(), V5, "subscriber");
        subscriber.subscribe("b", QoS::ExactlyOnce);
        let (mut client, _) = pair(&broker, version);
        send(&mut client, "b", "x", Delivery::ExactlyOnce(id(8)), false);
        expect_pubrec(&mut client, id(8));
        for _ in 0..2 {
            lose(&mut broker, client, name(version));
            client = resume(broker.address(), keeping(version, name(version)));
            send(&mut client, "b", "x", Delivery::ExactlyOnce(id(8)), true);
            assert_eq!(expect_pubrec(&mut client, id(8)), 0);
        }
        lose(&mut broker, client, name(version));
        client = resume(broker.address(), keeping(version, name(version)));
        pubrel(&mut client, id(8));
        assert_eq!(expect_pubcomp(&mut client, id(8)), 0);
        subscriber.expect_message("b", "x");
        subscriber.expect_nothing();
    }
}

/// `[MQTT-4.3.3-9]` and 4.3.3: a PUBREC that says no ends the exchange; the identifier is free, and nothing is handed on.
#[test]
fn a_refused_qos_2_message_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acl"), "topic readwrite a\ntopic read forbidden\n").unwrap();
    let broker = Broker::with_config_in(
        folder,
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [auth]
        allow_anonymous = true
        acl_file = "@DIR@/acl"
        "#,
    );
    let mut subscriber = Client::connect(broker.address(), V5, "subscriber");
    for filter in ["a", "forbidden"] {
        subscriber.subscribe(filter, QoS::AtMostOnce);
    }
    let mut client = Client::connect(broker.address(), V5, "c");
    for _ in 0..2 {
        send(&mut client, "forbidden", "x", Delivery::ExactlyOnce(id(3)), false);
        assert_eq!(expect_pubrec(&mut client, id(3)), 0x87);
    }
    send(&mut client, "a", "y", Delivery::ExactlyOnce(id(3)), false);
    assert_eq!(expect_pubrec(&mut client, id(3)), 0, "the identifier was free");
    pubrel(&mut client, id(3));
    assert_eq!(expect_pubcomp(&mut client, id(3)), 0);
    subscriber.expect_message("a", "y");
    subscriber.expect_nothing();
}

/// `[MQTT-4.3.2-1]`, `[MQTT-4.3.2-2]`, `[MQTT-4.3.3-1]`, `[MQTT-4.3.3-2]`: an unused identifier, DUP 0.
#[test]
fn each_message_goes_out_under_an_identifier_that_is_not_in_use() {
    let broker = Broker::start();
    for version in ALL {
        let (mut client, mut publisher) = pair(&broker, version);
        let mut open = Vec::new();
        for number in 0..20 {
            let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            publisher.publish("a", "x", qos);
            let (_, delivery, dup) = next_message(&mut client);
            assert!(!dup && !open.contains(&delivery.packet_id()), "{delivery:?}");
            if number % 3 == 0 && qos == QoS::AtLeastOnce {
                client.puback(delivery.packet_id().unwrap());
            } else {
                open.push(delivery.packet_id());
            }
        }
    }
}

/// `[MQTT-4.3.3-4]`: PUBREL under the same identifier after PUBREC; PUBCOMP ends it.
#[test]
fn qos_2_to_a_client_goes_through_pubrec_pubrel_pubcomp() {
    let broker = Broker::start();
    for version in ALL {
        let (mut client, mut publisher) = pair(&broker, version);
        publisher.publish("a", "x", QoS::ExactlyOnce);
        let (_, packet_id) = next_id(&mut client);
        client.pubrec(packet_id);
        assert_eq!(expect_pubrel(&mut client, packet_id), 0);
        client.pubcomp(packet_id);
        client.expect_nothing();
        leave(client);
        Client::connect_with(broker.address(), keeping(version, name(version))).0.expect_nothing();
    }
}

/// `[MQTT-4.4.0-1]`, `[MQTT-3.3.1-1]`, `[MQTT3-4.4.0-1]`: unacknowledged PUBLISH are resent on resume with DUP and their identifier,
/// each time, until they are acknowledged.
#[test]
fn what_is_unacknowledged_is_resent_with_its_identifier_on_every_resume() {
    let mut broker = Broker::start();
    for version in RESUMABLE {
        let (mut client, mut publisher) = pair(&broker, version);
        publisher.publish("a", "one", QoS::AtLeastOnce);
        publisher.publish("a", "two", QoS::ExactlyOnce);
        let first = [next_message(&mut client), next_message(&mut client)];
        for _ in 0..2 {
            lose(&mut broker, client, name(version));
            client = resume(broker.address(), keeping(version, name(version)));
            for (payload, delivery, _) in &first {
                assert_eq!(next_message(&mut client), (payload.clone(), *delivery, true));
            }
            client.expect_nothing();
        }
        client.puback(first[0].1.packet_id().unwrap());
        client.pubrec(first[1].1.packet_id().unwrap());
        expect_pubrel(&mut client, first[1].1.packet_id().unwrap());
        client.pubcomp(first[1].1.packet_id().unwrap());
        client.ping();
        lose(&mut broker, client, name(version));
        resume(broker.address(), keeping(version, name(version))).expect_nothing();
    }
}

/// `[MQTT-4.4.0-1]`, `[MQTT-4.3.3-6]`, `[MQTT-4.3.3-7]`: once PUBREC has come it is PUBREL that is resent, never PUBLISH.
#[test]
fn after_pubrec_only_pubrel_is_resent() {
    let mut broker = Broker::start();
    for version in RESUMABLE {
        let (mut client, mut publisher) = pair(&broker, version);
        publisher.publish("a", "x", QoS::ExactlyOnce);
        let (_, packet_id) = next_id(&mut client);
        client.pubrec(packet_id);
        expect_pubrel(&mut client, packet_id);
        for _ in 0..2 {
            lose(&mut broker, client, name(version));
            client = resume(broker.address(), keeping(version, name(version)));
            assert_eq!(expect_pubrel(&mut client, packet_id), 0);
            client.expect_nothing();
        }
        client.pubcomp(packet_id);
        client.ping();
        lose(&mut broker, client, name(version));
        resume(broker.address(), keeping(version, name(version))).expect_nothing();
    }
}

/// `[MQTT-4.4.0-1]`: nothing is resent at any other time than on resume.
#[test]
fn nothing_is_resent_while_the_connection_lives() {
    let broker = Broker::start();
    for version in RESUMABLE {
        let (mut client, mut publisher) = pair(&broker, version);
        publisher.publish("a", "one", QoS::AtLeastOnce);
        publisher.publish("a", "two", QoS::ExactlyOnce);
        next_message(&mut client);
        let (_, packet_id) = next_id(&mut client);
        client.pubrec(packet_id);
        expect_pubrel(&mut client, packet_id);
        sleep(Duration::from_millis(400));
        client.expect_nothing();
    }
}

/// `[MQTT-4.3.3-4]`, `[MQTT-4.4.0-2]`: PUBACK and PUBREC with 0x80 or more end the exchange; no PUBREL, nothing resent.
#[test]
fn a_message_that_the_client_refuses_is_over() {
    let broker = Broker::start();
    let (mut client, mut publisher) = pair(&broker, V5);
    publisher.publish("a", "one", QoS::AtLeastOnce);
    publisher.publish("a", "two", QoS::ExactlyOnce);
    let (_, one) = next_id(&mut client);
    let (_, two) = next_id(&mut client);
    refuse_puback(&mut client, one);
    refuse_pubrec(&mut client, two);
    client.expect_nothing();
    leave(client);
    resume(broker.address(), keeping(V5, "v5")).expect_nothing();
}

/// 0x10 (No matching subscribers) and the like are no errors: the exchange goes on.
#[test]
fn a_pubrec_that_is_no_error_goes_on_to_pubrel() {
    let broker = Broker::start();
    let (mut client, mut publisher) = pair(&broker, V5);
    publisher.publish("a", "x", QoS::ExactlyOnce);
    let (_, packet_id) = next_id(&mut client);
    client.send(&Packet::PubRec(PublishAck::new(packet_id, PublishReason::NoMatchingSubscribers)));
    expect_pubrel(&mut client, packet_id);
    client.send(&Packet::PubComp(Release::new(packet_id, ReleaseReason::PacketIdentifierNotFound)));
    client.expect_nothing();
}

/// Acknowledgements of nothing do no harm; PUBREC of nothing is told so (table 3-6).
#[test]
fn acknowledgements_of_nothing_are_no_error() {
    let broker = Broker::start();
    for version in ALL {
        let mut client = Client::connect(broker.address(), version, "c");
        client.puback(id(7));
        client.pubcomp(id(7));
        client.expect_nothing();
        client.pubrec(id(7));
        assert_eq!(expect_pubrel(&mut client, id(7)), if version == V5 { 0x92 } else { 0 });
    }
}

/// 3.8.4: a message goes out with the lower of its own QoS and the one granted.
#[test]
fn the_lower_qos_is_the_one_that_holds() {
    let broker = Broker::start();
    let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for version in ALL {
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        for granted in levels {
            let mut client = Client::connect(broker.address(), version, "c");
            client.subscribe("a", granted);
            for published in levels {
                publisher.publish("a", "x", published);
                assert_eq!(client.expect_message("a", "x").qos(), granted.min(published));
            }
        }
    }
}

/// PUBREC and PUBCOMP with QoS 1, PUBACK with QoS 2: not the acknowledgement that is due, so none.
#[test]
fn an_acknowledgement_of_the_other_kind_does_not_count() {
    let broker = Broker::start();
    let (mut client, mut publisher) = pair(&broker, V5);
    publisher.publish("a", "two", QoS::ExactlyOnce);
    let (_, two) = next_id(&mut client);
    client.puback(two);
    client.pubcomp(two);
    client.ping();
    leave(client);
    let mut client = resume(broker.address(), keeping(V5, "v5"));
    assert_eq!(next_message(&mut client), ("two".into(), Delivery::ExactlyOnce(two), true));
}
