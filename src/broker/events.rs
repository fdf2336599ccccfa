use std::net::SocketAddr;
use std::sync::Arc;

use super::Broker;
use crate::packet::{ProtocolVersion, ReasonCode};

/// Somebody came or went.
#[derive(Clone, Debug)]
pub struct Event {
    pub client_id: Arc<str>,
    pub username: Option<Arc<str>>,
    pub address: Option<SocketAddr>,
    pub version: ProtocolVersion,
    pub kind: EventKind,
}

#[derive(Clone, Debug)]
pub enum EventKind {
    Connected { keep_alive: u16, clean_start: bool, expiry_interval: u32 },
    Disconnected { reason: ReasonCode },
}

impl Broker {
    /// Tells who listens; never waits.
    pub(super) fn tell(&self, event: Event) {
        if let Some(events) = &self.events {
            let _ = events.try_send(event);
        }
    }
}
