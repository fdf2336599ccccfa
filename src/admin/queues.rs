//! What operators ask of work queues, as JSON in and out: the command line and REST say the same.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::broker::{Broker, OperateError, PeekedMessage, QueueDetails, QueueId};
use crate::packet::QoS;
use crate::queue::{Config, Part, Stats, Status, Which};

/// A command, as it stands in a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum QueueCommand {
    List,
    Show {
        queue: QueueId,
    },
    /// `config` has the keys of `[[queues]]`; those left out have their defaults.
    Create {
        queue: QueueId,
        #[serde(default)]
        config: Map<String, Value>,
    },
    /// Only the keys that `config` has change.
    Update {
        queue: QueueId,
        config: Map<String, Value>,
    },
    Delete {
        queue: QueueId,
    },
    Peek {
        queue: QueueId,
        /// Among the dead letters.
        #[serde(default)]
        dead: bool,
        /// From behind the message with this number.
        #[serde(default)]
        after: Option<u64>,
        /// At most; up to [`PEEK_MAX`].
        #[serde(default = "some")]
        count: usize,
        /// This one message.
        #[serde(default)]
        seq: Option<u64>,
    },
    Purge {
        queue: QueueId,
        #[serde(default)]
        dead: bool,
    },
    /// Takes out one message.
    Remove {
        queue: QueueId,
        #[serde(default)]
        dead: bool,
        seq: u64,
    },
    Pause {
        queue: QueueId,
    },
    Resume {
        queue: QueueId,
    },
    /// All dead letters, the first `count` of them, or the one with the number `seq`.
    Redrive {
        queue: QueueId,
        #[serde(default)]
        count: Option<usize>,
        #[serde(default)]
        seq: Option<u64>,
    },
    /// Lets keys go on that stand still.
    Unblock {
        queue: QueueId,
    },
}

/// Messages that one peek may ask for.
pub const PEEK_MAX: usize = 1000;

const fn some() -> usize {
    20
}

/// Why a command did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It is no command, or its settings are wrong.
    #[error("{0}")]
    Wrong(String),
    /// There is no such queue or message.
    #[error("{0}")]
    NotFound(String),
    /// The queue does not allow it: it exists, or the file defines it.
    #[error("{0}")]
    Conflict(String),
    /// There is no room for it.
    #[error("{0}")]
    Full(String),
    /// The broker cannot at the moment.
    #[error("{0}")]
    Unavailable(String),
}

impl From<OperateError> for CommandError {
    fn from(error: OperateError) -> Self {
        use crate::broker::DefineError;
        let text = error.to_string();
        match error {
            OperateError::NoQueue | OperateError::NoMessage => Self::NotFound(text),
            OperateError::Define(DefineError::Exists | DefineError::OfFile) => Self::Conflict(text),
            OperateError::Define(DefineError::TooMany | DefineError::NoRoom) => Self::Full(text),
            OperateError::Define(DefineError::Wrong { .. }) => Self::Wrong(text),
            OperateError::Unreadable | OperateError::Stopped => Self::Unavailable(text),
        }
    }
}

impl QueueCommand {
    /// Does it; done once what it changes is stored.
    pub async fn run(self, broker: &Arc<Broker>) -> Result<Value, CommandError> {
        let now = Instant::now();
        let part = |dead| if dead { Part::Dead } else { Part::Main };
        Ok(match self {
            Self::List => json!({ "queues": broker.queues(now).iter().map(queue).collect::<Vec<_>>() }),
            Self::Show { queue: id } => shown(broker, &id, now)?,
            Self::Create { queue: id, config } => {
                let config = settings(&Config::named(id.name.clone()), config)?;
                broker.create_queue(id.clone(), config, now).await?;
                shown(broker, &id, now)?
            }
            Self::Update { queue: id, config } => {
                let config = settings(&broker.queue(&id, now)?.definition.config, config)?;
                broker.update_queue(&id, config, now).await?;
                shown(broker, &id, now)?
            }
            Self::Delete { queue } => {
                broker.delete_queue(&queue, now).await?;
                json!({})
            }
            Self::Peek { queue: id, dead, after, count, seq } => {
                let (broker, part) = (broker.clone(), part(dead));
                let peek = move || -> Result<Value, CommandError> {
                    let (all, has_more) = match seq {
                        Some(seq) => (vec![broker.peek_one(&id, part, seq)?], false),
                        None => broker.peek(&id, part, after, count.min(PEEK_MAX))?,
                    };
                    let messages: Vec<_> = all.iter().map(|one| message(&id, one)).collect();
                    Ok(json!({ "messages": messages, "has_more": has_more }))
                };
                // It may read from the disk.
                let peeked = tokio::task::spawn_blocking(peek).await;
                peeked.map_err(|_| CommandError::Unavailable("the messages could not be read".into()))??
            }
            Self::Purge { queue, dead } => json!({ "count": broker.purge(&queue, part(dead), now).await? }),
            Self::Remove { queue, dead, seq } => {
                broker.delete_message(&queue, part(dead), seq, now).await?;
                json!({ "count": 1 })
            }
            Self::Pause { queue } => {
                broker.set_paused(&queue, true, now).await?;
                json!({})
            }
            Self::Resume { queue } => {
                broker.set_paused(&queue, false, now).await?;
                json!({})
            }
            Self::Redrive { queue, count, seq } => {
                let which = match (seq, count) {
                    (Some(seq), _) => Which::One(seq),
                    (None, Some(count)) => Which::First(count),
                    (None, None) => Which::All,
                };
                json!({ "count": broker.redrive(&queue, which, now).await? })
            }
            Self::Unblock { queue } => json!({ "count": broker.unblock(&queue, now).await? }),
        })
    }
}

