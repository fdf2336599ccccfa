//! The two sets of tools, by one face.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::support::{Broker, PATIENCE};

/// Whose tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Ours,
    Mosquittos,
}

pub const BOTH: [Whose; 2] = [Whose::Ours, Whose::Mosquittos];

impl Whose {
    /// `pub` or `sub` with these arguments.
    pub fn command(self, tool: &str, arguments: &[&str]) -> Command {
        let mut command = match self {
            Self::Ours => Command::new(env!("CARGO_BIN_EXE_dunlin")),
            Self::Mosquittos => Command::new(format!("mosquitto_{tool}")),
        };
        if self == Self::Ours {
            command.arg(tool);
        }
        command.args(arguments).env("TZ", "UTC");
        command
    }

    pub fn at(self, tool: &str, address: SocketAddr, arguments: &[&str]) -> Command {
        let port = address.port().to_string();
        self.command(tool, &[&["-h", "127.0.0.1", "-p", &port], arguments].concat())
    }

    /// Publishes and ends.
    pub fn publish(self, broker: &Broker, arguments: &[&str]) {
        let output = self.at("pub", broker.address(), arguments).output().expect("the tool runs");
        assert!(output.status.success(), "{self:?} pub {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs to the end with `input` on standard input: exit code, standard output, standard error.
    pub fn run(self, tool: &str, address: SocketAddr, arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
        let mut command = self.at(tool, address, arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the tool starts");
        child.stdin.take().unwrap().write_all(input).unwrap();
        texts(&child.wait_with_output().expect("the tool ends"))
    }

    /// A subscriber that has been granted its subscriptions.
    pub fn subscribe(self, broker: &Broker, arguments: &[&str]) -> Subscriber {
        let id = format!("subscriber-{self:?}-{}", arguments.join("-").len());
        // Counted when it is sent, which a gauge is not.
        let subacks = || broker.metric("dunlin_packets_sent_total{type=\"suback\"}");
        let before = subacks();
        let arguments = if arguments.contains(&"-i") { arguments.to_vec() } else { [&["-i", &id], arguments].concat() };
        let mut command = self.at("sub", broker.address(), &arguments);
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the tool starts");
        crate::support::eventually("the subscription is there", || subacks() > before);
        Subscriber { child }
    }
}

pub fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A running subscriber, killed when dropped.
pub struct Subscriber {
    child: Child,
}

impl Subscriber {
    /// Its output, once it has ended by itself.
    pub fn output(mut self) -> (Option<i32>, String) {
        let mut text = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut text).unwrap();
        (self.child.wait().unwrap().code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Its lines, as they come.
    pub fn lines(&mut self) -> Receiver<String> {
        let output = BufReader::new(self.child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        lines
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

/// The next line.
pub fn next(lines: &Receiver<String>) -> String {
    lines.recv_timeout(PATIENCE).expect("a line")
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
