//! `dunlin inspect`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{complain, exit, say};
use crate::broker::{QueueFold, QueueSummary};
use crate::storage::{FileBackend, StorageError, Summary};

/// Shows what is in a data directory or a backup: sessions, their messages, work queues, retained topics, sizes. Changes nothing; of a directory in
/// use it shows what has been written so far.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The data directory.
    data_dir: PathBuf,
    /// For machines, with the topics of all retained messages.
    #[arg(long)]
    json: bool,
}

/// What is found, as scripts get it.
#[derive(serde::Serialize)]
struct Found {
    #[serde(flatten)]
    summary: Summary,
    queues: Vec<QueueSummary>,
    /// Messages of `$delayed/…` whose time has not come.
    delayed: usize,
}

fn read(args: &InspectArgs) -> Result<Found, StorageError> {
    let (summary, work) = Summary::read(&FileBackend::new(&args.data_dir), Box::new(QueueFold::default()))?;
    let fold = work.into_any().downcast::<QueueFold>().map(|fold| *fold).unwrap_or_default();
    let (queues, delayed) = fold.summary();
    Ok(Found { summary, queues, delayed })
}

pub(super) fn inspect(args: &InspectArgs) -> ExitCode {
    if !args.data_dir.is_dir() {
        complain(format_args!("{} is no folder", args.data_dir.display()));
        return ExitCode::from(exit::FAILURE);
    }
    match read(args) {
        Ok(found) if args.json => {
            say(serde_json::to_string_pretty(&found).expect("names and numbers can be written as JSON"));
            ExitCode::SUCCESS
        }
        Ok(found) => {
            print(&found.summary);
            print_queues(&found);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(format_args!("{}: {error}", args.data_dir.display()));
            ExitCode::from(exit::STORAGE)
        }
    }
}

fn print(summary: &Summary) {
    say(format_args!("segments    {:>10}  {:>14} bytes", summary.segments, summary.segment_bytes));
    say(format_args!("checkpoint              {:>14} bytes", summary.checkpoint_bytes));
    if summary.torn_bytes > 0 {
        say(format_args!("torn end                {:>14} bytes, which nobody was told were stored", summary.torn_bytes));
    }
    say(format_args!("retained    {:>10}", summary.retained.len()));
    say(format_args!("sessions    {:>10}", summary.sessions.len()));
    if summary.sessions.is_empty() {
        return;
    }
    say(format_args!("\n{:>10}  {:>13}  {:<7}  CLIENT", "MESSAGES", "SUBSCRIPTIONS", "STATE"));
    for session in &summary.sessions {
        let state = if session.online { "online" } else { "offline" };
        let client = session.client_id.escape_debug();
        say(format_args!("{:>10}  {:>13}  {state:<7}  {client}", session.messages, session.subscriptions.len()));
    }
}

fn print_queues(found: &Found) {
    if found.delayed > 0 {
        say(format_args!("\ndelayed     {:>10}", found.delayed));
    }
    if found.queues.is_empty() {
        return;
    }
    say(format_args!("\n{:>10}  {:>10}  QUEUE", "MESSAGES", "DEAD"));
    for queue in &found.queues {
        say(format_args!("{:>10}  {:>10}  {}", queue.messages, queue.dead, queue.queue.escape_debug()));
    }
}
