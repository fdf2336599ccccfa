//! Listeners by themselves, and against each other.

use super::{Findings, Warning, limits};
use crate::auth::{AuthConfig, MethodName, MountPoint};
use crate::transport::config::{CertificateIdentity, ClientCertificates, TlsConfig};
use crate::transport::{ListenerConfig, ListenerUrl};

const VERSIONS: [&str; 3] = ["3.1", "3.1.1", "5.0"];
const TLS_VERSIONS: [&str; 2] = ["1.2", "1.3"];

pub(super) fn check(listeners: &[ListenerConfig], auth: &AuthConfig, findings: &mut Findings) {
    findings.check(!listeners.is_empty(), "listeners", "there must be at least one listener");
    let urls: Vec<Option<ListenerUrl>> = listeners.iter().map(|listener| listener.url.parse().ok()).collect();
    for (index, listener) in listeners.iter().enumerate() {
        let key = format!("listeners[{index}]");
        one(&key, listener, findings);
        methods(&key, listener, auth, findings);
        let is_again = listeners[..index].iter().any(|other| other.name == listener.name);
        findings.check(!is_again, format!("{key}.name"), format!("another listener is called {:?} too", listener.name));
        if let Some(other) = urls[..index].iter().position(|other| is_same_address(other.as_ref(), urls[index].as_ref())) {
            findings.add(format!("{key}.url"), format!("listener {:?} is at this address too", listeners[other].name));
        }
    }
}

fn is_same_address(one: Option<&ListenerUrl>, other: Option<&ListenerUrl>) -> bool {
    match (one, other) {
        (Some(ListenerUrl::Unix(one)), Some(ListenerUrl::Unix(other))) => one == other,
        (Some(one), Some(other)) => one.host_port().is_some_and(|at| at.port != 0) && one.host_port() == other.host_port(),
        _ => false,
    }
}

fn one(key: &str, listener: &ListenerConfig, findings: &mut Findings) {
    findings.check(!listener.name.is_empty(), format!("{key}.name"), "must not be empty");
    // Such are the doors of bridges.
    findings.check(!listener.name.starts_with('$'), format!("{key}.name"), "must not begin with $");
    match listener.url.parse::<ListenerUrl>() {
        Ok(url) => fits_url(key, listener, &url, findings),
        Err(error) => findings.add(format!("{key}.url"), error.to_string()),
    }
    if let Some(size) = listener.max_packet_size {
        limits::packet_size(&format!("{key}.max_packet_size"), size, findings);
    }
    if let Some(span) = listener.max_keep_alive {
        limits::keep_alive(&format!("{key}.max_keep_alive"), span, findings);
    }
    versions(key, &listener.versions, findings);
    if let Err(error) = MountPoint::parse(&listener.mount_point)
        && !listener.mount_point.is_empty()
    {
        findings.add(format!("{key}.mount_point"), error.to_string());
    }
    for (name, file) in [("password_file", &listener.password_file), ("acl_file", &listener.acl_file)] {
        if let Some(file) = file {
            findings.file(format!("{key}.{name}"), file);
        }
    }
    if let Some(tls) = &listener.tls {
        check_tls(&format!("{key}.tls"), tls, findings);
    }
}

fn methods(key: &str, listener: &ListenerConfig, auth: &AuthConfig, findings: &mut Findings) {
    let Some(methods) = &listener.methods else { return };
    let has_passwords = listener.password_file.is_some() || auth.password_file.is_some();
    super::methods(&format!("{key}.methods"), methods, has_passwords, auth, findings);
    let message = "methods says it already: \"anonymous\" in the list lets them in";
    findings.check(listener.allow_anonymous.is_none(), format!("{key}.allow_anonymous"), message);
}

