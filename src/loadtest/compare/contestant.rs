//! A broker that takes part.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

/// How long a broker may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to end when told to, before it is killed.
const ENDING: Duration = Duration::from_secs(10);

/// Brokers that run now, with their folders, for a process that ends without ending them first.
static STARTED: Mutex<Vec<(Pid, PathBuf)>> = Mutex::new(Vec::new());

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
    Own { child: Child, folder: Folder },
    Foreign(Option<u32>),
}

/// Removed when dropped.
pub(super) struct Folder(PathBuf);

impl Contestant {
    /// Waits until it listens.
    pub(super) fn start(&self, address: SocketAddr, interrupted: &AtomicBool) -> Result<Running, String> {
        let Process::Started { command, folder, files, prepare } = &self.process else {
            return Ok(Running::Foreign(if let Process::Running(pid) = self.process { pid } else { None }));
        };
        if TcpStream::connect(address).is_ok() {
            return Err(format!("something listens on {address} already"));
        }
        let wrong = |error: io::Error| format!("{}: {error}", folder.display());
        let own = Folder::new(folder).map_err(wrong)?;
        for (name, text) in files {
            fs::write(folder.join(name), text).map_err(wrong)?;
        }
        prepare.iter().try_for_each(|command| run_to_end(command))?;
        let output = File::create(own.log()).map_err(wrong)?;
        let child = spawn(command, output)?;
        STARTED.lock().push((Pid::from_child(&child), folder.clone()));
        let mut running = Running::Own { child, folder: own };
        running.wait_for(address, interrupted)?;
        Ok(running)
    }
}

/// Kills the brokers that run now, for a process that ends at once.
pub fn abandon() {
    for (pid, folder) in STARTED.lock().drain(..) {
        let _ = kill_process(pid, Signal::KILL);
        // What it was writing when it was told may still come.
        for _ in 0..50 {
            let _ = fs::remove_dir_all(&folder);
            if !folder.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Folder {
    /// An empty one.
    fn new(path: &Path) -> io::Result<Self> {
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
        let folder = Self(path.into());
        fs::create_dir_all(path)?;
        Ok(folder)
    }

    /// Where what the broker says is written.
    fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Running {
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Own { child, .. } => Some(child.id()),
            Self::Foreign(pid) => *pid,
        }
    }

    fn wait_for(&mut self, address: SocketAddr, interrupted: &AtomicBool) -> Result<(), String> {
        let Self::Own { child, folder } = self else { return Ok(()) };
        let wrong = |what: String| Err(format!("{what}; {}", last_line(&folder.log())));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if let Ok(Some(status)) = child.try_wait() {
                return wrong(format!("it ended with {status} before it listened on {address}"));
            }
            if Instant::now() > deadline || interrupted.load(Ordering::Relaxed) {
                return wrong(format!("it does not listen on {address}"));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The folder goes when this is done.
        let Self::Own { child, .. } = self else { return };
        let pid = Pid::from_child(child);
        let _ = kill_process(pid, Signal::TERM);
        let deadline = Instant::now() + ENDING;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        STARTED.lock().retain(|(started, _)| *started != pid);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// In a process group of its own: Ctrl-C is for this process, which ends the broker when the run is over.
fn spawn(command: &[String], output: File) -> Result<Child, String> {
    let (program, arguments) = command.split_first().ok_or("its command is empty")?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    let child = command.args(arguments).stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0).spawn();
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
