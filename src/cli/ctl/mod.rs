//! `dunlin ctl`: the admin API by hand and for scripts.

mod client;
mod config;
mod queues;
mod table;
mod trace;

use std::io::{IsTerminal, Read};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{complain, exit, output, say};
use client::{Api, Failure, Target, encoded};

/// Ask and act on a running broker, over its admin API.
///
/// Tables are for people; --json gives what the API answers, lists as one array.
///
/// Exit codes: 0 done, 1 the broker could not or would not, 2 wrong usage, 4 there is no such client, topic, queue or ban, 5 the key is
/// missing, wrong, or its role too low, 69 the broker cannot be reached.
#[derive(Debug, Args)]
pub(super) struct CtlArgs {
    #[command(flatten)]
    target: Target,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Debug, Subcommand)]
enum CtlCommand {
    /// The broker at a glance.
    Status,
    /// Clients that are connected or have a session.
    Clients(ClientsArgs),
    /// Everything about one client.
    Client { id: String },
    /// Disconnect a client; its session goes on unless --discard.
    Kick {
        id: String,
        /// End the session too, with all that waits for it.
        #[arg(long)]
        discard: bool,
    },
    /// Who has subscribed to what.
    Subscriptions {
        /// Of one client.
        #[arg(long, value_name = "ID")]
        client: Option<String>,
        /// Filters that match this topic.
        #[arg(long, value_name = "TOPIC")]
        topic: Option<String>,
        #[command(flatten)]
        many: Many,
    },
    /// Retained messages.
    #[command(subcommand)]
    Retained(RetainedCommand),
    /// Who may not come in.
    #[command(subcommand)]
    Ban(BanCommand),
    /// Work queues.
    Queues(queues::QueuesArgs),
    /// Publish a message.
    Publish(PublishArgs),
    /// Follow a client or topics live, until Ctrl-C.
    Trace(trace::TraceArgs),
    /// What the broker runs with; changes of it that last.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Show the log level, or set it for the time being: until the next reload, start, or change of log.level.
    LogLevel { level: Option<String> },
    /// Make a backup in the data directory of the broker, and wait for it.
    Backup,
    /// Read config, users, rights, keys and certificates again.
    Reload,
}

