//! `/banned`: who may not come in.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};

use super::access::Caller;
use super::answer::{Answer, changed, done, list, milliseconds_of, ok, time_of, with};
use super::request::{JsonBody, Params, PathOf};
use super::{Api, Shared};
use crate::admin::problem::Problem;
use crate::broker::{Ban, BanError, BanKind, Whose, wall_clock};

pub fn routes() -> Router<Arc<Api>> {
    Router::new().route("/banned", get(banned).post(ban)).route("/banned/{as}/{who}", delete(unban).get(one))
}

#[derive(Debug, Serialize)]
struct BanInfo {
    #[serde(rename = "as")]
    kind: BanKind,
    who: Box<str>,
    reason: Box<str>,
    by: Box<str>,
    at: String,
    /// `null` is for ever.
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<Whose>,
}

impl From<&Ban> for BanInfo {
    fn from(ban: &Ban) -> Self {
        Self {
            kind: ban.kind,
            who: ban.value.clone(),
            reason: ban.reason.clone(),
            by: ban.by.clone(),
            at: time_of(ban.at),
            until: ban.until.map(time_of),
            of: ban.of.as_deref().cloned(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(rename = "as")]
    kind: BanKind,
    who: String,
    #[serde(default)]
    reason: String,
    /// RFC 3339; not given, for ever.
    #[serde(default)]
    until: Option<String>,
    /// The same as a span from now.
    #[serde(default)]
    seconds: Option<u64>,
}

impl Request {
    fn until(&self) -> Result<Option<u64>, Problem> {
        match (&self.until, self.seconds) {
            (None, None) => Ok(None),
            (Some(until), None) => {
                let until =
                    milliseconds_of(until).ok_or_else(|| Problem::bad_request("until: it is no time as in RFC 3339"))?;
                Ok(Some(until))
            }
            (None, Some(seconds)) => Ok(Some(wall_clock().saturating_add(seconds.saturating_mul(1000)))),
            (Some(_), Some(_)) => Err(Problem::bad_request("until and seconds say the same thing: give one of them")),
        }
    }
}

async fn banned(State(api): Shared, mut params: Params) -> Answer {
    let (page, kind) = (params.page()?, params.choice("as", &KINDS.map(|(name, _)| name))?);
    params.finish()?;
    let mut all = api.broker.bans.all();
    all.retain(|ban| kind.is_none_or(|place| KINDS[place].1 == ban.kind));
    let (data, meta) = page.of(all, |ban| format!("{}\0{}", ban.kind as u8, ban.key()));
    let data: Vec<_> = data.iter().map(|ban| BanInfo::from(&**ban)).collect();
    list(&data, &meta)
}

async fn one(State(api): Shared, PathOf((kind, who)): PathOf<(String, String)>, params: Params) -> Answer {
    params.finish()?;
    let ban = api.broker.bans.get(named(&kind)?, &who).ok_or_else(missing)?;
    ok(&BanInfo::from(&*ban))
}

/// Connections that the ban is on are ended.
async fn ban(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    params: Params,
    JsonBody(request): JsonBody<Request>,
) -> Answer {
    params.finish()?;
    let until = request.until()?;
    let (kind, name) = (request.kind, name_of(request.kind));
    if api.broker.bans.get(kind, &request.who).is_some() {
        return Err(Problem::conflict("ALREADY_EXISTS", "there is a ban on this one; take it away first"));
    }
    let who = request.who.clone();
    let ban = move |api: &Api| -> Result<_, Problem> {
        let ended = api.broker.ban(kind, &request.who, until, &request.reason, &caller.name).map_err(refused)?;
        api.steward.keep_bans().map_err(|error| not_kept(&error))?;
        Ok((ended, api.broker.bans.get(kind, &request.who)))
    };
    let (ended, made): (usize, _) = api.change(ban).await??;
    let made = made.ok_or_else(|| Problem::conflict("CONFLICT", "the ban was taken away again just now"))?;
    let who: String = who.chars().take(128).collect();
    changed(with(StatusCode::CREATED, &BanInfo::from(&*made)), format!("ban {name} {who:?}, {ended} connections ended"))
}

async fn unban(State(api): Shared, PathOf((kind, who)): PathOf<(String, String)>, params: Params) -> Answer {
    params.finish()?;
    let kind = named(&kind)?;
    let unban = move |api: &Api| -> Result<(), Problem> {
        if !api.broker.bans.remove(kind, &who) {
            return Err(missing());
        }
        api.steward.keep_bans().map_err(|error| not_kept(&error))
    };
    api.change(unban).await??;
    changed(done(), "unban")
}

const KINDS: [(&str, BanKind); 3] =
    [("clientid", BanKind::ClientId), ("username", BanKind::Username), ("peerhost", BanKind::Address)];

fn name_of(kind: BanKind) -> &'static str {
    KINDS[kind as usize].0
}

fn named(name: &str) -> Result<BanKind, Problem> {
    let found = KINDS.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, kind)| kind).ok_or_else(|| Problem::bad_request("as: it is none of clientid, username, peerhost"))
}

fn refused(error: BanError) -> Problem {
    match error {
        BanError::Full => Problem::conflict("QUOTA_EXCEEDED", error.to_string()),
        BanError::NoAddress | BanError::Length => Problem::bad_request(format!("who: {error}")),
        BanError::Past => Problem::bad_request(format!("until: {error}")),
    }
}

fn not_kept(error: &str) -> Problem {
    Problem::internal(format!("this holds now, and will not after a restart: {error}"))
}

fn missing() -> Problem {
    Problem::not_found("there is no such ban")
}
