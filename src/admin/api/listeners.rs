//! `/listeners`: the doors.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::answer::{Answer, list, ok};
use super::request::{Params, PathOf};
use super::{Api, Shared};
use crate::admin::problem::Problem;

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/listeners", get(listeners)).route("/listeners/{id}", get(listener))
}

async fn listeners(State(api): Shared, mut params: Params) -> Answer {
    let page = params.page()?;
    params.finish()?;
    let (data, meta) = page.of(api.steward.listeners(), |listener| listener.id.clone());
    list(&data, &meta)
}

async fn listener(State(api): Shared, PathOf(id): PathOf<String>, params: Params) -> Answer {
    params.finish()?;
    let found = api.steward.listeners().into_iter().find(|listener| listener.id == id);
    ok(&found.ok_or_else(|| Problem::not_found("there is no listener of this name"))?)
}