#[derive(Debug, Args)]
struct Many {
    /// As many as this; 0 is all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Args)]
struct ClientsArgs {
    /// A part of the identifier.
    #[arg(long, value_name = "TEXT")]
    like: Option<String>,
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Only those that are.
    #[arg(long, conflicts_with = "disconnected")]
    connected: bool,
    /// Only those that are not.
    #[arg(long)]
    disconnected: bool,
    #[command(flatten)]
    many: Many,
}

#[derive(Debug, Subcommand)]
enum RetainedCommand {
    /// Topics that have one.
    List {
        /// A topic filter.
        filter: Option<String>,
        #[command(flatten)]
        many: Many,
    },
    /// The payload of one, as it is.
    Get { topic: String },
    /// Forget one.
    Delete { topic: String },
}

#[derive(Debug, Subcommand)]
enum BanCommand {
    List {
        #[command(flatten)]
        many: Many,
    },
    /// Ban, and end the connections that the ban is on.
    Add {
        kind: BanKind,
        who: String,
        /// For how long, like 10m or 2h; for ever if it is not given.
        #[arg(long = "for", value_name = "TIME", value_parser = time)]
        time: Option<Duration>,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let in again.
    Remove { kind: BanKind, who: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BanKind {
    #[value(name = "clientid", alias = "client")]
    ClientId,
    #[value(name = "username", alias = "user")]
    Username,
    #[value(name = "peerhost", alias = "address")]
    Address,
}

impl BanKind {
    const fn name(self) -> &'static str {
        match self {
            Self::ClientId => "clientid",
            Self::Username => "username",
            Self::Address => "peerhost",
        }
    }
}

#[derive(Debug, Args)]
struct PublishArgs {
    topic: String,
    /// The payload; without it, standard input, of 1 MiB at most.
    message: Option<String>,
    #[arg(short, long, value_name = "0|1|2", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    #[arg(short, long)]
    retain: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    crate::units::Span::from_str(text).map(|span| span.0).map_err(|error| error.to_string())
}

/// Bytes of a payload from standard input.
const PAYLOAD_MAX: u64 = 1 << 20;
/// How often a backup is looked after.
const BACKUP_LOOK: Duration = Duration::from_millis(200);

pub(super) fn ctl(args: &CtlArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(args)),
        Err(error) => Err(Failure { code: exit::FAILURE, message: error.to_string() }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            complain(message);
            ExitCode::from(code)
        }
    }
}

async fn run(args: &CtlArgs) -> Result<(), Failure> {
    let api = Api::new(&args.target)?;
    let print = Print { is_json: args.json };
    match &args.command {
        CtlCommand::Status => print.one(&api.get("/status").await?),
        CtlCommand::Clients(wanted) => {
            let state = if wanted.connected { Some("connected") } else { wanted.disconnected.then_some("disconnected") };
            let query = [
                ("like_clientid", wanted.like.as_deref()),
                ("username", wanted.username.as_deref()),
                ("listener", wanted.listener.as_deref()),
                ("conn_state", state),
            ];
            let columns = ["clientid", "username", "connected", "ip_address", "proto_ver", "subscriptions_cnt", "mqueue_len"];
            print.list(&api.list("/clients", &query, wanted.many.limit).await?, &columns);
        }
        CtlCommand::Client { id } => print.one(&api.get(&format!("/clients/{}", encoded(id))).await?),
        CtlCommand::Kick { id, discard } => {
            let noun = if *discard { "sessions" } else { "clients" };
            api.delete(&format!("/{noun}/{}", encoded(id))).await?;
            print.done(format_args!("{id:?} is disconnected"));
        }
        CtlCommand::Subscriptions { client, topic, many } => {
            let query = [("clientid", client.as_deref()), ("match_topic", topic.as_deref())];
            print.list(&api.list("/subscriptions", &query, many.limit).await?, &["clientid", "topic", "qos"]);
        }
        CtlCommand::Retained(command) => retained(&api, print, command).await?,
        CtlCommand::Ban(command) => ban(&api, print, command).await?,
        CtlCommand::Queues(queues) => queues.run(&api, print).await?,
        CtlCommand::Publish(message) => publish(&api, print, message).await?,
        CtlCommand::Trace(what) => trace::trace(&api, what, args.json).await?,
        CtlCommand::Config(command) => command.run(&api, print).await?,
        CtlCommand::LogLevel { level: None } => print.one(&api.get("/log_level").await?),
        CtlCommand::LogLevel { level: Some(level) } => print.one(&api.put("/log_level", &json!({ "level": level })).await?),
        CtlCommand::Backup => backup(&api, print).await?,
        CtlCommand::Reload => print.one(&api.post("/reload", &json!({})).await?),
    }
    Ok(())
}

async fn retained(api: &Api, print: Print, command: &RetainedCommand) -> Result<(), Failure> {
    match command {
        RetainedCommand::List { filter, many } => {
            let list = api.list("/retained", &[("topic", filter.as_deref())], many.limit).await?;
            print.list(&list, &["topic", "qos", "payload_size", "from_clientid"]);
        }
        RetainedCommand::Get { topic } => {
            let message = api.get(&format!("/retained/{}", encoded(topic))).await?;
            if print.is_json {
                print.one(&message);
            } else {
                let payload = STANDARD.decode(message["payload"].as_str().unwrap_or_default()).unwrap_or_default();
                output::say_bytes(&payload);
            }
        }
        RetainedCommand::Delete { topic } => {
            api.delete(&format!("/retained/{}", encoded(topic))).await?;
            print.done(format_args!("the retained message of {topic:?} is forgotten"));
        }
    }
    Ok(())
}

async fn ban(api: &Api, print: Print, command: &BanCommand) -> Result<(), Failure> {
    match command {
        BanCommand::List { many } => {
            let list = api.list("/banned", &[], many.limit).await?;
            print.list(&list, &["as", "who", "until", "by", "reason"]);
        }
        BanCommand::Add { kind, who, time, reason } => {
            let seconds = time.map(|time| time.as_secs().max(1));
            let ban = json!({ "as": kind.name(), "who": who, "reason": reason, "seconds": seconds });
            print.one(&api.post("/banned", &ban).await?);
        }
        BanCommand::Remove { kind, who } => {
            api.delete(&format!("/banned/{}/{}", kind.name(), encoded(who))).await?;
            print.done(format_args!("{} {who:?} may come in again", kind.name()));
        }
    }
    Ok(())
}

async fn publish(api: &Api, print: Print, message: &PublishArgs) -> Result<(), Failure> {
    let payload = match &message.message {
        Some(text) => text.clone().into_bytes(),
        None => {
            if std::io::stdin().is_terminal() {
                complain("the payload is read from standard input, to its end (Ctrl-D)");
            }
            payload(std::io::stdin())?
        }
    };
    let body = json!({
        "topic": message.topic, "payload": STANDARD.encode(payload), "payload_encoding": "base64",
        "qos": message.qos, "retain": message.retain,
    });
    print.one(&api.post("/publish", &body).await?);
    Ok(())
}

/// The whole of what is read; a part of a message is none.
fn payload(input: impl Read) -> Result<Vec<u8>, Failure> {
    let failure = |what: String| Failure { code: exit::FAILURE, message: format!("standard input: {what}") };
    let mut payload = Vec::new();
    // One byte over the limit tells what is too large.
    input.take(PAYLOAD_MAX + 1).read_to_end(&mut payload).map_err(|error| failure(error.to_string()))?;
    if payload.len() as u64 > PAYLOAD_MAX {
        return Err(failure(format!("it holds more than {PAYLOAD_MAX} bytes; nothing is published")));
    }
    Ok(payload)
}

async fn backup(api: &Api, print: Print) -> Result<(), Failure> {
    let begun = api.post("/backups", &json!({})).await?;
    let path = format!("/backups/{}", encoded(begun["name"].as_str().unwrap_or_default()));
    loop {
        let backup = api.get(&path).await?;
        match backup["state"].as_str() {
            Some("running") => tokio::time::sleep(BACKUP_LOOK).await,
            Some("done") => {
                print.one(&backup);
                return Ok(());
            }
            _ => {
                let why = backup["error"].as_str().unwrap_or("for a cause that was not told");
                return Err(Failure { code: exit::FAILURE, message: format!("the backup failed: {why}") });
            }
        }
    }
}

/// How answers are printed.
#[derive(Clone, Copy, Debug)]
struct Print {
    is_json: bool,
}

impl Print {
    fn one(self, value: &Value) {
        if self.is_json { say(value) } else { say(table::fields(value).trim_end()) }
    }

    fn list(self, entries: &[Value], columns: &[&str]) {
        if self.is_json { say(json!(entries)) } else { say(table::rows(entries, columns).trim_end()) }
    }

    /// Something was done that has nothing to show.
    fn done(self, text: impl std::fmt::Display) {
        if self.is_json { say("{}") } else { say(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_is_too_large_is_refused_and_not_cut() {
        let payload_of = |bytes: u64| payload(std::io::repeat(b'x').take(bytes));
        assert_eq!(payload_of(0).unwrap(), b"");
        assert_eq!(payload_of(PAYLOAD_MAX).unwrap().len() as u64, PAYLOAD_MAX);
        let failure = payload_of(PAYLOAD_MAX + 1).unwrap_err();
        assert_eq!(failure.code, exit::FAILURE);
        assert!(failure.message.contains("more than 1048576 bytes"), "{}", failure.message);
    }
}
