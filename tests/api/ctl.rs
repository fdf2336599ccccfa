//! `dunlin ctl`, as a person and as a script use it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use dunlin::packet::{Connect, ConnectProperties, Packet, PublishAck, PublishReason, QoS};
use serde_json::Value;

use crate::support::client::{V5, connect};
use crate::support::{Broker, Client, eventually};

fn command(broker: &Broker, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command
        .arg("ctl")
        .args(args)
        .env("DUNLIN_API_URL", format!("http://{}", broker.admin.unwrap()))
        .env_remove("DUNLIN_API_KEY");
    command.stdin(Stdio::null());
    command
}

fn ctl(broker: &Broker, args: &[&str]) -> Output {
    command(broker, args).output().unwrap()
}

/// What it prints; it must succeed.
fn text(broker: &Broker, args: &[&str]) -> String {
    let output = ctl(broker, args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(broker: &Broker, args: &[&str]) -> Value {
    serde_json::from_str(&text(broker, &[args, &["--json"]].concat())).unwrap()
}

fn code(broker: &Broker, args: &[&str]) -> Option<i32> {
    ctl(broker, args).status.code()
}

#[test]
fn clients_are_shown_and_kicked() {
    let broker = crate::with_user();
    let properties = ConnectProperties { session_expiry_interval: 100, ..ConnectProperties::default() };
    let password = Some(&b"evad"[..]);
    let connect = Connect { client_id: "a\u{202e}b", username: Some("dave"), password, properties, ..connect(V5) };
    let (mut client, _) = Client::connect_with(broker.address(), connect);
    client.subscribe("t/#", QoS::AtLeastOnce);
    let table = text(&broker, &["clients", "--connected"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("clientid ") && lines[1].contains("a\\u{202e}b") && lines[1].contains("dave"), "{table}");
    assert_eq!(json(&broker, &["clients"])[0]["subscriptions_cnt"], 1);
    assert!(text(&broker, &["client", "a\u{202e}b"]).contains("ip_address         127.0.0.1"));
    assert_eq!(json(&broker, &["subscriptions", "--topic", "t/x"])[0]["topic"], "t/#");
    assert!(text(&broker, &["status"]).contains("connections     1"));

    text(&broker, &["kick", "a\u{202e}b"]);
    client.expect_disconnect(0x98);
    eventually("it is away", || json(&broker, &["clients", "--disconnected"]).as_array().unwrap().len() == 1);
    assert_eq!(json(&broker, &["kick", "--discard", "a\u{202e}b"]), serde_json::json!({}));
    assert_eq!(json(&broker, &["clients"]), serde_json::json!([]));
}

#[test]
fn queues_are_looked_at_and_put_in_order() {
    let (broker, api) = crate::open();
    let made = api.post("/queues", &serde_json::json!({"name": "jobs", "bind": ["jobs/#"], "max_deliveries": 1}));
    assert_eq!(made.status, 201);
    text(&broker, &["queues", "pause", "jobs"]);
    text(&broker, &["publish", "-q", "1", "jobs/1", "x"]);
    let table = text(&broker, &["queues", "list"]);
    let cells: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[..7], ["jobs", "1", "0", "0", "0", "0", "true"], "{table}");
    assert_eq!(json(&broker, &["queues", "list", "--like", "other"]), serde_json::json!([]));
    assert_eq!(json(&broker, &["queues", "show", "jobs"])["messages"]["depth"], 1);
    assert!(text(&broker, &["queues", "peek", "jobs"]).contains("jobs/1"));

    let mut worker = Client::connect(broker.address(), V5, "worker");
    worker.subscribe("$queue/jobs", QoS::AtLeastOnce);
    text(&broker, &["queues", "resume", "jobs"]);
    let id = worker.expect_message("jobs/1", "x").packet_id().unwrap();
    worker.send(&Packet::PubAck(PublishAck::new(id, PublishReason::UnspecifiedError)));
    eventually("it is dead", || json(&broker, &["queues", "dead", "jobs"]).as_array().unwrap().len() == 1);
    assert!(text(&broker, &["queues", "dead", "jobs"]).contains("max-deliveries"));
    text(&broker, &["queues", "pause", "jobs"]);
    assert_eq!(json(&broker, &["queues", "redrive", "jobs"])["count"], 1);
    assert_eq!(code(&broker, &["queues", "purge", "jobs"]), Some(2), "it asks for --yes");
    assert_eq!(json(&broker, &["queues", "purge", "jobs", "--yes"])["count"], 1);
    assert_eq!(code(&broker, &["queues", "show", "nothing"]), Some(4));
}

#[test]
fn messages_are_published_kept_and_forgotten() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "c");
    client.subscribe("t", QoS::AtMostOnce);
    text(&broker, &["publish", "t", "hello"]);
    client.expect_message("t", "hello");
    let mut child = command(&broker, &["publish", "-r", "-q", "1", "kept/a"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\xff\0").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(ctl(&broker, &["retained", "get", "kept/a"]).stdout, b"\xff\0");
    assert_eq!(json(&broker, &["retained", "list", "kept/#"])[0]["topic"], "kept/a");
    text(&broker, &["retained", "delete", "kept/a"]);
    assert_eq!(code(&broker, &["retained", "get", "kept/a"]), Some(4));
}

#[test]
fn bans_levels_backups_and_reloads() {
    let broker = Broker::start();
    text(&broker, &["ban", "add", "user", "eve", "--for", "1h", "--reason", "noise"]);
    assert_eq!(Client::refused(broker.address(), Connect { username: Some("eve"), ..connect(V5) }), 0x8A);
    assert_eq!(json(&broker, &["ban", "list"])[0]["reason"], "noise");
    text(&broker, &["ban", "remove", "username", "eve"]);
    assert_eq!(code(&broker, &["ban", "remove", "username", "eve"]), Some(4));
    text(&broker, &["log-level", "debug"]);
    assert_eq!(json(&broker, &["log-level"])["level"], "debug");
    assert_eq!(json(&broker, &["backup"])["state"], "done");
    assert_eq!(json(&broker, &["reload"])["needs_restart"], serde_json::json!([]));
}

#[test]
fn the_config_is_shown_changed_and_taken_back() {
    let broker = Broker::start();
    let set = json(&broker, &["config", "set", "limits.max_inflight=7", "limits.max_packet_size=64KiB"]);
    assert_eq!(set["set"], serde_json::json!(["limits.max_inflight", "limits.max_packet_size"]));
    let table = text(&broker, &["config", "show", "limits"]);
    let line = table.lines().find(|line| line.starts_with("limits.max_inflight ")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["limits.max_inflight", "7", "true"]);
    assert!(!table.contains("log.level"), "{table}");
    assert_eq!(json(&broker, &["config", "show", "--changed"]).as_array().unwrap().len(), 2);
    assert_eq!(json(&broker, &["config", "show"])["limits"]["max_inflight"], 7);
    let unset = json(&broker, &["config", "unset", "limits.max_inflight"]);
    assert_eq!(unset["taken_back"], serde_json::json!(["limits.max_inflight"]));
    assert!(text(&broker, &["config", "reset"]).contains("limits.max_packet_size"));
    assert_eq!(json(&broker, &["config", "show", "--changed"]), serde_json::json!([]));
    let wrong = ctl(&broker, &["config", "set", "limits.max_infligt=7"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean \"max_inflight\"?"), "{wrong:?}");
    assert_eq!(code(&broker, &["config", "set", "server.worker_threads=7"]), Some(1));
    assert_eq!(code(&broker, &["config", "set", "limits.max_inflight"]), Some(2));
}

#[test]
fn exit_codes_tell_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let add = Command::new(env!("CARGO_BIN_EXE_dunlin")).args(["apikey", "add", "v", "--file"]).arg(&keys).output().unwrap();
    let key = String::from_utf8(add.stdout).unwrap();
    let config = "[admin.api]\nkey_file = \"@DIR@/keys\"\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";
    let broker = Broker::with_config_in(folder, config);
    assert_eq!(code(&broker, &["status"]), Some(5));
    assert_eq!(code(&broker, &["status", "--key", "v.wrong"]), Some(5));
    assert_eq!(code(&broker, &["status", "--key", key.trim()]), Some(0));
    assert_eq!(code(&broker, &["kick", "c", "--key", key.trim()]), Some(5), "a viewer may not");
    assert_eq!(code(&broker, &["client", "c", "--key", key.trim()]), Some(4));
    assert_eq!(code(&broker, &["clients", "--like"]), Some(2));
    let with_line_feed = ctl(&broker, &["status", "--key", &key]);
    assert_eq!(with_line_feed.status.code(), Some(2), "the line feed is no part of a key");
    assert!(String::from_utf8_lossy(&with_line_feed.stderr).contains("DUNLIN_API_KEY"), "{with_line_feed:?}");
    assert_eq!(code(&broker, &["status", "--url", "ftp://x"]), Some(2));
    assert_eq!(code(&broker, &["status", "--url", "http://127.0.0.1:1"]), Some(69));
}

#[test]
fn the_url_may_name_the_api() {
    let broker = Broker::start();
    for rest in ["", "/", "/api/v1", "/api/v1/"] {
        let url = format!("http://{}{rest}", broker.admin.unwrap());
        assert_eq!(code(&broker, &["status", "--url", &url]), Some(0), "{url}");
    }
}

#[test]
fn names_that_mean_folders_elsewhere_are_names() {
    let broker = Broker::start();
    for id in [".", "..", "a/../b", "%2e"] {
        let _client = Client::connect(broker.address(), V5, id);
        assert_eq!(json(&broker, &["client", id])["clientid"], id);
    }
    assert_eq!(code(&broker, &["client", ""]), Some(4));
}

#[test]
fn a_payload_that_is_too_large_is_not_published_in_part() {
    let broker = Broker::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("payload");
    std::fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
    let output = command(&broker, &["publish", "-r", "kept/a"]).stdin(File::open(&path).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(code(&broker, &["retained", "get", "kept/a"]), Some(4));
}

#[test]
fn a_trace_is_followed_line_by_line_until_its_reader_is_gone() {
    let broker = Broker::start();
    let mut child = command(&broker, &["trace", "--topic", "t/+"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut client = Client::connect(broker.address(), V5, "c");
    let mut line = String::new();
    // Until the trace has begun: what is published before is not in it.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let publishing = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            client.publish("t/1", "hello\u{1b}", QoS::AtMostOnce);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    lines.read_line(&mut line).unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    publishing.join().unwrap();
    assert!(line.contains(" c publish t/1 q0 (6 bytes) hello\\u{1b}"), "{line}");
    drop(lines);
    eventually("it ends, though nothing happens", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_trace_ends_where_its_lines_are_lost() {
    let broker = Broker::start();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = command(&broker, &["trace", "--topic", "t/+"]).stdout(full).stderr(Stdio::null()).spawn().unwrap();
    let mut client = Client::connect(broker.address(), V5, "c");
    eventually("it has ended", || {
        client.publish("t/1", "hello", QoS::AtMostOnce);
        child.try_wait().unwrap().is_some()
    });
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
