use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::Uri;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::breaker::{Breaker, Leave};
use super::http::{HttpClient, HttpError};
use super::login_cache::LoginCache;
use crate::auth::{
    Action, Answering, Grants, Hook, HttpConfig, LoginAnswer, LoginQuestion, RightAnswer, RightQuestion, Welcome,
};
use crate::metrics::{HookResult, Limit, Metrics};

/// More than any token for a header needs.
const BEARER_MAX: u64 = 64 * 1024;

/// An HTTP server that says who clients are, and what they may do (`[auth.http]`).
#[derive(Clone)]
pub struct HttpHook(Arc<Inner>);

struct Inner {
    config: HttpConfig,
    authenticate: Option<Place>,
    authorize: Option<Place>,
    bearer: Option<HeaderValue>,
    client: HttpClient,
    /// Requests that are under way.
    running: Semaphore,
    /// Those, and the ones that wait.
    admitted: Semaphore,
    logins: LoginCache,
    metrics: Arc<Metrics>,
}

/// Where questions of one kind go, with a breaker of its own.
struct Place {
    url: Uri,
    breaker: Breaker,
}

#[derive(Serialize)]
struct LoginBody<'a> {
    client_id: &'a str,
    username: Option<&'a str>,
    /// If it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    /// If it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_base64: Option<String>,
    listener: &'a str,
    address: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
struct RightBody<'a> {
    client_id: &'a str,
    username: Option<&'a str>,
    listener: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount_point: Option<&'a str>,
    action: &'static str,
    topic: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Allow,
    Deny,
    Ignore,
}

/// What is not known in it is passed over, but for the rights: a server may tell others more.
#[derive(Deserialize)]
struct LoginReply {
    result: Said,
    username: Option<String>,
    acl: Option<Value>,
    /// In seconds.
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct RightReply {
    result: Said,
}

impl HttpHook {
    /// The error names the file or the key that is wrong.
    pub fn new(config: &HttpConfig, metrics: Arc<Metrics>) -> Result<Self, String> {
        let url = |key: &str, text: &Option<String>| {
            let parsed = text.as_ref().map(|text| text.parse::<Uri>()).transpose();
            let url = parsed.map_err(|error| format!("[auth.http] {key}: {error}"))?;
            let breaker = || Breaker::new(config.breaker_failures, config.breaker_pause.0);
            Ok::<_, String>(url.map(|url| Place { url, breaker: breaker() }))
        };
        let answer_max = usize::try_from(config.max_answer.0).unwrap_or(usize::MAX);
        let running_max = config.max_requests.clamp(1, Semaphore::MAX_PERMITS);
        let admitted_max = running_max.saturating_add(config.max_waiting).min(Semaphore::MAX_PERMITS);
        Ok(Self(Arc::new(Inner {
            authenticate: url("authenticate_url", &config.authenticate_url)?,
            authorize: url("authorize_url", &config.authorize_url)?,
            bearer: config.bearer_file.as_deref().map(bearer).transpose()?,
            client: HttpClient::new(config.ca_file.as_deref(), config.timeout.0, answer_max, running_max)?,
            running: Semaphore::new(running_max),
            admitted: Semaphore::new(admitted_max),
            logins: LoginCache::new(config.login_cache_ttl.0, config.max_cached_logins),
            metrics,
            config: config.clone(),
        })))
    }
}

impl Hook for HttpHook {
    fn authenticates(&self) -> bool {
        self.0.authenticate.is_some()
    }

    fn authorizes(&self) -> bool {
        self.0.authorize.is_some()
    }

    fn memory(&self) -> (Duration, usize) {
        (self.0.config.cache_ttl.0, self.0.config.max_cached)
    }

    fn authenticate(&self, question: LoginQuestion) -> Answering<LoginAnswer> {
        let inner = self.0.clone();
        Box::pin(async move { inner.authenticate(&question).await })
    }

    fn authorize(&self, question: RightQuestion) -> Answering<RightAnswer> {
        let inner = self.0.clone();
        Box::pin(async move { inner.authorize(&question).await })
    }
}

impl Inner {
    async fn authenticate(&self, question: &LoginQuestion) -> LoginAnswer {
        let Some(place) = &self.authenticate else { return LoginAnswer::Ignore };
        let asked = self.logins.key(question);
        if let Some(answer) = asked.and_then(|asked| self.logins.get(&asked, Instant::now())) {
            self.metrics.hook_requests.count(HookResult::Cached);
            return answer;
        }
        let text = question.password.as_deref().map(std::str::from_utf8);
        let body = LoginBody {
            client_id: &question.client_id,
            username: question.username.as_deref(),
            password: text.and_then(Result::ok),
            password_base64: question
                .password
                .as_ref()
                .filter(|_| matches!(text, Some(Err(_))))
                .map(|bytes| BASE64.encode(bytes)),
            listener: &question.place.listener,
            address: &question.place.address,
            version: &question.place.version,
        };
        let answer = self.ask(place, &body, LoginReply::answer).await.unwrap_or(LoginAnswer::Unavailable);
        if let Some(asked) = asked
            && self.logins.put(asked, &answer, Instant::now())
        {
            self.metrics.limit_hits.count(Limit::HttpMaxCachedLogins);
        }
        answer
    }

