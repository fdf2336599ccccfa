//! `/topics`: the filters that somebody has subscribed to, each once.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;

use super::answer::{Answer, list};
use super::page::Selection;
use super::request::Params;
use super::{Api, Shared};

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/topics", get(topics))
}

#[derive(Debug, Serialize)]
struct TopicInfo {
    topic: String,
    node: Arc<str>,
    subscribers: usize,
}

async fn topics(State(api): Shared, mut params: Params) -> Answer {
    let (page, wanted, like) = (params.page()?, params.text("topic")?, params.text("like_topic")?);
    params.finish()?;
    let (data, meta) = api
        .walk(move |api| {
            let mut selection = Selection::new(&page);
            api.broker.visit_sessions(|handle| {
                handle.visit_subscriptions(|filter, _| {
                    let filter = filter.as_str();
                    let is_wanted = wanted.as_deref().is_none_or(|wanted| wanted == filter)
                        && like.as_deref().is_none_or(|like| filter.contains(like));
                    if is_wanted {
                        let make = || TopicInfo { topic: filter.into(), node: api.node.clone(), subscribers: 1 };
                        selection.merge(filter, make, |there| there.subscribers += 1);
                    }
                });
            });
            selection.finish()
        })
        .await?;
    list(&data, &meta)
}
