//! `/subscriptions`: all of them, of all sessions.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::answer::{Answer, list};
use super::page::Selection;
use super::request::Params;
use super::session_info::SubscriptionInfo;
use super::{Api, Shared};
use crate::admin::problem::Problem;
use crate::packet::{TopicFilter, TopicName};
use crate::session::Subscription;

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/subscriptions", get(subscriptions))
}

struct Wanted {
    client_id: Option<String>,
    /// The filter itself.
    topic: Option<String>,
    /// A topic that the filter matches.
    match_topic: Option<String>,
    qos: Option<u8>,
    share_group: Option<String>,
}

impl Wanted {
    fn read(params: &mut Params) -> Result<Self, Problem> {
        let match_topic = params.text("match_topic")?;
        if let Some(topic) = &match_topic {
            TopicName::new(topic).map_err(|error| Problem::bad_request(format!("match_topic: {}", error.detail())))?;
        }
        Ok(Self {
            client_id: params.text("clientid")?,
            topic: params.text("topic")?,
            match_topic,
            qos: params.value("qos")?,
            share_group: params.text("share_group")?,
        })
    }

    fn is_met(&self, filter: &TopicFilter, subscription: &Subscription) -> bool {
        if self.topic.as_deref().is_some_and(|topic| topic != filter.as_str())
            || self.qos.is_some_and(|qos| qos != subscription.options.qos as u8)
        {
            return false;
        }
        if self.match_topic.is_none() && self.share_group.is_none() {
            return true;
        }
        let shared = filter.shared().and_then(Result::ok);
        let is_of_group = |group: &String| shared.as_ref().is_some_and(|shared| *shared.share_name == **group);
        let inner = shared.as_ref().map_or(filter, |shared| &shared.filter);
        let matches = |topic: &String| TopicName::new(topic).is_ok_and(|topic| inner.matches(topic));
        self.share_group.as_ref().is_none_or(is_of_group) && self.match_topic.as_ref().is_none_or(matches)
    }
}

async fn subscriptions(State(api): Shared, mut params: Params) -> Answer {
    let (page, wanted) = (params.page()?, Wanted::read(&mut params)?);
    params.finish()?;
    let (data, meta) = api
        .walk(move |api| {
            let mut selection = Selection::new(&page);
            let mut key = String::new();
            api.broker.visit_sessions(|handle| {
                if wanted.client_id.as_deref().is_some_and(|client_id| client_id != &**handle.client_id()) {
                    return;
                }
                handle.visit_subscriptions(|filter, subscription| {
                    if wanted.is_met(filter, subscription) {
                        key.clear();
                        key.extend([&handle.registry_key, "\0", filter.as_str()]);
                        selection.offer(&key, || SubscriptionInfo::new(api, handle, filter, subscription));
                    }
                });
            });
            selection.finish()
        })
        .await?;
    list(&data, &meta)
}
