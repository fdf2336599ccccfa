//! 3.4 PUBACK, 3.5 PUBREC, 3.6 PUBREL, 3.7 PUBCOMP: their forms and codes. What they do to a message is chapter 4.

use dunlin::packet::{Packet, PacketId, QoS};

use crate::steps::{expect_pubrel, next_id};
use crate::support::client::{V5, V31, V311};
use crate::support::{Broker, Client};
use crate::wire::{Bystanders, packet, publish, section, text_property, user_property};

/// A subscriber with one message of this QoS under way to it, and the message's identifier.
fn with_message(broker: &Broker, version: dunlin::packet::ProtocolVersion, qos: QoS) -> (Client, PacketId) {
    let mut client = Client::connect(broker.address(), version, "receiver");
    client.subscribe("a", QoS::ExactlyOnce);
    Client::connect(broker.address(), V5, "sender").publish("a", "x", qos);
    let (_, id) = next_id(&mut client);
    (client, id)
}

/// What an acknowledgement may look like behind its identifier: the code may be left out, and the properties.
fn forms(code: u8) -> Vec<Vec<u8>> {
    let properties = [text_property(0x1F, "because"), user_property("a", "1"), user_property("a", "1")].concat();
    let mut forms = vec![vec![code], vec![code, 0], [vec![code], section(&properties)].concat()];
    if code == 0 {
        forms.push(Vec::new());
    }
    forms
}

fn acknowledgement(first: u8, id: PacketId, rest: &[u8]) -> Vec<u8> {
    packet(first, &[&id.get().to_be_bytes(), rest])
}

/// 3.4.2.1, 3.4.2.2.1, [MQTT-3.4.2-1]: every form and code of PUBACK ends the exchange.
#[test]
fn a_puback_of_any_form_and_code_settles_the_message() {
    let broker = Broker::start();
    for code in [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] {
        for form in forms(code) {
            let (mut client, id) = with_message(&broker, V5, QoS::AtLeastOnce);
            client.send_bytes(&acknowledgement(0x40, id, &form));
            client.expect_nothing();
        }
    }
}

/// 3.5.2.1, [MQTT-3.5.2-1], [MQTT-4.3.3-4]: a success is answered with PUBREL, a refusal ends the exchange.
#[test]
fn a_pubrec_is_answered_with_pubrel_unless_it_refuses_the_message() {
    let broker = Broker::start();
    for code in [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] {
        for form in forms(code) {
            let (mut client, id) = with_message(&broker, V5, QoS::ExactlyOnce);
            client.send_bytes(&acknowledgement(0x50, id, &form));
            if code < 0x80 {
                assert_eq!(expect_pubrel(&mut client, id), 0);
            }
            client.expect_nothing();
        }
    }
}

/// 3.6.2.1, [MQTT-3.6.2-1]: also with properties, which other brokers have stumbled over.
#[test]
fn a_pubrel_of_any_form_is_answered_with_pubcomp() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "sender");
    for code in [0x00, 0x92] {
        for form in forms(code) {
            client.send_bytes(&publish(0x34, V5, "a", Some(7), &[]));
            assert_eq!(client.expect_bytes()[..1], [0x50]);
            client.send_bytes(&[&packet(0x62, &[&[0, 7], &form])[..], &[0xC0, 0]].concat());
            assert_eq!(client.expect_bytes(), [0x70, 2, 0, 7]);
            assert_eq!(client.expect_bytes(), [0xD0, 0]);
        }
    }
}

/// 3.7.2.1, [MQTT-3.7.2-1]: the place in the window is free again.
#[test]
fn a_pubcomp_of_any_form_ends_the_exchange() {
    let broker = Broker::start();
    for code in [0x00, 0x92] {
        for form in forms(code) {
            let (mut client, id) = with_message(&broker, V5, QoS::ExactlyOnce);
            client.pubrec(id);
            assert_eq!(expect_pubrel(&mut client, id), 0);
            client.send_bytes(&acknowledgement(0x70, id, &form));
            client.expect_nothing();
            // Nothing is left that could be released.
            client.pubrec(id);
            assert_eq!(expect_pubrel(&mut client, id), 0x92);
        }
    }
}

/// Tables 3-4 to 3-7, [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1].
#[test]
fn codes_that_an_acknowledgement_does_not_have_are_a_protocol_error() {
    let mut others = Bystanders::start();
    let mut cases = Vec::new();
    for code in [0x01, 0x04, 0x11, 0x18, 0x7F, 0x81, 0x82, 0x8E, 0x92, 0xA2, 0xFF] {
        cases.push(("PUBACK", packet(0x40, &[&[0, 1, code]]), 0x82));
        cases.push(("PUBREC", packet(0x50, &[&[0, 1, code]]), 0x82));
    }
    for code in [0x01, 0x10, 0x80, 0x87, 0x91, 0x93, 0xFF] {
        cases.push(("PUBREL", packet(0x62, &[&[0, 1, code]]), 0x82));
        cases.push(("PUBCOMP", packet(0x70, &[&[0, 1, code]]), 0x82));
    }
    others.refuse(V5, &cases);
}

