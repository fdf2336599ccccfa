//! `dunlin run`, and `dunlin` alone.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{complain, exit, logging};
use crate::config::{ConfigSource, Flags, LogFormat};
use crate::server;
use crate::storage::Recover;

/// Where the config comes from, for every subcommand that reads it.
#[derive(Clone, Debug, Args)]
pub(super) struct RunArgs {
    /// Config file (TOML); without one, the defaults.
    ///
    /// What stands below double brackets can be set there only, and not by the environment: `[[listeners]]`, `[[queues]]`,
    /// `[[bridges]]`, `[[durability.topics]]`, `[[auth.jwt.claims]]`.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here, instead of where the config says; can be given several times.
    ///
    /// tcp://127.0.0.1:1883, tls://0.0.0.0:8883, ws://127.0.0.1:8083/mqtt, wss://…, unix:///run/dunlin/dunlin.sock. tls
    /// and wss need certificates, which only a config file can name.
    #[arg(long, value_name = "URL")]
    listen: Vec<String>,
    /// Folder for what must survive a restart.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where to serve the dashboard, the API, /metrics, /healthz and /readyz, or "none".
    #[arg(long, value_name = "ADDR|none")]
    admin: Option<String>,
    /// Let clients without a user name in everywhere, not only on loopback.
    #[arg(long)]
    allow_anonymous: bool,
    /// error, warn, info, debug, trace or off; also per part: "info,dunlin::session=debug".
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How to write the log.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Start over a damaged journal: "truncate" gives up all that was stored after the damage, "skip" only what cannot be read.
    ///
    /// Only for one start, after the broker has said that it does not start and where the damage is. What is given up is told in
    /// the log.
    #[arg(long, value_name = "truncate|skip")]
    recover: Option<RecoverFlag>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RecoverFlag {
    Truncate,
    Skip,
}

impl From<RecoverFlag> for Recover {
    fn from(flag: RecoverFlag) -> Self {
        match flag {
            RecoverFlag::Truncate => Self::Truncate,
            RecoverFlag::Skip => Self::Skip,
        }
    }
}

impl RunArgs {
    pub(super) fn source(&self) -> ConfigSource {
        ConfigSource::new(self.config.clone(), self.flags())
    }

    pub(super) fn flags(&self) -> Flags {
        Flags {
            listen: self.listen.clone(),
            data_dir: self.data_dir.clone(),
            admin: self.admin.clone(),
            allow_anonymous: self.allow_anonymous,
            log_level: self.log_level.clone(),
            log_format: self.log_format,
        }
    }
}

pub(super) fn run(args: &RunArgs) -> ExitCode {
    let source = args.source();
    let loaded = match source.load_all() {
        Ok(loaded) => loaded,
        Err(errors) => {
            complain(errors);
            return ExitCode::from(exit::CONFIG);
        }
    };
    if let Err(error) = logging::init(&loaded.config.log) {
        complain(error);
        return ExitCode::from(exit::FAILURE);
    }
    for warning in loaded.warnings() {
        tracing::warn!("{warning}");
    }
    server::run(loaded, source, args.recover.map(Recover::from))
}
