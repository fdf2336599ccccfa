//! 4.7: which filters match which topics.

use dunlin::packet::{Delivery, ProtocolVersion, QoS};

use crate::steps::{leave, send};
use crate::support::client::{V5, V31, V311};
use crate::support::{Broker, Client};

const ALL: [ProtocolVersion; 3] = [V31, V311, V5];

/// Whoever subscribes to `filter` gets those of the topics that are in `matching`, and no other.
fn check(filter: &str, matching: &[&str], others: &[&str]) {
    let broker = Broker::start();
    for version in ALL {
        let mut client = Client::connect(broker.address(), version, "c");
        client.subscribe(filter, QoS::AtMostOnce);
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        for topic in others.iter().chain(matching) {
            publisher.publish(topic, topic, QoS::AtMostOnce);
        }
        for topic in matching {
            client.expect_message(topic, topic);
        }
        publisher.ping();
        client.expect_nothing();
        leave(client);
    }
}

/// 4.7.1.2: `#` is any number of levels, the parent too.
#[test]
fn a_multi_level_wildcard_matches_the_parent_and_all_below() {
    let below = ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"];
    check("sport/tennis/player1/#", &below, &["sport/tennis", "sport/tennis/player2", "sport/tennis/player11"]);
    check("sport/#", &["sport", "sport/", "sport/a"], &["sports", "/sport", "Sport/a"]);
    check("#", &["a", "/", "//", "a/b/c", " "], &[]);
}

/// 4.7.1.3: `+` is one level, an empty one too.
#[test]
fn a_single_level_wildcard_matches_one_level() {
    check("sport/tennis/+", &["sport/tennis/player1", "sport/tennis/"], &["sport/tennis", "sport/tennis/player1/ranking"]);
    check("sport/+", &["sport/"], &["sport", "sport/a/b"]);
    check("+", &["a", "é"], &["/a", "a/"]);
    check("+/+", &["/finance", "a/b", "/"], &["finance", "/a/b"]);
    check("/+", &["/finance", "/"], &["finance", "a/finance"]);
    check("+/tennis/#", &["a/tennis", "/tennis/x"], &["tennis", "a/b/tennis"]);
    check("a/+/c/+", &["a/b/c/d", "a//c/"], &["a/c/d", "a/b/c"]);
}

/// 4.7.3: a `/` before or after makes another topic, and levels may be empty.
#[test]
fn empty_levels_are_levels() {
    check("/finance", &["/finance"], &["finance", "/finance/", "//finance"]);
    check("a//b", &["a//b"], &["a/b", "a///b"]);
    check("/", &["/"], &["//"]);
}

/// `[MQTT-4.7.3-4]` 4.7.3: topics are compared byte by byte: case, spaces, and no Unicode normalization.
#[test]
fn case_spaces_and_code_points_make_another_topic() {
    check("ACCOUNTS", &["ACCOUNTS"], &["Accounts", "accounts"]);
    check("Accounts payable", &["Accounts payable"], &["Accountspayable", "Accounts  payable", "Accounts payable "]);
    check("caf\u{e9}/+", &["caf\u{e9}/x"], &["cafe\u{301}/x"]);
    check("\u{1F980}/\u{65E5}\u{672C}", &["\u{1F980}/\u{65E5}\u{672C}"], &["\u{1F980}/\u{65E5}"]);
}

/// `[MQTT-1.5.4-3]`: U+FEFF is a character like any other wherever it stands.
#[test]
fn a_zero_width_no_break_space_is_not_stripped() {
    check("\u{FEFF}a", &["\u{FEFF}a"], &["a"]);
    check("a\u{FEFF}", &["a\u{FEFF}"], &["a"]);
}

/// `[MQTT-4.7.2-1]`: wildcards at the first level do not match topics that begin with `$`.
#[test]
fn wildcards_at_the_front_do_not_reach_dollar_topics() {
    check("#", &["x"], &["$other/x"]);
    check("+/x", &["other/x"], &["$other/x"]);
    check("$other/#", &["$other/x", "$other"], &["other/x"]);
    check("$other/+", &["$other/x"], &["x/x"]);
}

