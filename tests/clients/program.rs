//! Programs of others: started, watched line by line, ended.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a program may be silent, or take to end. A browser's first start on a busy machine takes long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program, killed when dropped.
pub struct Program {
    name: String,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    /// Starts it with nothing on its standard input; what it says on both outputs is read as lines.
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// The same with a file on its standard input.
    pub fn start_reading(command: &mut Command, file: &Path) -> Self {
        Self::start_with(command, File::open(file).expect("the file is there").into())
    }

    fn start_with(command: &mut Command, stdin: Stdio) -> Self {
        let name = format!("{command:?}");
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}; run tests/run once"));
        let (sender, lines) = channel();
        forward(child.stdout.take().expect("it is piped"), sender.clone());
        forward(child.stderr.take().expect("it is piped"), sender);
        Self { name, child, lines, seen: Vec::new() }
    }

    /// The next line that contains `text`.
    pub fn expect_line(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("{}: no line with {text:?} after\n{}", self.name, self.seen.join("\n")),
            }
        }
    }

    /// Waits for its end with exit code 0; returns the lines that have not been asked for.
    pub fn succeed(mut self) -> Vec<String> {
        let (code, lines) = self.finish();
        assert_eq!(code, Some(0), "{}:\n{}\n{}", self.name, self.seen.join("\n"), lines.join("\n"));
        lines
    }

    /// Waits for its end with another exit code than 0; returns what it said.
    pub fn fail(mut self) -> String {
        let (code, lines) = self.finish();
        assert_ne!(code, Some(0), "{} is expected to fail:\n{}", self.name, lines.join("\n"));
        lines.join("\n")
    }

    /// Waits for its end, whatever its exit code.
    pub fn end(mut self) {
        self.finish();
    }

    /// Kills it, so that it cannot say goodbye.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
    }

    fn finish(&mut self) -> (Option<i32>, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("{} does not end:\n{}", self.name, lines.join("\n")),
            }
        }
        (self.child.wait().expect("it can be waited for").code(), lines)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(output: impl std::io::Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            line.clear();
            if lines.send(text).is_err() {
                break;
            }
        }
    });
}

/// `mosquitto_pub`, `mosquitto_sub` or `mosquitto_rr` with these arguments; each line is written as soon as it is whole.
pub fn mosquitto(tool: &str, address: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new("stdbuf");
    let port = address.port().to_string();
    command.args(["-oL", tool, "-h", "127.0.0.1", "-p", &port]).args(arguments);
    command
}

/// Publishes with `mosquitto_pub` and waits for its end.
pub fn publish(address: SocketAddr, arguments: &[&str]) {
    Program::start(&mut mosquitto("mosquitto_pub", address, arguments)).succeed();
}

/// Starts `mosquitto_sub` and returns when the broker has granted its subscriptions.
pub fn subscribe(address: SocketAddr, arguments: &[&str]) -> Program {
    let mut program = Program::start(mosquitto("mosquitto_sub", address, arguments).arg("-d"));
    program.expect_line("Subscribed (mid: 1): ");
    program
}

/// The lines that `mosquitto_sub -d` writes for messages and not for itself.
pub fn messages(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().filter(|line| !line.starts_with("Client ") && !line.starts_with("Subscribed ")).collect()
}

/// Runs a script beside this file (Python or JavaScript by its name) to its successful end.
pub fn run_script(name: &str, arguments: &[&str]) {
    let lines = Program::start(script(name).args(arguments)).succeed();
    assert!(!lines.is_empty(), "{name} tells what it has done");
}

/// A script beside this file, to be run with the clients that `tests/run` has installed.
pub fn script(name: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
    let clients = installed();
    let mut command = if name.ends_with(".py") {
        check_stamp(&clients.join("venv/requirements.txt"), include_str!("requirements.txt"));
        let mut python = Command::new(clients.join("venv/bin/python"));
        python.args(["-B", "-u"]);
        python
    } else {
        packages();
        Command::new("node")
    };
    command.arg(path).env("DUNLIN_CLIENTS", &clients);
    command
}

/// Chromium, or `None` where it is not installed. In CI it has to be there.
pub fn chromium() -> Option<String> {
    let places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from);
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let found = named.into_iter().chain(places).find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "no Chromium: run tests/run, which installs it");
        println!("SKIPPED: Chromium is not installed (or name it in CHROMIUM); tests/run installs it");
    }
    found.map(|path| path.display().to_string())
}

/// The folder of the packages for JavaScript.
pub fn packages() -> PathBuf {
    let packages = installed().join("node_modules");
    check_stamp(&packages.join("package-lock.json"), include_str!("package-lock.json"));
    packages
}

/// Where `tests/run` puts its virtual environment and its `node_modules`.
fn installed() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target folder");
    std::env::var_os("DUNLIN_CLIENTS").map_or_else(|| target.join("clients"), PathBuf::from)
}

/// What was installed is what the sources ask for; the stamp is written last, so a half installation has none.
fn check_stamp(stamp: &Path, wanted: &str) {
    let there = std::fs::read_to_string(stamp).unwrap_or_default();
    assert!(there == wanted, "the clients of this test are missing or old ({}): run tests/run once", stamp.display());
}
