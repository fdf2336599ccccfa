//! 3.1.2.5, 3.1.3.2: when a will is published, and when not.

use dunlin::packet::{
    Connect, Disconnect, DisconnectReason, ForwardedProperties, Packet, ProtocolVersion, QoS, TopicName, UserProperties, Will,
};

use crate::steps::{begin, expiring, leave, leave_with, lose, resume, will};
use crate::support::client::{V5, V31, V311, connect};
use crate::support::{Broker, Client, eventually};

const ALL: [ProtocolVersion; 3] = [V31, V311, V5];

/// Someone who hears all wills.
fn witness(broker: &Broker) -> Client {
    let mut client = Client::connect(broker.address(), V5, "witness");
    client.subscribe("will/#", QoS::ExactlyOnce);
    client
}

fn with_will<'a>(version: ProtocolVersion, client_id: &'a str, will: Will<'a>) -> Connect<'a> {
    Connect { client_id, will: Some(will), ..connect(version) }
}

fn delayed<'a>(client_id: &'a str, expiry: u32, delay_interval: u32, payload: &'a str) -> Connect<'a> {
    let will = Will { delay_interval, ..will("will/delayed", payload) };
    Connect { will: Some(will), ..expiring(client_id, false, expiry) }
}

/// Time has passed for every delay of a second that began before this.
fn wait_a_second(broker: &mut Broker, witness: &mut Client) {
    let client = begin(broker.address(), delayed("clock", 3600, 1, "tick"));
    lose(broker, client, "clock");
    witness.expect_message("will/delayed", "tick");
    leave(begin(broker.address(), expiring("clock", true, 0)));
}

/// `[MQTT-3.1.2-8]`, `[MQTT3-3.1.2-8]`: the network connection is lost.
#[test]
fn a_will_is_published_when_the_connection_is_lost() {
    let mut broker = Broker::start();
    let mut witness = witness(&broker);
    for version in ALL {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let client = begin(broker.address(), with_will(version, "c", Will { qos, ..will("will/c", "gone") }));
            witness.expect_nothing();
            lose(&mut broker, client, "c");
            assert_eq!(witness.expect_message("will/c", "gone").qos(), qos);
        }
    }
    witness.expect_nothing();
}

/// `[MQTT-3.1.2-8]`: the client was silent for one and a half times its keep alive, or broke the protocol.
#[test]
fn a_will_is_published_when_the_server_closes_the_connection() {
    let broker = Broker::start();
    let mut witness = witness(&broker);
    for version in ALL {
        let connect = Connect { keep_alive: 1, ..with_will(version, "silent", will("will/silent", "gone")) };
        let mut silent = begin(broker.address(), connect);
        let mut rude = begin(broker.address(), with_will(version, "rude", will("will/rude", "gone")));
        rude.send_bytes(&[0xF0 | 0x0F, 0]);
        rude.expect_close();
        witness.expect_message("will/rude", "gone");
        silent.expect_disconnect(0x8D);
        witness.expect_message("will/silent", "gone");
    }
}

/// `[MQTT-3.1.2-10]`, `[MQTT-3.14.4-3]`, `[MQTT3-3.1.2-10]`, `[MQTT3-3.14.4-3]`: DISCONNECT takes the will away.
#[test]
fn a_normal_goodbye_takes_the_will_away() {
    let mut broker = Broker::start();
    let mut witness = witness(&broker);
    for version in ALL {
        leave(begin(broker.address(), with_will(version, "c", will("will/c", "gone"))));
        if version == V5 {
            leave(begin(broker.address(), delayed("d", 3600, 1, "gone")));
        }
        // A will belongs to the CONNECT that brought it.
        let client = begin(broker.address(), Connect { client_id: "c", ..connect(version) });
        lose(&mut broker, client, "c");
    }
    wait_a_second(&mut broker, &mut witness);
    witness.expect_nothing();
}

