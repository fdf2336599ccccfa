//! Keys, roles, and pages from elsewhere.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};

use dunlin::packet::Connect;
use serde_json::json;
use tempfile::TempDir;

use crate::http::Http;
use crate::support::client::{self, Client, V5};
use crate::support::{Broker, eventually};

/// Makes a key, and gives what the program prints: `NAME.SECRET`.
pub fn add_key(folder: &TempDir, name: &str, role: &str) -> String {
    let file = folder.path().join("keys").display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_dunlin"))
        .args(["apikey", "add", name, "--role", role, "--file", &file])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

const CONFIG: &str = "[admin.api]\nkey_file = \"@DIR@/keys\"\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";

pub fn bearer(api: &Http, token: &str) -> Http {
    api.with("Authorization", &format!("Bearer {token}"))
}

#[test]
fn each_role_may_do_its_part() {
    let folder = tempfile::tempdir().unwrap();
    let [viewer, operator, admin] = ["viewer", "operator", "admin"].map(|role| add_key(&folder, role, role));
    let mut broker = Broker::with_config_in(folder, CONFIG);
    let api = Http::new(broker.admin.unwrap());
    let none = api.get("/clients");
    assert_eq!((none.status, none.code().as_str()), (401, "BAD_API_KEY_OR_SECRET"));
    assert!(none.head.contains("www-authenticate: bearer"), "{}", none.head);
    for wrong in ["viewer.wrong", "nobody.x", "viewer", ""] {
        assert_eq!(bearer(&api, wrong).get("/clients").status, 401, "{wrong}");
    }
    let [viewer, operator, admin] = [&viewer, &operator, &admin].map(|token| bearer(&api, token));
    let publish = json!({"topic": "t", "payload": "x"});
    let level = json!({"level": "info"});
    let statuses = |api: &Http| {
        let trace = api.get("/trace").status; // 400 for who may: nothing is named
        [api.get("/clients").status, trace, api.post("/publish", &publish).status, api.put("/log_level", &level).status]
    };
    assert_eq!(statuses(&viewer), [200, 403, 403, 403]);
    assert_eq!(statuses(&operator), [200, 400, 202, 403]);
    assert_eq!(statuses(&admin), [200, 400, 202, 200]);
    // The figures and health are as open as they were.
    assert!(broker.get("/metrics").0.contains("200") && broker.get("/healthz").0.contains("200"));
    let line = broker.wait_for_log("admin change");
    assert!(line.contains("\"key\":\"viewer\"") || line.contains("\"key\":\"operator\""), "{line}");
}

#[test]
fn a_key_comes_as_basic_too_and_is_refused_once_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let token = add_key(&folder, "ops", "admin");
    let keys = folder.path().join("keys");
    let (name, secret) = token.split_once('.').unwrap();
    let basic =
        format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{name}:{secret}")));
    let broker = Broker::with_config_in(folder, CONFIG);
    let api = Http::new(broker.admin.unwrap()).with("Authorization", &basic);
    assert_eq!(api.get("/status").status, 200);
    let revoked =
        Command::new(env!("CARGO_BIN_EXE_dunlin")).args(["apikey", "revoke", "ops", "--file"]).arg(&keys).status().unwrap();
    assert!(revoked.success());
    assert_eq!(api.post("/reload", &json!({})).status, 200);
    assert_eq!(api.get("/status").status, 401);
}

#[test]
fn an_open_api_is_not_served_beyond_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let run = |extra: &[(&str, &str)], admin: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(["--listen", "tcp://127.0.0.1:0", "--data-dir", &data, "--admin", admin]).envs(extra.iter().copied());
        command.stdout(Stdio::null()).output().unwrap()
    };
    for admin in ["0.0.0.0:0", "[::]:0"] {
        let output = run(&[], admin);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("dunlin apikey add") && text.contains("enabled = false"), "{text}");
    }
}

#[test]
fn pages_from_elsewhere_cannot_ask() {
    let (_broker, api) = crate::open();
    let port = api.address.port();
    let is_answered = |host: &str, origin: Option<&str>| {
        let api = api.with("Host", host);
        let api = origin.map_or_else(|| api.clone(), |origin| api.with("Origin", origin));
        let answer = api.post("/publish", &json!({"topic": "t", "payload": ""}));
        assert!([202, 403].contains(&answer.status), "{answer:?}");
        answer.status == 202
    };
    let own = format!("127.0.0.1:{port}");
    assert!(is_answered(&own, None) && is_answered(&own, Some(&format!("http://{own}"))));
    assert!(!is_answered(&own, Some("http://evil.example")) && !is_answered(&own, Some("null")));
    // A name that was made to mean 127.0.0.1 after the page was loaded.
    assert!(!is_answered("evil.example", Some("http://evil.example")) && !is_answered("evil.example", None));
    let form = api.with("Content-Type", "application/x-www-form-urlencoded").request("POST", "/reload", Some("a=b"));
    assert_eq!(form.code(), "UNSUPPORTED_MEDIA_TYPE");
}

#[test]
fn no_secret_is_in_any_answer_or_log_line() {
    let folder = tempfile::tempdir().unwrap();
    let token = add_key(&folder, "ops", "admin");
    let mut broker = Broker::with_config_in(folder, CONFIG);
    let api = bearer(&Http::new(broker.admin.unwrap()), &token);
    let secret = token.split_once('.').unwrap().1;
    assert_eq!(api.put("/log_level", &json!({"level": "trace"})).status, 200);
    for path in ["/config", "/status", "/stats", "/metrics", "/listeners"] {
        assert!(!api.get(path).body.contains(secret), "{path}");
    }
    assert_eq!(bearer(&api, "ops.not-the-secret").get("/config").status, 401);
    broker.wait_for_log("admin request refused");
    let lines = broker.log_lines();
    assert!(!lines.iter().any(|line| line.contains(secret) || line.contains("not-the-secret")));
}

/// What is done is written down; a request that was not even begun need not be.
#[test]
fn a_change_is_written_down_though_whoever_asked_for_it_hangs_up() {
    let (mut broker, api) = crate::open();
    for number in 0..20 {
        let (id, path) = (format!("c{number}"), format!("/sessions/c{number}"));
        let mut connect = Connect { client_id: &id, ..client::connect(V5) };
        connect.properties.session_expiry_interval = 1000;
        Client::connect_with(broker.address(), connect).0.cut();
        eventually("the session is ended", || {
            let mut stream = TcpStream::connect(api.address).unwrap();
            write!(stream, "DELETE /api/v1{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            api.get(&path).status == 404
        });
        loop {
            let line = broker.wait_for_log(&format!("{path}\""));
            assert!(line.contains("admin change") && line.contains("\"method\":\"DELETE\""), "{line}");
            if !line.contains("\"status\":404") {
                break;
            }
        }
    }
}
