//! `dunlin queue`: an operator's hand on the work queues of a running broker.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{complain, exit, say};
use crate::broker::QueueId;
use crate::queue::QueueName;
use crate::server::connect_control;

/// Looks at the work queues of a running broker, and changes them.
///
/// It speaks to the broker through a socket in its data directory: whoever may write there may use it. Exit codes: 0 done, 1 the broker
/// says no (there is no such queue, its settings are wrong, …), 2 wrong usage, 69 no broker runs on the data directory.
#[derive(Debug, Args)]
pub(super) struct QueueArgs {
    /// The broker's data directory.
    #[arg(id = "queue_data_dir", long = "data-dir", value_name = "DIR", default_value = "data", global = true)]
    data_dir: PathBuf,
    /// For scripts: the broker's answer as JSON.
    #[arg(id = "queue_json", long = "json", global = true)]
    json: bool,
    #[command(subcommand)]
    command: QueueCommand,
}

/// Which queue.
#[derive(Debug, Args)]
struct Named {
    /// The name of the queue.
    #[arg(value_parser = QueueName::new)]
    queue: QueueName,
    /// The mount point of the clients that it is for.
    #[arg(long, value_name = "PREFIX")]
    mount_point: Option<String>,
}

/// A queue and what is set of it.
#[derive(Debug, Args)]
struct Settings {
    #[command(flatten)]
    queue: Named,
    /// A topic filter whose messages it stores; may be given several times. An update replaces all that it had.
    #[arg(long, value_name = "FILTER")]
    bind: Vec<String>,
    /// A key of `[[queues]]` and its value, as in "max_deliveries=3" or "ack_timeout=10s"; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Some messages of a queue.
#[derive(Debug, Args)]
struct Page {
    #[command(flatten)]
    queue: Named,
    /// How many.
    #[arg(short = 'n', long, default_value_t = 20)]
    count: usize,
    /// From behind the message with this number.
    #[arg(long)]
    after: Option<u64>,
    /// The message with this number.
    #[arg(long)]
    seq: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// All queues: what is in them, who works on them.
    List,
    /// One queue with its settings and figures.
    Show(Named),
    /// Make a queue.
    Create(Settings),
    /// Change settings of a queue; nothing that is in it is lost.
    Update(Settings),
    /// Take a queue away, with all that is in it.
    Delete(Named),
    /// Show messages, the oldest first, and leave them where they are.
    Peek(Page),
    /// Show dead letters with their stories.
    Dead(Page),
    /// Throw messages away.
    Purge {
        #[command(flatten)]
        queue: Named,
        /// The dead letters instead of what waits.
        #[arg(long)]
        dead: bool,
        /// Only the message with this number.
        #[arg(long)]
        seq: Option<u64>,
    },
    /// Let no message leave.
    Pause(Named),
    /// Let messages leave again.
    Resume(Named),
    /// Put dead letters back into their queue, as if they had never been tried.
    Redrive {
        #[command(flatten)]
        queue: Named,
        /// The first so many; all, if neither this nor --seq is given.
        #[arg(short = 'n', long)]
        count: Option<usize>,
        /// The one with this number.
        #[arg(long, conflicts_with = "count")]
        seq: Option<u64>,
    },
    /// Let keys go on that stand still because of a dead message.
    Unblock(Named),
}

impl Named {
    fn id(&self) -> QueueId {
        QueueId { mount_point: self.mount_point.as_deref().map(Box::from), name: self.queue.clone() }
    }
}

pub(super) fn queue(args: &QueueArgs) -> ExitCode {
    let request = match request(&args.command) {
        Ok(request) => request,
        Err(error) => {
            complain(error);
            return ExitCode::from(exit::USAGE);
        }
    };
    let answer = match ask(args, &request) {
        Ok(answer) => answer,
        Err(error) => {
            complain(error);
            return ExitCode::from(exit::CANNOT_BIND);
        }
    };
    if let Some(error) = answer.get("error") {
        complain(error.as_str().unwrap_or("the broker gave no reason"));
        return ExitCode::from(exit::FAILURE);
    }
    if args.json {
        say(format_args!("{answer:#}"));
    } else {
        print(&args.command, &answer);
    }
    ExitCode::SUCCESS
}

/// What is sent to the broker.
fn request(command: &QueueCommand) -> Result<Value, String> {
    let peek = |Page { queue, count, after, seq }: &Page, dead: bool| json!({ "do": "peek", "queue": queue.id(), "dead": dead, "count": count, "after": after, "seq": seq });
    let set = |Settings { queue, bind, set }: &Settings, verb: &str| -> Result<Value, String> {
        Ok(json!({ "do": verb, "queue": queue.id(), "config": settings(bind, set)? }))
    };
    Ok(match command {
        QueueCommand::List => json!({ "do": "list" }),
        QueueCommand::Show(queue) => json!({ "do": "show", "queue": queue.id() }),
        QueueCommand::Create(settings) => set(settings, "create")?,
        QueueCommand::Update(settings) => set(settings, "update")?,
        QueueCommand::Delete(queue) => json!({ "do": "delete", "queue": queue.id() }),
        QueueCommand::Peek(page) => peek(page, false),
        QueueCommand::Dead(page) => peek(page, true),
        QueueCommand::Purge { queue, dead, seq: None } => json!({ "do": "purge", "queue": queue.id(), "dead": dead }),
        QueueCommand::Purge { queue, dead, seq } => {
            json!({ "do": "remove", "queue": queue.id(), "dead": dead, "seq": seq })
        }
        QueueCommand::Pause(queue) => json!({ "do": "pause", "queue": queue.id() }),
        QueueCommand::Resume(queue) => json!({ "do": "resume", "queue": queue.id() }),
        QueueCommand::Redrive { queue, count, seq } => {
            json!({ "do": "redrive", "queue": queue.id(), "count": count, "seq": seq })
        }
        QueueCommand::Unblock(queue) => json!({ "do": "unblock", "queue": queue.id() }),
    })
}

/// `KEY=VALUE` as the config file would have it: a number, a truth, a list, or else a text.
fn settings(bind: &[String], set: &[String]) -> Result<Map<String, Value>, String> {
    let mut settings = Map::new();
    if !bind.is_empty() {
        settings.insert("bind".into(), json!(bind));
    }
    for pair in set {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not KEY=VALUE"))?;
        let value = match toml::from_str::<toml::Table>(&format!("value = {value}")) {
            Ok(table) => serde_json::to_value(&table["value"]).map_err(|error| error.to_string())?,
            Err(_) => value.into(),
        };
        settings.insert(key.trim().into(), value);
    }
    Ok(settings)
}

fn ask(args: &QueueArgs, request: &Value) -> Result<Value, String> {
    let place = args.data_dir.display();
    let stream = connect_control(&args.data_dir).map_err(|error| format!("no broker runs on {place}: {error}"))?;
    let wrong = |error: std::io::Error| format!("the broker of {place} does not answer: {error}");
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(format!("queue {request}\n").as_bytes()).map_err(wrong)?;
    let mut line = String::new();
    stream.by_ref().take(1 << 30).read_line(&mut line).map_err(wrong)?;
    serde_json::from_str(&line).map_err(|error| format!("the broker's answer is none: {error}"))
}

fn print(command: &QueueCommand, answer: &Value) {
    match command {
        QueueCommand::List => print_list(answer),
        QueueCommand::Show(_) | QueueCommand::Create(_) | QueueCommand::Update(_) => print_queue(answer),
        QueueCommand::Peek(_) | QueueCommand::Dead(_) => print_messages(answer),
        QueueCommand::Purge { .. } | QueueCommand::Redrive { .. } | QueueCommand::Unblock(_) => say(&answer["count"]),
        QueueCommand::Delete(_) | QueueCommand::Pause(_) | QueueCommand::Resume(_) => {}
    }
}

fn print_list(answer: &Value) {
    say(format_args!(
        "{:<24} {:>9} {:>8} {:>8} {:>8} {:>9} {:>7} {:>9}",
        "QUEUE", "READY", "LEASED", "DELAYED", "DEAD", "CONSUMERS", "PAUSED", "OLDEST"
    ));
    for queue in answer["queues"].as_array().into_iter().flatten() {
        let messages = &queue["messages"];
        say(format_args!(
            "{:<24} {:>9} {:>8} {:>8} {:>8} {:>9} {:>7} {:>9}",
            name_of(queue),
            messages["ready"].as_u64().unwrap_or_default(),
            messages["leased"].as_u64().unwrap_or_default(),
            messages["delayed"].as_u64().unwrap_or_default(),
            queue["dead_letters"]["depth"].as_u64().unwrap_or_default(),
            messages["consumers"].as_u64().unwrap_or_default(),
            if queue["paused"] == true { "yes" } else { "no" },
            age(messages["oldest_age_ms"].as_u64().unwrap_or_default()),
        ));
    }
}

fn name_of(queue: &Value) -> String {
    let name = queue["name"].as_str().unwrap_or_default().escape_debug().to_string();
    match queue["mountpoint"].as_str() {
        None | Some("") => name,
        Some(mount_point) => format!("{name} at {}", mount_point.escape_debug()),
    }
}

fn print_queue(queue: &Value) {
    say(format_args!("queue {}, by {}", name_of(queue), queue["origin"].as_str().unwrap_or_default()));
    for (title, part) in [
        ("messages", &queue["messages"]),
        ("dead letters", &queue["dead_letters"]),
        ("since start", &queue["counters"]),
        ("settings", &queue["config"]),
    ] {
        say(format_args!("\n{title}"));
        for (key, value) in part.as_object().into_iter().flatten() {
            say(format_args!("  {key:<16} {value}"));
        }
    }
    let consumers: Vec<_> = queue["consumers"].as_array().into_iter().flatten().collect();
    if !consumers.is_empty() {
        say("\nconsumers");
    }
    for consumer in consumers {
        say(format_args!(
            "  {:<32} {:>6} unsettled, QoS {}, {}{}",
            consumer["clientid"].as_str().unwrap_or_default().escape_debug().to_string(),
            consumer["unsettled"],
            consumer["qos"],
            if consumer["is_online"] == true { "online" } else { "away" },
            if consumer["is_of_dead"] == true { ", of the dead letters" } else { "" },
        ));
    }
}

fn print_messages(answer: &Value) {
    let messages = answer["messages"].as_array();
    for message in messages.into_iter().flatten() {
        let text = |value: &Value| value.as_str().map(|text| text.escape_debug().to_string());
        let payload = text(&message["payload"]).unwrap_or_else(|| format!("{} bytes", message["size"]));
        let payload: String = payload.chars().take(120).collect();
        say(format_args!(
            "{:>8}  {}  {}  attempts {}  {payload}",
            message["seq"].as_u64().unwrap_or_default(),
            text(&message["topic"]).unwrap_or_default(),
            text(&message["status"]).unwrap_or_default(),
            message["attempts"],
        ));
        let dead = &message["dead"];
        if !dead.is_null() {
            say(format_args!(
                "          {} after {} attempts, last by {}, code {}, at {}",
                text(&dead["reason"]).unwrap_or_default(),
                dead["attempts"],
                text(&dead["last_client"]).unwrap_or_else(|| "nobody".into()),
                dead["last_code"],
                dead["at"],
            ));
        }
    }
    if answer["has_more"] == true
        && let Some(last) = messages.and_then(|messages| messages.last())
    {
        complain(format_args!("there are more: --after {}", last["seq"]));
    }
}

/// A time as people read it: `1h23m`.
fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_the_config_file_has_them() {
        let set = ["max_deliveries=3", "ack_timeout=10s", "dead_letter=false", "backoff=[\"1s\", \"2s\"]"].map(String::from);
        let settings = settings(&["a/#".into()], &set).unwrap();
        let wanted = json!({
            "bind": ["a/#"], "max_deliveries": 3, "ack_timeout": "10s", "dead_letter": false, "backoff": ["1s", "2s"],
        });
        assert_eq!(Value::Object(settings), wanted);
        assert!(super::settings(&[], &["nothing".into()]).is_err());
    }

    #[test]
    fn ages_are_short() {
        assert_eq!([500, 61_000, 3_720_000, 90_000_000].map(age), ["0s", "1m01s", "1h02m", "1d01h"]);
    }
}
