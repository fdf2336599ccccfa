//! `/reload`, `/log_level`, `/backups`: the process itself.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, changed, list, ok, time_of, with};
use super::request::{JsonBody, Params, PathOf};
use super::{Api, Shared};
use crate::admin::api::steward::{BackupState, BackupView};
use crate::admin::problem::Problem;

pub fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/reload", post(reload))
        .route("/log_level", get(log_level).put(set_log_level))
        .route("/backups", get(backups).post(begin_backup))
        .route("/backups/{name}", get(backup))
}

#[derive(Debug, Serialize)]
struct Reloaded {
    /// Keys whose change takes effect at the next start.
    needs_restart: Vec<String>,
}

/// The file is read again; its text does not come by HTTP.
async fn reload(State(api): Shared, params: Params) -> Answer {
    params.finish()?;
    let reloaded = api.steward.reload().await;
    let needs_restart = reloaded.map_err(|errors| Problem::conflict("CONFIG_ERROR", errors))?;
    changed(ok(&Reloaded { needs_restart }), "reload")
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogLevel {
    level: String,
}

/// Bytes of a log level.
const LEVEL_MAX: usize = 1024;

async fn log_level(State(api): Shared, params: Params) -> Answer {
    params.finish()?;
    ok(&LogLevel { level: api.steward.log_level() })
}

async fn set_log_level(State(api): Shared, params: Params, JsonBody(wanted): JsonBody<LogLevel>) -> Answer {
    params.finish()?;
    if wanted.level.len() > LEVEL_MAX {
        return Err(Problem::bad_request(format!("level: it is longer than {LEVEL_MAX} bytes")));
    }
    api.steward.set_log_level(&wanted.level).map_err(|error| Problem::bad_request(format!("level: {error}")))?;
    let what = format!("log level {}", wanted.level);
    changed(ok(&wanted), what)
}

#[derive(Debug, Serialize)]
struct BackupInfo {
    name: String,
    state: BackupState,
    at: String,
    bytes: u64,
    bytes_total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<BackupView> for BackupInfo {
    fn from(view: BackupView) -> Self {
        let BackupView { name, state, at, bytes, bytes_total, error } = view;
        Self { name, state, at: time_of(at), bytes, bytes_total, error }
    }
}

async fn backups(State(api): Shared, mut params: Params) -> Answer {
    let page = params.page()?;
    params.finish()?;
    let all: Vec<BackupInfo> = api.steward.backups().into_iter().map(Into::into).collect();
    let (data, meta) = page.of(all, |backup| backup.name.clone());
    list(&data, &meta)
}

async fn backup(State(api): Shared, PathOf(name): PathOf<String>, params: Params) -> Answer {
    params.finish()?;
    let found = api.steward.backups().into_iter().find(|backup| backup.name == name);
    let found = found.ok_or_else(|| Problem::not_found("no backup of this name was begun in this process"))?;
    ok(&BackupInfo::from(found))
}

/// It goes on after the answer.
async fn begin_backup(State(api): Shared, params: Params) -> Answer {
    params.finish()?;
    let begun = api.steward.begin_backup().map_err(|why| Problem::conflict("NO_BACKUP", why))?;
    let what = format!("backup {}", begun.name);
    changed(with(StatusCode::ACCEPTED, &BackupInfo::from(begun)), what)
}