/// Settings with some keys changed.
fn settings(base: &Config, changes: Map<String, Value>) -> Result<Config, CommandError> {
    let mut all = serde_json::to_value(base).map_err(|error| CommandError::Wrong(error.to_string()))?;
    let name = all["name"].clone();
    if let Some(object) = all.as_object_mut() {
        object.extend(changes);
    }
    if all["name"] != name {
        return Err(CommandError::Wrong("name: a queue keeps its name".into()));
    }
    serde_path_to_error::deserialize(all).map_err(|error| {
        let place = error.path().to_string();
        let place = if place == "." { String::new() } else { format!("{place}: ") };
        CommandError::Wrong(format!("{place}{}", error.inner()))
    })
}

/// A queue with its consumers.
fn shown(broker: &Broker, id: &QueueId, now: Instant) -> Result<Value, CommandError> {
    let mut shown = queue(&broker.queue(id, now)?);
    shown["consumers"] = json!(broker.queue_consumers(id)?);
    Ok(shown)
}

/// A queue as it stands in a list.
pub fn queue(details: &QueueDetails) -> Value {
    let definition = &details.definition;
    json!({
        "name": definition.id.name,
        "mountpoint": definition.id.mount_point.as_deref().unwrap_or_default(),
        "origin": definition.origin,
        "config": definition.config,
        "paused": details.stats.is_paused,
        "messages": stats(&details.stats),
        "dead_letters": stats(&details.dead),
        "counters": counters(details),
    })
}

fn stats(stats: &Stats) -> Value {
    json!({
        "depth": stats.depth,
        "ready": stats.depth - stats.leased - stats.delayed,
        "leased": stats.leased,
        "delayed": stats.delayed,
        "bytes": stats.bytes,
        "oldest_age_ms": stats.oldest_age.as_millis() as u64,
        "consumers": stats.consumers,
        "keys": stats.keys,
        "blocked_keys": stats.blocked_keys,
        "dedup_ids": stats.dedup_ids,
    })
}

fn counters(details: &QueueDetails) -> Value {
    let (counters, dead) = (&details.stats.counters, &details.dead.counters);
    let named = |counts: Vec<(&'static str, u64)>| -> Value {
        counts.into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect::<Map<_, _>>().into()
    };
    json!({
        "enqueued": counters.enqueued,
        "delivered": counters.delivered,
        "settled": counters.settled,
        "settled_late": counters.settled_late,
        "failed": counters.failed.iter().map(|(code, count)| (code.to_string(), json!(count))).collect::<Map<_, _>>(),
        "redelivered": named(counters.redelivered.iter().map(|(cause, count)| (cause.as_str(), *count)).collect()),
        "dead": named(counters.dead.iter().map(|(reason, count)| (reason.as_str(), *count)).collect()),
        "dedup_hits": counters.dedup_hits,
        "rejected": counters.overflow_rejected,
        "dropped": { "overflow": counters.overflow_dropped, "expired": counters.expired, "deleted": counters.deleted },
        "redriven": dead.redriven,
        "settle_refused": counters.settle_refused + dead.settle_refused,
    })
}

fn message(id: &QueueId, one: &PeekedMessage) -> Value {
    let PeekedMessage { peeked, message } = one;
    let view = message.view();
    let topic = view.topic.as_str();
    let topic = id.mount_point.as_deref().and_then(|mount_point| topic.strip_prefix(mount_point)).unwrap_or(topic);
    let properties: Vec<_> = view.properties.user_properties().iter().map(|(name, value)| json!([name, value])).collect();
    let (status, until) = match peeked.status {
        Status::Ready => ("ready", None),
        Status::Blocked { .. } => ("blocked", None),
        Status::Delayed(until) => ("delayed", Some(until.0)),
        Status::Leased(until) => ("leased", Some(until.0)),
    };
    let dead = peeked.dead.as_ref().map(|dead| {
        json!({
            "reason": dead.reason.as_str(),
            "attempts": dead.attempts,
            "last_client": dead.last_client.as_deref(),
            "last_code": dead.last_code,
            "at": dead.at.0,
        })
    });
    let mut value = json!({
        "seq": peeked.seq,
        "id": format!("{}:{}", id.name, peeked.seq),
        "topic": topic,
        "qos": if message.qos == QoS::AtMostOnce { 0 } else { message.qos as u8 },
        "size": peeked.size,
        "status": status,
        "until": until,
        "attempts": peeked.attempts,
        "enqueued_at": peeked.enqueued_at.0,
        "expires_at": peeked.expires_at.map(|at| at.0),
        "last_client": peeked.last_client.as_deref(),
        "last_code": peeked.last_code,
        "user_properties": properties,
        "dead": dead,
    });
    // A payload that is no text is told as what it is.
    match std::str::from_utf8(view.payload) {
        Ok(text) => value["payload"] = text.into(),
        Err(_) => value["payload_base64"] = STANDARD.encode(view.payload).into(),
    }
    value
}
