//! What requests carry, taken apart with errors that tell what is wrong.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::page::{LIMIT_DEFAULT, LIMIT_MAX, Page, REACH};
use crate::admin::problem::Problem;

/// A body that is a JSON object. What does not fit is told with its place in the body.
pub struct JsonBody<T>(pub T);

/// A body that is a list of JSON objects.
pub struct JsonList<T>(pub Vec<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Object(value) = read(request, state).await?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonList<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let values: Vec<Object<T>> = read(request, state).await?;
        Ok(Self(values.into_iter().map(|Object(value)| value).collect()))
    }
}

async fn read<T: DeserializeOwned, S: Send + Sync>(request: Request, state: &S) -> Result<T, Problem> {
    let bytes = axum::body::Bytes::from_request(request, state).await.map_err(|rejection| unreadable(&rejection))?;
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let place = error.path().to_string();
        let place = if place == "." { String::new() } else { format!("{place}: ") };
        Problem::bad_request(format!("{place}{}", error.inner()))
    })?;
    json.end().map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(value)
}

/// A struct that is written as an object: serde would take a list of its fields' values as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// The same for a field.
pub fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct OnlyObject<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyObject<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(OnlyObject(PhantomData))
}

fn unreadable(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::too_large("the body is larger than this path takes")
    } else {
        Problem::bad_request("the body could not be read to its end")
    }
}

/// Whether the request says that its body is JSON: what no form of a foreign web page can say. A patch may say of which kind it is
/// (RFC 7396).
fn is_json(method: &Method, headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let is_patch = method == Method::PATCH && kind.eq_ignore_ascii_case("application/merge-patch+json");
    is_patch || kind.eq_ignore_ascii_case("application/json")
}

/// The variable parts of a path, decoded.
pub struct PathOf<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value)).map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

/// The parameters behind the `?`. Each is taken by its name; what nobody has taken is an error. Every handler asks for them, so that a
/// request that changes something is not answered either if it does not say that its body is JSON, whether that is read or not.
pub struct Params(Vec<(String, String)>);

/// Parameters of one request.
const PARAMS_MAX: usize = 64;

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method);
        if has_body && !is_json(&parts.method, &parts.headers) {
            let message = "the request must say Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message));
        }
        let query = parts.uri.query().unwrap_or_default();
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().take(PARAMS_MAX + 1).collect();
        if pairs.len() > PARAMS_MAX {
            return Err(Problem::bad_request(format!("more than {PARAMS_MAX} parameters")));
        }
        Ok(Self(pairs))
    }
}

impl Params {
    /// The text of a parameter, if it is given.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let Some(place) = self.0.iter().position(|(key, _)| key == name) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(place);
        if self.0.iter().any(|(key, _)| key == name) {
            return Err(Problem::bad_request(format!("{name}: it is given twice")));
        }
        Ok(Some(value))
    }

    /// The value of a parameter, if it is given.
    pub fn value<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let parse = |text: String| text.parse().map_err(|error| Problem::bad_request(format!("{name}: {error}")));
        self.text(name)?.map(parse).transpose()
    }

    /// One of these words, as its place among them.
    pub fn choice(&mut self, name: &str, words: &[&str]) -> Result<Option<usize>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let place = words.iter().position(|word| *word == text);
        place.map(Some).ok_or_else(|| Problem::bad_request(format!("{name}: it is none of {}", words.join(", "))))
    }

    /// Which piece of a list is wanted.
    pub fn page(&mut self) -> Result<Page, Problem> {
        let page: usize = self.value("page")?.unwrap_or(1);
        let limit: usize = self.value("limit")?.unwrap_or(LIMIT_DEFAULT);
        let cursor = self.text("cursor")?;
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::bad_request(format!("limit: it must be from 1 to {LIMIT_MAX}")));
        }
        if page == 0 || page.saturating_mul(limit) > REACH {
            let message = format!("page: it must be at least 1, and page times limit at most {REACH}; go further by cursor");
            return Err(Problem::bad_request(message));
        }
        Page::new(page, limit, cursor.as_deref())
    }

    /// To be called when all that is known was taken.
    pub fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            Some((name, _)) => Err(Problem::bad_request(format!("there is no parameter {name:?} here"))),
            None => Ok(()),
        }
    }
}
