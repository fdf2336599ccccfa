use serde_json::json;

use crate::http::Http;
use crate::support::client::V5;
use crate::support::{Broker, Client, eventually};

#[test]
fn status_stats_and_metrics_tell_what_there_is() {
    let (broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V5, "c");
    client.subscribe("t", dunlin::packet::QoS::AtMostOnce);
    client.retain("r", "x");
    client.ping();
    let status = api.get("/status").json();
    assert_eq!((status["ready"].as_bool(), status["connections"].as_u64()), (Some(true), Some(1)));
    let stats = api.get("/stats").json();
    assert_eq!((stats["connections.count"].as_u64(), stats["subscriptions.count"].as_u64()), (Some(1), Some(1)));
    assert!(stats["retained.count"].as_u64().unwrap() >= 1);
    eventually("it is counted", || api.get("/metrics").json()["packets.subscribe.received"] == 1);
    let listeners = api.get("/listeners").data();
    assert_eq!((listeners[0]["id"].as_str(), listeners[0]["current_connections"].as_u64()), (Some("tcp"), Some(1)));
    assert_eq!(listeners[0]["bind"], broker.address().to_string());
    assert_eq!(api.get("/listeners/tcp").json(), listeners[0]);
    assert_eq!(api.get("/listeners/udp").code(), "NOT_FOUND");
}

#[test]
fn the_config_is_shown_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dunlin.toml");
    let config = "[limits]\nmax_connections = 7\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";
    let broker = Broker::with_config_in(folder, config);
    let api = Http::new(broker.admin.unwrap());
    assert_eq!(api.get("/config").json()["limits"]["max_connections"], 7);
    std::fs::write(&path, config.replace("= 7", "= 8").replace("[limits]", "[server]\nworker_threads = 3\n[limits]")).unwrap();
    let reloaded = api.post("/reload", &json!({}));
    assert_eq!((reloaded.status, reloaded.json()), (200, json!({"needs_restart": ["server"]})));
    let shown = api.get("/config").json();
    assert_eq!(shown["limits"]["max_connections"], 8);
    assert_eq!(shown["server"]["worker_threads"], 0, "what holds is shown");
    assert_eq!(api.post("/reload", &json!({})).json(), json!({"needs_restart": ["server"]}));
    std::fs::write(&path, config.replace("max_connections", "max_conections")).unwrap();
    let refused = api.post("/reload", &json!({}));
    assert_eq!((refused.status, refused.code().as_str()), (409, "CONFIG_ERROR"));
    assert!(refused.body.contains("max_connections"), "the nearest key is named: {}", refused.body);
    assert_eq!(api.get("/config").json()["limits"]["max_connections"], 8);
}

/// A right that is taken away must not look gone.
#[test]
fn a_reload_that_cannot_read_the_rights_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let acl = folder.path().join("acl");
    std::fs::write(&acl, "topic #\n").unwrap();
    let config = "[auth]\nacl_file = \"acl\"\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";
    let broker = Broker::with_config_in(folder, config);
    let api = Http::new(broker.admin.unwrap());
    assert_eq!(api.post("/reload", &json!({})).status, 200);
    std::fs::write(&acl, "topic open/#\ntopic\n").unwrap();
    let refused = api.post("/reload", &json!({}));
    assert_eq!((refused.status, refused.code().as_str()), (409, "CONFIG_ERROR"));
    assert!(refused.body.contains("acl:2"), "{}", refused.body);
}

#[test]
fn the_log_level_can_be_changed() {
    let (mut broker, api) = crate::open();
    assert_eq!(api.get("/log_level").json(), json!({"level": "info"}));
    assert_eq!(api.put("/log_level", &json!({"level": "warn"})).status, 200);
    let _unseen = Client::connect(broker.address(), V5, "unseen");
    assert_eq!(api.put("/log_level", &json!({"level": "info,dunlin::broker=debug"})).status, 200);
    let _seen = Client::connect(broker.address(), V5, "seen");
    broker.wait_for_log("\"client\":\"seen\"");
    assert!(!broker.log_lines().iter().any(|line| line.contains("unseen")));
    for wrong in ["loud", "", "info,dunlin=nonsense"] {
        let answer = api.put("/log_level", &json!({"level": wrong}));
        assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"), "{wrong}");
    }
    assert_eq!(api.get("/log_level").json(), json!({"level": "info,dunlin::broker=debug"}));
}

#[test]
fn a_backup_is_made_beside_the_running_broker() {
    let (broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V5, "c");
    client.retain("kept", "x");
    client.ping();
    let begun = api.post("/backups", &json!({}));
    assert_eq!(begun.status, 202);
    let name = begun.json()["name"].as_str().unwrap().to_owned();
    eventually("it is done", || {
        let state = api.get(&format!("/backups/{name}")).json()["state"].as_str().unwrap().to_owned();
        assert_ne!(state, "failed");
        state == "done"
    });
    let folder = broker.folder.path().join("data/backups").join(&name);
    let restored = broker.folder.path().join("restored");
    let dunlin = |args: &[&str]| std::process::Command::new(env!("CARGO_BIN_EXE_dunlin")).args(args).output().unwrap();
    let output = dunlin(&["restore", folder.to_str().unwrap(), "--data-dir", restored.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(api.get("/backups").texts("name"), [name]);
}

#[test]
fn every_change_is_a_line_of_the_log() {
    let (mut broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V5, "c");
    api.get("/clients");
    assert_eq!(api.delete("/clients/c").status, 204);
    client.expect_disconnect(0x98);
    let line = broker.wait_for_log("admin change");
    for part in ["\"key\":\"local\"", "\"peer\":\"127.0.0.1:", "\"method\":\"DELETE\"", "/clients/c\"", "\"status\":204"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    api.post("/publish", &json!({"topic": "some/topic", "payload": "not for the log"}));
    let line = broker.wait_for_log("admin change");
    assert!(line.contains("publish some/topic") && !line.contains("not for the log"), "{line}");
}

#[test]
fn metrics_may_have_a_port_of_their_own_and_the_api_tls() {
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dunlin")).arg("certs").arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let config = r#"
        [admin]
        metrics_bind = "127.0.0.1:0"
        [admin.tls]
        certificate = "@DIR@/server.pem"
        key = "@DIR@/server-key.pem"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
    "#;
    let mut broker = Broker::with_config_in(folder, config);
    let line = broker.log_lines().iter().find(|line| line.contains("metrics listening")).unwrap().clone();
    let address = line.split("\"address\":\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    let plain = Http::new(address);
    assert_eq!(plain.get("/status").status, 404, "the API is not there");
    let main = broker.admin.unwrap();
    broker.admin = Some(address);
    assert!(broker.get("/metrics").0.contains("200"));
    let mut stream = plain_tls::connect(main, &broker.folder.path().join("ca.pem"));
    let answer = plain_tls::ask(&mut stream, "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

mod plain_tls {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::path::Path;
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    pub type Stream = StreamOwned<ClientConnection, TcpStream>;

    pub fn connect(address: SocketAddr, ca: &Path) -> Stream {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(connection, TcpStream::connect(address).unwrap())
    }

    pub fn ask(stream: &mut Stream, request: &str) -> String {
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }
}
