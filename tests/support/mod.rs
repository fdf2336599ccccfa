//! A real broker process and scripted clients on real sockets, for all integration tests.
#![allow(dead_code, unused_imports)] // each test binary uses its own part

pub mod client;
pub mod dice;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

pub use client::Client;
use tempfile::TempDir;

/// How long anything may take before a test gives up: long, since machines are slow sometimes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running `dunlin`, ended when dropped.
pub struct Broker {
    child: Child,
    /// The listeners' addresses by name; for Unix sockets the path stands in `unix`.
    pub listeners: Vec<(String, SocketAddr)>,
    pub admin: Option<SocketAddr>,
    log: Receiver<String>,
    seen: Vec<String>,
    pub folder: TempDir,
    args: Vec<String>,
}

impl Broker {
    /// A broker with one anonymous TCP listener on loopback and defaults otherwise.
    pub fn start() -> Self {
        Self::with_args(&["--listen", "tcp://127.0.0.1:0"])
    }

    /// A broker with this config; `@DIR@` in it stands for a folder of its own. Listeners take port 0.
    pub fn with_config(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::with_config_in(folder, config)
    }

    /// The same, in a folder where files have been put already.
    pub fn with_config_in(folder: TempDir, config: &str) -> Self {
        let path = folder.path().join("dunlin.toml");
        let text = config.replace("@DIR@", &folder.path().display().to_string());
        std::fs::write(&path, text).expect("the config can be written");
        let path = path.display().to_string();
        Self::spawn(folder, &["--config", &path])
    }

    /// A broker with these arguments.
    pub fn with_args(args: &[&str]) -> Self {
        Self::spawn(tempfile::tempdir().expect("a temporary folder"), args)
    }

    fn spawn(folder: TempDir, args: &[&str]) -> Self {
        Self::spawn_changed(folder, args, |_| ())
    }

    /// A broker with these arguments and a change to its command, as to its environment.
    pub fn with_command(args: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        Self::spawn_changed(tempfile::tempdir().expect("a temporary folder"), args, change)
    }

    fn spawn_changed(folder: TempDir, args: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let data = folder.path().join("data").display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(args).args(["--data-dir", &data]);
        if !args.contains(&"--log-format") {
            command.args(["--log-format", "json"]);
        }
        if !args.contains(&"--admin") {
            command.args(["--admin", "127.0.0.1:0"]);
        }
        change(&mut command);
        let (child, log) = launch(&mut command);
        let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let mut broker = Self { child, listeners: Vec::new(), admin: None, log, seen: Vec::new(), folder, args };
        broker.wait_for_start();
        broker
    }

    /// Kills it with SIGKILL and starts it again with the same arguments over the same data. Ports are others then.
    pub fn kill_and_restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let (child, log) = launch(Command::new(env!("CARGO_BIN_EXE_dunlin")).args(&self.args));
        (self.child, self.log, self.admin) = (child, log, None);
        self.listeners.clear();
        self.wait_for_start();
    }

    fn wait_for_start(&mut self) {
        loop {
            let line = self.wait_for_log("");
            let field = |name: &str| {
                let json = || line.split_once(&format!("\"{name}\":\""));
                let (_, rest) = json().or_else(|| line.split_once(&format!(" {name}=\"")))?;
                Some(rest.split_once('"')?.0.to_owned())
            };
            let is = |message: &str| field("message").as_deref() == Some(message) || line.contains(&format!(": {message} "));
            if is("listening") {
                let address = field("address").and_then(|address| address.parse().ok());
                self.listeners.extend(address.map(|address| (field("listener").unwrap_or_default(), address)));
            } else if is("admin listening") {
                self.admin = field("address").and_then(|address| address.parse().ok());
            } else if is("ready") {
                return;
            }
        }
    }

    /// The next log line that contains `text`.
    pub fn wait_for_log(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("no log line with {text:?}: {error}\n{}", self.seen.join("\n")),
            }
        }
    }

    /// All log lines that were written until now.
    pub fn log_lines(&mut self) -> &[String] {
        self.seen.extend(self.log.try_iter());
        &self.seen
    }

    /// The address of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.listeners.first().expect("the broker has a TCP listener").1
    }

    /// The address of a listener by its name.
    pub fn listener(&self, name: &str) -> SocketAddr {
        self.listeners.iter().find(|(there, _)| there == name).unwrap_or_else(|| panic!("no listener {name}")).1
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by `kill`, to this process alone.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().expect("kill runs");
        assert!(status.success(), "kill {signal}");
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the process can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "the broker does not end\n{}", self.seen.join("\n"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the process can be waited for").is_none()
    }

    /// The body of an HTTP answer of the admin port, and its status line.
    pub fn get(&self, path: &str) -> (String, String) {
        let address = self.admin.expect("the broker has an admin port");
        let mut stream = TcpStream::connect(address).expect("the admin port answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("the request goes out");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer is text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }

    /// One series of `/metrics`, by its whole name with labels; 0 if it is not there. Gauges lag behind by up to a second.
    pub fn metric(&self, series: &str) -> f64 {
        let (_, body) = self.get("/metrics");
        let line = body.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process is there");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") * 1024
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the process is there").count()
    }
}

/// The process, and the lines that it writes to its log.
fn launch(command: &mut Command) -> (Child, Receiver<String>) {
    let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().expect("the broker starts");
    let stderr = child.stderr.take().expect("stderr is piped");
    let (sender, log) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    (child, log)
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tries until it holds, or fails after a while.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
