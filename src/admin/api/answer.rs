//! The shapes of answers.

use std::time::{Instant, SystemTime};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::page::Meta;
use crate::admin::problem::Problem;

pub type Answer = Result<Response, Problem>;

/// What was changed, for the audit log.
#[derive(Clone, Debug)]
pub struct Changed(pub String);

pub fn ok(body: &impl Serialize) -> Answer {
    with(StatusCode::OK, body)
}

pub fn with(status: StatusCode, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).map_err(|error| Problem::internal(error.to_string()))?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Done, and there is nothing to say about it.
pub fn done() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// One page of a list.
pub fn list(data: &impl Serialize, meta: &Meta) -> Answer {
    #[derive(Serialize)]
    struct List<'a, T> {
        data: &'a T,
        meta: &'a Meta,
    }
    ok(&List { data, meta })
}

/// Tells the audit log more than the path does.
pub fn changed(answer: Answer, what: impl Into<String>) -> Answer {
    let mut response = answer?;
    response.extensions_mut().insert(Changed(what.into()));
    Ok(response)
}

/// A time in RFC 3339, in UTC, from milliseconds since 1970.
pub fn time_of(milliseconds: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "9999-12-31T23:59:59Z".into())
}

/// Milliseconds since 1970 of a time in RFC 3339.
pub fn milliseconds_of(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

/// The wall-clock time of an instant, both as they are now.
pub struct Clocks {
    instant: Instant,
    wall: SystemTime,
}

impl Clocks {
    pub fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    pub const fn instant(&self) -> Instant {
        self.instant
    }

    /// In RFC 3339, in UTC, to the millisecond.
    pub fn show(&self, at: Instant) -> String {
        let wall = match at.checked_duration_since(self.instant) {
            Some(ahead) => self.wall.checked_add(ahead),
            None => self.wall.checked_sub(self.instant - at),
        };
        let since = wall.and_then(|wall| wall.duration_since(SystemTime::UNIX_EPOCH).ok());
        time_of(since.map_or(u64::MAX, |since| since.as_millis() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(time_of(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(milliseconds_of("2023-11-14T23:13:20.123+01:00"), Some(1_700_000_000_123));
        assert_eq!((milliseconds_of("tomorrow"), milliseconds_of("1969-12-31T00:00:00Z")), (None, None));
        assert_eq!(time_of(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
