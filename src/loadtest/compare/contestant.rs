//! A broker that takes part.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a broker may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to end when told to, before it is killed.
const ENDING: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Contestant {
    pub name: String,
    pub process: Process,
}

#[derive(Clone, Debug)]
pub enum Process {
    /// It runs already; with its process, if that is on this machine.
    Running(Option<u32>),
    /// It is started for each run, and ended after it.
    Started {
        command: Vec<String>,
        /// Made anew for each run; `{dir}` in the command.
        folder: PathBuf,
        /// Name and text of files that are written into the folder.
        files: Vec<(String, String)>,
        /// Commands that are run to their ends before, one after the other.
        prepare: Vec<Vec<String>>,
    },
}

/// Ended when dropped, if it was started, and its folder with it.
pub(super) enum Running {
    Own { child: Child, folder: PathBuf },
    Foreign(Option<u32>),
}

impl Contestant {
    /// Waits until it listens.
    pub(super) fn start(&self, address: SocketAddr) -> Result<Running, String> {
        let Process::Started { command, folder, files, prepare } = &self.process else {
            return Ok(Running::Foreign(if let Process::Running(pid) = self.process { pid } else { None }));
        };
        let wrong = |error: std::io::Error| format!("{}: {}: {error}", self.name, folder.display());
        if TcpStream::connect(address).is_ok() {
            return Err(format!("{}: something listens on {address} already", self.name));
        }
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(wrong)?;
        }
        fs::create_dir_all(folder).map_err(wrong)?;
        for (name, text) in files {
            fs::write(folder.join(name), text).map_err(wrong)?;
        }
        for command in prepare {
            run_to_end(command).map_err(|error| format!("{}: {error}", self.name))?;
        }
        let log = folder.join("log");
        let output = File::create(&log).map_err(wrong)?;
        let child = spawn(command, output).map_err(|error| format!("{}: {error}", self.name))?;
        let mut running = Running::Own { child, folder: folder.clone() };
        running.wait_for(address).map_err(|error| format!("{}: {error}; {}", self.name, last_line(&log)))?;
        Ok(running)
    }
}

impl Running {
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Own { child, .. } => Some(child.id()),
            Self::Foreign(pid) => *pid,
        }
    }

    fn wait_for(&mut self, address: SocketAddr) -> Result<(), String> {
        let Self::Own { child, .. } = self else { return Ok(()) };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("it ended with {status} before it listened on {address}"));
            }
            if Instant::now() > deadline {
                return Err(format!("it does not listen on {address}"));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Self::Own { child, folder } = self else { return };
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
        let deadline = Instant::now() + ENDING;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
        let _ = fs::remove_dir_all(folder);
    }
}

fn spawn(command: &[String], output: File) -> Result<Child, String> {
    let (program, arguments) = command.split_first().ok_or("its command is empty")?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
    child.map_err(|error| format!("cannot start {program}: {error}"))
}

fn run_to_end(command: &[String]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("a command in `prepare` is empty")?;
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot start {program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{}: {}: {}", command.join(" "), output.status, said.trim())) }
}

/// What the broker said last, which is mostly why.
fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("it said: {}", line.trim()),
        None => "it said nothing".into(),
    }
}
