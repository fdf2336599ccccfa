//! Who may ask: keys, roles, and no web page of somebody else's.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Api;
use super::answer::Changed;
use crate::admin::problem::Problem;
use crate::auth::{ApiKeys, Role};

/// Where a request comes from, in the words of the browser that makes it.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The keys that are asked for. Without any the API is open, and must be bound to loopback only.
#[derive(Debug, Default)]
pub struct Access {
    keys: ArcSwapOption<ApiKeys>,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name of the key; `local` where none are asked for.
    pub name: Arc<str>,
    pub role: Role,
}

impl Access {
    pub fn new(keys: Option<ApiKeys>) -> Self {
        Self { keys: ArcSwapOption::from_pointee(keys) }
    }

    /// Takes over keys that were read anew; one that is gone is refused from now on.
    pub fn replace(&self, keys: ApiKeys) {
        self.keys.store(Some(Arc::new(keys)));
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let keys = self.keys.load_full();
        let Some(keys) = keys else {
            check_host(headers)?;
            return Ok(Caller { name: "local".into(), role: Role::Admin });
        };
        let refused = |message| Problem::new(StatusCode::UNAUTHORIZED, "BAD_API_KEY_OR_SECRET", message);
        let given =
            headers.get(header::AUTHORIZATION).ok_or_else(|| refused("a key is needed: Authorization: Bearer NAME.SECRET"))?;
        let (name, secret) = given.to_str().ok().and_then(credentials).ok_or_else(|| refused("the key cannot be read"))?;
        let role = keys.verify(&name, &secret).ok_or_else(|| refused("there is no such key"))?;
        Ok(Caller { name: name.into(), role })
    }
}

/// `Basic` with name and secret as user and password, or `Bearer NAME.SECRET`.
fn credentials(header: &str) -> Option<(String, String)> {
    let (scheme, rest) = header.split_once(' ')?;
    let rest = rest.trim();
    let (pair, separator) = if scheme.eq_ignore_ascii_case("basic") {
        (String::from_utf8(STANDARD.decode(rest).ok()?).ok()?, ':')
    } else if scheme.eq_ignore_ascii_case("bearer") {
        (rest.to_owned(), '.')
    } else {
        return None;
    };
    let (name, secret) = pair.split_once(separator)?;
    Some((name.to_owned(), secret.to_owned()))
}

/// Where no key is asked for, the name that the browser looked up must be this machine's: else a page that has its own name lead to
/// 127.0.0.1 could speak for its reader.
fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_local = name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if is_local {
        Ok(())
    } else {
        Err(Problem::forbidden("without API keys only Host: localhost or a loopback address is answered"))
    }
}

/// A page may ask only where it came from. What it has a browser load without asking, as an image, names no origin, but says so.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let elsewhere = || Problem::forbidden("requests of pages from elsewhere are not answered");
    let Some(origin) = headers.get(header::ORIGIN) else {
        let is = |name: &str, value: &[u8]| headers.get(name).is_some_and(|given| given.as_bytes() == value);
        let is_foreign = is(SEC_FETCH_SITE, b"cross-site") || is(SEC_FETCH_SITE, b"same-site");
        // A link that somebody has followed: what it leads to is a page of its own.
        let is_link = is("sec-fetch-mode", b"navigate") && is("sec-fetch-dest", b"document");
        return if is_foreign && !is_link { Err(elsewhere()) } else { Ok(()) };
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let its = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    let is_same = matches!((host, its), (Some(host), Some(its)) if host.eq_ignore_ascii_case(its));
    if is_same { Ok(()) } else { Err(elsewhere()) }
}

/// What a request needs. What is not named here takes an admin to change.
fn role_for(method: &Method, path: &str) -> Role {
    const OPERATOR: [&str; 7] = ["/clients", "/sessions", "/subscriptions", "/retained", "/publish", "/banned", "/queues"];
    let is_below = |noun: &&str| path.strip_prefix(*noun).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if method == Method::GET || method == Method::HEAD {
        return if is_below(&"/trace") { Role::Operator } else { Role::Viewer };
    }
    if OPERATOR.iter().any(is_below) { Role::Operator } else { Role::Admin }
}

/// Lets those in who may, and writes down what they change.
pub async fn guard(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let peer = request.extensions().get::<Peer>().map(|Peer(address)| *address);
    let is_change = method != Method::GET && method != Method::HEAD;
    let checked = check_origin(request.headers()).and_then(|()| api.access.caller(request.headers()));
    let caller = match checked.and_then(|caller| admit(caller, &method, &path)) {
        Ok(caller) => caller,
        Err(problem) => return refuse(&api, problem, &method, &path, peer),
    };
    request.extensions_mut().insert(caller.clone());
    let audit = is_change.then(|| Audit { caller, peer, method, path, answer: None });
    let response = next.run(request).await;
    if let Some(mut audit) = audit {
        let what = response.extensions().get::<Changed>().map_or_else(String::new, |Changed(what)| what.clone());
        audit.answer = Some((what, response.status()));
    }
    response
}

