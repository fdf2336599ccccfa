//! `dunlin ctl trace`.

use std::fmt::Display;
use std::io::stdout;
use std::os::fd::AsFd;
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http_body_util::BodyExt;
use hyper::body::Body;
use serde_json::Value;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::client::{Api, Failure};
use super::table::text;
use crate::cli::{complain, exit, output, say};

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct TraceArgs {
    /// One client: its packets, and what it is sent.
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Messages to the topics of a filter.
    #[arg(long, value_name = "FILTER")]
    topic: Option<String>,
}

/// Bytes of one event.
const EVENT_MAX: usize = 1 << 20;
/// How long the broker may say nothing: where nothing happens it says so every 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Until Ctrl-C, or until nobody reads any more.
pub async fn trace(api: &Api, args: &TraceArgs, is_json: bool) -> Result<(), Failure> {
    tokio::select! {
        ended = follow(api, args, is_json) => ended,
        () = reader_gone() => Ok(()),
    }
}

/// Ends when the reader of standard output has gone away, as `head` does, though nothing is written; never where that cannot be told.
async fn reader_gone() {
    let watched = stdout().as_fd().try_clone_to_owned().and_then(pipe::Sender::from_owned_fd_unchecked);
    if let Ok(writer) = watched
        && writer.ready(Interest::ERROR).await.is_ok_and(|state| state.is_error())
    {
        return;
    }
    std::future::pending().await
}

/// Why one trace is over though nothing is wrong with it.
#[derive(Debug)]
enum End {
    Time,
    Silence,
    NobodyReads,
}

/// One trace after the other: each ends after a while.
async fn follow(api: &Api, args: &TraceArgs, is_json: bool) -> Result<(), Failure> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("clientid", &args.client), ("topic", &args.topic)] {
        query.extend_pairs(value.iter().map(|value| (name, value.as_str())));
    }
    let path = format!("/trace?{}", query.finish());
    loop {
        match show(api.stream(&path).await?.into_body(), is_json).await? {
            End::Time => {}
            End::Silence => complain("nothing has come from the broker for too long: connecting again"),
            End::NobodyReads => return Ok(()),
        }
    }
}

/// Shows one trace to its end.
async fn show<B>(mut body: B, is_json: bool) -> Result<End, Failure>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let mut waiting = Vec::new();
    loop {
        let Ok(frame) = timeout(SILENCE_MAX, body.frame()).await else { return Ok(End::Silence) };
        let frame = frame.ok_or_else(|| broken("the broker has ended it"))?;
        let frame = frame.map_err(|error| broken(&error.to_string()))?;
        if let Some(data) = frame.data_ref() {
            waiting.extend_from_slice(data);
        }
        let goes_on = show_events(&mut waiting, is_json);
        if output::is_gone() {
            return Ok(End::NobodyReads);
        }
        if !goes_on {
            return Ok(End::Time);
        }
        if waiting.len() > EVENT_MAX {
            return Err(broken("an event has no end"));
        }
    }
}

/// Shows the whole events in `waiting` and takes them out; `false` if the last one is that the time is over.
fn show_events(waiting: &mut Vec<u8>, is_json: bool) -> bool {
    while let Some(end) = waiting.windows(2).position(|pair| pair == b"\n\n") {
        let event: Vec<u8> = waiting.drain(..end + 2).collect();
        let event = String::from_utf8_lossy(&event);
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        match (field("event: "), field("data: ")) {
            (Some("end"), _) => return false,
            (Some("line"), Some(data)) if is_json => say(data),
            (Some("line"), Some(data)) => say(line(&serde_json::from_str(data).unwrap_or_default())),
            (Some("dropped"), Some(data)) => complain(format_args!("lines were dropped: {data}")),
            _ => {} // a comment that keeps the connection alive
        }
    }
    true
}

/// One line for people.
fn line(line: &Value) -> String {
    let mut shown = format!("{} {} {}", text(&line["at"]), text(&line["clientid"]), text(&line["event"]));
    if !line["topic"].is_null() {
        shown.push_str(&format!(" {} q{}", text(&line["topic"]), text(&line["qos"])));
    }
    if let Some(payload) = line["payload"].as_str() {
        let payload = STANDARD.decode(payload).unwrap_or_default();
        let beginning = text(&Value::String(String::from_utf8_lossy(&payload).into_owned()));
        shown.push_str(&format!(" ({} bytes) {beginning}", text(&line["payload_size"])));
    }
    let detail = text(&line["detail"]);
    format!("{shown} {detail}").trim_end().to_owned()
}

fn broken(why: &str) -> Failure {
    Failure { code: exit::FAILURE, message: format!("the trace has ended: {why}") }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::pending;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    /// Time is virtual: it jumps when everything waits.
    #[tokio::test(start_paused = true)]
    async fn a_broker_that_says_nothing_is_not_waited_for() {
        let body = StreamBody::new(pending::<Result<Frame<Bytes>, Infallible>>());
        assert!(matches!(show(body, true).await, Ok(End::Silence)));
    }

    #[tokio::test]
    async fn a_trace_whose_time_is_over_is_told_from_one_that_breaks_off() {
        let over = Full::new(Bytes::from_static(b": alive\n\nevent: end\ndata: {}\n\n"));
        assert!(matches!(show(over, true).await, Ok(End::Time)));
        let broken_off = Full::new(Bytes::from_static(b": alive\n\nevent: e"));
        assert!(show(broken_off, true).await.unwrap_err().message.contains("has ended it"));
    }

    #[test]
    fn events_are_taken_as_they_are_whole() {
        let mut waiting = b"event: line\ndata: {}\n\n: alive\n\nevent: li".to_vec();
        assert!(show_events(&mut waiting, true));
        assert_eq!(waiting, b"event: li");
        waiting.extend_from_slice(b"ne\ndata: {}\n\nevent: end\ndata: {}\n\n");
        assert!(!show_events(&mut waiting, true));
    }
}
