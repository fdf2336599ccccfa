//! `dunlin ctl trace`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http_body_util::BodyExt;
use serde_json::Value;

use super::client::{Api, Failure};
use super::table::text;
use crate::cli::{complain, exit, say};

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

/// One trace after the other: each ends after a while.
pub async fn trace(api: &Api, args: &TraceArgs, is_json: bool) -> Result<(), Failure> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("clientid", &args.client), ("topic", &args.topic)] {
        query.extend_pairs(value.iter().map(|value| (name, value.as_str())));
    }
    let path = format!("/trace?{}", query.finish());
    loop {
        let mut body = api.stream(&path).await?.into_body();
        let mut waiting = Vec::new();
        loop {
            let Some(frame) = body.frame().await else { return Err(broken("the broker has ended it")) };
            let frame = frame.map_err(|error| broken(&error.to_string()))?;
            if let Some(data) = frame.data_ref() {
                waiting.extend_from_slice(data);
            }
            if !show_events(&mut waiting, is_json) {
                break;
            }
            if waiting.len() > EVENT_MAX {
                return Err(broken("an event has no end"));
            }
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
    use super::*;

    #[test]
    fn events_are_taken_as_they_are_whole() {
        let mut waiting = b"event: line\ndata: {}\n\n: alive\n\nevent: li".to_vec();
        assert!(show_events(&mut waiting, true));
        assert_eq!(waiting, b"event: li");
        waiting.extend_from_slice(b"ne\ndata: {}\n\nevent: end\ndata: {}\n\n");
        assert!(!show_events(&mut waiting, true));
    }
}
