use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::jwt::Algorithm;
use crate::units::{ByteSize, Span};

/// `[auth]`: who may connect and what they may do. A listener may override the parts that its own table names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// The ways in, in the order in which they are asked; each lets in, refuses, or leaves the client to the next one. Not set, all that
    /// are configured: `["certificate", "jwt", "password", "http", "anonymous"]`. With it, `"anonymous"` in the list stands for
    /// `allow_anonymous`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<MethodName>>,
    /// Clients without a user name: not set, they are let in on loopback and Unix-socket listeners as long as there is no
    /// password file; `true` lets them in everywhere, `false` nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_anonymous: Option<bool>,
    /// User names and hashed passwords, as `dunlin passwd` and `mosquitto_passwd` write them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Rights, in mosquitto's format. Without a file all that are let in may do all; with one, what it does not grant is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl_file: Option<PathBuf>,
    /// Passwords that are hashed at the same time, each on a thread of its own that runs when no other wants to, or after 200 ms on one of
    /// low priority: a bound on what guessing can cost.
    pub max_password_checks: usize,
    /// Password checks that may wait for their turn; a login over this is refused with 0x89.
    pub max_waiting_password_checks: usize,
    /// Tokens as passwords.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtConfig>,
    /// Somebody outside who is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpConfig>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            methods: None,
            allow_anonymous: None,
            password_file: None,
            acl_file: None,
            max_password_checks: 2,
            max_waiting_password_checks: 1000,
            jwt: None,
            http: None,
        }
    }
}

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    /// The user name of a verified client certificate, where the listener takes it (`[listeners.tls] identity`).
    Certificate,
    /// `[auth] password_file`.
    Password,
    /// `[auth.jwt]`.
    Jwt,
    /// `[auth.http]` `authenticate_url`.
    Http,
    /// Everybody who names no user.
    Anonymous,
}

/// `[auth.jwt]`: JSON Web Tokens, as the password of CONNECT, or in AUTH packets under the method `JWT`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    /// The secret of HS256, HS384 and HS512: a file with at least 32 bytes; white space around them does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// PEM files with public keys, or certificates.
    pub public_keys: Vec<PathBuf>,
    /// A JSON Web Key Set (RFC 7517).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// Where a JSON Web Key Set is fetched from, `https://` or `http://`: at the start, every `refresh`, and when a token names a key
    /// that is not known, but not more often than every 10 s. Secrets in it do not count, redirects
    /// are not followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// The authorities that sign the certificate of `jwks_url`, in PEM; not set, those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How often `jwks_url` is asked.
    pub refresh: Span,
    /// How long it may take to answer.
    pub timeout: Span,
    /// How long its keys count while it does not answer; then tokens that need them are refused.
    pub max_stale: Span,
    /// The largest answer that it may give.
    pub max_jwks_size: ByteSize,
    /// The algorithms that are taken; empty takes all that fit a key. `none` is never taken.
    pub algorithms: Vec<Algorithm>,
    /// The claim that is the user name; a token without it is refused.
    pub user_claim: String,
    /// The claim with the client's rights. A client whose token has it needs no grant in `acl_file`; what that denies stays denied.
    pub acl_claim: String,
    /// What other claims must say.
    pub claims: Vec<RequiredClaim>,
    /// By how much clocks may differ.
    pub leeway: Span,
    /// Whether tokens that never expire (without `exp`) are refused.
    pub require_expiry: bool,
}

/// `[[auth.jwt.claims]]`: a claim that a token must have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequiredClaim {
    pub name: String,
    /// What it must be, or have in its list. `%u` is the user name in CONNECT, `%c` the client identifier, `%%` a percent sign.
    pub value: String,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            secret_file: None,
            public_keys: Vec::new(),
            jwks_file: None,
            jwks_url: None,
            ca_file: None,
            refresh: Span::seconds(300),
            timeout: Span::seconds(5),
            max_stale: Span::seconds(24 * 3600),
            max_jwks_size: ByteSize(256 * 1024),
            algorithms: Vec::new(),
            user_claim: "sub".into(),
            acl_claim: "acl".into(),
            claims: Vec::new(),
            leeway: Span::seconds(10),
            require_expiry: true,
        }
    }
}

/// `[auth.http]`: an HTTP server that says who clients are, and what they may do. It is sent a POST with JSON and answers with JSON. No
/// answer that can be used means no: to a login 0x88 (Server unavailable), to anything else 0x80. Redirects are none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Asked who a client is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authenticate_url: Option<String>,
    /// Asked whether a client may publish or subscribe, where `acl_file` says neither yes nor no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<String>,
    /// A file with what is sent as `Authorization: Bearer …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_file: Option<PathBuf>,
    /// The authorities that sign the server's certificate, in PEM; not set, those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How long an answer may take, and before that the wait for a free request.
    pub timeout: Span,
    /// Requests that may be under way at the same time.
    pub max_requests: usize,
    /// Questions that may wait for a free request; one more has no answer.
    pub max_waiting: usize,
    /// The largest answer.
    pub max_answer: ByteSize,
    /// How long the answer to a publish counts for the session that it was given to; "0s" asks for each message.
    pub cache_ttl: Span,
    /// Answers that are kept for one session.
    pub max_cached: usize,
    /// How long the answer to a login counts for another one with the same client identifier, user name, password and listener; "0s"
    /// asks each time.
    pub login_cache_ttl: Span,
    /// Answers to logins that are kept.
    pub max_cached_logins: usize,
    /// After so many questions in a row to one URL without an answer, none goes there for `breaker_pause`.
    pub breaker_failures: u32,
    /// How long nobody is asked then; after that one question tries.
    pub breaker_pause: Span,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            authenticate_url: None,
            authorize_url: None,
            bearer_file: None,
            ca_file: None,
            timeout: Span::seconds(2),
            max_requests: 64,
            max_waiting: 1000,
            max_answer: ByteSize(64 * 1024),
            cache_ttl: Span::seconds(60),
            max_cached: 100,
            login_cache_ttl: Span::seconds(0),
            max_cached_logins: 10_000,
            breaker_failures: 5,
            breaker_pause: Span::seconds(10),
        }
    }
}

/// What of a client's verified certificate becomes its user name (`[listeners.tls] identity`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateIdentity {
    /// The certificate opens the door, the user name comes from CONNECT.
    #[default]
    None,
    /// The subject's common name.
    CommonName,
    /// The whole subject, `CN=…,O=…`.
    Subject,
    /// The first DNS name, or else e-mail address or URI, of the Subject Alternative Name.
    San,
}
