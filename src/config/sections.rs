//! The sections that belong to no room.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::units::Span;

/// `[server]`: the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Threads that serve connections; 0 is one per core.
    pub worker_threads: usize,
    /// How long clients are waited for when the broker stops; bridges, the journal and the admin port come on top.
    pub shutdown_timeout: Span,
}

impl Default for Server {
    fn default() -> Self {
        Self { worker_threads: 0, shutdown_timeout: Span::seconds(10) }
    }
}

/// `[log]`: what goes to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `"off"`, `"error"`, `"warn"`, `"info"`, `"debug"`, `"trace"`; with directives, one part more or less:
    /// `"info,dunlin::session=debug"`.
    pub level: String,
    /// `"text"` for people, `"json"` for machines, one object a line.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