    async fn authorize(&self, question: &RightQuestion) -> RightAnswer {
        let Some(place) = &self.authorize else { return RightAnswer::Deny };
        let body = RightBody {
            client_id: &question.client_id,
            username: question.username.as_deref(),
            listener: &question.listener,
            mount_point: question.mount_point.as_deref(),
            action: match question.action {
                Action::Publish => "publish",
                Action::Subscribe => "subscribe",
            },
            topic: &question.topic,
        };
        let answer = |reply: RightReply| match reply.result {
            Said::Allow => Ok(RightAnswer::Allow),
            // There is nobody else to ask.
            Said::Deny | Said::Ignore => Ok(RightAnswer::Deny),
        };
        self.ask(place, &body, answer).await.unwrap_or(RightAnswer::Unavailable)
    }

    /// `None` if there is no answer that can be used.
    async fn ask<R: for<'de> Deserialize<'de>, A>(
        &self,
        place: &Place,
        body: &impl Serialize,
        read: impl FnOnce(R) -> Result<A, String>,
    ) -> Option<A> {
        let Ok(_admitted) = self.admitted.try_acquire() else {
            self.metrics.hook_requests.count(HookResult::Overloaded);
            self.metrics.limit_hits.count(Limit::HttpMaxWaiting);
            return None;
        };
        let Ok(Ok(_running)) = timeout(self.config.timeout.0, self.running.acquire()).await else {
            self.metrics.hook_requests.count(HookResult::Overloaded);
            return None;
        };
        let Some(leave) = place.breaker.ask(Instant::now()) else {
            self.metrics.hook_requests.count(HookResult::Paused);
            return None;
        };
        let answer = match self.post(&place.url, body).await {
            Err(error) if error.is_outage() => return self.failed(place, leave, &error),
            // A server that has something against this one question is there for all others.
            reply => {
                leave.answered();
                reply.map_err(|error| error.to_string()).and_then(|reply| {
                    let reply =
                        serde_json::from_slice(&reply).map_err(|error| format!("the answer cannot be read: {error}"))?;
                    read(reply)
                })
            }
        };
        let result = if answer.is_ok() { HookResult::Answered } else { HookResult::Failed };
        self.metrics.hook_requests.count(result);
        answer.inspect_err(|cause| tracing::warn!(url = %place.url, cause, "[auth.http] does not answer as it should")).ok()
    }

    async fn post(&self, url: &Uri, body: &impl Serialize) -> Result<Bytes, HttpError> {
        let json = serde_json::to_vec(body).map_err(|error| HttpError::Connection(error.to_string()))?;
        self.client.post(url, self.bearer.as_ref(), json).await
    }

    fn failed<A>(&self, place: &Place, leave: Leave<'_>, cause: &HttpError) -> Option<A> {
        let (is_paused, url) = (leave.failed(Instant::now()), &place.url);
        self.metrics.hook_requests.count(HookResult::Failed);
        if is_paused {
            let pause = self.config.breaker_pause.0;
            tracing::error!(%url, %cause, ?pause, "[auth.http] does not answer: nobody is asked for a while");
        } else {
            tracing::warn!(%url, %cause, "[auth.http] does not answer");
        }
        None
    }
}

impl LoginReply {
    fn answer(self) -> Result<LoginAnswer, String> {
        Ok(match self.result {
            Said::Deny => LoginAnswer::Deny,
            Said::Ignore => LoginAnswer::Ignore,
            Said::Allow => {
                if self.username.as_ref().is_some_and(|name| name.is_empty() || name.contains(char::is_control)) {
                    return Err("the answer has a user name that is none".into());
                }
                let grants =
                    self.acl.as_ref().map(Grants::parse).transpose().map_err(|error| format!("the answer's acl: {error}"))?;
                LoginAnswer::Allow(Welcome { username: self.username, grants, stay: self.expires_in.map(Duration::from_secs) })
            }
        })
    }
}

impl fmt::Debug for HttpHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = |place: &Option<Place>| place.as_ref().map(|place| place.url.clone());
        let (authenticate, authorize) = (url(&self.0.authenticate), url(&self.0.authorize));
        f.debug_struct("HttpHook").field("authenticate", &authenticate).field("authorize", &authorize).finish()
    }
}

/// What is sent as `Authorization`.
fn bearer(path: &Path) -> Result<HeaderValue, String> {
    use std::io::Read;
    let wrong = |cause: &dyn fmt::Display| format!("{}: {cause}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
    file.take(BEARER_MAX).read_to_string(&mut text).map_err(|error| wrong(&error))?;
    let mut value =
        HeaderValue::from_str(&format!("Bearer {}", text.trim())).map_err(|_| wrong(&"it cannot stand in an HTTP header"))?;
    value.set_sensitive(true);
    Ok(value)
}
