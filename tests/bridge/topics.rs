//! Publishers, readers and brokers for the bridge's tests.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{Broker, eventually};

/// A broker of ours with a bridge called `other` to that address.
pub fn broker(other: SocketAddr, version: &str, topics: &str) -> Broker {
    Broker::with_config(&config(other, version, topics))
}

pub fn config(other: SocketAddr, version: &str, topics: &str) -> String {
    format!(
        "[[listeners]]\nname = 'tcp'\nurl = 'tcp://127.0.0.1:0'\n[sys]\ninterval = '1s'\n\
        [[bridges]]\nname = 'other'\nurls = ['tcp://{other}']\nversion = '{version}'\nreconnect_min = '50ms'\n\
        reconnect_max = '200ms'\n{topics}"
    )
}

/// Waits until the bridge is connected, or is not.
pub fn is_up(broker: &Broker, is_up: bool) {
    let wanted = f64::from(u8::from(is_up));
    eventually("the bridge is as expected", || broker.metric("dunlin_bridge_connected{bridge=\"other\"}") == wanted);
}

/// A broker, by our own tools.
pub struct Side(pub SocketAddr);

impl Side {
    fn command(&self, tool: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args([tool, "-h", "127.0.0.1", "-p", &self.0.port().to_string()]).args(arguments);
        command
    }

    pub fn publish(&self, arguments: &[&str]) {
        let output = self.command("pub", arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn fails(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command("pub", arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// What a subscriber prints until it ends.
    pub fn read(&self, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.command("sub", arguments).output().unwrap().stdout).into_owned()
    }
}

/// Publishes numbers, one message each, and waits until the broker has acknowledged all.
pub fn publish_lines(to: SocketAddr, topic: &str, qos: u8, count: usize) {
    let mut command = Side(to).command("pub", &["-t", topic, "-q", &qos.to_string(), "-l"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for number in 0..count {
        writeln!(input, "{number}").unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

/// Reads all that comes.
pub struct Reader {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Reader {
    pub fn start(at: SocketAddr, filter: &str, qos: u8) -> Self {
        let arguments = ["-t", filter, "-q", &qos.to_string(), "-d", "-F", "= %t %p", "-c", "-i", "reader"];
        let mut child = Side(at).command("sub", &arguments).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let shared = lines.clone();
        thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| shared.lock().unwrap().push(line)));
        let reader = Self { child, lines };
        eventually("the reader has subscribed", || {
            reader.lines.lock().unwrap().iter().any(|line| line.starts_with("Subscribed"))
        });
        reader
    }

    /// Topic and payload of each message.
    fn messages(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter_map(|line| line.strip_prefix("= ").map(String::from)).collect()
    }

    pub fn count(&self) -> usize {
        self.messages().len()
    }

    /// Different messages.
    pub fn distinct(&self) -> usize {
        self.messages().into_iter().collect::<HashSet<_>>().len()
    }

    /// Messages by topic.
    pub fn topics(&self) -> BTreeMap<String, usize> {
        let mut topics = BTreeMap::new();
        for message in self.messages() {
            *topics.entry(message.split(' ').next().unwrap().to_owned()).or_default() += 1;
        }
        topics
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
