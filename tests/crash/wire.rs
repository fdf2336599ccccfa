//! One network connection as an actor of the kill test sees it: packets out, packets in, and [`Gone`] once the broker is.
//!
//! Unlike the scripted client of `tests/support` it never panics: that the other end dies in the middle of a word is what the test
//! is about.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dunlin::packet::{Connect, Decoder, Packet, PacketId, Peer, ProtocolVersion, QoS, encode};

/// The connection is at its end, whoever ended it.
#[derive(Debug)]
pub struct Gone;

/// What came, kept beyond the read buffer.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    Publish(Arrived),
    PubAck(PacketId, u8),
    PubRec(PacketId, u8),
    PubRel(PacketId),
    PubComp(PacketId, u8),
    SubAck(PacketId, Vec<u8>),
    UnsubAck(PacketId, Vec<u8>),
    Pong,
    Disconnect(u8),
    Other(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Arrived {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: QoS,
    pub id: Option<PacketId>,
    pub dup: bool,
    pub retain: bool,
    pub user: Vec<(String, String)>,
}

pub struct Wire {
    stream: TcpStream,
    decoder: Decoder,
    version: ProtocolVersion,
    incoming: Vec<u8>,
    taken: usize,
    outgoing: Vec<u8>,
}

impl Wire {
    /// Connects, and returns whether the session was there; [`Gone`] if there is no CONNACK before the connection ends.
    pub fn connect(address: SocketAddr, connect: Connect<'_>, patience: Duration) -> Result<(Self, bool), Gone> {
        let version = connect.version;
        let stream = TcpStream::connect(address).map_err(|_| Gone)?;
        stream.set_nodelay(true).map_err(|_| Gone)?;
        stream.set_write_timeout(Some(patience)).map_err(|_| Gone)?;
        let decoder = Decoder {
            version: Some(version),
            maximum_packet_size: u32::MAX,
            user_properties_max: 100,
            filters_max: 0,
            peer: Peer::Server,
        };
        let mut wire = Self { stream, decoder, version, incoming: Vec::new(), taken: 0, outgoing: Vec::new() };
        wire.put(&Packet::Connect(connect));
        wire.flush()?;
        let deadline = Instant::now() + patience;
        loop {
            if let Some((packet, length)) = wire.decoder.decode(&wire.incoming).map_err(|_| Gone)? {
                let Packet::ConnAck(ack) = packet else { return Err(Gone) };
                if ack.reason.is_error() {
                    return Err(Gone);
                }
                let present = ack.session_present;
                wire.taken = length;
                return Ok((wire, present));
            }
            if !wire.read_more(deadline.saturating_duration_since(Instant::now()))? {
                return Err(Gone);
            }
        }
    }

    /// Adds a packet to what goes out with the next [`Self::flush`].
    pub fn put(&mut self, packet: &Packet<'_>) {
        encode(packet, self.version, &mut self.outgoing);
    }

    pub fn flush(&mut self) -> Result<(), Gone> {
        let written = self.stream.write_all(&self.outgoing);
        self.outgoing.clear();
        written.map_err(|_| Gone)
    }

    /// The next packet, or `None` when nothing comes for so long.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Got>, Gone> {
        let deadline = Instant::now() + patience;
        loop {
            let unread = &self.incoming[self.taken..];
            // A broker that is killed may leave half a packet; what it wrote must still be well-formed.
            let decoded = self.decoder.decode(unread).unwrap_or_else(|error| panic!("{error:?} in {unread:02x?}"));
            if let Some((packet, length)) = decoded {
                let got = owned(&packet);
                self.taken += length;
                return Ok(Some(got));
            }
            self.incoming.drain(..self.taken);
            self.taken = 0;
            if !self.read_more(deadline.saturating_duration_since(Instant::now()))? {
                return Ok(None);
            }
        }
    }

    /// Says goodbye, and waits until the broker has closed.
    pub fn leave(mut self) {
        let goodbye = dunlin::packet::Disconnect::new(dunlin::packet::DisconnectReason::NormalDisconnection);
        self.put(&Packet::Disconnect(goodbye));
        if self.flush().is_ok() {
            while let Ok(Some(_)) = self.next(Duration::from_secs(5)) {}
        }
    }

    /// The network goes away without a word.
    pub fn cut(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// `false` when the time is up.
    fn read_more(&mut self, patience: Duration) -> Result<bool, Gone> {
        let patience = patience.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(patience)).map_err(|_| Gone)?;
        let mut bytes = [0; 32768];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(Gone),
            Ok(count) => {
                self.incoming.extend_from_slice(&bytes[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
            Err(_) => Err(Gone),
        }
    }
}

fn owned(packet: &Packet<'_>) -> Got {
    match packet {
        Packet::Publish(publish) => Got::Publish(Arrived {
            topic: publish.topic.map_or_else(String::new, |topic| topic.as_str().to_owned()),
            payload: publish.payload.to_vec(),
            qos: publish.delivery.qos(),
            id: publish.delivery.packet_id(),
            dup: publish.dup,
            retain: publish.retain,
            user: publish.properties.user_properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }),
        Packet::PubAck(ack) => Got::PubAck(ack.packet_id, ack.reason as u8),
        Packet::PubRec(ack) => Got::PubRec(ack.packet_id, ack.reason as u8),
        Packet::PubRel(release) => Got::PubRel(release.packet_id),
        Packet::PubComp(release) => Got::PubComp(release.packet_id, release.reason as u8),
        Packet::SubAck(ack) => Got::SubAck(ack.packet_id, ack.reasons.iter().map(|reason| *reason as u8).collect()),
        Packet::UnsubAck(ack) => Got::UnsubAck(ack.packet_id, ack.reasons.iter().map(|reason| *reason as u8).collect()),
        Packet::PingResp => Got::Pong,
        Packet::Disconnect(disconnect) => Got::Disconnect(disconnect.reason as u8),
        other => Got::Other(format!("{other:?}")),
    }
}
