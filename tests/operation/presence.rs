use std::cell::RefCell;
use std::collections::HashMap;

use dunlin::packet::{Connect, QoS, SubscriptionOptions};
use serde_json::Value;

use crate::support::Broker;
use crate::support::client::{Client, V5, V311, connect};

const LISTENER: &str = "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";

fn watch(broker: &Broker) -> Client {
    let mut watcher = Client::connect(broker.address(), V5, "watcher");
    // Its own arrival is told before or after: wait for it with a wide filter, then narrow.
    watcher.subscribe("$SYS/brokers/+/clients/#", QoS::AtMostOnce);
    watcher
}

/// The next event that is not of the watcher itself.
fn next(watcher: &mut Client) -> (String, Value) {
    loop {
        let (topic, retain, payload) = watcher.expect_publish(|publish| {
            (publish.topic.expect("a topic").as_str().to_owned(), publish.retain, publish.payload.to_vec())
        });
        assert!(!retain);
        if !topic.contains("/clients/watcher/") {
            return (topic, serde_json::from_slice(&payload).expect("JSON"));
        }
    }
}

#[test]
fn who_comes_and_goes_is_told_with_its_particulars() {
    let broker = Broker::with_config(&format!("[sys]\nnode = \"node-1\"\n{LISTENER}"));
    let mut watcher = watch(&broker);
    let mut login = Connect { client_id: "device", keep_alive: 33, ..connect(V5) };
    login.properties.session_expiry_interval = 44;
    let (mut device, _) = Client::connect_with(broker.address(), login);
    let (topic, told) = next(&mut watcher);
    assert_eq!(topic, "$SYS/brokers/node-1/clients/device/connected");
    let expected = [
        ("clientid", Value::from("device")),
        ("username", Value::Null),
        ("ipaddress", Value::from("127.0.0.1")),
        ("proto_name", Value::from("MQTT")),
        ("proto_ver", Value::from(5)),
        ("keepalive", Value::from(33)),
        ("clean_start", Value::from(true)),
        ("expiry_interval", Value::from(44)),
    ];
    for (key, value) in expected {
        assert_eq!(told[key], value, "{key}");
    }
    device.send_bytes(b"\xe0\0");
    let (topic, told) = next(&mut watcher);
    assert_eq!(topic, "$SYS/brokers/node-1/clients/device/disconnected");
    assert_eq!(told["reason"], "normal disconnection");
}

#[test]
fn the_reason_of_an_end_has_its_name() {
    let broker = Broker::with_config(LISTENER);
    let mut watcher = watch(&broker);
    let mut ends: HashMap<&str, &str> = HashMap::new();
    let mut note = |id: &'static str, expected: &'static str, end: &dyn Fn(Client)| {
        end(Client::connect(broker.address(), V5, id));
        loop {
            let (topic, told) = next(&mut watcher);
            if topic == format!("$SYS/brokers/dunlin/clients/{id}/disconnected") {
                assert_eq!(told["reason"], expected, "{id}");
                break;
            }
        }
        ends.insert(id, expected);
    };
    note("will", "disconnect with will message", &|mut client| client.send_bytes(b"\xe0\x01\x04"));
    note("malformed", "malformed packet", &|mut client| client.send_bytes(b"\x00\x00"));
    note("protocol", "protocol error", &|mut client| client.send_bytes(b"\x10\x0d\0\x04MQTT\x05\x02\0\x3c\0\0\0"));
    note("cut", "unspecified error", &Client::cut);
    let taking = RefCell::new(None);
    note("taken", "session taken over", &|_client| {
        // The other one stays until the end of the first has been told.
        let mut other = Client::connect(broker.address(), V5, "taken");
        other.ping();
        *taking.borrow_mut() = Some(other);
    });
    assert_eq!(ends.len(), 5);
}

/// No client can choose another's topic, nor one that is none.
#[test]
fn a_hostile_identifier_stays_one_level() {
    let broker = Broker::with_config(LISTENER);
    let mut watcher = watch(&broker);
    for (id, level) in [
        ("a/b", "a%2Fb"),
        ("+", "%2B"),
        ("#", "%23"),
        ("$SYS", "$SYS"),
        ("victim/connected", "victim%2Fconnected"),
        ("%2F", "%252F"),
        ("\"},{\"", "\"},{\""),
        ("é漢", "é漢"),
    ] {
        let (mut client, _) = Client::connect_with(broker.address(), Connect { client_id: id, ..connect(V5) });
        let (topic, told) = next(&mut watcher);
        assert_eq!(topic, format!("$SYS/brokers/dunlin/clients/{level}/connected"));
        assert_eq!(told["clientid"], id);
        client.send_bytes(b"\xe0\0");
        let (topic, told) = next(&mut watcher);
        assert_eq!(topic, format!("$SYS/brokers/dunlin/clients/{level}/disconnected"));
        assert_eq!(told["clientid"], id);
    }
}

#[test]
fn refused_logins_are_not_told() {
    let broker = Broker::with_config(&format!("[limits]\nmax_client_id_length = 30\n{LISTENER}"));
    let mut watcher = watch(&broker);
    let id = "x".repeat(31);
    assert_eq!(Client::refused(broker.address(), Connect { client_id: &id, ..connect(V5) }), 0x85);
    Client::connect(broker.address(), V311, "next").ping();
    assert_eq!(next(&mut watcher).0, "$SYS/brokers/dunlin/clients/next/connected");
}

#[test]
fn presence_can_be_turned_off() {
    let broker = Broker::with_config(&format!("[sys]\npresence = false\ninterval = \"0s\"\n{LISTENER}"));
    let mut watcher = Client::connect(broker.address(), V5, "watcher");
    let reasons = watcher.subscribe_with("$SYS/#", SubscriptionOptions::default(), None);
    assert_eq!(reasons, [0]);
    Client::connect(broker.address(), V5, "a").ping();
    // Another client's whole visit is over when its session is.
    crate::support::eventually("it is gone", || broker.metric("dunlin_sessions{state=\"online\"}") == 1.0);
    watcher.expect_nothing();
}
