use serde::{Deserialize, Serialize};

use super::QUOTAS;
use crate::units::ByteSize;

/// `[quotas]`: totals of one user, over all its clients, and of one tenant, over all clients of one mount point; 0 is no bound. Anonymous
/// clients are no user's, and without a mount point nobody is a tenant's. Each is counted in `dunlin_limit_hits_total{limit}` when hit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    /// Connections; one more is refused with 0x97 (3.1.1: 3).
    pub user_connections: u64,
    /// Sessions, online and offline; a new one over this is refused with 0x97 (3.1.1: 3).
    pub user_sessions: u64,
    /// Subscriptions of all its sessions, as consumers of work queues too; one more is refused with 0x97 (3.1.1: 0x80).
    pub user_subscriptions: u64,
    /// Retained messages that its clients have published; a new one over this is refused with 0x97.
    pub user_retained_messages: u64,
    /// Bytes of topic, properties and payload that wait for its sessions, in the work queues that its clients have made, and for the time of
    /// the `$delayed` topics under which its clients have published them. What comes on top is dropped for sessions that are offline, and
    /// refused with 0x97 where it is for such a queue, or to be delayed.
    pub user_queued_bytes: ByteSize,
    /// Work queues that its clients have made by subscribing; one more is refused with 0x97.
    pub user_queues: u64,
    /// Messages that its clients have published to `$delayed/SECONDS/TOPIC` and that wait for their time; one more is refused with 0x97.
    pub user_delayed_messages: u64,
    /// The same of a tenant.
    pub tenant_connections: u64,
    /// The same of a tenant.
    pub tenant_sessions: u64,
    /// The same of a tenant.
    pub tenant_subscriptions: u64,
    /// The same of a tenant.
    pub tenant_retained_messages: u64,
    /// The same of a tenant; in all its work queues, whoever has made them.
    pub tenant_queued_bytes: ByteSize,
    /// Work queues of a tenant, those that an operator has made included; one that a client wants over this is refused with 0x97.
    pub tenant_queues: u64,
    /// The same of a tenant.
    pub tenant_delayed_messages: u64,
}

impl Quotas {
    /// Those of a user, by [`super::Quota`]; `None` if there are none.
    pub(super) fn of_users(&self) -> Option<[u64; QUOTAS]> {
        bounds([
            self.user_connections,
            self.user_sessions,
            self.user_subscriptions,
            self.user_retained_messages,
            self.user_queued_bytes.0,
            self.user_queues,
            self.user_delayed_messages,
        ])
    }

    /// Those of a tenant.
    pub(super) fn of_tenants(&self) -> Option<[u64; QUOTAS]> {
        bounds([
            self.tenant_connections,
            self.tenant_sessions,
            self.tenant_subscriptions,
            self.tenant_retained_messages,
            self.tenant_queued_bytes.0,
            self.tenant_queues,
            self.tenant_delayed_messages,
        ])
    }
}

fn bounds(quotas: [u64; QUOTAS]) -> Option<[u64; QUOTAS]> {
    let bounds = quotas.map(|quota| if quota == 0 { u64::MAX } else { quota });
    (quotas != [0; QUOTAS]).then_some(bounds)
}
