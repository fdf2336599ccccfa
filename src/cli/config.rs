//! `dunlin config print`.

use std::process::ExitCode;

use clap::Subcommand;

use super::run::RunArgs;
use super::{complain, exit, say};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print what is in force: defaults, file, environment and flags put together. Secrets are masked.
    Print(RunArgs),
}

pub(super) fn config(command: &ConfigCommand) -> ExitCode {
    let ConfigCommand::Print(args) = command;
    match args.source().load() {
        Ok(config) => {
            say(config.to_toml().trim_end());
            ExitCode::SUCCESS
        }
        Err(errors) => {
            complain(errors);
            ExitCode::from(exit::CONFIG)
        }
    }
}