/// 3.14.2.1: 0x04, and every code but 0x00, leaves the will in place.
#[test]
fn a_goodbye_with_will_publishes_it() {
    let broker = Broker::start();
    let mut witness = witness(&broker);
    for reason in [DisconnectReason::DisconnectWithWillMessage, DisconnectReason::UnspecifiedError] {
        let client = begin(broker.address(), with_will(V5, "c", will("will/c", "gone")));
        leave_with(client, Disconnect::new(reason));
        witness.expect_message("will/c", "gone");
    }
}

/// `[MQTT-3.1.2-9]`: topic, payload and properties as the CONNECT had them `[MQTT-3.1.3-10]`.
#[test]
fn a_will_is_published_as_it_was_given() {
    let mut broker = Broker::start();
    let mut witness = witness(&broker);
    let section = b"\x01\x01\x03\0\x04text\x08\0\x05reply\x09\0\x03\x01\x02\x03\x26\0\x01a\0\x01b\x26\0\x01a\0\x01c";
    let properties = ForwardedProperties::read(section).unwrap();
    let will = Will { properties, ..will("will/full", "é") };
    let client = begin(broker.address(), with_will(V5, "c", will));
    lose(&mut broker, client, "c");
    witness.expect_publish(|publish| {
        assert_eq!((publish.topic, publish.payload), (TopicName::new("will/full").ok(), "é".as_bytes()));
        let properties = &publish.properties;
        assert_eq!(properties.payload_format_indicator, Some(true));
        assert_eq!(properties.content_type, Some("text"));
        assert_eq!(properties.response_topic, Some("reply"));
        assert_eq!(properties.correlation_data, Some(&[1, 2, 3][..]));
        let user_properties: UserProperties<'_> = properties.user_properties;
        assert_eq!(user_properties.iter().collect::<Vec<_>>(), [("a", "b"), ("a", "c")]);
        assert_eq!(properties.message_expiry_interval, None);
    });
}

/// `[MQTT-3.1.2-14]`, `[MQTT-3.1.2-15]`, `[MQTT3-3.1.2-16]`, `[MQTT3-3.1.2-17]`.
#[test]
fn a_will_is_retained_if_it_asks_for_that() {
    let mut broker = Broker::start();
    for version in ALL {
        for (topic, retain) in [("will/kept", true), ("will/passing", false)] {
            let client = begin(broker.address(), with_will(version, "c", Will { retain, ..will(topic, "gone") }));
            lose(&mut broker, client, "c");
        }
        let mut late = Client::connect(broker.address(), V5, "late");
        late.subscribe("will/#", QoS::AtLeastOnce);
        late.expect_publish(|publish| assert_eq!((publish.payload, publish.retain), (&b"gone"[..], true)));
        late.expect_nothing();
        late.publish_with("will/kept", "", QoS::AtLeastOnce, |publish| publish.retain = true);
    }
}

/// 3.1.3.2.2: not before the delay has passed.
#[test]
fn a_delayed_will_waits() {
    let mut broker = Broker::start();
    let mut witness = witness(&broker);
    let client = begin(broker.address(), delayed("c", 3600, 1, "late"));
    lose(&mut broker, client, "c");
    witness.expect_nothing();
    let client = begin(broker.address(), with_will(V5, "d", will("will/d", "at once")));
    lose(&mut broker, client, "d");
    witness.expect_message("will/d", "at once");
    witness.expect_message("will/delayed", "late");
    leave(resume(broker.address(), expiring("c", false, 0)));
}

/// `[MQTT-3.1.3-9]`: who comes back to the session within the delay takes the will along.
#[test]
fn a_client_that_comes_back_in_time_keeps_its_will_from_being_published() {
    let mut broker = Broker::start();
    let mut witness = witness(&broker);
    let client = begin(broker.address(), delayed("c", 3600, 2, "not this"));
    lose(&mut broker, client, "c");
    let client = resume(broker.address(), expiring("c", false, 3600));
    wait_a_second(&mut broker, &mut witness);
    wait_a_second(&mut broker, &mut witness);
    witness.expect_nothing();
    lose(&mut broker, client, "c");
    witness.expect_nothing();
}

