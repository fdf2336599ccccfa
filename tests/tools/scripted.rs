//! A server that does what a test tells it to, for what no good broker does.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use dunlin::packet::{
    ConnAck, ConnAckProperties, ConnectReason, Decoder, Packet, PacketId, Peer, ProtocolVersion, SubAck, SubscribeReason,
    UserProperties, encode,
};

use crate::support::{PATIENCE, eventually};

pub struct Scripted(TcpListener);

impl Scripted {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next client, to which nothing has been said.
    pub fn accept(&self) -> Guest {
        let mut accepted = None;
        eventually("a client comes", || {
            accepted = self.0.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Guest { stream, version: None, receive_maximum: 0, bytes: Vec::new() }
    }

    /// The next client, which has been let in.
    pub fn let_in(&self) -> Guest {
        let mut guest = self.accept();
        guest.expect("CONNECT");
        let properties = ConnAckProperties::default();
        guest.send(&[Packet::ConnAck(ConnAck { session_present: false, reason: ConnectReason::Success, properties })]);
        guest
    }
}

/// A client of it.
pub struct Guest {
    stream: TcpStream,
    version: Option<ProtocolVersion>,
    /// What it has said in CONNECT.
    pub receive_maximum: u16,
    bytes: Vec<u8>,
}

impl Guest {
    /// Sends packets in one piece.
    pub fn send(&mut self, packets: &[Packet<'_>]) {
        let version = self.version.expect("it has sent CONNECT");
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| encode(packet, version, &mut bytes));
        self.stream.write_all(&bytes).unwrap();
    }

    /// Reads the first byte of a packet, and no more.
    pub fn expect_beginning(&mut self) {
        self.stream.read_exact(&mut [0]).unwrap();
    }

    /// The next packet is one of this name; its identifier, if it has one.
    pub fn expect(&mut self, name: &str) -> Option<PacketId> {
        let (got, id) = self.packet().unwrap_or_else(|| panic!("no {name}, but the end"));
        assert_eq!(got, name);
        id
    }

    /// It subscribes; the answer to that.
    pub fn expect_subscription(&mut self) -> Packet<'static> {
        let packet_id = self.expect("SUBSCRIBE").unwrap();
        let reasons = vec![SubscribeReason::GrantedQos2];
        Packet::SubAck(SubAck { packet_id, reason_string: None, user_properties: UserProperties::default(), reasons })
    }

    /// The next packets to the end, in a few words.
    pub fn rest(&mut self) -> Vec<String> {
        let words = |(name, id): (&str, Option<PacketId>)| match id {
            None => name.to_owned(),
            Some(id) => format!("{name} {id}"),
        };
        std::iter::from_fn(|| self.packet()).map(words).collect()
    }

    /// The next packet; none at the end.
    fn packet(&mut self) -> Option<(&'static str, Option<PacketId>)> {
        loop {
            if let Some(seen) = self.take_packet() {
                return Some(seen);
            }
            let mut some = vec![0; 65_536];
            match self.stream.read(&mut some) {
                Ok(0) => return None,
                Ok(count) => self.bytes.extend_from_slice(&some[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn take_packet(&mut self) -> Option<(&'static str, Option<PacketId>)> {
        let (user_properties_max, filters_max) = (99, 9);
        let decoder = Decoder {
            version: self.version,
            maximum_packet_size: u32::MAX,
            user_properties_max,
            filters_max,
            peer: Peer::Client,
        };
        let (packet, length) = decoder.decode(&self.bytes).expect("the tools write valid packets")?;
        let connect = if let Packet::Connect(connect) = &packet {
            Some((connect.version, connect.properties.receive_maximum))
        } else {
            None
        };
        let seen = (packet.packet_type().name(), packet_id(&packet));
        drop(packet);
        self.bytes.drain(..length);
        if let Some((version, receive_maximum)) = connect {
            (self.version, self.receive_maximum) = (Some(version), receive_maximum);
        }
        Some(seen)
    }
}

fn packet_id(packet: &Packet<'_>) -> Option<PacketId> {
    match packet {
        Packet::Publish(publish) => publish.delivery.packet_id(),
        Packet::PubAck(ack) | Packet::PubRec(ack) => Some(ack.packet_id),
        Packet::PubRel(release) | Packet::PubComp(release) => Some(release.packet_id),
        Packet::Subscribe(subscribe) => Some(subscribe.packet_id),
        Packet::Unsubscribe(unsubscribe) => Some(unsubscribe.packet_id),
        _ => None,
    }
}
