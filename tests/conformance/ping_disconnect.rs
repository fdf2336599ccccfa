//! 3.12 PINGREQ, 3.13 PINGRESP, 3.14 DISCONNECT.

use dunlin::packet::{Connect, ConnectProperties, Packet, QoS, Will};

use crate::steps::{NEVER, expiring, keeping, will};
use crate::support::client::{V5, V31, V311, connect};
use crate::support::{Broker, Client};
use crate::wire::{Bystanders, packet, publish, section, text_property, user_property};

/// The codes that a client may put into DISCONNECT (table 3-10), but for the ordinary one.
const CLIENT_CODES: [u8; 13] = [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];

/// [MQTT-3.12.4-1], [MQTT3-3.12.4-1].
#[test]
fn pingreq_is_answered_with_pingresp() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let mut client = Client::connect(broker.address(), version, "pinger");
        client.send_bytes(&[0xC0, 0].repeat(3));
        for _ in 0..3 {
            assert_eq!(client.expect_bytes(), [0xD0, 0]);
        }
    }
}

/// [MQTT-3.14.4-1], [MQTT-3.14.4-2], [MQTT3-3.14.4-1], [MQTT3-3.14.4-2], 3.14.2.1, 3.14.2.2.1: in all its forms.
#[test]
fn a_client_that_says_goodbye_is_closed_without_a_word() {
    let broker = Broker::start();
    let mut forms = vec![
        (V31, vec![0xE0, 0]),
        (V311, vec![0xE0, 0]),
        (V5, vec![0xE0, 0]),
        (V5, vec![0xE0, 1, 0]),
        (V5, vec![0xE0, 2, 0, 0]),
    ];
    let properties = [text_property(0x1F, "done"), user_property("a", "1"), user_property("a", "1")].concat();
    for code in [0].into_iter().chain(CLIENT_CODES) {
        forms.push((V5, packet(0xE0, &[&[code]])));
        forms.push((V5, packet(0xE0, &[&[code], &section(&properties)])));
    }
    for (version, form) in forms {
        let mut client = Client::connect(broker.address(), version, "leaving");
        client.send_bytes(&form);
        assert!(client.rest().is_empty(), "{form:02x?}");
    }
}

/// [MQTT-3.14.4-1], [MQTT3-3.14.4-1]: what follows in the same breath is not looked at.
#[test]
fn nothing_is_processed_after_disconnect() {
    let mut others = Bystanders::start();
    for version in [V311, V5] {
        let mut client = Client::connect(others.broker.address(), version, "leaving");
        client.send_bytes(&[vec![0xE0, 0], publish(0x32, version, "behind", Some(1), &[]), vec![0xC0, 0]].concat());
        assert!(client.rest().is_empty());
        others.notice_nothing();
    }
}

/// [MQTT-3.14.2-1], table 3-10: codes of servers and codes that there are not.
#[test]
fn codes_that_a_client_may_not_send_are_a_protocol_error() {
    let mut others = Bystanders::start();
    let wrong = [0x01, 0x03, 0x10, 0x84, 0x85, 0x86, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x9A, 0x9B, 0x9C, 0x9D, 0xA2, 0xFF];
    let cases: Vec<_> = wrong.iter().map(|code| ("code", packet(0xE0, &[&[*code]]), 0x82)).collect();
    others.refuse(V5, &cases);
}

/// [MQTT-3.14.4-3]: 0x00 forgets the will; table 3-10: every other code leaves it to be published.
#[test]
fn only_a_normal_disconnection_forgets_the_will() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("wills", QoS::AtMostOnce);
    let mortal = Connect { client_id: "mortal", will: Some(will("wills", "gone")), ..connect(V5) };
    for code in CLIENT_CODES {
        let (mut client, _) = Client::connect_with(broker.address(), mortal);
        client.send_bytes(&[0xE0, 1, code]);
        client.expect_close();
        witness.expect_message("wills", "gone");
    }
    for form in [&[0xE0, 0][..], &[0xE0, 1, 0], &[0xE0, 2, 0, 0]] {
        let (mut client, _) = Client::connect_with(broker.address(), mortal);
        client.send_bytes(form);
        client.expect_close();
        witness.expect_nothing();
    }
}

/// [MQTT-3.14.4-3], [MQTT-3.1.2-10]: a will that was forgotten does not come back with its session.
#[test]
fn a_will_that_was_forgotten_is_not_published_later() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("wills", QoS::AtMostOnce);
    let delayed = Will { delay_interval: 1000, ..will("wills", "gone") };
    let mortal = Connect { will: Some(delayed), ..keeping(V5, "mortal") };
    let (mut client, _) = Client::connect_with(broker.address(), mortal);
    client.send_bytes(&[0xE0, 0]);
    client.expect_close();
    // A clean start ends the session, and with it would come the will.
    Client::connect(broker.address(), V5, "mortal");
    witness.expect_nothing();
}

