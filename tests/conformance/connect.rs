//! 3.1 CONNECT: protocol, flags, keep alive, payload, and what the server does about it. Sessions, wills and properties have files of
//! their own.

use std::thread;
use std::time::Duration;

use dunlin::packet::{Connect, Packet, QoS};

use crate::steps::{expiring, keeping, will};
use crate::support::client::{V5, V31, V311, connect};
use crate::support::{Broker, Client};
use crate::wire::{Answer, Bystanders, RawConnect, packet, publish, section, subscribe, text_property};

/// [MQTT-3.1.0-1], [MQTT3-3.1.0-1].
#[test]
fn a_first_packet_other_than_connect_is_not_answered() {
    let mut others = Bystanders::start();
    let auth = packet(0xF0, &[&[0x18], &section(&text_property(0x15, "SCRAM-SHA-256"))]);
    for bytes in [
        publish(0x30, V5, "a", None, &[]),
        publish(0x32, V311, "a", Some(1), &[]),
        vec![0xC0, 0x00],
        vec![0xE0, 0x00],
        packet(0x20, &[&[0, 0, 0]]),
        auth,
        vec![0x00, 0x00],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
    ] {
        others.refuse_first(&[("no CONNECT", bytes, Answer::Nothing)]);
    }
}

/// [MQTT-3.1.0-2], [MQTT3-3.1.0-2].
#[test]
fn a_second_connect_is_a_protocol_error() {
    let mut others = Bystanders::start();
    for version in [V5, V311] {
        others.refuse(version, &[("CONNECT", RawConnect::new(version).bytes(), 0x82)]);
    }
}

/// [MQTT-3.1.2-1], [MQTT3-3.1.2-1].
#[test]
fn a_protocol_name_that_is_not_mqtt_is_not_answered() {
    let mut others = Bystanders::start();
    for name in ["mqtt", "MQTX", "MQTTT", "", "MQIsdq", "AMQP"] {
        let bytes = RawConnect::with(V5, |connect| connect.name = name.into());
        others.refuse_first(&[(name, bytes, Answer::Nothing)]);
    }
}

/// [MQTT-3.1.2-2], [MQTT3-3.1.2-2]: newer clients are told in their language, older ones in theirs.
#[test]
fn a_protocol_level_that_is_not_spoken_is_refused_with_its_code() {
    let mut others = Bystanders::start();
    for level in [6, 7, 100] {
        let bytes = RawConnect::with(V5, |connect| connect.level = level);
        others.refuse_first(&[("a later level", bytes, Answer::Reason(0x84))]);
    }
    for level in [0, 1, 2, 3] {
        let bytes = RawConnect::with(V311, |connect| connect.level = level);
        others.refuse_first(&[("an earlier level", bytes, Answer::ReturnCode(1))]);
    }
    for level in [2, 4, 5] {
        let bytes = RawConnect::with(V31, |connect| connect.level = level);
        others.refuse_first(&[("a level under the old name", bytes, Answer::ReturnCode(1))]);
    }
}

/// [MQTT-3.1.2-3], [MQTT3-3.1.2-3].
#[test]
fn the_reserved_connect_flag_must_be_zero() {
    let mut others = Bystanders::start();
    let reserved = |version| RawConnect::with(version, |connect| connect.flags |= 1);
    others.refuse_first(&[("5.0", reserved(V5), Answer::Reason(0x81)), ("3.1.1", reserved(V311), Answer::Nothing)]);
}

/// [MQTT-3.1.2-16] to [MQTT-3.1.2-19], [MQTT3-3.1.2-18] to [MQTT3-3.1.2-21].
#[test]
fn user_name_and_password_are_there_exactly_if_their_flags_are_set() {
    let mut others = Bystanders::start();
    for (version, answer) in [(V5, Answer::Reason(0x81)), (V311, Answer::Nothing)] {
        let with = |flags: u8, fields: usize| {
            RawConnect::with(version, |connect| {
                connect.flags |= flags;
                connect.fields.extend((0..fields).map(|_| b"field".to_vec()));
            })
        };
        others.refuse_first(&[
            ("a user name that is not there", with(0x80, 0), answer),
            ("a password that is not there", with(0xC0, 1), answer),
            ("a user name without its flag", with(0x00, 1), answer),
            ("a password without its flag", with(0x80, 2), answer),
        ]);
    }
}

/// [MQTT3-3.1.2-22]; 5.0 dropped the rule (3.1.2.9).
#[test]
fn a_password_without_a_user_name_is_for_5_0_only() {
    let mut others = Bystanders::start();
    let without = |version| {
        RawConnect::with(version, |connect| {
            connect.flags |= 0x40;
            connect.fields.push(b"password".to_vec());
        })
    };
    others.refuse_first(&[("3.1.1", without(V311), Answer::Nothing)]);
    let mut client = Client::dial(others.broker.address(), V5);
    client.send_bytes(&without(V5));
    client.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(ack) if !ack.reason.is_error()).then_some(()));
}

