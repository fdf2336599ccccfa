//! `/sessions`: what outlives connections.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::answer::{Answer, Clocks, changed, done, ok};
use super::clients::page_of;
use super::request::{Params, PathOf};
use super::session_info::{OfflineInfo, find};
use super::{Api, Shared};
use crate::admin::problem::Problem;

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/sessions", get(sessions)).route("/sessions/{clientid}", get(session).delete(discard))
}

/// The filters are those of `/clients`.
async fn sessions(State(api): Shared, params: Params) -> Answer {
    page_of(&api, params, OfflineInfo::new).await
}

async fn session(State(api): Shared, PathOf(client_id): PathOf<String>, mut params: Params) -> Answer {
    let handle = find(&api, &client_id, &mut params).await?;
    params.finish()?;
    ok(&OfflineInfo::new(&api, &handle, &handle.view(), &Clocks::now()))
}

/// The session ends, with its connection, its subscriptions and all that waits.
async fn discard(State(api): Shared, PathOf(client_id): PathOf<String>, mut params: Params) -> Answer {
    let handle = find(&api, &client_id, &mut params).await?;
    params.finish()?;
    let ended = api.change(move |api| api.broker.discard_session(&handle, Instant::now())).await?;
    if !ended {
        return Err(Problem::conflict("CONFLICT", "the session was ended or taken up by its client just now"));
    }
    changed(done(), "discard session")
}
