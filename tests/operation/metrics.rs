use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use dunlin::packet::{Connect, QoS};

use crate::support::client::{Client, V5, V31, V311, connect};
use crate::support::{Broker, eventually};

/// The text format 0.0.4, strictly: every series by its whole name.
struct Exposition {
    series: HashMap<String, f64>,
    types: HashMap<String, String>,
    labels: HashSet<(String, String)>,
}

impl Exposition {
    fn read(broker: &Broker) -> Self {
        let (status, body) = broker.get("/metrics");
        assert!(status.contains("200"), "{status}");
        Self::parse(&body)
    }

    fn parse(body: &str) -> Self {
        let mut parsed = Self { series: HashMap::new(), types: HashMap::new(), labels: HashSet::new() };
        let mut helps = HashSet::new();
        assert!(body.ends_with('\n'));
        for line in body.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, text) = rest.split_once(' ').expect("a help text");
                assert!(!text.is_empty() && helps.insert(name.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(parsed.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            } else {
                parsed.sample(line);
            }
        }
        for (name, kind) in &parsed.types {
            assert!(helps.contains(name), "{name} has no help");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        }
        parsed
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let family = base.filter(|base| self.types.contains_key(*base)).unwrap_or(name);
        assert!(self.types.contains_key(family), "{name} comes before its type");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
        for label in labels.strip_suffix('}').expect("a bracket").split(',').filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once('=').expect("a label");
            assert!(value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
            self.labels.insert((key.to_owned(), value.trim_matches('"').to_owned()));
        }
        assert!(self.series.insert(series.to_owned(), value).is_none(), "{series} is there twice");
    }

    fn get(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.series.keys()))
    }

    #[track_caller]
    fn expect(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            assert_eq!(self.get(series), *value, "{series}");
        }
    }
}

#[test]
fn traffic_is_counted_by_type_and_qos() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V311, "publisher");
    let mut subscriber = Client::connect(broker.address(), V5, "subscriber");
    let mut oldest = Client::connect(broker.address(), V31, "oldest");
    subscriber.subscribe("t", QoS::ExactlyOnce);
    oldest.subscribe("$share/g/t", QoS::AtMostOnce);
    assert_eq!(oldest.unsubscribe("nothing"), [] as [u8; 0]);
    for (qos, count) in [(QoS::AtMostOnce, 3), (QoS::AtLeastOnce, 2), (QoS::ExactlyOnce, 1)] {
        for _ in 0..count {
            publisher.publish("t", "abc", qos);
            let delivery = subscriber.expect_message("t", "abc");
            assert_eq!(delivery.qos(), qos);
            if let Some(id) = delivery.packet_id() {
                if qos == QoS::AtLeastOnce { subscriber.puback(id) } else { subscriber.pubrec(id) }
            }
            oldest.expect_message("t", "abc");
        }
    }
    subscriber.expect("PUBREL", |packet| matches!(packet, dunlin::packet::Packet::PubRel(_)).then_some(()));
    publisher.publish("nobody", "12", QoS::AtMostOnce);
    publisher.retain("kept", "123456");
    publisher.ping();
    subscriber.ping();
    eventually("the gauges follow", || broker.metric("dunlin_subscriptions") == 2.0);
    Exposition::read(&broker).expect(&[
        ("dunlin_connections{listener=\"tcp\",version=\"3.1\"}", 1.0),
        ("dunlin_connections{listener=\"tcp\",version=\"3.1.1\"}", 1.0),
        ("dunlin_connections{listener=\"tcp\",version=\"5.0\"}", 1.0),
        ("dunlin_connections_pending{listener=\"tcp\"}", 0.0),
        ("dunlin_connections_total{listener=\"tcp\"}", 3.0),
        ("dunlin_sessions{state=\"online\"}", 3.0),
        ("dunlin_sessions{state=\"offline\"}", 0.0),
        ("dunlin_subscriptions", 2.0),
        ("dunlin_shared_subscriptions", 1.0),
        ("dunlin_packets_received_total{type=\"connect\"}", 3.0),
        ("dunlin_packets_sent_total{type=\"connack\"}", 3.0),
        ("dunlin_packets_received_total{type=\"subscribe\"}", 2.0),
        ("dunlin_packets_sent_total{type=\"suback\"}", 2.0),
        ("dunlin_packets_received_total{type=\"unsubscribe\"}", 1.0),
        ("dunlin_packets_sent_total{type=\"unsuback\"}", 1.0),
        ("dunlin_packets_received_total{type=\"pingreq\"}", 2.0),
        ("dunlin_packets_sent_total{type=\"pingresp\"}", 2.0),
        ("dunlin_packets_received_total{type=\"publish\"}", 8.0),
        ("dunlin_packets_received_total{type=\"puback\"}", 2.0),
        ("dunlin_packets_received_total{type=\"pubrec\"}", 1.0),
        ("dunlin_packets_received_total{type=\"pubrel\"}", 1.0),
        ("dunlin_packets_sent_total{type=\"puback\"}", 3.0),
        ("dunlin_packets_sent_total{type=\"pubrec\"}", 1.0),
        ("dunlin_packets_sent_total{type=\"pubcomp\"}", 1.0),
        ("dunlin_packets_sent_total{type=\"pubrel\"}", 1.0),
        ("dunlin_publishes_received_total{qos=\"0\"}", 4.0),
        ("dunlin_publishes_received_total{qos=\"1\"}", 3.0),
        ("dunlin_publishes_received_total{qos=\"2\"}", 1.0),
        ("dunlin_publishes_sent_total{qos=\"0\"}", 9.0),
        ("dunlin_publishes_sent_total{qos=\"1\"}", 2.0),
        ("dunlin_publishes_sent_total{qos=\"2\"}", 1.0),
        ("dunlin_packets_sent_total{type=\"publish\"}", 12.0),
        ("dunlin_payload_received_bytes_total", 26.0),
        ("dunlin_payload_sent_bytes_total", 36.0),
        ("dunlin_messages_dropped_total{reason=\"no_subscriber\"}", 2.0),
        ("dunlin_messages_dropped_total{reason=\"queue_full\"}", 0.0),
        ("dunlin_inflight_messages", 1.0),
        ("dunlin_queued_messages", 0.0),
        ("dunlin_authentications_total{result=\"anonymous\"}", 3.0),
        ("dunlin_connacks_sent_total{reason=\"success\"}", 3.0),
    ]);
}

