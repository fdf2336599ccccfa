use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dunlin::packet::{Connect, QoS};
use tempfile::TempDir;

use crate::authority::folder;
use crate::support::client::{Client, V5, V311, connect};
use crate::support::{Broker, eventually};

const CONFIG: &str = "[[listeners]]\nname = \"local\"\nurl = \"unix://@DIR@/mqtt.sock\"";

fn start(folder: TempDir) -> (Broker, PathBuf) {
    let path = folder.path().join("mqtt.sock");
    (Broker::with_config_in(folder, CONFIG), path)
}

fn join(path: &Path, version: dunlin::packet::ProtocolVersion, id: &str) -> Client {
    let mut client = Client::over(UnixStream::connect(path).expect("the socket accepts"), version);
    client.log_in(Connect { client_id: id, ..connect(version) });
    client
}

#[test]
fn clients_talk_over_a_unix_socket_without_an_address() {
    let (mut broker, path) = start(folder());
    let mut publisher = join(&path, V311, "from");
    let mut subscriber = join(&path, V5, "to");
    subscriber.subscribe("a/#", QoS::ExactlyOnce);
    publisher.publish("a/b", "x", QoS::ExactlyOnce);
    subscriber.expect_message("a/b", "x");
    let line = broker.wait_for_log("\"client\":\"from\"");
    assert!(line.contains("\"peer\":\"unix\"") && line.contains("\"listener\":\"local\""), "{line}");
}

#[test]
fn the_socket_is_for_owner_and_group_and_goes_when_the_broker_stops() {
    let (mut broker, path) = start(folder());
    let file = std::fs::metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o660);
    broker.signal("-TERM");
    assert_eq!(broker.wait().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_socket_that_a_killed_broker_left_behind_is_replaced() {
    let folder = folder();
    let path = folder.path().join("mqtt.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let (_broker, path) = start(folder);
    join(&path, V5, "a").ping();
}

fn run(path: &Path, folder: &TempDir) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dunlin"))
        .args(["--listen", &format!("unix://{}", path.display()), "--admin", "none", "--data-dir"])
        .arg(folder.path().join("data"))
        .output()
        .unwrap()
}

#[test]
fn a_socket_in_use_and_a_file_that_is_none_are_left_alone_and_end_the_start_with_69() {
    let (_broker, path) = start(folder());
    let folder = folder();
    let notes = folder.path().join("notes.txt");
    std::fs::write(&notes, "keep me").unwrap();
    for path in [&path, &notes, &folder.path().join("no/such/folder.sock")] {
        let output = run(path, &folder);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{told}");
        assert!(told.contains(&path.display().to_string()), "{told}");
    }
    assert_eq!(std::fs::read(&notes).unwrap(), b"keep me");
    join(&path, V5, "a").ping();
}

/// The limit per address has nothing to count there.
#[test]
fn the_limit_per_address_does_not_hold_for_unix_sockets() {
    let folder = folder();
    let path = folder.path().join("mqtt.sock");
    let broker = Broker::with_config_in(folder, &format!("[limits]\nmax_connections_per_address = 1\n{CONFIG}"));
    let clients = [join(&path, V5, "a"), join(&path, V5, "b")];
    let series = "dunlin_connections{listener=\"local\",version=\"5.0\"}";
    eventually("both are counted", || broker.metric(series) == 2.0);
    drop(clients);
}
