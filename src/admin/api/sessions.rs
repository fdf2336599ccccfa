//! `/sessions`: what outlives connections.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::answer::{Answer, Clocks, changed, done, list, ok};
use super::clients::Wanted;
use super::page::Selection;
use super::request::{Params, PathOf};
use super::session_info::{OfflineInfo, find};
use super::{Api, Shared};
use crate::admin::problem::Problem;

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/sessions", get(sessions)).route("/sessions/{clientid}", get(session).delete(discard))
}

/// The filters are those of `/clients`.
async fn sessions(State(api): Shared, mut params: Params) -> Answer {
    let (page, wanted) = (params.page()?, Wanted::read(&mut params)?);
    params.finish()?;
    let (data, meta) = api
        .walk(move |api| {
            let (handles, meta) = wanted.select(api, Selection::new(&page)).finish();
            let clocks = Clocks::now();
            let data: Vec<_> = handles.iter().map(|handle| OfflineInfo::new(api, handle, &handle.view(), &clocks)).collect();
            (data, meta)
        })
        .await?;
    list(&data, &meta)
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
    let ended = api.walk(move |api| api.broker.discard_session(&handle, Instant::now())).await?;
    if !ended {
        return Err(Problem::conflict("CONFLICT", "the session was ended or taken up by its client just now"));
    }
    changed(done(), "discard session")
}
