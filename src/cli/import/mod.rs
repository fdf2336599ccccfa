//! `dunlin import`: a config from what another broker runs with.
//!
//! [`source`] reads the lines, [`Reading`] gives each to the room that knows its option and keeps the verdict, and what the rooms
//! gathered becomes our config. A line that no room takes is unknown, so that none is dropped in silence.

mod bridge;
mod document;
mod files;
mod global;
mod listener;
mod options;
mod reading;
mod report;
mod security;
mod source;
#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use self::files::NewFile;
use self::reading::Reading;
use super::{complain, exit, say};
use crate::config::{ConfigSource, Flags};
use crate::server;

/// Move over from another broker.
#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// Make a config from mosquitto's.
    ///
    /// Writes DIR/dunlin.toml, copies of the password and ACL files, and DIR/import-report.txt, which tells of every line what became
    /// of it. Certificates and keys stay where they are. What is not taken over, or means something else in part, is told on standard
    /// error too. mosquitto.db is not read.
    Mosquitto(MosquittoArgs),
}

#[derive(Debug, Args)]
pub(super) struct MosquittoArgs {
    /// mosquitto's config file; those in its include_dir are read too.
    file: PathBuf,
    /// Folder to write to; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The version whose defaults hold: 1 lets anonymous clients in unless told otherwise, and listens everywhere without a listener.
    #[arg(long, value_name = "1|2", default_value = "2")]
    mosquitto: Version,
    /// Where the config's paths are on this machine, as in /mosquitto/config=./config; can be given several times.
    #[arg(long, value_name = "FROM=TO", value_parser = mapping)]
    map: Vec<(String, PathBuf)>,
    /// The path at which WebSocket clients are served; mosquitto serves them at any.
    #[arg(long, value_name = "PATH", default_value = "/mqtt", value_parser = websocket_path)]
    websocket_path: String,
    /// Overwrite files that are there.
    #[arg(long)]
    force: bool,
}

/// The major versions, whose defaults differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Version {
    #[value(name = "1")]
    One,
    #[default]
    #[value(name = "2")]
    Two,
}

fn mapping(text: &str) -> Result<(String, PathBuf), String> {
    let (from, to) = text.split_once('=').ok_or("write it as FROM=TO")?;
    Ok((from.trim_end_matches('/').into(), to.into()))
}

fn websocket_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.contains(['?', '#', ' ']) { Ok(text.into()) } else { Err("a path starts with /".into()) }
}

pub(super) fn import(command: &ImportCommand) -> ExitCode {
    let ImportCommand::Mosquitto(args) = command;
    match mosquitto(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error.trim_end());
            ExitCode::from(exit::FAILURE)
        }
    }
}

const CONFIG: &str = "dunlin.toml";
const REPORT: &str = "import-report.txt";

fn mosquitto(args: &MosquittoArgs) -> Result<(), String> {
    let result = Reading::of(args)?.finish(args);
    let (lines, lost) = result.report.count();
    let mut files = result.files;
    let report = result.report.full(&args.file.display().to_string());
    files.push(NewFile { name: CONFIG.into(), text: result.config, is_secret: result.is_secret });
    files.push(NewFile { name: REPORT.into(), text: report, is_secret: false });
    write(&args.out, &files, args.force)?;

    complain(result.report.urgent().trim_end());
    let config = args.out.join(CONFIG);
    let names = files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", ");
    say(format_args!("{lines} lines read, {lost} not taken over. Written to {}: {names}", args.out.display()));
    starts(&config)?;
    say(format_args!("Next: dunlin --config {}", config.display()));
    Ok(())
}

/// Whether the broker would start with it, as `dunlin check` sees it: without the variables of this process.
fn starts(config: &Path) -> Result<(), String> {
    let does_not = |errors: String| format!("The result does not start yet:\n{errors}");
    let loaded = ConfigSource::new(Some(config.into()), Flags::default()).with_environment(&[]).load();
    let loaded = loaded.map_err(|errors| does_not(errors.to_string()))?;
    let errors = server::file_errors(&loaded);
    loaded.warnings().iter().for_each(|warning| complain(format_args!("warning: {warning}")));
    if errors.is_empty() { Ok(()) } else { Err(does_not(errors.join("\n"))) }
}

fn write(dir: &Path, files: &[NewFile], force: bool) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    if !force && let Some(there) = files.iter().map(|file| dir.join(&file.name)).find(|path| path.symlink_metadata().is_ok()) {
        return Err(format!("{} is there already; --force overwrites it", there.display()));
    }
    files.iter().try_for_each(|file| write_file(dir, file))
}

/// Always makes a new file, and puts it in the place of one that is there: writing into that would keep its mode, and could stop halfway.
fn write_file(dir: &Path, file: &NewFile) -> Result<(), String> {
    let (path, beside) = (dir.join(&file.name), dir.join(format!(".{}.new", file.name)));
    let mode = if file.is_secret { 0o600 } else { 0o644 };
    let write = || {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        new.write_all(file.text.as_bytes())?;
        fs::rename(&beside, &path)
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// A path of the config, as this machine knows it: moved by `--map`, and if relative, taken from the config's folder unless it is in
/// the folder where this runs, as it would be for mosquitto.
fn locate(args: &MosquittoArgs, path: &str) -> PathBuf {
    let moved = args.map.iter().find_map(|(from, to)| {
        let rest = path.strip_prefix(from.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(to.join(rest.trim_start_matches('/')))
    });
    let path = moved.unwrap_or_else(|| PathBuf::from(path));
    let beside = args.file.parent().map(|folder| folder.join(&path)).filter(|beside| !path.exists() && beside.exists());
    let path = beside.unwrap_or(path);
    absolute(&path).unwrap_or(path)
}
