//! `dunlin backup` and `dunlin restore`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, lchown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Deserialize;

use super::say;
use crate::auth::give_to_owner_of;
use crate::broker::{QueueFold, wall_clock};
use crate::server::connect_control;
use crate::storage::{Clock, FileBackend, Summary};

/// Copies the data directory of a running broker, or of one that is stopped, as it is at one moment. The broker goes on meanwhile;
/// everything that it had acknowledged when this began is in the copy. The folder must be new or empty.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Folder to copy to.
    dir: PathBuf,
    /// The broker's data directory.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
}

/// Puts a backup in place as a data directory, after checking it. The data directory must be new or empty.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The folder that `dunlin backup` made.
    backup: PathBuf,
    /// The data directory to make.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    /// Names and bytes.
    files: Vec<(String, u64)>,
    error: Option<String>,
}

pub(super) fn backup(args: &BackupArgs) -> Result<(), String> {
    if !args.data_dir.is_dir() {
        return Err(format!("{} is no folder", args.data_dir.display()));
    }
    empty_folder(&args.dir)?;
    match connect_control(&args.data_dir) {
        Ok(stream) => backup_running(args, stream)?,
        Err(_) => backup_stopped(args)?,
    }
    let summary = check(&args.dir)?;
    let (sessions, retained) = (summary.sessions.len(), summary.retained.len());
    let messages: usize = summary.sessions.iter().map(|session| session.messages).sum();
    say(format_args!("{}: {sessions} sessions, {messages} messages, {retained} retained messages", args.dir.display()));
    Ok(())
}

fn backup_running(args: &BackupArgs, stream: UnixStream) -> Result<(), String> {
    let wrong = |error: io::Error| format!("the broker of {} does not answer: {error}", args.data_dir.display());
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"backup\n").map_err(wrong)?;
    let mut line = String::new();
    stream.read_line(&mut line).map_err(wrong)?;
    let answer: Answer = serde_json::from_str(&line).map_err(|error| format!("the broker's answer is none: {error}"))?;
    if let Some(error) = answer.error {
        return Err(format!("the broker cannot: {error}"));
    }
    // The files stay as they are as long as the stream is open.
    answer.files.iter().try_for_each(|(name, bytes)| copy(&args.data_dir, &args.dir, name, *bytes))
}

/// Nobody is writing: the lock tells.
fn backup_stopped(args: &BackupArgs) -> Result<(), String> {
    let path = args.data_dir.join("LOCK");
    let is_new = path.symlink_metadata().is_err();
    let _lock = crate::server::lock_data_dir(&args.data_dir)?;
    if is_new && let Ok(owner) = fs::metadata(&args.data_dir) {
        // Else the broker could not take the lock that root has made.
        let _ = lchown(&path, Some(owner.uid()), Some(owner.gid()));
    }
    copy_all(&args.data_dir, &args.dir)
}

pub(super) fn restore(args: &RestoreArgs) -> Result<(), String> {
    check(&args.backup)?;
    empty_folder(&args.data_dir)?;
    copy_all(&args.backup, &args.data_dir)?;
    check(&args.data_dir)?;
    say(format_args!("{} holds what {} held", args.data_dir.display(), args.backup.display()));
    Ok(())
}

/// Reads a backup as a start would, with all that waits in sessions and work queues.
pub fn check(folder: &Path) -> Result<Summary, String> {
    let clock = Clock::new(Instant::now(), wall_clock());
    let read = Summary::check(&FileBackend::new(folder), Box::new(QueueFold::default()), &clock);
    read.map(|(summary, _)| summary).map_err(|error| format!("{}: {error}", folder.display()))
}

fn copy_all(from: &Path, to: &Path) -> Result<(), String> {
    let wrong = |error| format!("cannot read {}: {error}", from.display());
    for entry in fs::read_dir(from).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("segment-") || name.starts_with("checkpoint-") {
            let length = entry.metadata().map_err(wrong)?.len();
            copy(from, to, &name, length)?;
        }
    }
    Ok(())
}

/// Copies the first `bytes` of a file, synced. What root copies belongs to the owner of the folder.
pub fn copy(from: &Path, to: &Path, name: &str, bytes: u64) -> Result<(), String> {
    let copied = || {
        let mut source = File::open(from.join(name))?.take(bytes);
        let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to.join(name))?;
        give_to_owner_of(to, &target);
        let count = io::copy(&mut source, &mut target)?;
        target.sync_all()?;
        if count < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { File::open(to)?.sync_all() }
    };
    copied().map_err(|error: io::Error| format!("cannot copy {name} to {}: {error}", to.display()))
}

/// Makes a folder, or finds that it is empty.
pub fn empty_folder(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let mut entries = fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    if entries.next().is_some() { Err(format!("{} is not empty", folder.display())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn copies_are_their_owners_alone() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("segment"), "content").unwrap();
        copy(from.path(), to.path(), "segment", 4).unwrap();
        let copied = to.path().join("segment");
        assert_eq!(fs::read(&copied).unwrap(), b"cont");
        assert_eq!(fs::metadata(&copied).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_folder() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        if [&from, &to].iter().any(|folder| chown(folder.path(), Some(12_345), Some(12_346)).is_err()) {
            return; // Only root gives folders away.
        }
        fs::write(from.path().join("segment-1"), "content").unwrap();
        backup_stopped(&BackupArgs { dir: to.path().into(), data_dir: from.path().into() }).unwrap();
        for made in [from.path().join("LOCK"), to.path().join("segment-1")] {
            let owner = fs::metadata(&made).unwrap();
            assert_eq!((owner.uid(), owner.gid()), (12_345, 12_346), "{}", made.display());
        }
    }

    #[test]
    fn an_empty_folder_is_no_backup() {
        let folder = tempfile::tempdir().unwrap();
        let (backup, data_dir) = (folder.path().join("backup"), folder.path().join("data"));
        fs::create_dir(&backup).unwrap();
        let told = restore(&RestoreArgs { backup, data_dir: data_dir.clone() }).unwrap_err();
        assert!(told.contains("no journal") && !data_dir.exists(), "{told}");
    }
}
