//! `dunlin` with arguments of all kinds, also such that end it.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `dunlin` to its end, in a folder of the test's own.
pub fn dunlin(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("dunlin runs")
}

pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.current_dir(folder).args(arguments);
    command
}

/// What it came to: exit code, standard output, standard error.
pub fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("it has ended by itself"), text(&output.stdout), text(&output.stderr))
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

pub fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the file can be written");
    path.display().to_string()
}
