//! Limits that would let nothing through, or more than the protocol can say.

use std::time::Duration;

use super::Findings;
use crate::broker::{OverloadConfig, Protection, Rates};
use crate::session::Limits;
use crate::units::{ByteSize, Span};

/// The largest Remaining Length with its fixed header (5.0 §2.1.4).
const LARGEST_PACKET: u64 = 268_435_455 + 5;

/// What gathers for longer is no rate any more.
const LONGEST_BURST: Duration = Duration::from_secs(3600);

/// A longer ban is one for a person to make.
const LONGEST_BAN: Duration = Duration::from_secs(365 * 86_400);

/// Client identifiers of this many bytes must be let in `[MQTT-3.1.3-5]`.
const SHORTEST_CLIENT_ID_LIMIT: usize = 23;

pub(super) fn check(limits: &Limits, findings: &mut Findings) {
    zeros(limits, findings);
    for (key, size) in [("max_connect_size", limits.max_connect_size), ("max_packet_size", limits.max_packet_size)] {
        packet_size(&format!("limits.{key}"), size, findings);
    }
    keep_alive("limits.max_keep_alive", limits.max_keep_alive, findings);
    for (key, length) in [("max_topic_length", limits.max_topic_length), ("max_client_id_length", limits.max_client_id_length)]
    {
        findings.check(length <= 65_535, format!("limits.{key}"), "must be at most 65535: longer texts cannot be sent");
    }
    let client_id = limits.max_client_id_length;
    let message = "must be at least 23: the specification lets every client have that much";
    findings.check(client_id >= SHORTEST_CLIENT_ID_LIMIT, "limits.max_client_id_length", message);
    let expiry = limits.max_session_expiry.0.as_secs();
    let message = "must be below 4294967295 seconds; write \"0s\" for no bound";
    findings.check(expiry < u64::from(u32::MAX), "limits.max_session_expiry", message);
    let is_whole = limits.max_session_expiry.is_zero() || expiry > 0;
    findings.check(is_whole, "limits.max_session_expiry", "must be at least 1s, or \"0s\" for no bound");
}

pub(super) fn check_rates(rates: &Rates, findings: &mut Findings) {
    let burst = rates.burst.0;
    findings.check(!burst.is_zero() && burst <= LONGEST_BURST, "rates.burst", "must be above 0 and at most 1h");
    findings.check(rates.max_tracked > 0, "rates.max_tracked", "must not be 0");
}

pub(super) fn check_protection(protection: &Protection, findings: &mut Findings) {
    for (key, span) in [
        ("login_failure_window", protection.login_failure_window),
        ("reconnect_window", protection.reconnect_window),
        ("takeover_window", protection.takeover_window),
        ("ban_time", protection.ban_time),
        ("max_ban_time", protection.max_ban_time),
    ] {
        let is_sane = !span.is_zero() && span.0 <= LONGEST_BAN;
        findings.check(is_sane, format!("protection.{key}"), "must be above 0 and at most 365d");
    }
    let message = "must not be below ban_time";
    findings.check(protection.max_ban_time >= protection.ban_time, "protection.max_ban_time", message);
    findings.check(protection.max_watched > 0, "protection.max_watched", "must not be 0");
}

pub(super) fn check_overload(overload: &OverloadConfig, findings: &mut Findings) {
    let OverloadConfig { shed_at, refuse_connections_at, refuse_publishes_at, recover_by, .. } = *overload;
    let is_ordered = 0 < shed_at && shed_at <= refuse_connections_at && refuse_connections_at <= refuse_publishes_at;
    let message = "shed_at, refuse_connections_at and refuse_publishes_at must be percentages in this order, from 1 on";
    findings.check(is_ordered, "overload.shed_at", message);
    let message = "must be below shed_at: the broker would never be let go of";
    findings.check(recover_by < shed_at, "overload.recover_by", message);
}

/// What is told to clients as Maximum Packet Size `[MQTT-3.2.2-15]`, and must hold a packet at all.
pub(super) fn packet_size(key: &str, size: ByteSize, findings: &mut Findings) {
    findings.check(size.0 > 0, key, "must not be 0");
    findings.check(size.0 <= LARGEST_PACKET, key, "must be at most 268435460 bytes, the largest packet there is");
}

/// What is told to clients as Server Keep Alive: whole seconds in two bytes (5.0 §3.2.2.3.14).
pub(super) fn keep_alive(key: &str, span: Span, findings: &mut Findings) {
    let seconds = span.0.as_secs();
    findings.check(span.is_zero() || seconds > 0, key, "must be at least 1s, or \"0s\" for no bound");
    findings.check(seconds <= 65_535, key, "must be at most 65535 seconds");
}

fn zeros(limits: &Limits, findings: &mut Findings) {
    for (key, is_zero) in [
        ("max_connections", limits.max_connections == 0),
        ("max_pending_connections", limits.max_pending_connections == 0),
        ("connect_timeout", limits.connect_timeout.is_zero()),
        ("receive_maximum", limits.receive_maximum == 0),
        ("max_inflight", limits.max_inflight == 0),
        ("max_queued_messages", limits.max_queued_messages == 0),
        ("max_queued_bytes", limits.max_queued_bytes.0 == 0),
        ("max_write_buffer", limits.max_write_buffer.0 == 0),
        ("slow_consumer_timeout", limits.slow_consumer_timeout.is_zero()),
        ("max_subscriptions", limits.max_subscriptions == 0),
        ("max_topic_levels", limits.max_topic_levels == 0),
        ("max_topic_length", limits.max_topic_length == 0),
        ("max_sessions", limits.max_sessions == 0),
    ] {
        findings.check(!is_zero, format!("limits.{key}"), "must not be 0");
    }
}