/// 3.14.2.2.2.
#[test]
fn disconnect_may_shorten_the_session_expiry_or_end_the_session() {
    let broker = Broker::start();
    for (from, to, is_kept) in [(100, 0, false), (NEVER, 0, false), (100, NEVER, true), (100, 50, true), (0, 0, false)] {
        let (mut client, _) = Client::connect_with(broker.address(), expiring("leaving", true, from));
        client.send_bytes(&packet(0xE0, &[&[0], &section(&[&[0x11][..], &u32::to_be_bytes(to)].concat())]));
        assert!(client.rest().is_empty(), "{from} to {to}");
        let (_, was_present) = Client::connect_with(broker.address(), expiring("leaving", false, 100));
        assert_eq!(was_present, is_kept, "{from} to {to}");
        Client::connect(broker.address(), V5, "leaving");
    }
}

/// 3.14.2.2.2.
#[test]
fn a_session_expiry_that_was_zero_cannot_be_changed() {
    let mut others = Bystanders::start();
    let longer = |seconds: u32| packet(0xE0, &[&[0], &section(&[&[0x11][..], &seconds.to_be_bytes()].concat())]);
    others.refuse(V5, &[("one second", longer(1), 0x82), ("for ever", longer(NEVER), 0x82)]);
}

/// 3.14.2.2.2, [MQTT-3.1.2-8]: a protocol error is no goodbye, so the will is published.
#[test]
fn a_disconnect_that_is_refused_does_not_forget_the_will() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("wills", QoS::AtMostOnce);
    let mortal = Connect { client_id: "mortal", will: Some(will("wills", "gone")), ..connect(V5) };
    for refused in [vec![0xE0, 1, 0x8E], packet(0xE0, &[&[0], &section(&[0x11, 0, 0, 0, 1])]), vec![0xE1, 0]] {
        let (mut client, _) = Client::connect_with(broker.address(), mortal);
        client.send_bytes(&refused);
        assert!(client.expect_close().is_some());
        witness.expect_message("wills", "gone");
    }
}

/// [MQTT-3.14.2-2], 4.13: what the server says when it closes. 0x8D is in `connect`, 0x95 in `connack`, the like in each chapter.
#[test]
fn the_server_says_why_it_disconnects_and_nothing_that_it_may_not() {
    let broker = Broker::start();
    let mut old = Client::connect(broker.address(), V5, "twice");
    let _new = Client::connect(broker.address(), V5, "twice");
    old.expect("DISCONNECT", |packet| match packet {
        Packet::Disconnect(disconnect) if disconnect.reason as u8 == 0x8E => {
            assert_eq!(disconnect.session_expiry_interval, None);
            Some(())
        }
        _ => None,
    });
    assert!(old.rest().is_empty());
    let mut offender = Client::connect(broker.address(), V5, "offender");
    offender.send_bytes(&[0x00, 0x00]);
    offender.expect("DISCONNECT", |packet| match packet {
        Packet::Disconnect(disconnect) if disconnect.reason as u8 == 0x81 => {
            assert!(disconnect.reason_string.is_some_and(|reason| !reason.is_empty()));
            assert_eq!(disconnect.session_expiry_interval, None);
            Some(())
        }
        _ => None,
    });
    assert!(offender.rest().is_empty());
}

/// [MQTT-3.14.0-1]: no DISCONNECT before CONNACK, and none with a CONNACK that refuses.
#[test]
fn the_server_does_not_disconnect_before_it_has_let_a_client_in() {
    let broker = Broker::start();
    for bytes in [vec![0xC0, 0], vec![0x10, 0x80, 0x80, 0x80, 0x80], vec![0xFF, 0xFF]] {
        let mut client = Client::dial(broker.address(), V5);
        client.send_bytes(&bytes);
        assert!(client.rest().is_empty());
    }
    let mut client = Client::dial(broker.address(), V5);
    let properties = ConnectProperties { authentication_method: Some("nonsense"), ..Default::default() };
    client.send(&Packet::Connect(Connect { properties, ..connect(V5) }));
    assert_eq!(client.expect_bytes()[0], 0x20);
    assert!(client.rest().is_empty());
}

/// Table 3-10: 0x8B, and a plain close for older clients.
#[test]
fn clients_are_told_that_the_server_shuts_down() {
    let mut broker = Broker::start();
    let names = [(V31, "staying3"), (V311, "staying4"), (V5, "staying5")];
    let mut clients = names.map(|(version, id)| Client::connect(broker.address(), version, id));
    broker.signal("-TERM");
    for client in &mut clients {
        client.expect_disconnect(0x8B);
    }
    assert!(broker.wait().success());
}
