//! What `openapi.json` says is what the program does.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::http::{Answer, Http};
use crate::schema::{check, resolve};
use crate::support::client::{V5, connect};
use crate::support::{Broker, Client};
use dunlin::packet::{Connect, ConnectProperties, QoS};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn document(api: &Http) -> Value {
    let answer = api.get("/openapi.json");
    assert_eq!(answer.status, 200);
    answer.json()
}

/// The answer has a status of the document, and the body that it says.
fn assert_documented(document: &Value, path: &str, method: &str, answer: &Answer) {
    let operation = &document["paths"][path][method];
    let documented = &operation["responses"][answer.status.to_string()];
    assert!(!documented.is_null(), "{method} {path}: {} is not in the document: {}", answer.status, answer.body);
    let documented = documented["$ref"].as_str().map_or(documented, |reference| resolve(document, reference));
    match &documented["content"]["application/json"]["schema"] {
        Value::Null => assert!(answer.status == 204 && answer.body.is_empty() || answer.head.contains("text/event-stream")),
        schema => {
            assert!(answer.head.contains("content-type: application/json"), "{method} {path}: {}", answer.head);
            let place = format!("{method} {path} {}", answer.status);
            check(document, schema, &answer.json(), &place).unwrap();
        }
    }
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
}

/// Those that take something away come last.
fn operations(document: &Value) -> Vec<(String, &'static str)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |method: &'static str| {
        let with = paths.iter().filter(move |(_, operations)| !operations[method].is_null());
        with.map(move |(path, _)| (path.clone(), method))
    };
    let mut all: Vec<_> = METHODS.into_iter().flat_map(of).collect();
    // What is inside something before the thing itself.
    let first = all.iter().position(|(_, method)| *method == "delete").unwrap_or(all.len());
    all[first..].reverse();
    all
}

/// A broker with one of everything.
fn furnished() -> (Broker, Http, Client) {
    let (broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V5, "one");
    client.subscribe("some/+", QoS::AtLeastOnce);
    // Two waiting messages, and two dead ones that had to make room.
    let queue = json!({"name": "work", "bind": ["work/#"], "max_messages": 2, "overflow": "dead-letter"});
    assert_eq!(api.post("/queues", &queue).status, 201);
    assert_eq!(api.post("/queues/work/pause", &json!({})).status, 204);
    client.subscribe("$queue/work", QoS::AtLeastOnce);
    for n in 0..4 {
        assert_eq!(api.post("/publish", &json!({"topic": "work/t", "payload": n.to_string(), "qos": 1})).status, 200);
    }
    let properties = ConnectProperties { session_expiry_interval: 1000, ..ConnectProperties::default() };
    let away = Connect { client_id: "away", username: Some("u"), properties, ..connect(V5) };
    let (mut away, _) = Client::connect_with(broker.address(), away);
    away.subscribe("some/#", QoS::AtLeastOnce);
    drop(away);
    let properties = json!({
        "content_type": "text/plain", "response_topic": "r", "correlation_data": "AAE=", "user_properties": {"a": "b"},
        "payload_format_indicator": 1, "message_expiry_interval": 1000,
    });
    let kept = json!({"topic": "some/thing", "payload": "x", "qos": 1, "retain": true, "properties": properties});
    assert_eq!(api.post("/publish", &kept).status, 200);
    let ban = json!({"as": "clientid", "who": "bad", "reason": "noise", "seconds": 3600});
    assert_eq!(api.post("/banned", &ban).status, 201);
    (broker, api, client)
}

