//! `dunlin ctl queues`: work queues from afar. On the broker's own machine `dunlin queue` needs no port.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Api, Failure, encoded};
use super::{Many, Print};

#[derive(Debug, Args)]
pub(super) struct QueuesArgs {
    /// Of the clients with this mount point.
    #[arg(long, value_name = "PREFIX", global = true)]
    mountpoint: Option<String>,
    #[command(subcommand)]
    command: QueuesCommand,
}

#[derive(Debug, Subcommand)]
enum QueuesCommand {
    /// All queues, of all mount points.
    List {
        /// A part of the name.
        #[arg(long, value_name = "TEXT")]
        like: Option<String>,
        #[command(flatten)]
        many: Many,
    },
    /// One queue with its settings, figures and consumers.
    Show { name: String },
    /// Messages, the oldest first; they stay where they are.
    Peek {
        name: String,
        #[command(flatten)]
        many: Many,
    },
    /// Dead letters with their stories.
    Dead {
        name: String,
        #[command(flatten)]
        many: Many,
    },
    /// Let no message leave.
    Pause { name: String },
    /// Let messages leave again.
    Resume { name: String },
    /// Put dead letters back, as if they had never been tried: all, the first so many, or one.
    Redrive {
        name: String,
        #[arg(long, value_name = "N", conflicts_with = "seq")]
        count: Option<usize>,
        #[arg(long, value_name = "NUMBER")]
        seq: Option<u64>,
    },
    /// Throw all messages away.
    Purge {
        name: String,
        /// The dead letters instead.
        #[arg(long)]
        dead: bool,
        /// Really.
        #[arg(long, required = true)]
        yes: bool,
    },
}

impl QueuesArgs {
    pub(super) async fn run(&self, api: &Api, print: Print) -> Result<(), Failure> {
        let path = |name: &str, rest: &str| {
            let query = self.mountpoint.as_deref().map(|prefix| format!("?mountpoint={}", encoded(prefix)));
            format!("/queues/{}{rest}{}", encoded(name), query.unwrap_or_default())
        };
        match &self.command {
            QueuesCommand::List { like, many } => {
                let queues = api.list("/queues", &[("like_name", like.as_deref())], many.limit).await?;
                if print.is_json {
                    print.list(&queues, &[]);
                } else {
                    let lines: Vec<_> = queues.iter().map(line).collect();
                    print.list(&lines, &["queue", "ready", "leased", "delayed", "dead", "consumers", "paused", "oldest_s"]);
                }
            }
            QueuesCommand::Show { name } => print.one(&api.get(&path(name, "")).await?),
            QueuesCommand::Peek { name, many } => {
                let messages = self.messages(api, name, "/messages", many).await?;
                print.list(&messages, &["seq", "topic", "status", "attempts", "size"]);
            }
            QueuesCommand::Dead { name, many } => {
                let letters = self.messages(api, name, "/dead_letters", many).await?;
                if print.is_json {
                    print.list(&letters, &[]);
                } else {
                    let lines: Vec<_> = letters.iter().map(story).collect();
                    print.list(&lines, &["seq", "topic", "reason", "attempts", "last_client", "last_code", "size"]);
                }
            }
            QueuesCommand::Pause { name } => {
                api.post(&path(name, "/pause"), &json!({})).await?;
                print.done(format_args!("{name:?} stands still"));
            }
            QueuesCommand::Resume { name } => {
                api.post(&path(name, "/resume"), &json!({})).await?;
                print.done(format_args!("{name:?} goes on"));
            }
            QueuesCommand::Redrive { name, count, seq } => {
                let which = match (count, seq) {
                    (_, Some(seq)) => json!({ "seq": seq }),
                    (Some(count), None) => json!({ "count": count }),
                    (None, None) => json!({}),
                };
                print.one(&api.post(&path(name, "/redrive"), &which).await?);
            }
            QueuesCommand::Purge { name, dead, yes: _ } => {
                print.one(&api.delete(&path(name, if *dead { "/dead_letters" } else { "/messages" })).await?);
            }
        }
        Ok(())
    }

    async fn messages(&self, api: &Api, name: &str, noun: &str, many: &Many) -> Result<Vec<Value>, Failure> {
        let query = [("mountpoint", self.mountpoint.as_deref())];
        api.list(&format!("/queues/{}{noun}", encoded(name)), &query, many.limit).await
    }
}

/// What fits a line of a queue.
fn line(queue: &Value) -> Value {
    let (messages, dead) = (&queue["messages"], &queue["dead_letters"]);
    let name = [&queue["mountpoint"], &queue["name"]].map(|part| part.as_str().unwrap_or_default()).concat();
    json!({
        "queue": name, "ready": messages["ready"], "leased": messages["leased"], "delayed": messages["delayed"],
        "dead": dead["depth"], "consumers": messages["consumers"], "paused": queue["paused"],
        "oldest_s": messages["oldest_age_ms"].as_u64().unwrap_or_default() / 1000,
    })
}

/// What fits a line of a dead letter.
fn story(letter: &Value) -> Value {
    let dead = &letter["dead"];
    json!({
        "seq": letter["seq"], "topic": letter["topic"], "reason": dead["reason"], "attempts": dead["attempts"],
        "last_client": dead["last_client"], "last_code": dead["last_code"], "size": letter["size"],
    })
}