/// [MQTT-3.1.2-22], [MQTT3-3.1.2-24]: what the server sends does not count, and a client that sends in time stays.
#[test]
fn a_client_that_is_silent_for_one_and_a_half_keep_alives_is_cut() {
    let broker = Broker::start();
    let mut lively = Client::connect_with(broker.address(), Connect { keep_alive: 1, ..connect(V5) }).0;
    let mut unbound = Client::connect_with(broker.address(), Connect { keep_alive: 0, ..connect(V5) }).0;
    let mut silent: Vec<Client> = [V31, V311, V5]
        .into_iter()
        .map(|version| {
            let id = format!("silent{}", version as u8);
            let (mut client, _) =
                Client::connect_with(broker.address(), Connect { client_id: &id, keep_alive: 1, ..connect(version) });
            client.subscribe("a", QoS::AtMostOnce);
            client
        })
        .collect();
    for _ in 0..4 {
        lively.publish("a", "x", QoS::AtMostOnce);
        thread::sleep(Duration::from_millis(600));
    }
    for client in &mut silent {
        client.expect_disconnect(0x8D);
    }
    lively.ping();
    unbound.ping();
}

/// [MQTT-3.1.2-21], [MQTT-3.2.2-21].
#[test]
fn a_longer_keep_alive_than_the_servers_is_answered_with_the_servers() {
    let broker =
        Broker::with_config("[[listeners]]\nname = \"a\"\nurl = \"tcp://127.0.0.1:0\"\n[limits]\nmax_keep_alive = \"30s\"\n");
    for (wanted, told) in [(0, Some(30)), (31, Some(30)), (65_535, Some(30)), (30, None), (29, None)] {
        let connect = Connect { keep_alive: wanted, ..connect(V5) };
        let (_, seen) = Client::connack(broker.address(), connect, |properties| properties.server_keep_alive);
        assert_eq!(seen, told, "{wanted}");
    }
}

/// [MQTT-3.1.3-1], [MQTT3-3.1.3-1]: all fields in their order.
#[test]
fn the_payload_is_read_in_the_order_of_the_specification() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("$SYS/brokers/+/clients/ordered/connected", QoS::AtMostOnce);
    witness.subscribe("wills", QoS::AtMostOnce);
    for version in [V31, V311, V5] {
        let connect = Connect {
            client_id: "ordered",
            will: Some(will("wills", "will")),
            username: Some("user"),
            password: Some(b"\0\xFFpassword"),
            ..connect(version)
        };
        let (client, _) = Client::connect_with(broker.address(), connect);
        witness.expect("an event", |packet| matches!(packet, Packet::Publish(_)).then_some(()));
        client.cut();
        witness.expect_message("wills", "will");
    }
}

/// [MQTT-3.1.3-2], [MQTT-3.1.3-5], [MQTT3-3.1.3-2], [MQTT3-3.1.3-5]: a client identifier is what a session is known by.
#[test]
fn client_identifiers_of_any_characters_are_taken_and_told_apart() {
    let broker = Broker::start();
    let long = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".repeat(4);
    let names = ["a", "A", "0123456789abcdefghijklm", "é/+#$ ", &long];
    for id in names {
        let (_client, was_present) = Client::connect_with(broker.address(), keeping(V5, id));
        assert!(!was_present, "{id}");
    }
    for id in names {
        let (_client, was_present) = Client::connect_with(broker.address(), keeping(V311, id));
        assert!(was_present, "{id}");
    }
}

/// [MQTT-3.1.3-8], [MQTT3-3.1.3-9].
#[test]
fn a_client_identifier_over_the_limit_is_refused_with_its_code() {
    let broker = Broker::start();
    let id = "x".repeat(513);
    assert_eq!(Client::refused(broker.address(), Connect { client_id: &id, ..connect(V5) }), 0x85);
    let mut others = Bystanders::beside(broker);
    let bytes = RawConnect::with(V311, |connect| connect.fields = vec![id.clone().into()]);
    others.refuse_first(&[("3.1.1", bytes, Answer::ReturnCode(2))]);
}

/// [MQTT-3.1.3-3], [MQTT3-3.1.3-3].
#[test]
fn a_connect_without_a_client_identifier_field_is_malformed() {
    let mut others = Bystanders::start();
    let without = |version| RawConnect::with(version, |connect| connect.fields.clear());
    others.refuse_first(&[("5.0", without(V5), Answer::Reason(0x81)), ("3.1.1", without(V311), Answer::Nothing)]);
}

