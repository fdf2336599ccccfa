//! `[auth.jwt]` and `[auth.http]`.

use hyper::Uri;

use super::{Findings, Warning};
use crate::auth::{AuthConfig, HttpConfig, JwtConfig, Template};

pub(super) fn jwt(jwt: &JwtConfig, findings: &mut Findings) {
    let has_keys =
        jwt.secret_file.is_some() || !jwt.public_keys.is_empty() || jwt.jwks_file.is_some() || jwt.jwks_url.is_some();
    findings.check(has_keys, "auth.jwt", "needs keys: secret_file, public_keys, jwks_file or jwks_url");
    for (key, file) in [("secret_file", &jwt.secret_file), ("jwks_file", &jwt.jwks_file), ("ca_file", &jwt.ca_file)] {
        if let Some(file) = file {
            findings.file(format!("auth.jwt.{key}"), file);
        }
    }
    for file in &jwt.public_keys {
        findings.file("auth.jwt.public_keys", file);
    }
    if let Some(text) = &jwt.jwks_url {
        url("auth.jwt.jwks_url", text, findings);
    }
    for (key, is_zero) in [
        ("refresh", jwt.refresh.is_zero()),
        ("timeout", jwt.timeout.is_zero()),
        ("max_stale", jwt.max_stale.is_zero()),
        ("max_jwks_size", jwt.max_jwks_size.0 == 0),
    ] {
        findings.check(!is_zero, format!("auth.jwt.{key}"), "must not be 0");
    }
    findings.check(!jwt.user_claim.is_empty(), "auth.jwt.user_claim", "must not be empty");
    for (index, claim) in jwt.claims.iter().enumerate() {
        if let Err(error) = Template::parse(&claim.value) {
            findings.add(format!("auth.jwt.claims[{index}].value"), error.to_string());
        }
    }
}

pub(super) fn http(http: &HttpConfig, findings: &mut Findings) {
    let is_asked = http.authenticate_url.is_some() || http.authorize_url.is_some();
    findings.check(is_asked, "auth.http", "needs authenticate_url, authorize_url or both");
    for (key, text) in [("authenticate_url", &http.authenticate_url), ("authorize_url", &http.authorize_url)] {
        if let Some(text) = text {
            url(&format!("auth.http.{key}"), text, findings);
        }
    }
    for (key, file) in [("bearer_file", &http.bearer_file), ("ca_file", &http.ca_file)] {
        if let Some(file) = file {
            findings.file(format!("auth.http.{key}"), file);
        }
    }
    for (key, is_zero) in [
        ("timeout", http.timeout.is_zero()),
        ("max_requests", http.max_requests == 0),
        ("max_answer", http.max_answer.0 == 0),
        ("breaker_failures", http.breaker_failures == 0),
        ("breaker_pause", http.breaker_pause.is_zero()),
    ] {
        findings.check(!is_zero, format!("auth.http.{key}"), "must not be 0");
    }
}

/// Passwords and keys that go over the network as everybody can read and change them.
pub(super) fn warnings(auth: &AuthConfig) -> Vec<Warning> {
    let http = auth.http.as_ref();
    let urls = [
        ("auth.http.authenticate_url", http.and_then(|http| http.authenticate_url.as_ref())),
        ("auth.http.authorize_url", http.and_then(|http| http.authorize_url.as_ref())),
        ("auth.jwt.jwks_url", auth.jwt.as_ref().and_then(|jwt| jwt.jwks_url.as_ref())),
    ];
    let is_open = |text: &String| {
        let url = text.parse::<Uri>().ok()?;
        let host = url.host()?.trim_matches(['[', ']']);
        let is_local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        (url.scheme_str() == Some("http") && !is_local).then_some(())
    };
    let message = "http:// to another machine: who is in between can read it, and answer instead; use https://";
    let open = urls.into_iter().filter(|(_, text)| text.and_then(is_open).is_some());
    open.map(|(key, _)| Warning { key: key.into(), message: message.into() }).collect()
}

fn url(key: &str, text: &str, findings: &mut Findings) {
    let parsed: Result<Uri, _> = text.parse();
    let is_url = parsed.is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some());
    findings.check(is_url, key, "must be an http:// or https:// URL");
    let has_user =
        text.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|host| host.contains('@')));
    findings.check(!has_user, key, "must not name a user; use bearer_file");
}
