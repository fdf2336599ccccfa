//! The calls of the README, made by curl as they stand there.

use std::fs;
use std::path::Path;
use std::process::Command;

use dunlin::packet::QoS;
use serde_json::{Value, json};

use crate::http::Http;
use crate::support::client::V5;
use crate::support::{Broker, Client};

/// The README's blocks of shell in which curl speaks with the API, as one script.
fn blocks() -> Vec<String> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| block.to_owned()).filter(|block| block.contains("$api/")).collect()
}

/// The lines of a block that make a call, each with what it needs before it.
struct Examples {
    settings: String,
    calls: Vec<String>,
}

impl Examples {
    fn read(api: &Http) -> Self {
        let lines: Vec<String> =
            blocks().iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let (calls, rest): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.starts_with("curl "));
        let rest: Vec<_> = rest.into_iter().filter(|line| !line.is_empty()).collect();
        assert!(rest.iter().all(|line| line.starts_with("api=") || line.starts_with("json=")), "{rest:?}");
        let settings = rest.join("\n").replace("127.0.0.1:18083", &api.address.to_string());
        Self { settings, calls }
    }

    /// Makes the next call; it must be the one that has `text` in it.
    fn call(&mut self, text: &str) -> Value {
        let line = self.calls.remove(0);
        assert!(line.contains(text), "the README has {line:?} where {text:?} is expected");
        let script =
            format!("{}\ncurl() {{ command curl --silent --show-error --fail-with-body \"$@\"; }}\n{line}", self.settings);
        let output = Command::new("bash").args(["-euc", &script]).output().expect("bash and curl are there");
        let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{line}\n{out}\n{errors}");
        if out.is_empty() { Value::Null } else { serde_json::from_str(&out).unwrap() }
    }
}

fn first<'a>(list: &'a Value, field: &str) -> &'a Value {
    &list["data"][0][field]
}

#[test]
fn the_readmes_calls_do_what_stands_beside_them() {
    let (broker, api) = crate::open();
    let mut examples = Examples::read(&api);
    clients(&broker, &api, &mut examples);
    queues(&api, &mut examples);
    assert_eq!(examples.calls, [""; 0], "calls that nobody has tried");
}

fn clients(broker: &Broker, api: &Http, examples: &mut Examples) {
    let mut sensor = Client::connect(broker.address(), V5, "sensor-7");
    let mut listener = Client::connect(broker.address(), V5, "listener");
    listener.subscribe("cmd/+", QoS::AtLeastOnce);
    assert_eq!(examples.call("/stats")["connections.count"], 2);
    assert!(examples.call("/metrics").as_object().is_some_and(|counters| !counters.is_empty()));
    assert_eq!(first(&examples.call("like_clientid=sensor"), "clientid"), "sensor-7");
    assert_eq!(examples.call("ip_address=").get("data").and_then(Value::as_array).map(Vec::len), Some(2));
    assert_eq!(examples.call("/clients/sensor-7 ")["connected"], true);
    examples.call("DELETE $api/clients/sensor-7");
    sensor.expect_disconnect(0x98);
    drop(Client::connect(broker.address(), V5, "sensor-7"));
    let _again = Client::connect(broker.address(), V5, "sensor-7");
    examples.call("DELETE $api/sessions/sensor-7");
    assert_eq!(api.get("/sessions/sensor-7").status, 404);
    assert_eq!(examples.call("/publish")["matched"], 1);
    listener.expect_message("cmd/all", "restart");
    assert_eq!(first(&examples.call("match_topic=cmd/all"), "clientid"), "listener");
    assert_eq!(examples.call("POST")["reason"], "noise");
    assert_eq!(first(&examples.call("$api/banned "), "who"), "sensor-7");
    examples.call("DELETE $api/banned/clientid/sensor-7");
    assert_eq!(api.get("/banned/clientid/sensor-7").status, 404);
}

fn queues(api: &Http, examples: &mut Examples) {
    assert_eq!(examples.call("POST")["config"]["max_deliveries"], 3);
    assert_eq!(examples.call("PATCH")["config"]["max_deliveries"], 3);
    // What comes when it is full is a dead letter at once.
    let full = json!({"max_messages": 2, "overflow": "dead-letter"}).to_string();
    assert_eq!(api.request("PATCH", "/queues/orders", Some(&full)).status, 200);
    for payload in ["one", "two", "three", "four"] {
        assert_eq!(api.post("/publish", &json!({"topic": "orders/1", "payload": payload, "qos": 1})).status, 200);
    }
    assert_eq!(api.request("PATCH", "/queues/orders", Some("{\"max_messages\": 10}")).status, 200);
    assert_eq!(first(&examples.call("/messages?limit=20"), "payload"), "three");
    let letters = examples.call("/dead_letters ");
    assert_eq!(first(&letters, "payload"), "one");
    // The number that the example has is made up.
    let seq = first(&letters, "seq").to_string();
    examples.calls.iter_mut().for_each(|call| *call = call.replace("1764206400000017", &seq));
    assert_eq!(examples.call("/redrive")["count"], 1);
    let is_paused = || api.get("/queues/orders").json()["paused"].clone();
    examples.call("/pause");
    assert_eq!(is_paused(), true);
    examples.call("/resume");
    assert_eq!(is_paused(), false);
    assert_eq!(examples.call("DELETE")["count"], 1);
}
