//! The config changed over HTTP: what holds at once, what outlives what, and what is refused.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::access::{add_key, bearer};
use crate::http::Http;
use crate::support::client::{V5, connect};
use crate::support::{Broker, Client};

const LISTENER: &str = "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";

fn with_config(config: &str) -> (Broker, Http) {
    let broker = Broker::with_config(&format!("{config}{LISTENER}"));
    let api = Http::new(broker.admin.unwrap());
    (broker, api)
}

/// The largest packet that a new client is told.
fn largest(broker: &Broker) -> Option<u32> {
    Client::connack(broker.address(), connect(V5), |told| told.maximum_packet_size).1
}

#[test]
fn a_change_holds_at_once_and_over_reloads_and_restarts_until_it_is_taken_back() {
    let (mut broker, api) = with_config("[limits]\nmax_packet_size = \"11B\"\nmax_inflight = 5\n");
    assert_eq!((largest(&broker), api.get("/config").json()["overridden"].clone()), (Some(11), json!([])));
    let done = api.patch("/config", &json!({"limits": {"max_packet_size": "77B", "max_inflight": 9}}));
    let keys = json!(["limits.max_inflight", "limits.max_packet_size"]);
    assert_eq!((done.status, done.json()), (200, json!({"set": keys, "taken_back": [], "overridden": keys})));
    assert_eq!(largest(&broker), Some(77));
    let shown = api.get("/config").json();
    assert_eq!((shown["limits"]["max_inflight"].as_u64(), shown["overridden"].clone()), (Some(9), keys));

    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    assert_eq!(largest(&broker), Some(77));
    broker.kill_and_restart();
    let api = Http::new(broker.admin.unwrap());
    assert_eq!(largest(&broker), Some(77));

    // The file is left alone by a change, whatever is in it, until it is read again.
    let path = broker.folder.path().join("dunlin.toml");
    fs::write(&path, format!("[limits]\nmax_packet_size = \"22B\"\n{LISTENER}")).unwrap();
    let merge = api.with("Content-Type", "application/merge-patch+json");
    assert_eq!(
        merge.patch("/config", &json!({"limits": {"max_packet_size": null}})).json()["taken_back"],
        json!(["limits.max_packet_size"])
    );
    assert_eq!(largest(&broker), Some(11));
    assert_eq!(api.post("/reload", &json!({})).status, 200);
    assert_eq!((largest(&broker), api.get("/config").json()["limits"]["max_inflight"].as_u64()), (Some(22), Some(9)));

    let overrides = api.get("/config/overrides").json();
    assert_eq!(overrides["overrides"], json!({"limits": {"max_inflight": 9}}));
    assert!(overrides["changeable"].as_array().unwrap().contains(&json!("log.level")));
    assert_eq!(api.delete("/config/overrides").json()["taken_back"], json!(["limits.max_inflight"]));
    assert!(!fs::exists(overrides["file"].as_str().unwrap()).unwrap());
    assert_ne!(api.get("/config").json()["limits"]["max_inflight"], 9);
}

