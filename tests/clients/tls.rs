//! TLS with files made by `dunlin certs`, as its help says, for every kind of client.

use std::path::Path;
use std::process::Command;

use crate::program::{Program, messages, mosquitto, publish, run_script, subscribe};
use crate::support::Broker;

const CONFIG: &str = "
[[listeners]]
name = 'tls'
url = 'tls://127.0.0.1:0'
[listeners.tls]
certificate = '@DIR@/certs/server.pem'
key = '@DIR@/certs/server-key.pem'

[[listeners]]
name = 'wss'
url = 'wss://127.0.0.1:0/mqtt'
[listeners.tls]
certificate = '@DIR@/certs/server.pem'
key = '@DIR@/certs/server-key.pem'

[[listeners]]
name = 'devices'
url = 'tls://127.0.0.1:0'
acl_file = '@DIR@/acl'
[listeners.tls]
certificate = '@DIR@/certs/server.pem'
key = '@DIR@/certs/server-key.pem'
client_ca = '@DIR@/certs/ca.pem'
client_certificates = 'required'
identity = 'common-name'
";

struct World {
    broker: Broker,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        certs(&folder.path().join("certs"));
        certs(&folder.path().join("strangers"));
        std::fs::write(folder.path().join("acl"), "pattern readwrite devices/%u/#\n").expect("a file");
        Self { broker: Broker::with_config_in(folder, CONFIG) }
    }

    fn file(&self, name: &str) -> String {
        self.broker.folder.path().join(name).display().to_string()
    }
}

/// `dunlin certs`, its client named "sensor".
fn certs(folder: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    let lines = Program::start(command.arg("certs").arg(folder).args(["--client", "sensor"])).succeed();
    assert!(lines.iter().any(|line| line.contains("mosquitto_pub ")), "it tells how to go on: {lines:?}");
}

#[test]
fn mosquitto_speaks_tls_1_2_and_1_3() {
    let world = World::new();
    let ca = world.file("certs/ca.pem");
    let address = world.broker.listener("tls");
    for version in ["tlsv1.2", "tlsv1.3"] {
        let tls = ["--cafile", &ca, "--tls-version", version, "-q", "2", "-t", "a"];
        let subscriber = subscribe(address, &[&tls[..], &["-C", "1", "-F", "%p"]].concat());
        publish(address, &[&tls[..], &["-m", "sealed"]].concat());
        assert_eq!(messages(subscriber.succeed()), ["sealed"], "{version}");
    }
}

#[test]
fn a_client_that_trusts_another_authority_does_not_talk_to_this_server() {
    let world = World::new();
    let strangers = world.file("strangers/ca.pem");
    let arguments = ["--cafile", strangers.as_str(), "-t", "a", "-m", "x"];
    let said = Program::start(&mut mosquitto("mosquitto_pub", world.broker.listener("tls"), &arguments)).fail();
    assert!(said.contains("TLS error"), "{said}");
}

#[test]
fn the_common_name_of_a_client_certificate_is_its_user_name() {
    let world = World::new();
    let (ca, cert, key) = (world.file("certs/ca.pem"), world.file("certs/client.pem"), world.file("certs/client-key.pem"));
    let address = world.broker.listener("devices");
    let tls = ["--cafile", &ca, "--cert", &cert, "--key", &key, "-V", "mqttv5", "-q", "1"];
    let own = [&tls[..], &["-t", "devices/sensor/#", "-C", "1", "-F", "%t"]].concat();
    let subscriber = subscribe(address, &own);
    let other = [&tls[..], &["-t", "devices/other/heat", "-m", "x"]].concat();
    let said = Program::start(mosquitto("mosquitto_pub", address, &other).arg("-d")).succeed().join("\n");
    assert!(said.contains("Not authorized"), "{said}");
    publish(address, &[&tls[..], &["-t", "devices/sensor/heat", "-m", "x"]].concat());
    assert_eq!(messages(subscriber.succeed()), ["devices/sensor/heat"]);
}

#[test]
fn a_device_without_a_certificate_of_our_authority_is_not_let_in() {
    let world = World::new();
    let ca = world.file("certs/ca.pem");
    let (cert, key) = (world.file("strangers/client.pem"), world.file("strangers/client-key.pem"));
    let address = world.broker.listener("devices");
    for more in [&[][..], &["--cert", &cert, "--key", &key]] {
        let arguments = [&["--cafile", &ca, "-t", "devices/sensor/heat", "-m", "x", "-q", "1"], more].concat();
        Program::start(&mut mosquitto("mosquitto_pub", address, &arguments)).fail();
    }
    assert_eq!(world.broker.metric("dunlin_publishes_received_total{qos=\"1\"}") as u64, 0, "nothing came through");
}

#[test]
fn paho_and_mqttjs_speak_tls_over_tcp_and_websocket() {
    let world = World::new();
    let port = |listener| world.broker.listener(listener).port().to_string();
    let files = [world.file("certs/ca.pem"), world.file("certs/client.pem"), world.file("certs/client-key.pem")];
    let [ca, cert, key] = &files;
    for script in ["tls_paho.py", "tls_mqttjs.mjs"] {
        run_script(script, &[&port("tls"), &port("wss"), &port("devices"), ca, cert, key]);
    }
}