/// 3.1.3.2.2: the will goes out when the delay has passed or the session ends, whatever is first.
#[test]
fn a_will_does_not_outlive_its_session() {
    let mut broker = Broker::start();
    let mut witness = witness(&broker);
    let client = begin(broker.address(), delayed("c", 1, 3600, "expired"));
    lose(&mut broker, client, "c");
    witness.expect_nothing();
    witness.expect_message("will/delayed", "expired");

    let client = begin(broker.address(), delayed("c", 0, 3600, "no session to wait with"));
    lose(&mut broker, client, "c");
    witness.expect_message("will/delayed", "no session to wait with");
}

/// `[MQTT-3.1.2-8]`, 3.14.2.2.2: DISCONNECT with 0x04 and a delay; an expiry of 0 in it ends the wait.
#[test]
fn a_goodbye_with_will_respects_the_delay_and_the_expiry_that_it_sets() {
    let broker = Broker::start();
    let mut witness = witness(&broker);
    let with_will = Disconnect::new(DisconnectReason::DisconnectWithWillMessage);
    leave_with(begin(broker.address(), delayed("c", 3600, 3600, "waits")), with_will);
    witness.expect_nothing();
    let client = begin(broker.address(), delayed("d", 3600, 3600, "at once"));
    leave_with(client, Disconnect { session_expiry_interval: Some(0), ..with_will });
    witness.expect_message("will/delayed", "at once");
    witness.expect_nothing();
}

/// `[MQTT-3.1.4-3]`, `[MQTT-3.1.3-9]` and the comment below it: a clean start ends the session, and so the wait.
#[test]
fn a_clean_start_publishes_the_will_of_the_session_that_it_ends() {
    let mut broker = Broker::start();
    let mut witness = witness(&broker);
    let client = begin(broker.address(), delayed("c", 3600, 3600, "session ended"));
    lose(&mut broker, client, "c");
    witness.expect_nothing();
    leave(begin(broker.address(), expiring("c", true, 0)));
    witness.expect_message("will/delayed", "session ended");
}

/// 3.1.4, comment: on take-over the will of the connection that was there is published if it has no delay, if its session has no
/// expiry, or if the new one starts clean; otherwise not.
#[test]
fn a_take_over_publishes_the_will_unless_the_session_goes_on_and_it_has_a_delay() {
    let mut broker = Broker::start();
    let mut witness = witness(&broker);
    for (expiry, delay, clean_start, is_published) in [
        (3600, 0, false, true),
        (3600, 0, true, true),
        (0, 0, false, true),
        (0, 3600, false, true),
        (3600, 3600, true, true),
        (3600, 3600, false, false),
        (3600, 1, false, false),
    ] {
        let mut old = begin(broker.address(), delayed("c", expiry, delay, "taken over"));
        let new = Client::connect_with(broker.address(), expiring("c", clean_start, 0)).0;
        old.expect_disconnect(0x8E);
        if is_published {
            witness.expect_message("will/delayed", "taken over");
        } else if delay == 1 {
            wait_a_second(&mut broker, &mut witness);
        }
        witness.expect_nothing();
        leave(new);
        witness.expect_nothing();
    }
}

/// `[MQTT3-3.1.4-2]`, `[MQTT3-3.1.2-8]`: older clients have no delay.
#[test]
fn a_take_over_publishes_the_will_of_an_older_client() {
    let broker = Broker::start();
    let mut witness = witness(&broker);
    for version in [V31, V311] {
        for clean_start in [false, true] {
            let connect = || Connect { clean_start, ..with_will(version, "c", will("will/c", "taken over")) };
            let mut old = Client::connect_with(broker.address(), connect()).0;
            let new = Client::connect_with(broker.address(), connect()).0;
            old.expect_disconnect(0x8E);
            witness.expect_message("will/c", "taken over");
            leave(new);
            witness.expect_nothing();
            leave(Client::connect(broker.address(), version, "c"));
        }
    }
}