/// [MQTT-3.1.3-6], [MQTT-3.1.3-7], [MQTT-3.2.2-16].
#[test]
fn a_client_without_an_identifier_is_given_a_unique_one_and_told_it() {
    let broker = Broker::start();
    let mut assigned = Vec::new();
    for clean_start in [true, false, true] {
        let connect = expiring("", clean_start, 100);
        let (_, id) =
            Client::connack(broker.address(), connect, |properties| properties.assigned_client_identifier.map(String::from));
        assigned.push(id.expect("an identifier"));
    }
    assert!(assigned[0] != assigned[1] && assigned[1] != assigned[2] && assigned[0] != assigned[2], "{assigned:?}");
    let (_, was_present) = Client::connect_with(broker.address(), keeping(V5, &assigned[1]));
    assert!(was_present, "the identifier leads back to the session");
    let named = Connect { client_id: "named", ..connect(V5) };
    let (_, id) = Client::connack(broker.address(), named, |properties| properties.assigned_client_identifier.is_some());
    assert!(!id);
}

/// [MQTT3-3.1.3-6] to [MQTT3-3.1.3-8]; 3.1 wants a name of 1 to 23 characters.
#[test]
fn older_clients_without_an_identifier_are_let_in_with_a_clean_session_only() {
    let mut others = Bystanders::start();
    let anonymous = |version, flags| {
        RawConnect::with(version, |connect| {
            connect.flags = flags;
            connect.fields = vec![Vec::new()];
        })
    };
    others.refuse_first(&[
        ("3.1.1 without a clean session", anonymous(V311, 0x00), Answer::ReturnCode(2)),
        ("3.1 without a clean session", anonymous(V31, 0x00), Answer::ReturnCode(2)),
        ("3.1 with a clean session", anonymous(V31, 0x02), Answer::ReturnCode(2)),
    ]);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::dial(others.broker.address(), V311);
        client.send_bytes(&anonymous(V311, 0x02));
        assert_eq!(client.expect_bytes(), [0x20, 2, 0, 0]);
        clients.push(client);
    }
    clients.iter_mut().for_each(Client::ping);
}

/// [MQTT-3.1.4-3], [MQTT3-3.1.4-2].
#[test]
fn a_client_with_an_identifier_that_is_in_use_takes_the_session_over() {
    let broker = Broker::start();
    for old_version in [V31, V311, V5] {
        for new_version in [V31, V311, V5] {
            let mut old = Client::connect(broker.address(), old_version, "twice");
            let mut new = Client::connect(broker.address(), new_version, "twice");
            old.expect_disconnect(0x8E);
            new.ping();
        }
    }
}

/// [MQTT-3.1.4-1], [MQTT-3.2.0-1]: what follows a CONNECT that is refused is not looked at.
#[test]
fn nothing_is_processed_after_a_connect_that_was_refused() {
    let mut others = Bystanders::start();
    let wrong_level = RawConnect::with(V5, |connect| connect.level = 6);
    let no_identifier = RawConnect::with(V311, |connect| (connect.flags, connect.fields) = (0, vec![Vec::new()]));
    let wrong_method = RawConnect::with_properties(&text_property(0x15, "nonsense"));
    for (version, connect) in [(V5, wrong_level), (V311, no_identifier), (V5, wrong_method)] {
        let mut client = Client::dial(others.broker.address(), version);
        client.send_bytes(&[connect, publish(0x30, version, "never", None, &[])].concat());
        let answered = client.rest();
        assert_eq!(answered[0], 0x20, "{answered:02x?}");
        others.notice_nothing();
    }
}

/// [MQTT-3.1.4-5], 3.1.4: a client need not wait for CONNACK.
#[test]
fn packets_sent_before_connack_are_processed_after_it() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let mut client = Client::dial(broker.address(), version);
        let bytes = [
            RawConnect::new(version).bytes(),
            subscribe(version, &[], "a", 0),
            publish(0x30, version, "a", None, &[]),
            vec![0xC0, 0x00],
        ];
        client.send_bytes(&bytes.concat());
        client.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(_)).then_some(()));
        let mut answers: Vec<u8> = (0..3).map(|_| client.expect_bytes()[0]).collect();
        answers.sort_unstable();
        assert_eq!(answers, [0x30, 0x90, 0xD0], "SUBACK, the message and PINGRESP, in any order");
    }
}

/// 3.1 of MQTT 3.1: the packet may end before what its flags announce.
#[test]
fn clients_of_3_1_may_leave_out_user_name_and_password() {
    let broker = Broker::start();
    let mut client = Client::dial(broker.address(), V31);
    client.send_bytes(&RawConnect::with(V31, |connect| connect.flags |= 0xC0));
    assert_eq!(client.expect_bytes(), [0x20, 2, 0, 0]);
}