#[test]
fn bytes_are_counted_to_the_byte() {
    let broker = Broker::start();
    let mut socket = TcpStream::connect(broker.address()).unwrap();
    socket.write_all(b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a\x82\x06\0\x01\0\x01t\0\x30\x05\0\x01thi\xc0\0").unwrap();
    // CONNACK 4, SUBACK 5, PUBLISH 7, PINGRESP 2.
    socket.read_exact(&mut [0; 18]).unwrap();
    eventually("all is counted", || broker.metric("dunlin_sent_bytes_total") == 18.0);
    assert_eq!(broker.metric("dunlin_received_bytes_total"), 32.0);
}

#[test]
fn causes_are_counted_by_their_names() {
    let broker = Broker::with_config(
        "[limits]\nmax_client_id_length = 30\n[[listeners]]\nname = \"door\"\nurl = \"tcp://127.0.0.1:0\"\n",
    );
    let address = broker.address();
    let id = "x".repeat(31);
    assert_eq!(Client::refused(address, Connect { client_id: &id, ..connect(V5) }), 0x85);
    Client::connect(address, V5, "bye").send_bytes(b"\xe0\0");
    Client::connect(address, V311, "old bye").send_bytes(b"\xe0\0");
    Client::connect(address, V5, "with will").send_bytes(b"\xe0\x01\x04");
    let mut malformed = Client::connect(address, V5, "malformed");
    malformed.send_bytes(b"\x00\x00");
    malformed.expect_disconnect(0x81);
    let mut protocol = Client::connect(address, V5, "protocol");
    protocol.send_bytes(b"\x10\x0d\0\x04MQTT\x05\x02\0\x3c\0\0\0");
    protocol.expect_disconnect(0x82);
    let mut first = Client::connect(address, V5, "same");
    let _second = Client::connect(address, V5, "same");
    first.expect_disconnect(0x8E);
    let mut resumed = connect(V5);
    (resumed.client_id, resumed.clean_start, resumed.properties.session_expiry_interval) = ("lasting", false, 100);
    Client::connect_with(address, resumed).0.send_bytes(b"\xe0\0");
    eventually("it is offline", || broker.metric("dunlin_sessions{state=\"offline\"}") == 1.0);
    assert!(Client::connect_with(address, resumed).1);
    eventually("all has ended", || broker.metric("dunlin_disconnects_received_total{reason=\"normal_disconnection\"}") == 3.0);
    Exposition::read(&broker).expect(&[
        ("dunlin_connacks_sent_total{reason=\"client_identifier_not_valid\"}", 1.0),
        ("dunlin_limit_hits_total{limit=\"max_client_id_length\"}", 1.0),
        ("dunlin_disconnects_received_total{reason=\"disconnect_with_will_message\"}", 1.0),
        ("dunlin_disconnects_sent_total{reason=\"malformed_packet\"}", 1.0),
        ("dunlin_disconnects_sent_total{reason=\"protocol_error\"}", 1.0),
        ("dunlin_disconnects_sent_total{reason=\"session_taken_over\"}", 1.0),
        ("dunlin_malformed_packets_total{kind=\"malformed_packet\"}", 1.0),
        ("dunlin_malformed_packets_total{kind=\"protocol_error\"}", 1.0),
        ("dunlin_sessions_taken_over_total", 1.0),
        ("dunlin_sessions_resumed_total", 1.0),
        ("dunlin_limit_hits_total{limit=\"max_connections\"}", 0.0),
    ]);
}

#[test]
fn the_process_and_the_build_are_described() {
    let broker = Broker::start();
    let figures = Exposition::read(&broker);
    figures.expect(&[(concat!("dunlin_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0)]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - figures.get("process_start_time_seconds")).abs() < 600.0);
    assert!(figures.get("process_resident_memory_bytes") > 1e6);
    assert!(figures.get("process_virtual_memory_bytes") > figures.get("process_resident_memory_bytes"));
    assert!(figures.get("process_open_fds") > 5.0 && figures.get("process_max_fds") >= figures.get("process_open_fds"));
    assert!(figures.get("process_cpu_seconds_total") >= 0.0);
    for histogram in ["dunlin_publish_to_ack_seconds", "dunlin_publish_to_delivery_seconds"] {
        assert!(figures.types.contains_key(histogram), "{histogram}");
    }
}

#[test]
fn latency_is_measured() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "a");
    let mut other = Client::connect(broker.address(), V5, "b");
    other.subscribe("t", QoS::AtMostOnce);
    eventually("there are samples", || {
        for _ in 0..50 {
            client.publish("t", "x", QoS::AtLeastOnce);
            other.expect_message("t", "x");
        }
        let figures = Exposition::read(&broker);
        ["dunlin_publish_to_ack_seconds", "dunlin_publish_to_delivery_seconds"].iter().all(|name| {
            let count = figures.series.get(&format!("{name}_count")).copied().unwrap_or(0.0);
            let all = figures.series.get(&format!("{name}_bucket{{le=\"+Inf\"}}")).copied().unwrap_or(0.0);
            count > 0.0 && all == count
        })
    });
}

/// Or every client could fill the memory of Prometheus.
#[test]
fn no_label_is_a_clients_choice() {
    let broker = Broker::start();
    let hostile = "evil\"} 1\nforged";
    let evil = Connect { client_id: "evil{x=\"1\"}", username: Some("evil"), password: Some(b"evil"), ..connect(V5) };
    let (mut client, _) = Client::connect_with(broker.address(), evil);
    client.subscribe("evil/#", QoS::AtMostOnce);
    client.publish("evil/topic", hostile, QoS::AtMostOnce);
    client.send_bytes(b"\xe0\x01\x9f");
    client.expect_close();
    let figures = Exposition::read(&broker);
    let known = ["listener", "version", "type", "qos", "reason", "result", "action", "limit", "kind", "state", "le"];
    for (key, value) in &figures.labels {
        assert!(known.contains(&key.as_str()), "{key}");
        assert!(!value.contains("evil"), "{key}={value}");
    }
}
