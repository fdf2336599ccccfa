//! `/bridges`: other brokers that topics are shared with.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::answer::{Answer, list, ok};
use super::request::{Params, PathOf};
use super::{Api, Shared};
use crate::admin::problem::Problem;

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/bridges", get(bridges)).route("/bridges/{name}", get(bridge))
}

async fn bridges(State(api): Shared, mut params: Params) -> Answer {
    let page = params.page()?;
    params.finish()?;
    let (data, meta) = page.of(api.steward.bridges(), |bridge| bridge.name.clone());
    list(&data, &meta)
}

async fn bridge(State(api): Shared, PathOf(name): PathOf<String>, params: Params) -> Answer {
    params.finish()?;
    let found = api.steward.bridges().into_iter().find(|bridge| bridge.name == name);
    ok(&found.ok_or_else(|| Problem::not_found("there is no bridge of this name"))?)
}