#[test]
fn what_is_wrong_or_needs_a_start_is_refused_and_nothing_of_it_holds() {
    let (_broker, api) = with_config("");
    let before = api.get("/config").json();
    for (patch, key) in [
        (
            json!({"limits": {"max_inflight": 3, "max_packet_sizes": "1MiB"}}),
            "limits.max_packet_sizes: unknown key; did you mean \"max_packet_size\"?",
        ),
        (
            json!({"limits": {"max_inflight": 3, "max_packet_size": "64 potatoes"}}),
            "limits.max_packet_size: \"64 potatoes\" is no size",
        ),
        (json!({"limits": {"max_inflight": 3}, "log": {"level": "loud"}}), "log.level: "),
        (json!({"limits": {"max_subscriptions": 0}}), "limits.max_subscriptions: "),
    ] {
        let answer = api.patch("/config", &patch);
        assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"), "{patch}");
        assert!(answer.json()["message"].as_str().unwrap().starts_with(key), "{}", answer.body);
    }
    for (patch, key) in [
        (json!({"limits": {"max_inflight": 3}, "server": {"worker_threads": 3}}), "server.worker_threads: "),
        (json!({"data_dir": "/elsewhere"}), "data_dir: "),
        (json!({"listeners": [{"name": "x", "url": "tcp://0.0.0.0:1"}]}), "listeners: "),
        (json!({"bridges": [{"password": "x"}]}), "bridges: "),
        (json!({"auth": {"password_file": "/etc/shadow"}}), "auth.password_file: "),
    ] {
        let answer = api.patch("/config", &patch);
        assert_eq!((answer.status, answer.code().as_str()), (409, "NOT_CHANGEABLE"), "{patch}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(key) && message.contains("config file"), "{message}");
    }
    assert_eq!(api.get("/config").json(), before);
}

#[test]
fn what_a_flag_says_counts_more_and_is_told() {
    let broker = Broker::with_args(&["--listen", "tcp://127.0.0.1:0", "--log-level", "info"]);
    let api = Http::new(broker.admin.unwrap());
    let answer = api.patch("/config", &json!({"log": {"level": "debug"}}));
    assert_eq!((answer.status, answer.code().as_str()), (409, "NOT_CHANGEABLE"));
    assert!(answer.body.contains("--log-level sets it"), "{}", answer.body);
    assert!(!api.get("/config/overrides").json()["changeable"].as_array().unwrap().contains(&json!("log.level")));
}

#[test]
fn a_log_level_for_the_time_being_stays_until_the_config_is_read_or_changes_it() {
    let (_broker, api) = with_config("[log]\nlevel = \"info\"\n");
    let level = || api.get("/log_level").json()["level"].as_str().unwrap().to_owned();
    assert_eq!(api.put("/log_level", &json!({"level": "warn"})).status, 200);
    assert_eq!(api.patch("/config", &json!({"limits": {"max_inflight": 9}})).status, 200);
    assert_eq!(level(), "warn");
    assert_eq!(api.patch("/config", &json!({"log": {"level": "info"}})).status, 200);
    assert_eq!(level(), "info");
    assert_eq!(api.patch("/config", &json!({"log": {"level": "debug"}})).status, 200);
    assert_eq!(api.put("/log_level", &json!({"level": "warn"})).status, 200);
    assert_eq!(api.post("/reload", &json!({})).status, 200);
    assert_eq!(level(), "debug");
}

#[test]
fn only_an_admin_changes_the_config_and_the_log_tells_who_and_what() {
    let folder = tempfile::tempdir().unwrap();
    let [viewer, operator, admin] = ["viewer", "operator", "admin"].map(|role| add_key(&folder, role, role));
    let mut broker = Broker::with_config_in(folder, &format!("[admin.api]\nkey_file = \"@DIR@/keys\"\n{LISTENER}"));
    let api = Http::new(broker.admin.unwrap());
    let [viewer, operator, admin] = [viewer, operator, admin].map(|token| bearer(&api, &token));
    let patch = json!({"limits": {"max_inflight": 9}});
    for (api, statuses) in [(&viewer, [403, 403, 200]), (&operator, [403, 403, 200])] {
        let seen =
            [api.patch("/config", &patch).status, api.delete("/config/overrides").status, api.get("/config/overrides").status];
        assert_eq!(seen, statuses);
    }
    assert_eq!(admin.patch("/config", &patch).status, 200);
    let line = broker.wait_for_log("admin change");
    for part in ["\"key\":\"admin\"", "\"method\":\"PATCH\"", "config: limits.max_inflight = 9", "\"status\":200"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(admin.delete("/config/overrides").status, 200);
    assert!(broker.wait_for_log("admin change").contains("limits.max_inflight taken back"));
}

#[test]
fn broken_overrides_keep_the_broker_from_starting_and_say_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let file = data.join("config-overrides.toml");
    fs::write(&file, "[limits]\nmax_infligt = 3\n").unwrap();
    let dunlin = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(args).arg("--data-dir").arg(&data).stdin(Stdio::null()).output().unwrap()
    };
    for args in [&["run", "--listen", "tcp://127.0.0.1:0", "--admin", "none"][..], &["check"]] {
        let output = dunlin(args);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        let place = format!("{}:2: limits.max_infligt: unknown key; did you mean \"max_inflight\"?", file.display());
        assert!(text.contains(&place) && text.contains("remove it to go on"), "{text}");
    }
    fs::write(&file, "[limits]\nmax_inflight = 3\n").unwrap();
    let printed = String::from_utf8(dunlin(&["config", "print"]).stdout).unwrap();
    assert!(printed.starts_with("# Changed over the admin API") && printed.contains("max_inflight = 3"), "{printed}");
}
