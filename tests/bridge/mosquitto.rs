//! Debian's mosquitto as the other broker.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::eventually;

/// A running mosquitto, killed when dropped.
pub struct Mosquitto {
    child: Child,
    pub address: SocketAddr,
    folder: TempDir,
}

impl Mosquitto {
    pub fn start() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        // As root it would become another user, who cannot write there.
        let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
        let config = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\n{user}persistence true\npersistence_location {}/\n\
            max_queued_messages 0\n",
            address.port(),
            folder.path().display()
        );
        fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let child = Self::spawn(&folder, address);
        Self { child, address, folder }
    }

    fn spawn(folder: &TempDir, address: SocketAddr) -> Child {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("mosquitto");
        command.env("PATH", format!("{path}:/usr/sbin")).arg("-c").arg(folder.path().join("mosquitto.conf"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("mosquitto starts; run tests/run once");
        eventually("mosquitto listens", || TcpStream::connect(address).is_ok());
        child
    }

    /// Stops it in the way that keeps its sessions.
    pub fn stop(&mut self) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = Self::spawn(&self.folder, self.address);
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
