//! The same over TLS and WebSocket.

use std::process::Command;

use crate::program::at;
use crate::support::Broker;

#[test]
fn pairs_over_tls_websocket_and_both() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = Command::new(env!("CARGO_BIN_EXE_dunlin")).arg("certs").arg(folder.path()).output().expect("certs runs");
    assert!(made.status.success());
    let authority = folder.path().join("ca.pem").display().to_string();
    let tls = "[listeners.tls]\ncertificate = \"@DIR@/server.pem\"\nkey = \"@DIR@/server-key.pem\"\n";
    let listener = |name: &str, url: &str| format!("[[listeners]]\nname = \"{name}\"\nurl = \"{url}\"\n");
    let config = [
        listener("tls", "tls://127.0.0.1:0"),
        tls.into(),
        listener("wss", "wss://127.0.0.1:0/mqtt"),
        tls.into(),
        listener("ws", "ws://127.0.0.1:0/mqtt"),
    ];
    let broker = Broker::with_config_in(folder, &config.concat());
    let port = |name: &str| broker.listener(name).port();
    for (name, flags) in [
        ("tls", format!("--insecure --full-handshakes -p {}", port("tls"))),
        ("tls", format!("--cafile {authority} -p {}", port("tls"))),
        ("tls", format!("--insecure -p {}", port("tls"))),
        ("ws", format!("--ws -p {}", port("ws"))),
        ("wss", format!("--ws --cafile {authority} -p {}", port("wss"))),
    ] {
        for load in ["-q 1 -L 500", "-q 0 -L 20 -s 200000 --window 3"] {
            let run = at(&format!("p2p -c 3 {load} {flags}"));
            run.assert_good();
            assert_eq!(run.json["setup"]["tls"], name != "ws");
            assert_eq!(run.json["setup"]["websocket"], name != "tls");
        }
    }
}

#[test]
fn a_certificate_of_a_stranger_is_refused_unless_told_otherwise() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    for folder in [&folder, &other] {
        let made = Command::new(env!("CARGO_BIN_EXE_dunlin")).arg("certs").arg(folder.path()).output().expect("certs runs");
        assert!(made.status.success());
    }
    let config = "[[listeners]]\nname = \"tls\"\nurl = \"tls://127.0.0.1:0\"\n\
        [listeners.tls]\ncertificate = \"@DIR@/server.pem\"\nkey = \"@DIR@/server-key.pem\"\n";
    let broker = Broker::with_config_in(folder, config);
    let run = at(&format!("conn -c 1 -p {} --cafile {}", broker.address().port(), other.path().join("ca.pem").display()));
    assert_eq!(run.code, 1);
    assert!(run.errors.contains("invalid peer certificate"), "{}", run.errors);
}
