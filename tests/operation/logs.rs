use std::collections::HashMap;

use dunlin::packet::{Connect, QoS, SubscriptionOptions};
use serde_json::Value;

use crate::support::client::{Client, V5, V31, V311, connect};
use crate::support::{Broker, eventually};

fn fields(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn start_and_end_of_a_connection_are_one_line_each() {
    let mut broker = Broker::start();
    for (version, name, bye) in [(V31, "3.1", "\u{e0}\0"), (V311, "3.1.1", ""), (V5, "5.0", "")] {
        let mut client = Client::connect(broker.address(), version, "device");
        client.ping();
        let start = fields(&broker.wait_for_log("\"connected\""));
        let expected = [("client", "device"), ("listener", "tcp"), ("version", name), ("level", "INFO")];
        for (key, value) in expected {
            assert_eq!(start[key], value, "{key} in {start}");
        }
        assert!(start["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{start}");
        assert_eq!(start["keep_alive"], 60);
        if bye.is_empty() {
            client.cut()
        } else {
            client.send_bytes(b"\xe0\0")
        }
        let end = fields(&broker.wait_for_log("\"disconnected\""));
        for (key, value) in expected {
            assert_eq!(end[key], value, "{key} in {end}");
        }
        assert_eq!(end["peer"], start["peer"]);
        let (by, reason) =
            if bye.is_empty() { ("network", "unspecified error (0x80)") } else { ("client", "normal disconnection (0x00)") };
        assert_eq!((&end["by"], &end["reason"]), (&by.into(), &reason.into()), "{end}");
    }
    let of_clients = broker.log_lines().iter().filter(|line| line.contains("\"client\":\"device\"")).count();
    assert_eq!(of_clients, 6);
}

#[test]
fn refusals_and_bad_input_tell_their_cause() {
    let mut broker =
        Broker::with_config("[auth]\nallow_anonymous = false\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n");
    assert_eq!(Client::refused(broker.address(), Connect { client_id: "device", ..connect(V5) }), 0x87);
    let line = fields(&broker.wait_for_log("connection refused"));
    assert_eq!((&line["client"], &line["reason"]), (&"device".into(), &"not authorized (0x87)".into()), "{line}");
    Client::dial(broker.address(), V311).send_bytes(b"\x10\x0c\0\x04MQTT\x04\x03\0\0\0\0");
    let line = fields(&broker.wait_for_log("bad input"));
    assert!(line["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{line}");
    assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{line}");
}

/// A flood of bad clients must not fill a disk.
#[test]
fn five_hundred_malformed_connections_write_few_lines() {
    let mut broker = Broker::start();
    for number in 0..500 {
        let mut client = Client::dial(broker.address(), V311);
        client.send_bytes(match number % 3 {
            0 => b"\x10\x0c\0\x04MQTT\x04\x03\0\0\0\0",
            1 => b"GET / HTTP/1.1\r\n\r\n",
            _ => b"\x10\xff\xff\xff\xff\xff",
        });
    }
    let malformed = |broker: &Broker| -> f64 {
        let (_, figures) = broker.get("/metrics");
        let of_family = figures.lines().filter_map(|line| line.strip_prefix("dunlin_malformed_packets_total{"));
        of_family.filter_map(|rest| rest.split(' ').nth(1)?.parse::<f64>().ok()).sum()
    };
    eventually("all are counted", || malformed(&broker) == 500.0);
    let lines = broker.log_lines().len();
    assert!(lines < 50, "{lines} lines");
}

/// One client alone must not either.
#[test]
fn a_flood_of_refused_subscriptions_and_wills_writes_few_lines() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acl"), "topic read open/#\n").unwrap();
    let config = "[auth]\nacl_file = \"@DIR@/acl\"\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";
    let mut broker = Broker::with_config_in(folder, config);
    let mut client = Client::connect(broker.address(), V5, "flood");
    for number in 0..300 {
        let reasons = client.subscribe_with(&format!("closed/{number}"), SubscriptionOptions::default(), None);
        assert_eq!(reasons, [0x87]);
    }
    let will = dunlin::packet::Will {
        topic: dunlin::packet::TopicName::new("closed").unwrap(),
        payload: b"",
        qos: QoS::AtMostOnce,
        retain: false,
        delay_interval: 0,
        message_expiry_interval: None,
        properties: Default::default(),
    };
    for _ in 0..100 {
        assert_eq!(Client::refused(broker.address(), Connect { client_id: "flood2", will: Some(will), ..connect(V5) }), 0x87);
    }
    let lines = broker.log_lines().len();
    assert!(lines < 100, "{lines} lines");
}

/// Text of a client is quoted: it makes neither lines nor escape sequences for the terminal.
#[test]
fn a_client_identifier_cannot_forge_log_lines() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acl"), "topic read open/#\n").unwrap();
    let acl = format!("DUNLIN__AUTH__ACL_FILE={}", folder.path().join("acl").display());
    let (key, value) = acl.split_once('=').unwrap();
    let mut broker = Broker::with_command(&["--listen", "tcp://127.0.0.1:0", "--log-format", "text"], |command| {
        command.env(key, value);
    });
    let forged = "2026-01-01T00:00:00.000000Z  INFO dunlin: admin let in";
    let mut seen = HashMap::new();
    for id in [
        format!("a\n{forged}"),
        format!("b\r{forged}"),
        "c\u{1b}[2J\u{1b}[31m".into(),
        format!("d\u{85}{forged}"),
        format!("e\u{2028}{forged}"),
    ] {
        for version in [V311, V5] {
            let mut client = Client::dial(broker.address(), version);
            let code = client.try_log_in(Connect { client_id: &id, version, ..connect(version) });
            if code == 0 {
                client.subscribe_with(&format!("closed/{forged}"), SubscriptionOptions::default(), None);
                client.cut();
                broker.wait_for_log("disconnected");
            }
            seen.insert((id.clone(), version == V5), code);
        }
    }
    for line in broker.log_lines() {
        assert!(!line.starts_with("2026-01-01T00"), "{line}");
        assert!(!line.chars().any(|character| character.is_control() || character == '\u{2028}'), "{line:?}");
    }
    assert_eq!(seen.len(), 10);
}

/// The longest text that a client can bring into a line is cut.
#[test]
fn a_long_filter_makes_no_long_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acl"), "topic read open/#\n").unwrap();
    let config = "[auth]\nacl_file = \"@DIR@/acl\"\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";
    let mut broker = Broker::with_config_in(folder, config);
    let mut client = Client::connect(broker.address(), V5, "a");
    let filter = format!("closed/{}", "é".repeat(30_000));
    assert_eq!(client.subscribe_with(&filter, SubscriptionOptions::default(), None), [0x87]);
    let line = broker.wait_for_log("subscription refused");
    assert!(line.contains("closed/é") && line.len() < 2000, "{} bytes", line.len());
}