/// 4.7.2: what is under `$SYS` is the server's; a client neither gets it unasked nor writes to it.
#[test]
fn sys_topics_are_to_be_asked_for_and_not_to_be_written() {
    let broker = Broker::start();
    for version in ALL {
        let mut client = Client::connect(broker.address(), version, "c");
        for filter in ["#", "+/broker/version", "+/+/version"] {
            client.subscribe(filter, QoS::AtMostOnce);
            client.expect_nothing();
        }
        for filter in ["$SYS/broker/version", "$SYS/broker/+", "$SYS/#"] {
            let mut client = Client::connect(broker.address(), version, "d");
            client.subscribe(filter, QoS::AtMostOnce);
            let topic = client.expect_publish(|publish| publish.topic.map(|topic| topic.as_str().to_owned()));
            assert!(topic.unwrap().starts_with("$SYS/"));
        }
        let refused = client.publish("$SYS/broker/version", "mine", QoS::AtLeastOnce);
        assert_eq!(refused, if version == V5 { 0x87 } else { 0 });
        client.subscribe("$SYS/broker/version", QoS::AtMostOnce);
        client.expect_publish(|publish| assert_ne!(publish.payload, b"mine"));
        leave(client);
    }
}

/// `[MQTT-4.7.3-1]` to `[MQTT-4.7.3-3]`: at least one character, no U+0000, up to 65,535 bytes.
#[test]
fn the_longest_topic_is_65_535_bytes() {
    let broker = Broker::start();
    for version in ALL {
        let mut client = Client::connect(broker.address(), version, "c");
        let longest = "t".repeat(65_535);
        client.subscribe(&longest, QoS::AtLeastOnce);
        client.publish(&longest, "x", QoS::AtLeastOnce);
        client.expect_message(&longest, "x");
        leave(client);
    }
}

/// `[MQTT-4.7.1-1]`, `[MQTT-4.7.1-2]`, `[MQTT-4.7.3-1]`, `[MQTT-4.7.3-2]`: filters that are none end the connection.
#[test]
fn wildcards_stand_alone_in_their_level_and_hash_comes_last() {
    let broker = Broker::start();
    for version in ALL {
        for filter in ["sport/tennis#", "sport/tennis/#/ranking", "#/a", "sport+", "+sport", "a/b+/c", "##", "", "a\0b"] {
            let mut client = Client::connect(broker.address(), version, "c");
            let properties: &[u8] = if version == V5 { &[0] } else { &[] };
            let length = 2 + properties.len() + 2 + filter.len() + 1;
            let mut packet = vec![0x82, length as u8, 0, 1];
            packet.extend_from_slice(properties);
            packet.extend_from_slice(&(filter.len() as u16).to_be_bytes());
            packet.extend_from_slice(filter.as_bytes());
            packet.push(0);
            client.send_bytes(&packet);
            let told = client.expect_close();
            let expected: &[Option<u8>] = if version == V5 { &[Some(0x8F), Some(0x81)] } else { &[None] };
            assert!(expected.contains(&told), "{filter:?} to {version}: {told:?}");
        }
    }
}

/// `[MQTT-4.7.0-1]`, `[MQTT-3.3.2-2]`: no wildcards in a topic name.
#[test]
fn a_topic_name_has_no_wildcards() {
    let broker = Broker::start();
    let mut witness = Client::connect(broker.address(), V5, "witness");
    witness.subscribe("#", QoS::AtMostOnce);
    for version in ALL {
        for topic in ["a/+", "#", "a/#", "a+b"] {
            let mut client = Client::connect(broker.address(), version, "c");
            let properties: &[u8] = if version == V5 { &[0] } else { &[] };
            let mut packet = vec![0x30, (2 + topic.len() + properties.len() + 1) as u8];
            packet.extend_from_slice(&(topic.len() as u16).to_be_bytes());
            packet.extend_from_slice(topic.as_bytes());
            packet.extend_from_slice(properties);
            packet.push(b'x');
            client.send_bytes(&packet);
            client.expect_disconnect(0x90);
        }
    }
    witness.expect_nothing();
}

/// 4.7.1.2: thousands of levels, or wildcards on all of them, are matched like others.
#[test]
fn many_levels_do_no_harm() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "c");
    let wildcards = vec!["+"; 128].join("/");
    client.subscribe(&wildcards, QoS::AtMostOnce);
    client.subscribe(&format!("{}/#", vec!["+"; 127].join("/")), QoS::AtMostOnce);
    let topic = "/".repeat(127);
    send(&mut client, &topic, "deep", Delivery::AtMostOnce, false);
    client.expect_message(&topic, "deep");
    client.expect_nothing();
}
