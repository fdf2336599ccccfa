//! `/config`: what holds, and what of it is changed here.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::answer::{Answer, changed, ok};
use super::request::{JsonBody, Params};
use super::steward::{ConfigChanged, ConfigRefusal};
use super::{Api, Shared};
use crate::admin::problem::Problem;

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/config", get(config).patch(patch)).route("/config/overrides", get(overrides).delete(reset))
}

/// The sections as the file has them, and beside them which keys are overridden.
async fn config(State(api): Shared, params: Params) -> Answer {
    params.finish()?;
    let mut config = api.steward.config();
    if let Some(sections) = config.as_object_mut() {
        sections.insert("overridden".into(), json!(api.steward.overrides().overridden));
    }
    ok(&config)
}

async fn overrides(State(api): Shared, params: Params) -> Answer {
    params.finish()?;
    ok(&api.steward.overrides())
}

async fn patch(State(api): Shared, params: Params, JsonBody(patch): JsonBody<Map<String, Value>>) -> Answer {
    params.finish()?;
    let done = api.steward.patch_config(patch).await.map_err(problem)?;
    let values = api.steward.overrides().overrides;
    let what = told(&done, &values);
    changed(ok(&done), what)
}

async fn reset(State(api): Shared, params: Params) -> Answer {
    params.finish()?;
    let done = api.steward.reset_config().await.map_err(problem)?;
    let what = told(&done, &Value::Null);
    changed(ok(&done), what)
}

/// For the audit log. No key that is secret can be set.
fn told(done: &ConfigChanged, values: &Value) -> String {
    let set = done.set.iter().map(|key| {
        let value = key.split('.').try_fold(values, |value, name| value.get(name));
        format!("{key} = {}", value.unwrap_or(&Value::Null))
    });
    let taken_back = done.taken_back.iter().map(|key| format!("{key} taken back"));
    format!("config: {}", set.chain(taken_back).collect::<Vec<_>>().join("; "))
}

fn problem(refusal: ConfigRefusal) -> Problem {
    match refusal {
        ConfigRefusal::Wrong(why) => Problem::bad_request(why),
        ConfigRefusal::NotChangeable(why) => Problem::conflict("NOT_CHANGEABLE", why),
        ConfigRefusal::Broken(why) => Problem::conflict("CONFIG_ERROR", why),
        ConfigRefusal::NotKept(why) => Problem::unavailable("NOT_KEPT", format!("the change could not be written down: {why}")),
        ConfigRefusal::Busy(why) => Problem::unavailable("BUSY", why),
    }
}
