//! What is wrong with a config, where, and how to put it right.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value, or an error, comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of the config file or of the overrides, counted from 1.
    Line { file: PathBuf, line: usize },
    /// One of them as a whole.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nobody set it.
    Default,
}

/// One thing that is wrong. Shown as `dunlin.toml:12: limits.max_packet_size: "64 potatoes" is no size; …`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    pub place: Place,
    /// The key with its tables, `listeners[0].url`, counted from 0; empty where the error is about the file as a whole.
    pub key: String,
    pub message: String,
}

/// All that is wrong, in the order of the file, then the environment, then the command line. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl Place {
    pub(super) fn is_in(&self, path: &Path) -> bool {
        matches!(self, Self::Line { file, .. } | Self::File(file) if file == path)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{}:{line}", file.display()),
            Self::File(file) => file.display().fmt(f),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.place, self.message)
        } else {
            write!(f, "{}: {}: {}", self.place, self.key, self.message)
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}
impl Error for ConfigErrors {}
