use std::collections::HashMap;

use dunlin::packet::QoS;

use crate::support::Broker;
use crate::support::client::{Client, V5, V311};

const CONFIG: &str = "[sys]\ninterval = \"1s\"\npresence = false\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";

/// Every topic that mosquitto 2.0 publishes below `$SYS/broker/`.
const OF_MOSQUITTO: [&str; 26] = [
    "bytes/received",
    "bytes/sent",
    "clients/active",
    "clients/connected",
    "clients/disconnected",
    "clients/expired",
    "clients/inactive",
    "clients/maximum",
    "clients/total",
    "heap/current",
    "heap/maximum",
    "messages/received",
    "messages/sent",
    "messages/stored",
    "publish/bytes/received",
    "publish/bytes/sent",
    "publish/messages/dropped",
    "publish/messages/received",
    "publish/messages/sent",
    "retained messages/count",
    "shared_subscriptions/count",
    "store/messages/bytes",
    "store/messages/count",
    "subscriptions/count",
    "uptime",
    "version",
];

const LOADS: [&str; 9] = [
    "messages/received",
    "messages/sent",
    "publish/dropped",
    "publish/received",
    "publish/sent",
    "bytes/received",
    "bytes/sent",
    "sockets",
    "connections",
];

/// Takes in what comes until `is_enough`.
fn gather(client: &mut Client, values: &mut HashMap<String, String>, is_enough: impl Fn(&HashMap<String, String>) -> bool) {
    while !is_enough(values) {
        let (topic, payload) = client.expect_publish(|publish| {
            (publish.topic.expect("a topic").as_str().to_owned(), String::from_utf8(publish.payload.to_vec()).expect("text"))
        });
        let name = topic.strip_prefix("$SYS/broker/").unwrap_or_else(|| panic!("{topic}"));
        values.insert(name.to_owned(), payload);
    }
}

#[test]
fn all_of_mosquittos_topics_are_there_in_its_formats() {
    let broker = Broker::with_config(CONFIG);
    let mut client = Client::connect(broker.address(), V5, "watcher");
    client.subscribe("$SYS/broker/#", QoS::AtMostOnce);
    let names: Vec<String> = OF_MOSQUITTO
        .iter()
        .map(|name| (*name).to_owned())
        .chain(LOADS.iter().flat_map(|load| ["1min", "5min", "15min"].map(|window| format!("load/{load}/{window}"))))
        .collect();
    let mut values = HashMap::new();
    gather(&mut client, &mut values, |values| names.iter().all(|name| values.contains_key(name)));
    for (name, value) in &values {
        match name.as_str() {
            "version" => assert_eq!(value, concat!("dunlin version ", env!("CARGO_PKG_VERSION"))),
            "uptime" => {
                let seconds = value.strip_suffix(" seconds").unwrap_or_else(|| panic!("{value}"));
                assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds < 60), "{value}");
            }
            name if name.starts_with("load/") => {
                let (whole, decimals) = value.split_once('.').unwrap_or_else(|| panic!("{name} {value}"));
                assert!(
                    whole.parse::<u64>().is_ok() && decimals.len() == 2 && decimals.parse::<u64>().is_ok(),
                    "{name} {value}"
                );
            }
            name => assert!(value.parse::<u64>().is_ok(), "{name} {value}"),
        }
    }
    assert!(values["heap/current"].parse::<u64>().unwrap() > 100_000);
}

#[test]
fn the_figures_follow_what_happens() {
    let broker = Broker::with_config(CONFIG);
    let mut watcher = Client::connect(broker.address(), V5, "watcher");
    let mut lasting = crate::support::client::connect(V311);
    (lasting.client_id, lasting.clean_start) = ("offline", false);
    let (mut offline, _) = Client::connect_with(broker.address(), lasting);
    offline.subscribe("a", QoS::AtLeastOnce);
    offline.subscribe("$share/g/b", QoS::AtLeastOnce);
    offline.cut();
    let mut busy = Client::connect(broker.address(), V311, "busy");
    for _ in 0..3 {
        busy.publish("a", "12345", QoS::AtLeastOnce);
    }
    watcher.subscribe("$SYS/broker/#", QoS::AtMostOnce);
    let expected = [
        ("clients/connected", "2"),
        ("clients/active", "2"),
        ("clients/disconnected", "1"),
        ("clients/inactive", "1"),
        ("clients/total", "3"),
        ("subscriptions/count", "3"),
        ("shared_subscriptions/count", "1"),
        ("publish/messages/received", "3"),
        ("publish/bytes/received", "15"),
    ];
    let mut values = HashMap::new();
    gather(&mut watcher, &mut values, |values| {
        expected.iter().all(|(name, value)| values.get(*name).is_some_and(|there| there == value))
    });
    // Sockets and connections were seen within this minute.
    gather(&mut watcher, &mut values, |values| {
        values["load/connections/1min"] != "0.00" && values["load/sockets/1min"] != "0.00"
    });
}

/// 4.7.2: a filter that begins with a wildcard does not match topics that begin with `$` `[MQTT-4.7.2-1]`.
#[test]
fn the_figures_are_retained_and_not_for_wildcards() {
    let broker = Broker::with_config(CONFIG);
    let mut first = Client::connect(broker.address(), V5, "first");
    first.subscribe("$SYS/broker/uptime", QoS::AtMostOnce);
    first.expect_publish(|publish| assert!(publish.topic.is_some()));
    let mut wide = Client::connect(broker.address(), V5, "wide");
    for filter in ["#", "+/broker/uptime", "+/#"] {
        wide.subscribe(filter, QoS::AtMostOnce);
    }
    let mut late = Client::connect(broker.address(), V5, "late");
    late.subscribe("$SYS/broker/version", QoS::AtMostOnce);
    late.expect_publish(|publish| assert!(publish.retain));
    // Another tick.
    first.expect_publish(|publish| assert!(publish.payload.ends_with(b" seconds")));
    wide.expect_nothing();
}
