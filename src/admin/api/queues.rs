//! `/queues`: work queues. Each path is one command of `admin::queues`, as `dunlin queue` gives it too.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::answer::{Answer, changed, done, list, ok, with};
use super::request::{JsonBody, Params, PathOf};
use super::{Api, Shared};
use crate::admin::problem::Problem;
use crate::admin::queues::{CommandError, QueueCommand, queue as shown};
use crate::broker::QueueId;
use crate::queue::QueueName;

pub fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/queues", get(queues).post(create))
        .route("/queues/{name}", get(queue).patch(update).delete(delete))
        .route("/queues/{name}/messages", get(messages).delete(purge))
        .route("/queues/{name}/messages/{seq}", get(message).delete(remove))
        .route("/queues/{name}/dead_letters", get(dead_letters).delete(purge_dead))
        .route("/queues/{name}/dead_letters/{seq}", get(dead_letter).delete(remove_dead))
        .route("/queues/{name}/redrive", post(redrive))
        .route("/queues/{name}/pause", post(pause))
        .route("/queues/{name}/resume", post(resume))
        .route("/queues/{name}/unblock", post(unblock))
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Wrong(message) => Self::bad_request(message),
            CommandError::NotFound(message) => Self::not_found(message),
            CommandError::Conflict(message) => Self::conflict("CONFLICT", message),
            CommandError::Full(message) => Self::conflict("QUOTA_EXCEEDED", message),
            CommandError::Unavailable(message) => Self::unavailable("UNAVAILABLE", message),
        }
    }
}

/// The queue that a path means: that of clients without a mount point, if the query does not name one.
fn id(name: &str, params: &mut Params) -> Result<QueueId, Problem> {
    let name = QueueName::new(name).map_err(|error| Problem::bad_request(format!("name: {error}")))?;
    let mount_point = params.text("mountpoint")?.filter(|mount_point| !mount_point.is_empty());
    Ok(QueueId { mount_point: mount_point.map(Into::into), name })
}

/// The same where the query has nothing else.
fn only_id(name: &str, mut params: Params) -> Result<QueueId, Problem> {
    let id = id(name, &mut params)?;
    params.finish()?;
    Ok(id)
}

async fn queues(State(api): Shared, mut params: Params) -> Answer {
    let (page, like) = (params.page()?, params.text("like_name")?);
    params.finish()?;
    let mut ids = api.broker.queue_ids();
    ids.retain(|id| like.as_deref().is_none_or(|like| id.name.as_str().contains(like)));
    let key = |id: &QueueId| format!("{}\0{}", id.mount_point.as_deref().unwrap_or_default(), id.name);
    let (ids, meta) = page.of(ids, key);
    let now = Instant::now();
    // One that was taken away just now is left out.
    let data: Vec<Value> = ids.iter().filter_map(|id| Some(shown(&api.broker.queue(id, now).ok()?))).collect();
    list(&data, &meta)
}

async fn queue(State(api): Shared, PathOf(name): PathOf<String>, params: Params) -> Answer {
    let queue = only_id(&name, params)?;
    ok(&QueueCommand::Show { queue }.run(&api.broker).await?)
}

/// The body is one of `[[queues]]`.
async fn create(State(api): Shared, mut params: Params, JsonBody(mut config): JsonBody<Map<String, Value>>) -> Answer {
    let name = match config.remove("name") {
        Some(Value::String(name)) => name,
        Some(_) => return Err(Problem::bad_request("name: it must be a string")),
        None => return Err(Problem::bad_request("name: it must be given")),
    };
    let queue = id(&name, &mut params)?;
    params.finish()?;
    let what = format!("create queue {queue}");
    let made = QueueCommand::Create { queue, config }.run(&api.broker).await?;
    changed(with(StatusCode::CREATED, &made), what)
}

/// Keys that the body does not have stay as they are.
async fn update(
    State(api): Shared,
    PathOf(name): PathOf<String>,
    params: Params,
    JsonBody(config): JsonBody<Map<String, Value>>,
) -> Answer {
    let queue = only_id(&name, params)?;
    let keys = config.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let what = format!("update queue {queue}: {}", keys.chars().take(256).collect::<String>());
    changed(ok(&QueueCommand::Update { queue, config }.run(&api.broker).await?), what)
}

async fn delete(State(api): Shared, PathOf(name): PathOf<String>, params: Params) -> Answer {
    let queue = only_id(&name, params)?;
    QueueCommand::Delete { queue }.run(&api.broker).await?;
    changed(done(), "delete queue with all that is in it")
}

async fn messages(State(api): Shared, PathOf(name): PathOf<String>, params: Params) -> Answer {
    peek(&api, &name, params, false).await
}

async fn dead_letters(State(api): Shared, PathOf(name): PathOf<String>, params: Params) -> Answer {
    peek(&api, &name, params, true).await
}

