//! Schemathesis (Python) reads the document and asks what nobody thought of: wrong types, wrong methods, odd texts, sequences.

use std::path::{Path, PathBuf};
use std::process::Command;

use dunlin::packet::QoS;
use serde_json::json;

use crate::support::Client;
use crate::support::client::V5;

/// Installed by `tests/run`.
fn program() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target folder");
    let clients = std::env::var_os("DUNLIN_CLIENTS").map_or_else(|| target.join("clients"), PathBuf::from);
    let stamp = std::fs::read_to_string(clients.join("schemathesis/requirements.txt")).unwrap_or_default();
    assert!(stamp == include_str!("requirements.txt"), "schemathesis is missing or old: run tests/run once");
    clients.join("schemathesis/bin/schemathesis")
}

#[test]
fn schemathesis_finds_nothing() {
    let (mut broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V5, "one");
    client.subscribe("some/+", QoS::AtLeastOnce);
    let queue = json!({"name": "work", "bind": ["work/#"], "max_messages": 2, "overflow": "dead-letter"});
    assert_eq!(api.post("/queues", &queue).status, 201);
    for n in 0..4 {
        assert_eq!(api.post("/publish", &json!({"topic": "work/t", "payload": n.to_string(), "qos": 1})).status, 200);
    }
    let folder = broker.folder.path().join("schemathesis");
    std::fs::create_dir(&folder).unwrap();
    let output = Command::new(program())
        .current_dir(&folder)
        .args(["run", &format!("http://{}/api/v1/openapi.json", api.address)])
        // What is right by its schema may still be refused, as a queue whose file does not exist.
        .args(["--exclude-checks", "positive_data_acceptance"])
        // It goes on for ever.
        .args(["--exclude-path", "/trace"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--max-time", "60", "--workers", "1"])
        .args(["--generation-deterministic", "--no-color", "--warnings", "off"])
        .args(["--suppress-health-check", "all", "--request-timeout", "15"])
        .output()
        .unwrap_or_else(|error| panic!("{error}; run tests/run once"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(api.get("/status").status, 200);
    let lines = broker.log_lines();
    assert!(!lines.iter().any(|line| line.contains("panicked")), "{lines:?}");
}
