//! `/trace`: one client or some topics, live, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, time_of};
use super::request::Params;
use super::{Api, Shared};
use crate::admin::problem::Problem;
use crate::broker::{FOLLOWERS_MAX, Follow, Following, TraceLine};
use crate::packet::TopicFilter;

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/trace", get(trace))
}

/// How long one trace goes on, in seconds, where none is asked for, and at most: the connection lives no longer.
const SECONDS_DEFAULT: u64 = 240;
const SECONDS_MAX: u64 = 240;

/// When the connection that a request has come on ends.
#[derive(Clone, Copy, Debug)]
pub struct Ends(pub Instant);

/// One line.
#[derive(Debug, Serialize)]
struct LineInfo {
    at: String,
    clientid: Arc<str>,
    peer: Option<String>,
    event: &'static str,
    topic: Option<Box<str>>,
    qos: Option<u8>,
    retain: Option<bool>,
    payload_size: Option<usize>,
    /// The beginning, in base64.
    payload: Option<String>,
    detail: Box<str>,
}

impl From<TraceLine> for LineInfo {
    fn from(line: TraceLine) -> Self {
        Self {
            at: time_of(line.at),
            clientid: line.client_id,
            peer: line.address.map(|address| address.to_string()),
            event: line.event,
            topic: line.topic,
            qos: line.qos,
            retain: line.retain,
            payload_size: line.payload.as_ref().map(|(size, _)| *size),
            payload: line.payload.map(|(_, beginning)| STANDARD.encode(beginning)),
            detail: line.detail,
        }
    }
}

/// Events: `line` for what happens, `dropped` with a number of lines that nobody took in time, `end` when the time is over.
async fn trace(State(api): Shared, Extension(Ends(ends)): Extension<Ends>, mut params: Params) -> Answer {
    let what = match (params.text("clientid")?, params.text("topic")?) {
        (Some(client_id), None) if !client_id.is_empty() => Follow::Client(client_id.into()),
        (None, Some(topic)) => {
            let filter =
                TopicFilter::new(&topic).map_err(|error| Problem::bad_request(format!("topic: {}", error.detail())))?;
            Follow::Topic(filter)
        }
        _ => return Err(Problem::bad_request("either clientid or topic, a filter, must be given")),
    };
    let seconds: u64 = params.value("seconds")?.unwrap_or(SECONDS_DEFAULT);
    params.finish()?;
    if !(1..=SECONDS_MAX).contains(&seconds) {
        return Err(Problem::bad_request(format!("seconds: it must be from 1 to {SECONDS_MAX}")));
    }
    let following = api
        .broker
        .follow(what)
        .ok_or_else(|| Problem::unavailable("TOO_MANY_TRACES", format!("{FOLLOWERS_MAX} traces are being followed already")))?;
    let until = ends.min(Instant::now() + Duration::from_secs(seconds));
    let events = stream::unfold(Some(Feed { following, until, held: None }), |feed| async move {
        let mut feed = feed?;
        match feed.next().await {
            Some(event) => Some((Ok::<_, Infallible>(event), Some(feed))),
            None => Some((Ok(Event::default().event("end").data("{}")), None)),
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

struct Feed {
    following: Following,
    until: Instant,
    /// A line that comes behind the news of those that were dropped before it.
    held: Option<TraceLine>,
}

impl Feed {
    /// The next event; `None` when the time is over.
    async fn next(&mut self) -> Option<Event> {
        let line = match self.held.take() {
            Some(line) => line,
            None => {
                let line = timeout_at(self.until, self.following.next()).await.ok()??;
                let dropped = self.following.take_dropped();
                if dropped > 0 {
                    self.held = Some(line);
                    return Some(Event::default().event("dropped").data(format!("{{\"lines\":{dropped}}}")));
                }
                line
            }
        };
        // A line feed in the JSON is escaped there, so that one event is one line.
        let json = serde_json::to_string(&LineInfo::from(line)).unwrap_or_default();
        Some(Event::default().event("line").data(json))
    }
}
