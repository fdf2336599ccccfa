//! What subcommands say: standard output and standard error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use super::exit;

/// Nothing that is said arrives any more.
static IS_GONE: AtomicBool = AtomicBool::new(false);
/// Something that was said is lost, and not because its reader went away.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);

/// A line to standard output.
pub(super) fn say(text: impl Display) {
    say_bytes(format!("{text}\n").as_bytes());
}

/// Bytes to standard output, as they are.
pub(super) fn say_bytes(bytes: &[u8]) {
    note(io::stdout().write_all(bytes));
}

/// A line to standard error.
pub(super) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether something that was said has not arrived: its reader went away, or the disk is full.
pub(super) fn is_gone() -> bool {
    note(io::stdout().flush());
    IS_GONE.load(Ordering::Relaxed)
}

/// The exit code of a subcommand that is done: it failed if what it had to say is lost.
pub(super) fn end(code: ExitCode) -> ExitCode {
    note(io::stdout().flush());
    let is_lost = HAS_FAILED.load(Ordering::Relaxed) && code == ExitCode::SUCCESS;
    if is_lost { ExitCode::from(exit::FAILURE) } else { code }
}

/// A reader that went away (`| head`) is no error; the first of all others is told.
fn note(written: io::Result<()>) {
    let Err(error) = written else { return };
    IS_GONE.store(true, Ordering::Relaxed);
    if error.kind() != ErrorKind::BrokenPipe && !HAS_FAILED.swap(true, Ordering::Relaxed) {
        complain(format_args!("standard output: {error}"));
    }
}
