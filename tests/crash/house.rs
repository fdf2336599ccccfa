//! A data directory and the broker processes that come and go over it.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::faults::Faults;
use crate::support::PATIENCE;

/// A folder with a config and a data directory.
pub struct House {
    folder: TempDir,
    config: PathBuf,
    data: PathBuf,
    /// What goes wrong with the files of the data directory; nothing by default.
    pub faults: Option<Faults>,
}

/// A process that has ended by itself.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// Standard output.
    pub said: String,
    /// Standard error: the log, or a complaint.
    pub told: String,
}

/// A running `dunlin`, killed when dropped.
pub struct Broker {
    child: Child,
    address: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    log: Receiver<String>,
    seen: VecDeque<String>,
}

/// Log lines that are kept for a failure's report.
const LINES_KEPT: usize = 200;

impl House {
    /// One with this config beside a TCP listener.
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().canonicalize().expect("the folder is there");
        let path = place.join("dunlin.toml");
        let text = format!("{config}\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n");
        fs::write(&path, text).expect("the config can be written");
        let data = place.join("data");
        Self { folder, config: path, data, faults: None }
    }

    /// One whose files can be made to fail.
    pub fn with_faults(config: &str) -> Self {
        let mut house = Self::new(config);
        house.faults = Some(Faults::over(&house.data, &house.folder().join("faults")));
        house
    }

    /// One whose power can be cut.
    pub fn with_power(config: &str) -> Self {
        let mut house = Self::with_faults(config);
        house.faults = house.faults.map(Faults::with_power);
        house
    }

    /// The same config over another data directory: that of `dunlin restore`, or a copy.
    pub fn moved_to(&self, data: PathBuf) -> Self {
        let mut house = Self::new("");
        fs::copy(&self.config, &house.config).expect("the config can be copied");
        house.data = data;
        house
    }

    /// The same config over a copy of the data directory.
    pub fn copy(&self) -> Self {
        let mut house = self.moved_to(PathBuf::new());
        house.data = house.folder().join("data");
        copy_folder(&self.data, &house.data);
        house
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn faults(&self) -> &Faults {
        self.faults.as_ref().expect("a house with faults")
    }

    /// A broker that is ready.
    pub fn start(&self) -> Broker {
        self.start_with(&[])
    }

    /// The same with more arguments.
    pub fn start_with(&self, arguments: &[&str]) -> Broker {
        self.try_start(arguments).unwrap_or_else(|ended| panic!("the broker does not start: {:?}\n{}", ended.code, ended.told))
    }

    /// A broker that is ready, or how it ended.
    pub fn try_start(&self, arguments: &[&str]) -> Result<Broker, Ended> {
        let mut broker = self.spawn(arguments);
        if broker.becomes_ready() { Ok(broker) } else { Err(broker.ends()) }
    }

    /// A broker of which nothing is known yet.
    pub fn spawn(&self, arguments: &[&str]) -> Broker {
        let mut command = Command::new(program());
        command.arg("run").arg("--config").arg(&self.config).arg("--data-dir").arg(&self.data);
        command.args(["--admin", "127.0.0.1:0", "--log-format", "json"]).args(arguments);
        if let Some(faults) = &self.faults {
            faults.apply_to(&mut command);
        }
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
        Broker { child, address: None, admin: None, log, seen: VecDeque::new() }
    }

    /// Keeps the folder beyond the test, for a look at it.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

/// The program that was built with the tests, or `DUNLIN_CRASH_PROGRAM`.
fn program() -> PathBuf {
    std::env::var_os("DUNLIN_CRASH_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_dunlin").into(), PathBuf::from)
}

/// Runs `dunlin` with these arguments to its end.
pub fn dunlin(arguments: &[&str]) -> Ended {
    let output = Command::new(program()).args(arguments).output().expect("dunlin runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), said: text(&output.stdout), told: text(&output.stderr) }
}

pub fn text(path: &Path) -> String {
    path.display().to_string()
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("a file type");
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

impl Broker {
    /// Where its clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("a broker that is ready")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and the process is gone when this returns.
    pub fn kill(mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
    }

    /// Sends a signal, by `kill`, to this process alone.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().expect("kill runs");
        assert!(status.success(), "kill {signal}");
    }

    /// SIGTERM, and it ends as it should.
    pub fn stop(mut self) {
        self.signal("-TERM");
        let ended = self.ends();
        assert_eq!(ended.code, Some(0), "{}", ended.told);
    }

    /// Waits until it has ended by itself.
    pub fn ends(&mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.child.try_wait().expect("the process can be waited for");
            if let Some(status) = status {
                while let Ok(line) = self.log.recv_timeout(PATIENCE) {
                    self.keep_line(line);
                }
                return Ended { code: status.code(), said: String::new(), told: self.told() };
            }
            self.read_log();
            assert!(Instant::now() < deadline, "the broker does not end\n{}", self.told());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the process can be waited for").is_none()
    }

    /// The last lines of the log.
    pub fn told(&mut self) -> String {
        self.read_log();
        self.seen.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The status and body of an HTTP answer of the admin port; `None` if there is none.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.admin?).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// One series of `/metrics`, by its whole name with labels; 0 if it is not there. Gauges lag behind by up to a second.
    pub fn metric(&self, series: &str) -> f64 {
        let (_, body) = self.get("/metrics").expect("the admin port answers");
        let line = body.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// `false` when it ends before.
    fn becomes_ready(&mut self) -> bool {
        loop {
            let Some(line) = self.find_log("\"message\":") else { return false };
            let field = |name: &str| Some(line.split_once(&format!("\"{name}\":\""))?.1.split_once('"')?.0);
            let address = || field("address").and_then(|address| address.parse().ok());
            match field("message") {
                Some("listening") => self.address = self.address.or_else(address),
                Some("admin listening") => self.admin = address(),
                Some("ready") => return true,
                _ => {}
            }
        }
    }

    /// The next log line that contains `text`, or `None` at the end of the log.
    fn find_log(&mut self, text: &str) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.keep_line(line.clone());
            if line.contains(text) {
                return Some(line);
            }
        }
        None
    }

    fn read_log(&mut self) {
        while let Ok(line) = self.log.try_recv() {
            self.keep_line(line);
        }
    }

    fn keep_line(&mut self, line: String) {
        if self.seen.len() == LINES_KEPT {
            self.seen.pop_front();
        }
        self.seen.push_back(line);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
