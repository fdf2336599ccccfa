use serde::{Deserialize, Serialize};

use super::bucket::Rate;
use crate::units::{ByteSize, Span};

/// `[rates]`: how much may come in a second; 0 is no bound. Who sends more is read from more slowly, and nothing of it is lost or refused;
/// only connections over their address's rate are closed. Each is counted in `dunlin_limit_hits_total{limit}` when it holds someone back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// PUBLISH packets of one client.
    pub client_message_rate: u64,
    /// Bytes of MQTT of one client, whatever the packets.
    pub client_byte_rate: ByteSize,
    /// PUBLISH packets of all clients of one user together. Anonymous clients are nobody's.
    pub user_message_rate: u64,
    /// Bytes of MQTT of all clients of one user together.
    pub user_byte_rate: ByteSize,
    /// PUBLISH packets of all clients of one IPv4 address, or /64 network of IPv6, together.
    pub address_message_rate: u64,
    /// Bytes of MQTT of all clients of one address together.
    pub address_byte_rate: ByteSize,
    /// New connections from one address; one more is closed at once. Behind a proxy the address is the one that PROXY protocol tells.
    pub address_connection_rate: u64,
    /// How long what is not used gathers: after a pause so much may come at once.
    pub burst: Span,
    /// Users, and addresses, whose rates are kept in mind; with more of them at once those seen longest ago begin anew.
    pub max_tracked: usize,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            client_message_rate: 0,
            client_byte_rate: ByteSize(0),
            user_message_rate: 0,
            user_byte_rate: ByteSize(0),
            address_message_rate: 0,
            address_byte_rate: ByteSize(0),
            address_connection_rate: 0,
            burst: Span::seconds(1),
            max_tracked: 100_000,
        }
    }
}

impl Rates {
    /// A rate of new connections, from one address or at one listener.
    pub fn connections(&self, per_second: u64) -> Option<Rate> {
        Rate::new(per_second, self.burst.0)
    }

    /// What may come from one client.
    pub(super) fn of_client(&self) -> Flow {
        self.flow(self.client_message_rate, self.client_byte_rate)
    }

    /// What may come from one user.
    pub(super) fn of_user(&self) -> Flow {
        self.flow(self.user_message_rate, self.user_byte_rate)
    }

    /// What may come from one address.
    pub(super) fn of_address(&self) -> Flow {
        self.flow(self.address_message_rate, self.address_byte_rate)
    }

    /// Messages and bytes a second; 0 is no bound.
    pub fn flow(&self, messages: u64, bytes: ByteSize) -> Flow {
        Flow { messages: Rate::new(messages, self.burst.0), bytes: Rate::new(bytes.0, self.burst.0) }
    }
}

/// What may come from someone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// PUBLISH packets.
    pub messages: Option<Rate>,
    /// Bytes of all packets.
    pub bytes: Option<Rate>,
}

impl Flow {
    pub const fn is_unbounded(&self) -> bool {
        self.messages.is_none() && self.bytes.is_none()
    }
}