/// Writes down a change when it is dropped: also if whoever asked for it has not waited, and it is done or not.
struct Audit {
    caller: Caller,
    peer: Option<SocketAddr>,
    method: Method,
    path: String,
    /// What was changed, and how it was answered.
    answer: Option<(String, StatusCode)>,
}

impl Drop for Audit {
    fn drop(&mut self) {
        let unknown = "nobody has waited for the answer: it may be done or not";
        tracing::info!(
            key = &*self.caller.name,
            role = self.caller.role.name(),
            peer = self.peer.map(tracing::field::display),
            method = self.method.as_str(),
            path = self.path,
            what = self.answer.as_ref().map_or(unknown, |(what, _)| what),
            status = self.answer.as_ref().map(|(_, status)| status.as_u16()),
            "admin change"
        );
    }
}

fn admit(caller: Caller, method: &Method, path: &str) -> Result<Caller, Problem> {
    let needed = role_for(method, path);
    if caller.role < needed {
        let message = format!("this takes a key with the role {needed}; this one is {}", caller.role);
        return Err(Problem::forbidden(message));
    }
    Ok(caller)
}

fn refuse(api: &Api, problem: Problem, method: &Method, path: &str, peer: Option<SocketAddr>) -> Response {
    let mut response = problem.into_response();
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        // Not Basic, for which browsers would ask the reader themselves.
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"dunlin\""));
    }
    if let Some(suppressed) = api.logs.allow("admin refused", Instant::now()) {
        let (peer, method) = (peer.map(tracing::field::display), method.as_str());
        tracing::warn!(peer, method, path, status = status.as_u16(), suppressed, "admin request refused");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn without_keys_only_names_of_this_machine_are_answered() {
        for host in ["localhost", "LOCALHOST:18083", "127.0.0.1:1", "127.8.0.1", "[::1]:18083", "[::1]"] {
            assert!(check_host(&headers(&[(header::HOST, host)])).is_ok(), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:18083", "10.0.0.1", "[::2]", "", "127.0.0.1.evil.example"] {
            assert!(check_host(&headers(&[(header::HOST, host)])).is_err(), "{host}");
        }
        assert!(check_host(&HeaderMap::new()).is_err());
    }

    #[test]
    fn pages_from_elsewhere_are_told_from_our_own() {
        let is_right = |origin| check_origin(&headers(&[(header::HOST, "127.0.0.1:18083"), (header::ORIGIN, origin)])).is_ok();
        assert!(is_right("http://127.0.0.1:18083"));
        assert!(!is_right("http://127.0.0.1:8080") && !is_right("null") && !is_right("http://evil.example"));
        assert!(check_origin(&headers(&[(header::HOST, "x")])).is_ok());
        let of_site = |site| check_origin(&headers(&[(header::HeaderName::from_static(SEC_FETCH_SITE), site)])).is_ok();
        assert!(of_site("none") && of_site("same-origin"));
        assert!(!of_site("cross-site") && !of_site("same-site"));
        let link = [(SEC_FETCH_SITE, "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        let link = link.map(|(name, value)| (header::HeaderName::from_static(name), value));
        assert!(check_origin(&headers(&link)).is_ok());
    }

    #[test]
    fn keys_come_in_two_ways() {
        let pair = |name: &str, secret: &str| Some((name.to_owned(), secret.to_owned()));
        assert_eq!(credentials("Basic YTpiOmM="), pair("a", "b:c"));
        assert_eq!(credentials("bearer a.b.c"), pair("a", "b.c"));
        for wrong in ["Basic", "Basic a:b", "Digest a.b", "Bearer ab", ""] {
            assert_eq!(credentials(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_acts_on_the_broker_itself_takes_an_admin() {
        for (method, path, role) in [
            (Method::GET, "/clients", Role::Viewer),
            (Method::GET, "/config", Role::Viewer),
            (Method::GET, "/trace", Role::Operator),
            (Method::DELETE, "/clients/a", Role::Operator),
            (Method::POST, "/publish/bulk", Role::Operator),
            (Method::POST, "/publisher", Role::Admin),
            (Method::PUT, "/log_level", Role::Admin),
            (Method::POST, "/reload", Role::Admin),
            (Method::POST, "/what/comes/later", Role::Admin),
        ] {
            assert_eq!(role_for(&method, path), role, "{method} {path}");
        }
    }
}