/// A session has the will of its last CONNECT, and none where that had none.
#[test]
fn each_connect_brings_its_own_will() {
    let mut broker = Broker::start();
    let mut witness = witness(&broker);
    let client = begin(broker.address(), delayed("c", 3600, 3600, "old"));
    lose(&mut broker, client, "c");
    let client = resume(broker.address(), delayed("c", 3600, 0, "new"));
    lose(&mut broker, client, "c");
    witness.expect_message("will/delayed", "new");
    let client = resume(broker.address(), expiring("c", false, 3600));
    lose(&mut broker, client, "c");
    leave(begin(broker.address(), expiring("c", true, 0)));
    witness.expect_nothing();
}

/// 3.1.3.2.4: the lifetime of a will counts from its publication, not from CONNECT.
#[test]
fn the_expiry_of_a_will_counts_from_its_publication() {
    let mut broker = Broker::start();
    let mut witness = witness(&broker);
    let mut connect = delayed("c", 3600, 1, "fresh");
    connect.will = connect.will.map(|will| Will { message_expiry_interval: Some(1000), retain: true, ..will });
    let client = begin(broker.address(), connect);
    lose(&mut broker, client, "c");
    witness.expect_publish(|publish| {
        assert_eq!(publish.payload, b"fresh");
        let left = publish.properties.message_expiry_interval.unwrap();
        assert_eq!(left, 1000, "nothing of it was spent while the will waited");
    });
}

/// 3.3.2.3.3: a will that has outlived its expiry is not sent to those who come later.
#[test]
fn a_will_expires_like_any_message() {
    let mut broker = Broker::start();
    let mut sleeper = begin(broker.address(), expiring("sleeper", true, 3600));
    sleeper.subscribe("will/short", QoS::AtLeastOnce);
    leave(sleeper);
    let mut witness = witness(&broker);
    let short = Will { message_expiry_interval: Some(1), retain: true, ..will("will/short", "short") };
    let client = begin(broker.address(), with_will(V5, "c", short));
    lose(&mut broker, client, "c");
    witness.expect_message("will/short", "short");
    wait_a_second(&mut broker, &mut witness);
    resume(broker.address(), expiring("sleeper", false, 0)).expect_nothing();
    let mut late = Client::connect(broker.address(), V5, "late");
    late.subscribe("will/short", QoS::AtLeastOnce);
    late.expect_nothing();
}

/// 4.13, 3.14.2.1: the server says goodbye with 0x8B, waits for nobody's delay, and ends.
#[test]
fn a_broker_that_stops_tells_its_clients_and_waits_for_no_will() {
    let mut broker = Broker::start();
    let names = ["v31", "v311", "v5"];
    let connects = ALL.into_iter().zip(names).map(|(version, name)| with_will(version, name, will("will/c", "stopped")));
    let mut clients: Vec<Client> = connects.map(|connect| begin(broker.address(), connect)).collect();
    clients.push(begin(broker.address(), delayed("delayed", 3600, 3600, "later")));
    broker.signal("-TERM");
    for client in &mut clients {
        client.expect_disconnect(0x8B);
    }
    assert!(broker.wait().success());
}

/// The count of wills tells each one once.
#[test]
fn wills_are_counted() {
    let mut broker = Broker::start();
    for _ in 0..3 {
        let client = begin(broker.address(), with_will(V5, "c", will("will/c", "gone")));
        lose(&mut broker, client, "c");
    }
    eventually("three wills", || broker.metric("dunlin_wills_published_total") == 3.0);
    let mut client = begin(broker.address(), with_will(V5, "c", will("will/c", "gone")));
    client.send(&Packet::Disconnect(Disconnect::new(DisconnectReason::NormalDisconnection)));
    client.expect_close();
    assert_eq!(broker.metric("dunlin_wills_published_total"), 3.0);
}