#[test]
fn every_path_and_method_answers_as_the_document_says() {
    let (broker, api, _client) = furnished();
    let document = document(&api);
    let bodies = [
        ("/publish", json!({"topic": "t", "payload": "x"})),
        (
            "/publish/bulk",
            json!([{"topic": "some/thing", "payload": "x"}, {"topic": "nobody", "payload": "eA==", "payload_encoding": "base64"}]),
        ),
        ("/banned", json!({"as": "peerhost", "who": "192.0.2.1"})),
        ("/config", json!({"limits": {"max_inflight": 64}, "log": {"level": "info"}})),
        ("/log_level", json!({"level": "info"})),
        ("/reload", json!({})),
        ("/backups", json!({})),
        ("/queues", json!({"name": "made", "backoff": ["1s"], "max_bytes": "1MiB"})),
        ("/queues/{name}", json!({"prefetch": 3})),
        ("/queues/{name}/redrive", json!({"count": 1})),
        ("/queues/{name}/pause", json!({})),
        ("/queues/{name}/resume", json!({})),
        ("/queues/{name}/unblock", json!({})),
    ];
    let mut done = BTreeSet::new();
    for (path, method) in operations(&document) {
        if path == "/trace" {
            continue; // it goes on
        }
        let is_queue = path.starts_with("/queues/");
        let name = if is_queue { "work" } else { "none" };
        let places = [("{as}", "clientid"), ("{who}", "bad"), ("{topic}", "some%2Fthing"), ("{id}", "tcp"), ("{name}", name)];
        let client = if path.starts_with("/sessions") { "away" } else { "one" };
        let mut real = places.iter().fold(path.replace("{clientid}", client), |path, (name, value)| path.replace(name, value));
        if let Some(list) = real.strip_suffix("/{seq}") {
            real = format!("{list}/{}", api.get(list).data()[0]["seq"]);
        }
        let body = bodies.iter().find(|(of, _)| *of == path).map(|(_, body)| body.to_string());
        let answer =
            api.request(&method.to_uppercase(), &real, body.as_deref().filter(|_| method != "get" && method != "delete"));
        assert!(answer.status < 300 || real.contains("/none"), "{method} {real}: {answer:?}");
        assert_documented(&document, &path, method, &answer);
        done.insert((path, method));
    }
    assert!(done.len() > 30, "{}", done.len());
    drop(broker);
}

/// Parameters that nobody knows, bodies that are none, places where nothing is: each operation answers in the shape of errors.
#[test]
fn what_is_wrong_is_answered_as_the_document_says() {
    let (_broker, api, _client) = furnished();
    let document = document(&api);
    for (path, method) in operations(&document) {
        let missing = ["{clientid}", "{as}", "{who}", "{topic}", "{id}", "{name}", "{seq}"]
            .iter()
            .fold(path.clone(), |p, name| p.replace(name, "%00no%2Bone"));
        let upper = method.to_uppercase();
        let has_body = ["post", "put", "patch"].contains(&method);
        let body = has_body.then_some("{}");
        if path != "/openapi.json" {
            let answer = api.request(&upper, &format!("{missing}?surprise=1"), body);
            assert!([400, 404].contains(&answer.status), "{method} {missing}: {answer:?}");
            assert_documented(&document, &path, method, &answer);
        }
        if path.contains('{') {
            let answer = api.request(&upper, &missing, None);
            assert!([400, 404].contains(&answer.status), "{method} {missing}: {answer:?}");
            assert_documented(&document, &path, method, &answer);
        }
        if !document["paths"][&path][method]["requestBody"].is_null() {
            for wrong in [
                "",
                "{",
                "[]]",
                "[1]",
                "null",
                "\"x\"",
                "[[[[[[",
                "{\"topic\": 1}",
                "{\"as\":\"clientid\",\"who\":\"x\",\"no\":1}",
            ] {
                let answer = api.request(&upper, &path.replace("{name}", "work"), Some(wrong));
                assert_eq!(answer.status, 400, "{method} {path} {wrong}: {answer:?}");
                assert_documented(&document, &path, method, &answer);
            }
            let answer = api.request(&upper, &path, Some(&format!("\"{}\"", "x".repeat(9 << 20))));
            assert_eq!(answer.status, 413, "{method} {path}");
            assert_documented(&document, &path, method, &answer);
        }
        if has_body {
            let answer = api.with("Content-Type", "text/plain").request(&upper, &path, Some("{}"));
            assert_eq!(answer.status, 415, "{method} {path}: {answer:?}");
            assert_documented(&document, &path, method, &answer);
        }
        let listed = document["paths"][&path][method]["parameters"].to_string().contains("parameters/limit");
        for query in ["limit=0", "limit=1001", "page=0", "page=x", "page=2000&limit=100", "cursor=%21", "limit=1&limit=2"] {
            if listed {
                let answer = api.get(&format!("{}?{query}", path.replace("{clientid}", "one").replace("{name}", "work")));
                assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"), "{path}?{query}");
            }
        }
    }
    assert_eq!(api.get("/nothing").code(), "NOT_FOUND");
    assert_eq!(
        (api.request("PATCH", "/clients", None).status, api.delete("/clients").code().as_str()),
        (405, "METHOD_NOT_ALLOWED")
    );
}

/// What the broker serves is in the document: a route that is not there would be found by nobody.
#[test]
fn every_route_of_the_source_is_in_the_document() {
    let (_broker, api) = crate::open();
    let document = document(&api);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/api");
    let mut routes = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            routes.extend(
                text.split(".route(")
                    .skip(1)
                    .filter_map(|rest| Some(rest.trim_start().strip_prefix('"')?.split_once('"')?.0.to_owned())),
            );
        }
    }
    let documented: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(routes, documented);
}
