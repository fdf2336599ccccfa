use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::key_set::KeySet;
use crate::auth::grants::{Grants, InvalidGrants};
use crate::auth::template::{Facts, Template};

/// A longer token is none: it would be kept from CONNECT on, and be worked on before it is known who sent it.
const MAX_TOKEN: usize = 16 * 1024;
/// What MQTT can carry as a user name.
const MAX_NAME: usize = 65_535;
/// Seconds that a double can tell one by one.
const MAX_TIME: f64 = 9_007_199_254_740_991.0;

/// What a token must be besides signed.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// Those that are taken; empty takes all that fit a key.
    pub algorithms: Vec<Algorithm>,
    /// The claim that is the user name.
    pub user_claim: String,
    /// The claim with the rights.
    pub acl_claim: String,
    /// What claims must say: the text itself, or a list with it.
    pub required: Vec<(String, Template)>,
    /// Seconds by which clocks may differ.
    pub leeway: u64,
    /// Whether a token without an end (`exp`) is refused.
    pub require_expiry: bool,
}

/// Checks tokens against keys that may change while it runs.
pub struct Tokens {
    rules: TokenRules,
    /// From files.
    fixed: KeySet,
    /// From a URL; none when it could not be asked yet, or not for too long.
    fetched: ArcSwapOption<Fetched>,
    /// Keys come from a URL.
    is_remote: bool,
    /// A token named a key that is not known: the URL may know it by now.
    wants_keys: AtomicBool,
    /// What `fixed` and `fetched` are together.
    all: ArcSwap<KeySet>,
}

/// Keys from a URL.
struct Fetched {
    keys: KeySet,
    at: Instant,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub username: String,
    pub grants: Option<Grants>,
    /// When it ends, in seconds since 1970, leeway included.
    pub expires_at: Option<u64>,
    pub claims: Map<String, Value>,
}

