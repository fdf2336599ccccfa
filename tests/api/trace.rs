use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use dunlin::packet::QoS;
use serde_json::Value;

use crate::http::Http;
use crate::support::client::V5;
use crate::support::{Broker, Client};

/// A trace that is being read.
struct Trace(BufReader<TcpStream>);

impl Trace {
    fn new(api: &Http, query: &str) -> Self {
        let mut reader = BufReader::new(api.send("GET", &format!("/trace?{query}"), None));
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.contains("200"), "{line}");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        Self(reader)
    }

    /// Name and data of the next event.
    fn next(&mut self) -> (String, Value) {
        let (mut event, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the trace has ended");
            if let Some(name) = line.strip_prefix("event: ") {
                event = name.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (event, serde_json::from_str(data).unwrap());
            }
        }
    }

    /// The next line of the trace that is such an event.
    fn expect(&mut self, event: &str) -> Value {
        let (kind, line) = self.next();
        assert_eq!((kind.as_str(), line["event"].as_str()), ("line", Some(event)), "{line}");
        line
    }
}

#[test]
fn a_client_is_followed_from_connect_to_disconnect() {
    let (broker, api) = crate::open();
    let mut trace = Trace::new(&api, "clientid=c");
    let mut other = Client::connect(broker.address(), V5, "other");
    let mut client = Client::connect(broker.address(), V5, "c");
    assert_eq!(trace.expect("connected")["peer"], client.address().to_string());
    client.subscribe("t", QoS::AtMostOnce);
    assert!(trace.expect("subscribe")["detail"].as_str().unwrap().starts_with("t "));
    client.publish("u", "hi", QoS::AtLeastOnce);
    let line = trace.expect("publish");
    assert_eq!((line["topic"].as_str(), line["payload"].as_str(), line["qos"].as_u64()), (Some("u"), Some("aGk="), Some(1)));
    other.publish("t", "x", QoS::AtMostOnce);
    assert_eq!(trace.expect("deliver")["topic"], "t");
    client.cut();
    assert_eq!(trace.expect("disconnected")["clientid"], "c");
}

#[test]
fn topics_are_followed_from_publisher_to_subscriber() {
    let (broker, api) = crate::open();
    let mut trace = Trace::new(&api, "topic=a/%2B");
    let mut client = Client::connect(broker.address(), V5, "c");
    client.subscribe("#", QoS::AtMostOnce);
    client.publish("b", "", QoS::AtMostOnce);
    client.publish("a/1", "", QoS::AtMostOnce);
    assert_eq!(trace.expect("publish")["topic"], "a/1");
    assert_eq!(trace.expect("deliver")["clientid"], "c");
}

/// By the whole topic, whatever the client calls it.
#[test]
fn topics_are_followed_through_aliases_and_mount_points() {
    let config = "[[listeners]]\nname = 'tenant'\nurl = 'tcp://127.0.0.1:0'\nmount_point = 'tenant/'\n";
    let broker = Broker::with_config(config);
    let api = Http::new(broker.admin.unwrap());
    let mut trace = Trace::new(&api, "topic=tenant/%23");
    let mut client = Client::connect(broker.address(), V5, "c");
    client.publish_with("t", "named", QoS::AtLeastOnce, |packet| packet.properties.topic_alias = Some(1));
    client.publish_with("t", "aliased", QoS::AtLeastOnce, |packet| {
        packet.topic = None;
        packet.properties.topic_alias = Some(1);
    });
    for payload in ["named", "aliased"] {
        let line = trace.expect("publish");
        assert_eq!((line["topic"].as_str(), line["payload_size"].as_u64()), (Some("tenant/t"), Some(payload.len() as u64)));
    }
    client.cut();
}

/// A client chooses how long its filters are; a thousand lines may wait for each who follows.
#[test]
fn a_line_is_short_whatever_a_client_says() {
    let (broker, api) = crate::open();
    let mut trace = Trace::new(&api, "clientid=c");
    let mut client = Client::connect(broker.address(), V5, "c");
    trace.expect("connected");
    let long = "x".repeat(60_000);
    client.subscribe(&long, QoS::AtMostOnce);
    assert!(trace.expect("subscribe")["detail"].as_str().unwrap().len() < 1000);
    client.unsubscribe(&long);
    assert!(trace.expect("unsubscribe")["detail"].as_str().unwrap().len() < 1000);
    client.publish(&long, "", QoS::AtLeastOnce);
    assert!(trace.expect("publish")["topic"].as_str().unwrap().len() < 1000);
}

#[test]
fn what_a_work_queue_lends_is_followed_too() {
    let (broker, api) = crate::open();
    assert_eq!(api.post("/queues", &serde_json::json!({"name": "jobs", "bind": ["jobs/#"]})).status, 201);
    let mut worker = Client::connect(broker.address(), V5, "worker");
    worker.subscribe("$queue/jobs", QoS::AtLeastOnce);
    let mut trace = Trace::new(&api, "topic=jobs/%23");
    let mut client = Client::connect(broker.address(), V5, "c");
    client.publish("jobs/1", "x", QoS::AtLeastOnce);
    assert_eq!(trace.expect("publish")["clientid"], "c");
    let lent = trace.expect("deliver");
    assert_eq!((lent["clientid"].as_str(), lent["topic"].as_str()), (Some("worker"), Some("jobs/1")));
}

#[test]
fn a_trace_ends_after_its_time_and_gives_its_place_back() {
    let (_broker, api) = crate::open();
    let mut short = Trace::new(&api, "topic=%23&seconds=1");
    let traces: Vec<_> = (0..15).map(|_| Trace::new(&api, "clientid=c")).collect();
    assert_eq!(api.get("/trace?clientid=c").code(), "TOO_MANY_TRACES");
    assert_eq!(short.next().0, "end");
    drop(short);
    crate::support::eventually("there is room", || {
        let mut line = String::new();
        BufReader::new(api.send("GET", "/trace?clientid=c", None)).read_line(&mut line).unwrap();
        line.contains("200")
    });
    drop(traces);
    for wrong in ["", "clientid=", "topic=a/%23/b", "clientid=c&topic=t", "clientid=c&seconds=0", "clientid=c&seconds=241"] {
        assert_eq!(api.get(&format!("/trace?{wrong}")).code(), "BAD_REQUEST", "{wrong}");
    }
}

/// Whoever does not read keeps nobody waiting, and is told how much was dropped.
#[test]
fn one_who_does_not_read_loses_lines_and_is_told() {
    let (broker, api) = crate::open();
    let mut trace = Trace::new(&api, "topic=t");
    let mut client = Client::connect(broker.address(), V5, "c");
    let payload = "x".repeat(1000);
    for _ in 0..50_000 {
        client.publish("t", &payload, QoS::AtMostOnce);
    }
    client.ping();
    let dropped = loop {
        let (event, data) = trace.next();
        if event == "dropped" {
            break data["lines"].as_u64().unwrap();
        }
    };
    assert!(dropped > 0);
}
