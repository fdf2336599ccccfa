//! `/retained_levels`: the tree of retained topics, one level at a time.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;

use super::answer::{Answer, list};
use super::page::Selection;
use super::request::Params;
use super::{Api, Shared};
use crate::admin::problem::Problem;
use crate::packet::TopicFilter;

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/retained_levels", get(levels))
}

/// A level below another one.
#[derive(Debug, Serialize)]
struct LevelInfo {
    /// Its name; it may be empty.
    level: String,
    /// The topic that ends with it.
    topic: String,
    /// Whether that topic has a retained message itself.
    has_message: bool,
    /// Retained messages of topics further down.
    below: usize,
}

/// In the order of the levels' bytes. `under` is the topic whose next level is wanted; without it, the first one.
async fn levels(State(api): Shared, mut params: Params) -> Answer {
    let (page, under) = (params.page()?, params.text("under")?);
    params.finish()?;
    let filter = under.as_ref().map(|under| TopicFilter::new(&format!("{under}/#"))).transpose();
    let filter = filter.map_err(|error| Problem::bad_request(format!("under: {}", error.detail())))?;
    if under.as_ref().is_some_and(|under| under.contains(['+', '#'])) {
        return Err(Problem::bad_request("under: it is a topic, without wildcards"));
    }
    let prefix = under.map_or_else(String::new, |under| format!("{under}/"));
    let (data, meta) = api
        .walk(move |api| {
            let (now, mut selection) = (Instant::now(), Selection::new(&page));
            api.broker.visit_retained(filter.as_ref(), None, |topic, view| {
                // The topic itself matches its own `/#` [MQTT-4.7.1-2].
                if let Some(rest) = topic.as_str().strip_prefix(&prefix)
                    && !view.message.is_expired(now)
                {
                    let (level, below) = rest.split_once('/').map_or((rest, 0), |(level, _)| (level, 1));
                    let has_message = below == 0;
                    let make = || LevelInfo { level: level.into(), topic: format!("{prefix}{level}"), has_message, below };
                    selection.merge(level, make, |there| {
                        there.has_message |= has_message;
                        there.below += below;
                    });
                }
                ControlFlow::Continue(())
            });
            selection.finish()
        })
        .await?;
    list(&data, &meta)
}
