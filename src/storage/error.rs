use std::fmt;
use std::io;

use nix::errno::Errno;

/// Why the data directory cannot be used, or can be used no longer.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system said no.
    #[error("{doing} {name}: {error}")]
    Io { doing: &'static str, name: String, error: io::Error },
    /// A file was written by a later version of this program.
    #[error("{name} has format {found}, and this version reads up to {known}: use the newer version of dunlin that wrote it")]
    Newer { name: String, found: u32, known: u32 },
    /// A folder that was to have a journal has none.
    #[error("there is no journal in it")]
    Nothing,
    /// What was stored is not what is there now.
    #[error(
        "{0}; nothing was changed. Restore a backup, or start once with --recover truncate (all that was stored after it is given up) or \
         --recover skip (only what cannot be read is given up)"
    )]
    Damaged(Damage),
}

impl StorageError {
    pub(super) fn io(doing: &'static str, name: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let name = name.into();
        move |error| Self::Io { doing, name, error }
    }

    /// The disk has no more room: this passes.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { error, .. } if is_full(error))
    }

    /// This process, or the system, has as many files open as it may: this passes too.
    pub(super) fn lacks_files(&self) -> bool {
        matches!(self, Self::Io { error, .. } if lacks_files(error))
    }
}

pub(super) fn lacks_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A place that cannot be read as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub file: String,
    pub offset: u64,
    pub what: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at offset {}: {}", self.file, self.offset, self.what)
    }
}