/// Why a token is refused. The client learns nothing of it, the log does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("it is no token")]
    Malformed,
    #[error("it is longer than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("the algorithm {0:?} is not taken")]
    Algorithm(String),
    #[error("its header names extensions that must be understood (crit)")]
    Critical,
    #[error("no key is known that it could be signed with")]
    UnknownKey,
    #[error("there are no keys: the URL has not given any")]
    NoKeys,
    #[error("the signature is wrong")]
    Signature,
    #[error("the claim {0:?} is not what it must be")]
    Claim(String),
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("the rights in it: {0}")]
    Grants(#[from] InvalidGrants),
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// Whether a password is meant as a token: three parts, the first of which is a JSON header with an `alg`.
pub fn looks_like_a_token(password: &[u8]) -> bool {
    let mut parts = password.split(|byte| *byte == b'.');
    let header = parts.next().unwrap_or_default();
    parts.count() == 2 && header.len() < MAX_TOKEN && read_header(header).is_some()
}

fn read_header(part: &[u8]) -> Option<Header> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

impl Tokens {
    /// `fixed` are the keys of files; with `is_remote`, more come by [`set_fetched`](Self::set_fetched).
    pub fn new(rules: TokenRules, fixed: KeySet, is_remote: bool) -> Self {
        let all = ArcSwap::from_pointee(fixed.clone());
        Self { rules, fixed, fetched: ArcSwapOption::empty(), is_remote, wants_keys: AtomicBool::new(false), all }
    }

    /// Takes over the keys that a URL has given at this time, or, with `None`, none any more: they are too old.
    pub fn set_fetched(&self, keys: Option<(KeySet, Instant)>) {
        let all = match &keys {
            Some((keys, _)) => self.fixed.clone().and(keys.clone()),
            None => self.fixed.clone(),
        };
        self.fetched.store(keys.map(|(keys, at)| Arc::new(Fetched { keys, at })));
        self.all.store(Arc::new(all));
    }

    /// Takes over the keys that another one has fetched from the same URL.
    pub fn inherit(&self, other: &Self) {
        self.set_fetched(other.fetched.load().as_ref().map(|fetched| (fetched.keys.clone(), fetched.at)));
    }

    /// When the URL has given the keys that count; `None` if none do.
    pub fn fetched_at(&self) -> Option<Instant> {
        self.fetched.load().as_ref().map(|fetched| fetched.at)
    }

    /// Whether a token has named a key that was not known, since the last time.
    pub fn take_wish(&self) -> bool {
        self.wants_keys.swap(false, Ordering::Relaxed)
    }

    /// Checks a token. `facts` are what CONNECT says, for the required claims; `now` is in seconds since 1970.
    pub fn check(&self, token: &[u8], facts: &Facts<'_>, now: u64) -> Result<Token, TokenError> {
        let claims = self.verify(token)?;
        self.check_times(&claims, now)?;
        for (name, template) in &self.rules.required {
            let wanted = template.fill(facts);
            if !wanted.is_some_and(|wanted| claims.get(name).is_some_and(|claim| says(claim, &wanted))) {
                return Err(TokenError::Claim(name.clone()));
            }
        }
        let username = match claims.get(&self.rules.user_claim) {
            Some(Value::String(name)) if is_user_name(name) => name.clone(),
            _ => return Err(TokenError::Claim(self.rules.user_claim.clone())),
        };
        let grants = claims.get(&self.rules.acl_claim).map(Grants::parse).transpose()?;
        let expires_at = time(&claims, "exp")?.map(|at| (at as u64).saturating_add(self.rules.leeway));
        Ok(Token { username, grants, expires_at, claims })
    }

    /// The claims of a token whose signature is right.
    fn verify(&self, token: &[u8]) -> Result<Map<String, Value>, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let dot = token.iter().rposition(|byte| *byte == b'.').ok_or(TokenError::Malformed)?;
        let (message, signature) = (&token[..dot], &token[dot + 1..]);
        let (header, claims) = split_once(message).ok_or(TokenError::Malformed)?;
        let header = read_header(header).ok_or(TokenError::Malformed)?;
        // RFC 7515, 4.1.11: what is critical and not understood makes the token invalid.
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let algorithm: Option<Algorithm> = serde_json::from_value(Value::String(header.alg.clone())).ok();
        let is_taken = |algorithm: &Algorithm| self.rules.algorithms.is_empty() || self.rules.algorithms.contains(algorithm);
        let algorithm = algorithm.filter(is_taken).ok_or(TokenError::Algorithm(header.alg))?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        let keys = self.all.load();
        let key_id = header.kid.as_deref();
        if !keys.knows(key_id) {
            self.wants_keys.store(true, Ordering::Relaxed);
            let has_none = self.is_remote && self.fetched.load().is_none();
            return Err(if has_none { TokenError::NoKeys } else { TokenError::UnknownKey });
        }
        if !keys.verify(algorithm, key_id, message, &signature) {
            // The keys of the URL may be gone, and the one of a file be another.
            let has_none = self.is_remote && self.fetched.load().is_none();
            return Err(if has_none { TokenError::NoKeys } else { TokenError::Signature });
        }
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| TokenError::Malformed)?;
        serde_json::from_slice(&claims).map_err(|_| TokenError::Malformed)
    }

    /// RFC 7519, 4.1.4 and 4.1.5. What is there and no number is refused, not passed over.
    fn check_times(&self, claims: &Map<String, Value>, now: u64) -> Result<(), TokenError> {
        let (now, leeway) = (now as f64, self.rules.leeway as f64);
        match time(claims, "exp")? {
            Some(at) if now >= at + leeway => return Err(TokenError::Expired),
            None if self.rules.require_expiry => return Err(TokenError::Claim("exp".into())),
            Some(_) | None => {}
        }
        match time(claims, "nbf")? {
            Some(from) if now + leeway < from => Err(TokenError::NotYet),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("rules", &self.rules).field("keys", &self.all).finish_non_exhaustive()
    }
}

fn split_once(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = message.iter().position(|byte| *byte == b'.')?;
    let (header, claims) = (&message[..dot], &message[dot + 1..]);
    (!claims.contains(&b'.')).then_some((header, claims))
}

fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => {
            let number = value.as_f64().filter(|number| (0.0..=MAX_TIME).contains(number));
            number.map(Some).ok_or_else(|| TokenError::Claim(name.into()))
        }
    }
}

/// Whether a claim is this text, or a list that has it (as `aud` may be, RFC 7519, 4.1.3).
fn says(claim: &Value, wanted: &str) -> bool {
    match claim {
        Value::String(text) => text == wanted,
        Value::Number(number) => number.to_string() == wanted,
        Value::Bool(is_so) => is_so.to_string() == wanted,
        Value::Array(all) => all.iter().any(|one| one.as_str() == Some(wanted)),
        Value::Null | Value::Object(_) => false,
    }
}

fn is_user_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control)
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
