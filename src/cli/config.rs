//! `dunlin config print`.

use std::process::ExitCode;

use clap::Subcommand;

use super::run::RunArgs;
use super::{complain, exit, say};
use crate::config::Loaded;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print what is in force: defaults, file, changes over the admin API, environment and flags put together. Secrets are masked.
    Print(RunArgs),
}

pub(super) fn config(command: &ConfigCommand) -> ExitCode {
    let ConfigCommand::Print(args) = command;
    match args.source().for_onlooker().load_all() {
        Ok(Loaded { config, overrides }) => {
            for warning in overrides.warnings() {
                complain(format_args!("warning: {warning}"));
            }
            if !overrides.keys.is_empty() {
                say(format_args!("# Changed over the admin API ({}): {}", overrides.file.display(), overrides.keys.join(", ")));
            }
            say(config.to_toml().trim_end());
            ExitCode::SUCCESS
        }
        Err(errors) => {
            complain(errors);
            ExitCode::from(exit::CONFIG)
        }
    }
}
