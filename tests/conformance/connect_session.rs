//! 3.1.2.4 Clean Start and 3.1.2.11.2 Session Expiry Interval, as CONNECT and CONNACK show them.

use dunlin::packet::{Connect, QoS};

use crate::steps::{expiring, keeping};
use crate::support::client::{V5, V31, V311, connect};
use crate::support::{Broker, Client, eventually};

/// [MQTT-3.1.2-4], [MQTT-3.2.2-2], [MQTT3-3.1.2-6], [MQTT3-3.2.2-1].
#[test]
fn a_clean_start_discards_the_session_that_was_there() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let (mut client, _) = Client::connect_with(broker.address(), keeping(version, "cleaned"));
        client.subscribe("a", QoS::AtLeastOnce);
        client.cut();
        let (client, was_present) =
            Client::connect_with(broker.address(), Connect { clean_start: true, ..keeping(version, "cleaned") });
        assert!(!was_present);
        client.cut();
        let (mut client, _) = Client::connect_with(broker.address(), keeping(version, "cleaned"));
        client.publish("a", "x", QoS::AtLeastOnce);
        client.expect_nothing();
    }
}

/// [MQTT-3.1.2-5], [MQTT-3.1.2-23], [MQTT-3.2.2-3], [MQTT3-3.1.2-4], [MQTT3-3.1.2-5], [MQTT3-3.2.2-2].
#[test]
fn without_a_clean_start_the_session_goes_on_with_its_subscriptions_and_messages() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        let (mut client, _) =
            Client::connect_with(broker.address(), Connect { clean_start: version == V5, ..keeping(version, "going on") });
        client.subscribe("a", QoS::ExactlyOnce);
        client.send_bytes(&[0xE0, 0x00]);
        client.expect_close();
        publisher.publish("a", "once", QoS::AtLeastOnce);
        publisher.publish("a", "twice", QoS::ExactlyOnce);
        let (mut client, was_present) = Client::connect_with(broker.address(), keeping(version, "going on"));
        assert!(was_present);
        assert_eq!(client.expect_message("a", "once").qos(), QoS::AtLeastOnce);
        assert_eq!(client.expect_message("a", "twice").qos(), QoS::ExactlyOnce);
        // Leaves nothing behind for the next version.
        client.cut();
        Client::connect(broker.address(), version, "going on").cut();
    }
}

/// [MQTT-3.1.2-6], [MQTT-3.2.2-3], [MQTT3-3.2.2-3].
#[test]
fn where_there_is_no_session_a_new_one_begins() {
    let broker = Broker::start();
    for version in [V31, V311, V5] {
        let id = format!("new{}", version as u8);
        let (mut client, was_present) = Client::connect_with(broker.address(), keeping(version, &id));
        assert!(!was_present);
        client.subscribe("a", QoS::AtMostOnce);
    }
}

/// 3.1.2.11.2, [MQTT3-3.1.2-6]: a session without an expiry ends with its connection.
#[test]
fn a_session_without_expiry_ends_with_its_connection() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let (mut client, _) = Client::connect_with(broker.address(), Connect { client_id: "short", ..connect(version) });
        client.subscribe("a", QoS::AtLeastOnce);
        client.send_bytes(&[0xE0, 0x00]);
        client.expect_close();
        let (client, was_present) = Client::connect_with(broker.address(), keeping(version, "short"));
        assert!(!was_present, "{version}");
        client.cut();
        Client::connect(broker.address(), version, "short").cut();
    }
}

/// [MQTT3-3.1.2-6] "State data associated with this Session MUST NOT be reused in any subsequent Session"; 3.1.2.11.2. The old
/// connection is closed first, and its session ends with that.
#[test]
fn a_session_without_expiry_is_not_handed_to_a_client_that_takes_it_over() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let (mut old, _) = Client::connect_with(broker.address(), Connect { client_id: "taken", ..connect(version) });
        old.subscribe("a", QoS::AtLeastOnce);
        let (mut new, was_present) = Client::connect_with(broker.address(), keeping(version, "taken"));
        old.expect_disconnect(0x8E);
        assert!(!was_present, "{version}");
        new.publish("a", "x", QoS::AtLeastOnce);
        new.expect_nothing();
        new.cut();
        Client::connect(broker.address(), version, "taken").cut();
    }
}

/// [MQTT-3.1.2-23]; 3.1.2.11.2: the interval runs from the close.
#[test]
fn a_session_is_gone_once_its_expiry_has_passed() {
    let broker = Broker::start();
    let soon = expiring("mayfly", true, 1);
    let (mut client, _) = Client::connect_with(broker.address(), soon);
    client.subscribe("a", QoS::AtLeastOnce);
    client.send_bytes(&[0xE0, 0x00]);
    client.expect_close();
    let again = Connect { clean_start: false, ..soon };
    let (mut client, was_present) = Client::connect_with(broker.address(), again);
    assert!(was_present, "it is there before");
    client.send_bytes(&[0xE0, 0x00]);
    client.expect_close();
    eventually("the session expires", || broker.metric("dunlin_sessions_expired_total") == 1.0);
    let (_, was_present) = Client::connect_with(broker.address(), again);
    assert!(!was_present);
}
