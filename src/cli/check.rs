//! `dunlin check`.

use std::process::ExitCode;

use super::run::RunArgs;
use super::{complain, exit, say};
use crate::server;

pub(super) fn check(args: &RunArgs) -> ExitCode {
    match args.source().for_onlooker().load_all() {
        Ok(loaded) => {
            let errors = server::file_errors(&loaded.config);
            if !errors.is_empty() {
                complain(errors.join("\n"));
                return ExitCode::from(exit::CONFIG);
            }
            for warning in loaded.warnings() {
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