fn fits_url(key: &str, listener: &ListenerConfig, url: &ListenerUrl, findings: &mut Findings) {
    let scheme = url.scheme();
    if url.is_tls() && listener.tls.is_none() {
        let message = format!("{scheme}:// needs [listeners.tls] with certificate and key in the config file");
        findings.add(format!("{key}.url"), message);
    }
    if !url.is_tls() && listener.tls.is_some() {
        findings.add(format!("{key}.tls"), format!("{scheme}:// has no TLS; did you mean {}://?", with_tls(scheme)));
    }
    let is_fitting = url.is_websocket() || listener.allowed_origins.is_empty();
    findings.check(is_fitting, format!("{key}.allowed_origins"), "only ws:// and wss:// listeners have origins");
}

fn with_tls(scheme: &str) -> &'static str {
    if scheme == "ws" { "wss" } else { "tls" }
}

fn versions(key: &str, versions: &[String], findings: &mut Findings) {
    let key = format!("{key}.versions");
    findings.check(!versions.is_empty(), key.clone(), "must name at least one of \"3.1\", \"3.1.1\", \"5.0\"");
    for version in versions.iter().filter(|version| !VERSIONS.contains(&version.as_str())) {
        findings.add(key.clone(), format!("{version:?} is none of \"3.1\", \"3.1.1\", \"5.0\""));
    }
}

fn check_tls(key: &str, tls: &TlsConfig, findings: &mut Findings) {
    findings.file(format!("{key}.certificate"), &tls.certificate);
    findings.file(format!("{key}.key"), &tls.key);
    for (index, pair) in tls.more.iter().enumerate() {
        findings.file(format!("{key}.more[{index}].certificate"), &pair.certificate);
        findings.file(format!("{key}.more[{index}].key"), &pair.key);
    }
    if let Some(file) = &tls.client_ca {
        findings.file(format!("{key}.client_ca"), file);
    }
    for file in &tls.crl {
        findings.file(format!("{key}.crl"), file);
    }
    let message = format!("{:?} is neither \"1.2\" nor \"1.3\"", tls.min_version);
    findings.check(TLS_VERSIONS.contains(&tls.min_version.as_str()), format!("{key}.min_version"), message);
    client_certificates(key, tls, findings);
}

fn client_certificates(key: &str, tls: &TlsConfig, findings: &mut Findings) {
    let asks = tls.client_certificates != ClientCertificates::None;
    let message = "needs client_ca, the authorities that sign the clients' certificates";
    findings.check(!asks || tls.client_ca.is_some(), format!("{key}.client_certificates"), message);
    let message = "needs client_certificates = \"required\" or \"optional\"";
    findings.check(asks || tls.identity == CertificateIdentity::None, format!("{key}.identity"), message);
    findings.check(asks || tls.crl.is_empty(), format!("{key}.crl"), message);
}

/// A listener at which nobody can log in.
pub(super) fn warn(index: usize, listener: &ListenerConfig, auth: &AuthConfig) -> Option<Warning> {
    let url: ListenerUrl = listener.url.parse().ok()?;
    let has_passwords = listener.password_file.is_some() || auth.password_file.is_some();
    let has_identities = listener.tls.as_ref().is_some_and(|tls| tls.identity != CertificateIdentity::None);
    // Behind a proxy nobody is known to be on this machine.
    let is_local = url.is_local() && !listener.proxy_protocol;
    let lets_anonymous_in = listener.allow_anonymous.or(auth.allow_anonymous).unwrap_or(is_local);
    let lets_others_in = auth.jwt.is_some() || auth.http.as_ref().is_some_and(|http| http.authenticate_url.is_some());
    let methods = listener.methods.as_ref().or(auth.methods.as_ref());
    let lets_in = match methods {
        // What a method needs is told as an error if it is not there.
        Some(methods) => has_identities || methods.iter().any(|method| *method != MethodName::Certificate),
        None => has_passwords || has_identities || lets_anonymous_in || lets_others_in,
    };
    if lets_in {
        return None;
    }
    let message = format!(
        "nobody can log in at {url}: there is no password file, and anonymous clients are not let in; set [auth] password_file, or \
         allow_anonymous = true"
    );
    Some(Warning { key: format!("listeners[{index}]"), message })
}