/// The oldest first; further on by cursor only, since the queue moves on. A page of large messages is shorter than its limit.
async fn peek(api: &Api, name: &str, mut params: Params, dead: bool) -> Answer {
    let (page, queue) = (params.page()?, id(name, &mut params)?);
    params.finish()?;
    if page.page > 1 {
        return Err(Problem::bad_request("page: the queue moves on; go further by cursor"));
    }
    let after = match &page.after {
        None => None,
        Some(after) => Some(after.parse().map_err(|_| Problem::bad_request("cursor: it is none of ours"))?),
    };
    let peek = QueueCommand::Peek { queue, dead, after, count: page.limit, seq: None };
    let mut peeked = look(api, peek).await?;
    let messages = peeked["messages"].take();
    let last = messages.as_array().and_then(|messages| messages.last()).map(|last| last["seq"].to_string());
    list(&messages, &page.meta(None, peeked["has_more"] == true, last.and_then(|last| page.cursor(&[last]))))
}

async fn message(State(api): Shared, PathOf((name, seq)): PathOf<(String, u64)>, params: Params) -> Answer {
    one(&api, only_id(&name, params)?, false, seq).await
}

async fn dead_letter(State(api): Shared, PathOf((name, seq)): PathOf<(String, u64)>, params: Params) -> Answer {
    one(&api, only_id(&name, params)?, true, seq).await
}

async fn one(api: &Api, queue: QueueId, dead: bool, seq: u64) -> Answer {
    let peeked = look(api, QueueCommand::Peek { queue, dead, after: None, count: 1, seq: Some(seq) }).await?;
    ok(&peeked["messages"][0])
}

/// Messages may be large, and on disk: not many at a time.
async fn look(api: &Api, peek: QueueCommand) -> Result<Value, Problem> {
    let _place = api.walks.acquire().await.expect("the semaphore is never closed");
    Ok(peek.run(&api.broker).await?)
}

async fn purge(State(api): Shared, PathOf(name): PathOf<String>, params: Params) -> Answer {
    let queue = only_id(&name, params)?;
    counted(&api, QueueCommand::Purge { queue, dead: false }, "messages taken out").await
}

async fn purge_dead(State(api): Shared, PathOf(name): PathOf<String>, params: Params) -> Answer {
    let queue = only_id(&name, params)?;
    counted(&api, QueueCommand::Purge { queue, dead: true }, "dead letters taken out").await
}

async fn remove(State(api): Shared, PathOf((name, seq)): PathOf<(String, u64)>, params: Params) -> Answer {
    let queue = only_id(&name, params)?;
    QueueCommand::Remove { queue, dead: false, seq }.run(&api.broker).await?;
    changed(done(), "message taken out")
}

async fn remove_dead(State(api): Shared, PathOf((name, seq)): PathOf<(String, u64)>, params: Params) -> Answer {
    let queue = only_id(&name, params)?;
    QueueCommand::Remove { queue, dead: true, seq }.run(&api.broker).await?;
    changed(done(), "dead letter taken out")
}

/// Which dead letters go back: all, if neither is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Redrive {
    /// The first so many.
    #[serde(default)]
    count: Option<usize>,
    /// The one with this number.
    #[serde(default)]
    seq: Option<u64>,
}

async fn redrive(
    State(api): Shared,
    PathOf(name): PathOf<String>,
    params: Params,
    JsonBody(Redrive { count, seq }): JsonBody<Redrive>,
) -> Answer {
    let queue = only_id(&name, params)?;
    if count.is_some() && seq.is_some() {
        return Err(Problem::bad_request("count and seq say different things: give one of them"));
    }
    let redriven = QueueCommand::Redrive { queue: queue.clone(), count, seq }.run(&api.broker).await?;
    if let Some(seq) = seq.filter(|_| redriven["count"] == 0) {
        one(&api, queue, true, seq).await?;
        return Err(Problem::conflict("CONFLICT", "a consumer has this dead letter, or the queue has no room for it"));
    }
    let what = format!("{} dead letters put back", redriven["count"]);
    changed(ok(&redriven), what)
}

async fn pause(State(api): Shared, PathOf(name): PathOf<String>, params: Params) -> Answer {
    let queue = only_id(&name, params)?;
    QueueCommand::Pause { queue }.run(&api.broker).await?;
    changed(done(), "pause queue")
}

async fn resume(State(api): Shared, PathOf(name): PathOf<String>, params: Params) -> Answer {
    let queue = only_id(&name, params)?;
    QueueCommand::Resume { queue }.run(&api.broker).await?;
    changed(done(), "resume queue")
}

async fn unblock(State(api): Shared, PathOf(name): PathOf<String>, params: Params) -> Answer {
    let queue = only_id(&name, params)?;
    counted(&api, QueueCommand::Unblock { queue }, "keys let go on").await
}

/// A command that says how many it meant.
async fn counted(api: &Api, command: QueueCommand, what: &str) -> Answer {
    let count = command.run(&api.broker).await?;
    let what = format!("{} {what}", count["count"]);
    changed(ok(&count), what)
}
