//! The log: `tracing` to standard error.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{Log, LogFormat};

static FILTER: OnceLock<Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging, once per process. Colours are for terminals, and not where `NO_COLOR` is set.
///
/// # Errors
/// If the level is none, or logging was started before.
pub fn init(log: &Log) -> Result<(), String> {
    let (filter, handle) = reload::Layer::new(filter(&log.level)?);
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(colours);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(|error| error.to_string())?;
    let _ = FILTER.set(handle);
    Ok(())
}

/// Changes the level of a running log, as SIGHUP does. The format stays.
///
/// # Errors
/// If the level is none, or logging was not started.
pub fn set_level(level: &str) -> Result<(), String> {
    let filter = filter(level)?;
    let handle = FILTER.get().ok_or("logging has not been started")?;
    handle.reload(filter).map_err(|error| error.to_string())
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder().parse(level).map_err(|error| format!("{level:?} is no log level: {error}"))
}
