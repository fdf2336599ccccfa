use std::os::unix::net::UnixDatagram;

use crate::support::client::{Client, V5};
use crate::support::{Broker, PATIENCE};

/// What systemd is told, datagram by datagram.
struct Manager {
    socket: UnixDatagram,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn start(watchdog: Option<&str>) -> (Self, Broker) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let broker = Broker::with_command(&["--listen", "tcp://127.0.0.1:0"], |command| {
            command.env("NOTIFY_SOCKET", &path).env_remove("WATCHDOG_PID");
            if let Some(microseconds) = watchdog {
                command.env("WATCHDOG_USEC", microseconds);
            }
        });
        (Self { socket, _folder: folder }, broker)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 1024];
        let length = self.socket.recv(&mut buffer).expect("something is told");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn expect(&self, told: &str) -> String {
        let text = self.next();
        assert!(text.lines().any(|line| line == told), "{told} is not in {text:?}");
        text
    }
}

#[test]
fn systemd_is_told_of_start_reload_and_stop() {
    let (manager, mut broker) = Manager::start(None);
    manager.expect("READY=1");
    Client::connect(broker.address(), V5, "a").ping();
    broker.signal("-HUP");
    let reloading = manager.expect("RELOADING=1");
    assert!(reloading.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reloading}");
    manager.expect("READY=1");
    broker.signal("-TERM");
    manager.expect("STOPPING=1");
    assert_eq!(broker.wait().code(), Some(0));
}

#[test]
fn the_watchdog_is_fed_as_often_as_it_wants() {
    let (manager, _broker) = Manager::start(Some("200000"));
    let told: Vec<String> = (0..4).map(|_| manager.next()).collect();
    assert_eq!(told.iter().filter(|text| text.contains("READY=1")).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|text| text.contains("WATCHDOG=1")).count(), 3, "{told:?}");
}