/// 4.3.3, table 3-6, table 3-7: what belongs to no exchange is answered, and no reason to close.
#[test]
fn acknowledgements_of_unknown_identifiers_do_not_disturb_the_connection() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let mut client = Client::connect(broker.address(), version, "confused");
        client.send_bytes(&[0x40, 2, 0, 9]);
        client.send_bytes(&[0x70, 2, 0, 9]);
        client.expect_nothing();
        let not_found = |first: u8| if version == V5 { vec![first, 3, 0, 9, 0x92] } else { vec![first, 2, 0, 9] };
        client.send_bytes(&[0x50, 2, 0, 9]);
        assert_eq!(client.expect_bytes(), not_found(0x62));
        client.send_bytes(&[0x62, 2, 0, 9]);
        assert_eq!(client.expect_bytes(), not_found(0x70));
    }
    let mut client = Client::connect(broker.address(), V5, "confused");
    client.send_bytes(&[0x50, 3, 0, 9, 0x87]);
    client.expect_nothing();
}

/// 4.3.2, 4.3.3: an acknowledgement of the other QoS settles nothing.
#[test]
fn a_qos_2_message_is_not_settled_by_puback_nor_before_pubrec_by_pubcomp() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let (mut client, id) = with_message(&broker, version, QoS::ExactlyOnce);
        client.puback(id);
        client.pubcomp(id);
        client.pubrec(id);
        assert_eq!(expect_pubrel(&mut client, id), 0);
    }
}

/// 3.4.2 of 3.1.1: an identifier and nothing else, in both directions.
#[test]
fn acknowledgements_of_older_versions_are_an_identifier_alone() {
    let broker = Broker::start();
    for version in [V31, V311] {
        let mut client = Client::connect(broker.address(), version, "old");
        client.send_bytes(&publish(0x32, version, "nobody", Some(0x0102), &[]));
        assert_eq!(client.expect_bytes(), [0x40, 2, 1, 2]);
        client.send_bytes(&publish(0x34, version, "nobody", Some(0xFFFF), &[]));
        assert_eq!(client.expect_bytes(), [0x50, 2, 0xFF, 0xFF]);
        client.send_bytes(&[0x62, 2, 0xFF, 0xFF]);
        assert_eq!(client.expect_bytes(), [0x70, 2, 0xFF, 0xFF]);
        client.subscribe("a", QoS::ExactlyOnce);
        client.send_bytes(&publish(0x34, version, "a", Some(3), &[]));
        assert_eq!(client.expect_bytes(), [0x50, 2, 0, 3]);
        let (_, id) = next_id(&mut client);
        client.pubrec(id);
        assert_eq!(client.expect_bytes(), acknowledgement(0x62, id, &[]));
    }
}

/// 3.6.1 of MQTT 3.1: PUBREL may be repeated with DUP; later versions reserve the bit.
#[test]
fn pubrel_with_dup_is_for_3_1_only() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V31, "old");
    client.send_bytes(&[0x6A, 2, 0, 9]);
    assert_eq!(client.expect_bytes(), [0x70, 2, 0, 9]);
}

/// [MQTT-4.3.3-9], table 3-5: what is refused gets no place, and the identifier is free for another message at once.
#[test]
fn a_publish_that_is_not_authorized_is_told_so_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("acl"), "topic readwrite allowed\n").expect("a file");
    let broker = Broker::with_config_in(
        folder,
        "[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[auth]\nallow_anonymous = true\nacl_file = \"@DIR@/acl\"\n",
    );
    for (version, refused) in [(V311, None), (V5, Some(0x87))] {
        let mut subscriber = Client::connect(broker.address(), V5, "subscriber");
        subscriber.subscribe("allowed", QoS::AtMostOnce);
        let mut client = Client::connect(broker.address(), version, "publisher");
        let answer = |first: u8| match refused {
            Some(code) => vec![first, 3, 0, 4, code],
            None => vec![first, 2, 0, 4],
        };
        client.send_bytes(&publish(0x32, version, "denied", Some(4), &[]));
        assert_eq!(client.expect_bytes(), answer(0x40));
        client.send_bytes(&publish(0x34, version, "denied", Some(4), &[]));
        assert_eq!(client.expect_bytes(), answer(0x50));
        if version == V5 {
            client.send_bytes(&publish(0x34, version, "allowed", Some(4), &[]));
            assert_eq!(client.expect_bytes(), [0x50, 2, 0, 4]);
            subscriber.expect_message("allowed", "payload");
        }
        subscriber.expect_nothing();
        client.expect_nothing();
    }
}

/// [MQTT-2.2.1-5], [MQTT3-2.3.1-6].
#[test]
fn acknowledgements_carry_the_identifier_of_what_they_acknowledge() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "numbers");
    client.subscribe("a", QoS::AtMostOnce);
    for id in [1, 255, 256, 0x7FFF, 0xFFFF] {
        let number = PacketId::new(id).expect("not zero");
        client.send_bytes(&publish(0x32, V5, "$none", Some(id), &[]));
        client.expect("PUBACK", |packet| matches!(packet, Packet::PubAck(ack) if ack.packet_id == number).then_some(()));
        client.send_bytes(&publish(0x34, V5, "$none", Some(id), &[]));
        client.expect("PUBREC", |packet| matches!(packet, Packet::PubRec(ack) if ack.packet_id == number).then_some(()));
        client.send_bytes(&acknowledgement(0x62, number, &[]));
        client.expect("PUBCOMP", |packet| matches!(packet, Packet::PubComp(ack) if ack.packet_id == number).then_some(()));
    }
}
