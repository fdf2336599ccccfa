//! A broker with something of everything, and a browser that looks at it.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use dunlin::packet::{Connect, ConnectProperties, Packet, PublishAck, PublishReason, QoS};
use tempfile::TempDir;

use crate::program::{Program, chromium, script};
use crate::support::client::{V5, connect};
use crate::support::{Broker, Client, eventually};

/// What a client might choose to do harm with, were it taken for markup.
pub const MARKUP: &str = "<img src=x onerror=alert(1)>";

pub const CONFIG: &str = "[[listeners]]\nname = 'tcp'\nurl = 'tcp://127.0.0.1:0'\n\
    [[listeners]]\nname = 'websocket'\nurl = 'ws://127.0.0.1:0/mqtt'\n\
    [[queues]]\nname = 'orders'\nbind = ['orders/#']\nmax_deliveries = 1\n";

/// Runs a script in a browser to its successful end, if there is a browser. It gets the page's address and these arguments.
pub fn look(broker: &Broker, scenario: &str, arguments: &[&str]) {
    if let Some(mut command) = browse(broker, scenario, arguments) {
        let lines = Program::start(&mut command).succeed();
        assert!(lines.iter().any(|line| line == "done"), "{scenario} tells that it came to its end: {lines:?}");
    }
}

/// The same, not started yet.
pub fn browse(broker: &Broker, scenario: &str, arguments: &[&str]) -> Option<Command> {
    let chromium = chromium()?;
    let page = format!("http://{}/dashboard/", broker.admin.unwrap());
    let mut command = script("../dashboard/run.mjs");
    command.args([&chromium, scenario, &page]).args(arguments);
    Some(command)
}

/// A port that is free now: for a broker that must come back where it was.
pub fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// A broker on such a port, and the folder of its config.
pub fn broker_at(address: SocketAddr, config: &str) -> (Broker, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dunlin.toml");
    std::fs::write(&path, config).unwrap();
    (Broker::with_args(&["--config", &path.display().to_string(), "--admin", &address.to_string()]), folder)
}

/// Two clients, one of them away with messages waiting; retained messages; a queue with a message and a dead letter.
pub struct Furniture {
    pub app: Client,
    _worker: Client,
}

pub fn furnish(broker: &Broker) -> Furniture {
    let address = broker.listener("tcp");
    let mut app = Client::connect_with(address, Connect { username: Some("ops"), ..named("app-1") }).0;
    app.subscribe("site/+/temperature", QoS::AtLeastOnce);
    let properties = ConnectProperties { session_expiry_interval: 3600, ..ConnectProperties::default() };
    let mut away = Client::connect_with(address, Connect { properties, ..named("gateway-away") }).0;
    away.subscribe("site/7/#", QoS::AtLeastOnce);
    away.send(&Packet::Disconnect(dunlin::packet::Disconnect::new(dunlin::packet::DisconnectReason::NormalDisconnection)));
    drop(away);
    // Of those that are offline there may be one more, of a bridge.
    eventually("the gateway is away", || broker.metric("dunlin_sessions{state=\"online\"}") == 1.0);
    app.retain("site/7/temperature", "{\"celsius\": 21.5}");
    app.expect_message("site/7/temperature", "{\"celsius\": 21.5}");
    app.retain("site/8/valve", "open");
    let worker = dead_letter(broker, &mut app, "orders/new", "{\"order\": 17}");
    app.publish("orders/next", "waits", QoS::AtLeastOnce);
    Furniture { app, _worker: worker }
}

/// A message that a worker rejects, so that it is a dead letter now; the worker, which takes no more.
pub fn dead_letter(broker: &Broker, app: &mut Client, topic: &str, payload: &str) -> Client {
    let mut worker = Client::connect(broker.listener("tcp"), V5, "worker-1");
    worker.subscribe("$queue/orders", QoS::AtLeastOnce);
    app.publish(topic, payload, QoS::AtLeastOnce);
    let id = worker.expect_message(topic, payload).packet_id().unwrap();
    worker.send(&Packet::PubAck(PublishAck::new(id, PublishReason::ImplementationSpecificError)));
    eventually("it is a dead letter", || broker.metric("dunlin_queue_dead_letters{queue=\"orders\"}") == 1.0);
    assert_eq!(worker.unsubscribe("$queue/orders"), [0]);
    worker
}

pub fn named(id: &str) -> Connect<'_> {
    Connect { client_id: id, ..connect(V5) }
}

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
