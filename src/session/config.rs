use serde::{Deserialize, Serialize};

use crate::metrics::Limit;
use crate::units::{ByteSize, Span};

/// `[limits]`: the bounds on everything that a client can make grow. Each is counted in `dunlin_limit_hits_total{limit}` when hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections in all; one more is refused with 0x89 (3.1.1: 3).
    pub max_connections: usize,
    /// Connections from one address; 0 is no bound. Behind a proxy the address is the one that PROXY protocol tells.
    pub max_connections_per_address: usize,
    /// Connections that have not sent their CONNECT yet; one more is closed at once.
    pub max_pending_connections: usize,
    /// Time from accept until a client is in: handshakes, CONNECT, and the check of who it is.
    pub connect_timeout: Span,
    /// The largest CONNECT, and so the most memory that a stranger can take.
    pub max_connect_size: ByteSize,
    /// The largest packet after CONNECT, told to 5.0 clients as Maximum Packet Size; larger is 0x95.
    pub max_packet_size: ByteSize,
    /// QoS 1 and 2 messages that a client may have unacknowledged towards us, told as Receive Maximum; more is 0x93.
    pub receive_maximum: u16,
    /// QoS 1 and 2 messages that we have unacknowledged towards a client, if its Receive Maximum is not smaller.
    pub max_inflight: u16,
    /// Messages that wait for one session, inflight ones not counted.
    pub max_queued_messages: usize,
    /// Bytes of topic, properties and payload that wait for one session.
    pub max_queued_bytes: ByteSize,
    /// Which message goes when a session's queue is full.
    pub queue_policy: QueuePolicy,
    /// Whether QoS 0 messages wait for sessions that are offline too.
    pub queue_qos0: bool,
    /// Bytes written for one connection that its peer has not taken yet; QoS 0 over this is dropped.
    pub max_write_buffer: ByteSize,
    /// How long a peer may take nothing of what is written for it before it is cut with 0x97.
    pub slow_consumer_timeout: Span,
    /// Subscriptions of one session; more are refused with 0x97. A packet that names more filters than this (at least 1,000) ends
    /// the connection with 0x97.
    pub max_subscriptions: usize,
    /// Levels of a topic or filter.
    pub max_topic_levels: usize,
    /// Bytes of a topic or filter.
    pub max_topic_length: usize,
    /// Retained messages; a new one over this is refused with 0x97.
    pub max_retained_messages: usize,
    /// Bytes of retained messages.
    pub max_retained_bytes: ByteSize,
    /// Topic aliases that a client may set towards us, told as Topic Alias Maximum.
    pub topic_alias_maximum: u16,
    /// Topic aliases that we set towards a client, if its own maximum is not smaller.
    pub max_topic_aliases_out: u16,
    /// The longest keep alive; a longer one, or none, is answered with Server Keep Alive (5.0). `"0s"`: as the client likes.
    pub max_keep_alive: Span,
    /// The longest session expiry; a longer one is shortened, and 5.0 clients are told. `"0s"`: as the client likes, even for ever.
    pub max_session_expiry: Span,
    /// Sessions, online and offline; a new one over this is refused with 0x97.
    pub max_sessions: usize,
    /// Bytes of a client identifier; a longer one is refused with 0x85.
    pub max_client_id_length: usize,
    /// User properties of one packet; more are 0x97.
    pub max_user_properties: usize,
    /// Bans of clients, users and addresses; one more is refused to whoever asks for it.
    pub max_bans: usize,
}

/// So many filters in one packet are answered one by one even where fewer subscriptions are allowed.
const FILTERS_PER_PACKET_LEAST: usize = 1000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueuePolicy {
    /// The message that finds no room is dropped.
    #[default]
    DropNew,
    /// The message that has waited longest is dropped.
    DropOldest,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_connections_per_address: 0,
            max_pending_connections: 10_000,
            connect_timeout: Span::seconds(10),
            max_connect_size: ByteSize(256 << 10),
            max_packet_size: ByteSize(1 << 20),
            receive_maximum: 1024,
            max_inflight: 256,
            max_queued_messages: 10_000,
            max_queued_bytes: ByteSize(64 << 20),
            queue_policy: QueuePolicy::DropNew,
            queue_qos0: false,
            max_write_buffer: ByteSize(1 << 20),
            slow_consumer_timeout: Span::seconds(30),
            max_subscriptions: 10_000,
            max_topic_levels: 128,
            max_topic_length: 65_535,
            max_retained_messages: 1_000_000,
            max_retained_bytes: ByteSize(1 << 30),
            topic_alias_maximum: 32,
            max_topic_aliases_out: 32,
            max_keep_alive: Span::seconds(0),
            max_session_expiry: Span::seconds(90 * 86_400),
            max_sessions: 1_000_000,
            max_client_id_length: 512,
            max_user_properties: 64,
            max_bans: 10_000,
        }
    }
}

impl Limits {
    /// Whether a topic or filter is within the bounds of length and levels; if not, which one it breaks.
    pub fn check_topic(&self, topic: &str) -> Result<(), Limit> {
        if topic.len() > self.max_topic_length {
            return Err(Limit::MaxTopicLength);
        }
        let is_short = topic.len() < self.max_topic_levels;
        if !is_short && topic.bytes().filter(|byte| *byte == b'/').count() >= self.max_topic_levels {
            return Err(Limit::MaxTopicLevels);
        }
        Ok(())
    }

    /// Filters that one SUBSCRIBE or UNSUBSCRIBE may name; more end the connection with 0x97 before they take memory.
    pub fn filters_per_packet(&self) -> usize {
        self.max_subscriptions.max(FILTERS_PER_PACKET_LEAST)
    }

    /// The session expiry, in seconds, that a client gets for the one it asks for.
    pub fn bound_session_expiry(&self, wanted: u32) -> u32 {
        match u32::try_from(whole_seconds(self.max_session_expiry)) {
            Ok(0) | Err(_) => wanted,
            Ok(maximum) => wanted.min(maximum),
        }
    }

    /// The keep alive, in seconds, that a client gets for the one it asks for; zero is none at all.
    pub fn bound_keep_alive(&self, wanted: u16) -> u16 {
        match u16::try_from(whole_seconds(self.max_keep_alive)) {
            Ok(0) | Err(_) => wanted,
            Ok(maximum) if wanted == 0 => maximum,
            Ok(maximum) => wanted.min(maximum),
        }
    }
}

/// Rounded up: less than a second is not "as the client likes".
const fn whole_seconds(span: Span) -> u64 {
    span.0.as_secs() + (span.0.subsec_nanos() > 0) as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bound_below_a_second_is_a_bound() {
        let half = Span(Duration::from_millis(500));
        let limits = Limits { max_session_expiry: half, max_keep_alive: half, ..Limits::default() };
        assert_eq!((limits.bound_session_expiry(100), limits.bound_keep_alive(0)), (1, 1));
        let none = Limits { max_session_expiry: Span::seconds(0), ..Limits::default() };
        assert_eq!((none.bound_session_expiry(u32::MAX), none.bound_keep_alive(0)), (u32::MAX, 0));
    }

    #[test]
    fn levels_and_length_are_told_apart() {
        let limits = Limits { max_topic_levels: 3, max_topic_length: 8, ..Limits::default() };
        assert_eq!(limits.check_topic("a/b/c"), Ok(()));
        assert_eq!(limits.check_topic("a/b/c/"), Err(Limit::MaxTopicLevels));
        assert_eq!(limits.check_topic("12345678"), Ok(()));
        assert_eq!(limits.check_topic("123456789"), Err(Limit::MaxTopicLength));
    }
}
