//! Programs that the tests run, and the files that they are about.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of `config/`.
pub fn shipped(name: &str) -> PathBuf {
    root().join("config").join(name)
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn dunlin() -> Command {
    Command::new(env!("CARGO_BIN_EXE_dunlin"))
}

/// Runs it to its end; what it says on both outputs, if its exit code is the one that is expected.
#[track_caller]
pub fn run(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/run once"));
    let text = text(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}:\n{text}");
    text
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A program that `tests/run` has put under the target folder.
pub fn installed(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target folder");
    let clients = std::env::var_os("DUNLIN_CLIENTS").map_or_else(|| target.join("clients"), PathBuf::from);
    clients.join(name)
}
