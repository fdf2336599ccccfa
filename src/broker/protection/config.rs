use serde::{Deserialize, Serialize};

use crate::units::Span;

/// `[protection]`: who is locked out for a while because of what it does, and whose client identifiers are whose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protection {
    /// Failed logins from one address, or /64 network of IPv6, within `login_failure_window`, with the last of which it is banned; 0 is
    /// never. Behind a proxy without PROXY protocol, all clients have one address.
    pub login_failures: u32,
    /// The time in which they must happen.
    pub login_failure_window: Span,
    /// Connections that one client identifier of one user and tenant makes within `reconnect_window`, with the last of which it is
    /// banned, for these alone, at every listener; 0 is never. Only those count that are let in: nobody can have others banned.
    pub reconnects: u32,
    /// The time in which they must happen.
    pub reconnect_window: Span,
    /// Connections that may be pushed out by another one of the same client identifier within `takeover_window`; one more is
    /// refused with 0x9F (3.1.1: 3), and the one that is there stays. 0 is no bound.
    pub takeovers: u32,
    /// The time in which they must happen.
    pub takeover_window: Span,
    /// How long a first ban lasts. Whoever comes to be banned again gets twice as long, each time.
    pub ban_time: Span,
    /// The longest ban; whoever has behaved for so long after one begins anew.
    pub max_ban_time: Span,
    /// Addresses, client identifiers that connect, and client identifiers that are taken over: so many of each are kept in mind.
    pub max_watched: usize,
    /// Whether a user gets a client identifier whose session, offline, is another user's: that session ends then, and nothing of it
    /// is handed on. If not, the client is refused with 0x87. A session of nobody, an anonymous one, always makes way for a user.
    pub client_id_reuse: bool,
}

impl Default for Protection {
    fn default() -> Self {
        Self {
            login_failures: 0,
            login_failure_window: Span::seconds(60),
            reconnects: 0,
            reconnect_window: Span::seconds(60),
            takeovers: 100,
            takeover_window: Span::seconds(10),
            ban_time: Span::seconds(60),
            max_ban_time: Span::seconds(86_400),
            max_watched: 100_000,
            client_id_reuse: false,
        }
    }
}
