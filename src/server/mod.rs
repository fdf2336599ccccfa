//! The running broker: builds the rooms, opens the doors, closes them in order.
mod background;
mod data_dir;
mod rights;
use crate::config::{Config, ConfigSource};
use std::process::ExitCode;
pub fn run(_config: Config, _source: ConfigSource) -> ExitCode {
    ExitCode::SUCCESS
}
