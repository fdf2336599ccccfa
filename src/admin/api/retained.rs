//! `/retained`: the retained messages.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::answer::{Answer, changed, done, list, ok};
use super::publish::{PropertiesInfo, kept};
use super::request::{Params, PathOf};
use super::{Api, Shared};
use crate::admin::problem::Problem;
use crate::broker::RetainedView;
use crate::packet::{TopicFilter, TopicName};

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/retained", get(retained)).route("/retained/{topic}", get(one).delete(delete))
}

#[derive(Debug, Serialize)]
struct RetainedInfo {
    topic: String,
    qos: u8,
    payload_size: usize,
    /// Who published it; nobody for the broker and its operator.
    from_clientid: Option<Arc<str>>,
    from_username: Option<Arc<str>>,
    /// Seconds until it goes.
    message_expiry_interval: Option<u32>,
    /// In base64; in lists it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<PropertiesInfo>,
}

impl RetainedInfo {
    fn new(view: &RetainedView, now: Instant) -> Self {
        let message = &view.message;
        Self {
            topic: message.topic().as_str().into(),
            qos: message.qos as u8,
            payload_size: message.view().payload.len(),
            from_clientid: view.publisher.as_ref().map(|by| by.client_id.clone()),
            from_username: view.publisher.as_ref().and_then(|by| by.username.clone()),
            message_expiry_interval: message.remaining_expiry(now),
            payload: None,
            properties: None,
        }
    }

    fn whole(view: &RetainedView, now: Instant) -> Self {
        Self {
            payload: Some(STANDARD.encode(view.message.payload())),
            properties: PropertiesInfo::of(&view.message),
            ..Self::new(view, now)
        }
    }
}

/// In the order of the topics' bytes. `topic` is a filter; without one, `#`, which leaves out what begins with `$`.
async fn retained(State(api): Shared, mut params: Params) -> Answer {
    let (page, topic) = (params.page()?, params.text("topic")?);
    params.finish()?;
    let filter = TopicFilter::new(topic.as_deref().unwrap_or("#"));
    let filter = filter.map_err(|error| Problem::bad_request(format!("topic: {}", error.detail())))?;
    let (data, meta) = api
        .walk(move |api| {
            let (now, mut skip) = (Instant::now(), page.skip());
            let (mut data, mut hasnext) = (Vec::new(), false);
            api.broker.visit_retained(Some(&filter), page.after.as_deref(), |topic, view| {
                if page.has_passed(topic.as_str()) || view.message.is_expired(now) {
                    return ControlFlow::Continue(());
                }
                if skip > 0 {
                    skip -= 1;
                    return ControlFlow::Continue(());
                }
                if data.len() == page.limit {
                    hasnext = true;
                    return ControlFlow::Break(());
                }
                data.push(RetainedInfo::new(&view, now));
                ControlFlow::Continue(())
            });
            let is_all = !hasnext && skip == 0 && page.after.is_none();
            let count = is_all.then_some(page.skip() + data.len());
            let topics: Vec<&str> = data.iter().map(|info: &RetainedInfo| &*info.topic).collect();
            let meta = page.meta(count, hasnext, page.cursor(&topics));
            (data, meta)
        })
        .await?;
    list(&data, &meta)
}

async fn one(State(api): Shared, PathOf(topic): PathOf<String>, params: Params) -> Answer {
    params.finish()?;
    let now = Instant::now();
    let view = api.broker.retained_message(name(&topic)?).filter(|view| !view.message.is_expired(now));
    ok(&RetainedInfo::whole(&view.ok_or_else(missing)?, now))
}

async fn delete(State(api): Shared, PathOf(topic): PathOf<String>, params: Params) -> Answer {
    params.finish()?;
    if topic.starts_with("$SYS/") {
        // What does not change is not published again.
        return Err(Problem::bad_request("topic: what is below $SYS is the broker's own"));
    }
    let safe = api.broker.forget_retained(name(&topic)?).ok_or_else(missing)?;
    kept(safe).await?;
    changed(done(), "delete retained message")
}

fn name(topic: &str) -> Result<TopicName<'_>, Problem> {
    TopicName::new(topic).map_err(|error| Problem::bad_request(error.detail()))
}

fn missing() -> Problem {
    Problem::not_found("there is no retained message of this topic")
}
