//! How an actor connects, and what it knows of its session.

use std::net::SocketAddr;

use dunlin::packet::{Connect, ConnectProperties, PacketId, ProtocolVersion, Will};

use crate::support::PATIENCE;
use crate::support::client::{V5, connect};
use crate::wire::{Gone, Wire};
use crate::world::World;

/// An hour is longer than any test.
pub const EXPIRY: u32 = 3600;

/// A client identifier with its session.
pub struct Login {
    pub name: String,
    pub version: ProtocolVersion,
    /// Whether it has a session that outlives its connections.
    pub keeps: bool,
    /// 5.0 only; 0 leaves it out.
    pub receive_maximum: u16,
    /// Whether the broker has promised to have the session; `None` while a CONNECT that changes it was not answered.
    promised: Option<bool>,
    next_id: u16,
}

impl Login {
    pub fn new(name: &str, version: ProtocolVersion, keeps: bool) -> Self {
        Self { name: name.to_owned(), version, keeps, receive_maximum: 0, promised: Some(false), next_id: 1 }
    }

    /// Connects, going on with the session if it is one that is kept; whether it was there, as it must have been if promised.
    pub fn resume(&mut self, world: &World, address: SocketAddr, will: Option<Will<'_>>) -> Result<(Wire, bool), Gone> {
        self.connect(world, address, !self.keeps, will)
    }

    /// Connects with a clean start.
    pub fn begin(&mut self, world: &World, address: SocketAddr, will: Option<Will<'_>>) -> Result<(Wire, bool), Gone> {
        self.connect(world, address, true, will)
    }

    fn connect(
        &mut self,
        world: &World,
        address: SocketAddr,
        clean: bool,
        will: Option<Will<'_>>,
    ) -> Result<(Wire, bool), Gone> {
        let mut properties = ConnectProperties::default();
        if self.version == V5 && self.keeps {
            properties.session_expiry_interval = EXPIRY;
        }
        if self.version == V5 && self.receive_maximum > 0 {
            properties.receive_maximum = self.receive_maximum;
        }
        // A clean session of 3.1.1 ends with its connection, so one that begins anew and is kept begins in two steps.
        if clean && self.keeps && self.version != V5 {
            self.promised = None;
            let (wire, _) = Wire::connect(address, Connect { client_id: &self.name, ..connect(self.version) }, PATIENCE)?;
            wire.leave();
        }
        let clean_start = clean && (self.version == V5 || !self.keeps);
        let connect = Connect { client_id: &self.name, clean_start, will, properties, ..connect(self.version) };
        let promised = if clean_start { Some(false) } else { self.promised };
        if clean_start || promised != Some(true) {
            self.promised = None;
        }
        let (wire, present) = Wire::connect(address, connect, PATIENCE)?;
        world.advance();
        if promised.is_some_and(|promised| promised != present) {
            world.complain(format!("{}: session present is {present}", self.name));
        }
        self.promised = Some(self.keeps);
        Ok((wire, present))
    }

    /// The next packet identifier for which `is_free` holds.
    pub fn packet_id(&mut self, is_free: impl Fn(PacketId) -> bool) -> PacketId {
        loop {
            let id = PacketId::new(self.next_id);
            self.next_id = self.next_id % 500 + 1; // a small circle, so that identifiers come again
            if let Some(id) = id.filter(|id| is_free(*id)) {
                return id;
            }
        }
    }
}
