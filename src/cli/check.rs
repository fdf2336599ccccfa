//! `dunlin check`.

use std::process::ExitCode;

use super::run::RunArgs;
use super::{complain, exit, say};

pub(super) fn check(args: &RunArgs) -> ExitCode {
    match args.source().load() {
        Ok(config) => {
            for warning in config.warnings() {
                complain(format_args!("warning: {warning}"));
            }
            say("ok");
            ExitCode::SUCCESS
        }
        Err(errors) => {
            complain(errors);
            ExitCode::from(exit::CONFIG)
        }
    }
}
