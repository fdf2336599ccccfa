use std::time::Instant;

use super::Broker;
use super::registry::registry_key;
use crate::packet::TopicFilter;

/// What the client identifiers of the broker's own bridges begin with, and the names of the doors that these come in by. No other client
/// may have such an identifier.
pub const BRIDGE_PREFIX: &str = "$bridge/";

impl Broker {
    /// What the session of a bridge is subscribed to.
    pub fn bridge_subscriptions(&self, client_id: &str) -> Vec<TopicFilter> {
        let Some(handle) = self.registry.get(&registry_key(None, &client_id.into())) else { return Vec::new() };
        handle.lock(|slot| slot.session.subscriptions.keys().cloned().collect())
    }

    /// Ends the sessions of bridges that there are no more; nobody would ever come for what they keep. One that still has its
    /// connection stays until that has ended; returns how many do.
    pub fn end_other_bridges(&self, is_there: impl Fn(&str) -> bool, now: Instant) -> usize {
        let mut connected = 0;
        for handle in self.registry.all() {
            let name = handle.principal.client_id.strip_prefix(BRIDGE_PREFIX);
            if name.is_none_or(&is_there) {
                continue;
            }
            if self.end_session(&handle, now) {
                tracing::info!(bridge = name, "what was kept for a bridge that is gone is deleted");
            } else if handle.lock(|slot| !slot.is_ended) {
                connected += 1; // or it was, a moment ago
            }
        }
        connected
    }
}
