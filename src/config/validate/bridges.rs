//! Bridges by themselves, and against each other.

use super::Findings;
use crate::client::bridge::{BridgeConfig, BridgeTls, BridgeUrl, Rules};

const VERSIONS: [&str; 3] = ["3.1", "3.1.1", "5.0"];

pub(super) fn check(bridges: &[BridgeConfig], findings: &mut Findings) {
    for (index, bridge) in bridges.iter().enumerate() {
        let key = format!("bridges[{index}]");
        one(&key, bridge, findings);
        let is_again = bridges[..index].iter().any(|other| other.name == bridge.name);
        findings.check(!is_again, format!("{key}.name"), format!("another bridge is called {:?} too", bridge.name));
    }
}

fn one(key: &str, bridge: &BridgeConfig, findings: &mut Findings) {
    // The name becomes one level of a topic [MQTT-4.7.1-1].
    let is_level = !bridge.name.is_empty() && !bridge.name.contains(['/', '+', '#', '\0']);
    findings.check(is_level, format!("{key}.name"), "must not be empty, nor contain / + # or a zero character");
    let is_level = !bridge.client_id.contains(['+', '#', '\0']);
    findings.check(is_level, format!("{key}.client_id"), "must not contain + # or a zero character");
    urls(key, bridge, findings);
    let version = &bridge.version;
    let message = format!("{version:?} is none of \"3.1\", \"3.1.1\", \"5.0\"");
    findings.check(VERSIONS.contains(&version.as_str()), format!("{key}.version"), message);
    login(key, bridge, findings);
    times(key, bridge, findings);
    for (name, is_zero) in [
        ("max_inflight", bridge.max_inflight == 0),
        ("max_queued_messages", bridge.max_queued_messages == 0),
        ("max_queued_bytes", bridge.max_queued_bytes.0 == 0),
    ] {
        findings.check(!is_zero, format!("{key}.{name}"), "must not be 0");
    }
    findings.check(!bridge.topics.is_empty(), format!("{key}.topics"), "there must be at least one topic");
    if let Err((index, error)) = Rules::new(&bridge.topics) {
        findings.add(format!("{key}.topics[{index}]"), error);
    }
}

fn urls(key: &str, bridge: &BridgeConfig, findings: &mut Findings) {
    findings.check(!bridge.urls.is_empty(), format!("{key}.urls"), "there must be at least one URL");
    let mut has_tls = false;
    for url in &bridge.urls {
        match url.parse::<BridgeUrl>() {
            Ok(url) => has_tls |= url.is_tls,
            Err(error) => findings.add(format!("{key}.urls"), error),
        }
    }
    if let Some(tls) = &bridge.tls {
        findings.check(has_tls, format!("{key}.tls"), "no URL is tls://");
        check_tls(&format!("{key}.tls"), tls, findings);
    }
}

fn check_tls(key: &str, tls: &BridgeTls, findings: &mut Findings) {
    for (name, file) in [("ca", &tls.ca), ("certificate", &tls.certificate), ("key", &tls.key)] {
        if let Some(file) = file {
            findings.file(format!("{key}.{name}"), file);
        }
    }
    let is_pair = tls.certificate.is_some() == tls.key.is_some();
    findings.check(is_pair, format!("{key}.certificate"), "certificate and key go together");
}

fn login(key: &str, bridge: &BridgeConfig, findings: &mut Findings) {
    if let Some(file) = &bridge.password_file {
        findings.file(format!("{key}.password_file"), file);
        findings.check(bridge.password.is_none(), format!("{key}.password"), "there is a password_file too");
    }
    let has_password = bridge.password.is_some() || bridge.password_file.is_some();
    let is_complete = bridge.username.is_some() || !has_password;
    findings.check(is_complete, format!("{key}.username"), "a password needs a user name"); // [MQTT3-3.1.2-22]
}

fn times(key: &str, bridge: &BridgeConfig, findings: &mut Findings) {
    let seconds = bridge.keep_alive.0.as_secs();
    let is_fitting = bridge.keep_alive.is_zero() || (1..=65_535).contains(&seconds);
    findings.check(is_fitting, format!("{key}.keep_alive"), "must be 1s to 65535s, or \"0s\" for none");
    for (name, span) in [("connect_timeout", bridge.connect_timeout), ("reconnect_min", bridge.reconnect_min)] {
        findings.check(!span.is_zero(), format!("{key}.{name}"), "must not be 0");
    }
    let is_ordered = bridge.reconnect_min <= bridge.reconnect_max;
    findings.check(is_ordered, format!("{key}.reconnect_max"), "must not be below reconnect_min");
}
