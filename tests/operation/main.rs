//! The broker as its operator sees it: starting, stopping, reloading, figures, logs, commands.
#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod exit_codes;
mod health;
mod logs;
mod metrics;
mod presence;
mod process;
mod reloading;
mod stopping;
mod sys_topics;
mod systemd;
