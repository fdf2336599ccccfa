//! `dunlin bench`: the load tester's command line.

mod compare;
mod load_args;
mod relay;
mod scenario;
mod target_args;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io, thread};

use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use super::{complain, exit, say};
use crate::loadtest::{self, Report, Verdict};
use scenario::ScenarioCommand;

/// Measure a broker: this one, or any other.
///
/// Payloads carry sequence numbers: what was lost, doubled or reordered is counted, besides rates and latencies. With --pid,
/// what it cost the broker. Letters are those of emqtt_bench where it has the same thing.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = AFTER_HELP)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
    /// Print help.
    #[arg(long, global = true, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

const AFTER_HELP: &str = "Exit codes: 0 all went well; 1 the broker could not be reached, refused clients, cut them off, held \
    them up or granted less than was asked for; \
    2 wrong usage; 3 messages were lost, doubled, reordered, rejected, or came where they should not; 130 a comparison was \
    interrupted.";

#[derive(Debug, Subcommand)]
enum BenchCommand {
    #[command(flatten)]
    Scenario(Box<ScenarioCommand>),
    Compare(compare::CompareArgs),
    Plot(compare::PlotArgs),
    Relay(relay::RelayArgs),
}

pub(super) fn bench(args: BenchArgs) -> ExitCode {
    let result = match args.command {
        BenchCommand::Scenario(command) => run(&command),
        BenchCommand::Compare(args) => compare::compare(&args),
        BenchCommand::Plot(args) => compare::plot(&args),
        BenchCommand::Relay(args) => relay::relay(&args),
    };
    result.unwrap_or_else(|error| {
        complain(error);
        ExitCode::from(exit::FAILURE)
    })
}

fn run(command: &ScenarioCommand) -> Result<ExitCode, String> {
    let plan = match command.plan() {
        Ok(plan) => plan,
        Err(error) => {
            complain(format_args!("error: {error}"));
            return Ok(ExitCode::from(exit::USAGE));
        }
    };
    let report = loadtest::run(plan.name, &plan.scenario, &plan.settings, plan.is_quiet, &interrupted())?;
    say(loadtest::summary(&report));
    if let Some(path) = &plan.json {
        write_json(path, &report)?;
    }
    Ok(ExitCode::from(code(report.verdict())))
}

const fn code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Good => exit::OK,
        Verdict::Troubled => exit::FAILURE,
        Verdict::Faulty => exit::BENCH_FAULTS,
    }
}

fn write_json(path: &Path, report: &Report) -> Result<(), String> {
    let json = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
    write_file(path, &(json + "\n"))
}

/// `-` is standard output.
fn write_file(path: &Path, text: &str) -> Result<(), String> {
    if path == Path::new("-") {
        say(text.trim_end());
        return Ok(());
    }
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Becomes true with the first Ctrl-C or SIGTERM: the run ends and tells what it has. The second one ends the process.
fn interrupted() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&flag);
    let wait = move || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(wait_for_the_second(&shared))?;
        loadtest::compare::abandon();
        std::process::exit(exit::INTERRUPTED.into())
    };
    // Without the thread Ctrl-C ends the process at once, as it does everywhere.
    let _ = thread::Builder::new().name("bench-signal".into()).spawn(wait);
    flag
}

async fn wait_for_the_second(is_interrupted: &AtomicBool) -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    for _ in 0..2 {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // Nothing that the first one has not said.
        is_interrupted.store(true, Ordering::Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
