//! Packets written byte by byte, and what a broker answers to them.

use dunlin::packet::{Decoder, Packet, ProtocolVersion, QoS};

use crate::support::client::{V5, V31, V311, connect};
use crate::support::{Broker, Client};

/// A packet of this first byte, with the right Remaining Length.
pub fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[first][..], &varint(body.len()), &body].concat()
}

/// A Variable Byte Integer.
pub fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = value >= 0x80;
        bytes.push((value % 0x80) as u8 | u8::from(more) << 7);
        value /= 0x80;
        if !more {
            return bytes;
        }
    }
}

/// Two bytes of length, then the bytes: Binary Data, or a string if they are one.
pub fn prefixed(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let length = u16::try_from(bytes.len()).expect("a short string");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A property section: its length, then the properties.
pub fn section(properties: &[u8]) -> Vec<u8> {
    [varint(properties.len()), properties.to_vec()].concat()
}

/// A property whose value is a string or Binary Data.
pub fn text_property(id: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![id], prefixed(bytes)].concat()
}

pub fn user_property(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![0x26], prefixed(name), prefixed(value)].concat()
}

/// A PUBLISH, all but the first byte; `id` is `None` for QoS 0. The properties stand there for 5.0 only.
pub fn publish(first: u8, version: ProtocolVersion, topic: impl AsRef<[u8]>, id: Option<u16>, properties: &[u8]) -> Vec<u8> {
    let id = id.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default();
    packet(first, &[&prefixed(topic), &id, &if_v5(version, properties), b"payload"])
}

/// A SUBSCRIBE with identifier 1 and one filter.
pub fn subscribe(version: ProtocolVersion, properties: &[u8], filter: impl AsRef<[u8]>, options: u8) -> Vec<u8> {
    packet(0x82, &[&[0, 1], &if_v5(version, properties), &prefixed(filter), &[options]])
}

/// An UNSUBSCRIBE with identifier 1 and one filter.
pub fn unsubscribe(version: ProtocolVersion, properties: &[u8], filter: impl AsRef<[u8]>) -> Vec<u8> {
    packet(0xA2, &[&[0, 1], &if_v5(version, properties), &prefixed(filter)])
}

fn if_v5(version: ProtocolVersion, properties: &[u8]) -> Vec<u8> {
    if version == V5 { section(properties) } else { Vec::new() }
}

/// A CONNECT in parts, each of which can be made wrong.
#[derive(Clone)]
pub struct RawConnect {
    pub first: u8,
    pub name: Vec<u8>,
    pub level: u8,
    pub flags: u8,
    pub keep_alive: u16,
    /// The whole section with its length; nothing for older versions.
    pub properties: Vec<u8>,
    /// The fields of the payload after one another, without their lengths.
    pub fields: Vec<Vec<u8>>,
    /// Bytes after the last field.
    pub tail: Vec<u8>,
}

impl RawConnect {
    /// A clean start with an identifier: a valid packet.
    pub fn new(version: ProtocolVersion) -> Self {
        let (name, level) = if version == V31 { ("MQIsdp", 3) } else { ("MQTT", version as u8) };
        Self {
            first: 0x10,
            name: name.into(),
            level,
            flags: 0x02,
            keep_alive: 60,
            properties: if_v5(version, &[]),
            fields: vec![b"raw".to_vec()],
            tail: Vec::new(),
        }
    }

    pub fn with(version: ProtocolVersion, change: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut connect = Self::new(version);
        change(&mut connect);
        connect.bytes()
    }

    /// 5.0 with these properties.
    pub fn with_properties(properties: &[u8]) -> Vec<u8> {
        Self::with(V5, |connect| connect.properties = section(properties))
    }

    /// With a will in the flags (QoS 0, not retained) and these two fields behind the client identifier.
    pub fn with_will(version: ProtocolVersion, properties: &[u8], topic: impl AsRef<[u8]>, payload: &[u8]) -> Vec<u8> {
        let (topic, properties) = (prefixed(topic), if_v5(version, properties));
        Self::with(version, |connect| {
            connect.flags |= 0x04;
            connect.tail = [properties, topic, prefixed(payload)].concat();
        })
    }

    pub fn bytes(&self) -> Vec<u8> {
        let fields: Vec<u8> = self.fields.iter().flat_map(prefixed).collect();
        let keep_alive = self.keep_alive.to_be_bytes();
        let head = [prefixed(&self.name), vec![self.level, self.flags]].concat();
        packet(self.first, &[&head, &keep_alive, &self.properties, &fields, &self.tail])
    }
}

/// A broker with a healthy pair of clients, one of which sees all that is published.
pub struct Bystanders {
    pub broker: Broker,
    publisher: Client,
    subscriber: Client,
    rounds: u32,
}

impl Bystanders {
    pub fn start() -> Self {
        Self::beside(Broker::start())
    }

    pub fn beside(broker: Broker) -> Self {
        let publisher = Client::connect(broker.address(), V5, "bystander1");
        let mut subscriber = Client::connect(broker.address(), V311, "bystander2");
        subscriber.subscribe("#", QoS::ExactlyOnce);
        Self { broker, publisher, subscriber, rounds: 0 }
    }

    /// The pair still talks, and nothing that anybody else sent has been published.
    pub fn notice_nothing(&mut self) {
        self.rounds += 1;
        let payload = self.rounds.to_string();
        self.publisher.publish("bystanders", &payload, QoS::AtLeastOnce);
        let id = self.subscriber.expect_message("bystanders", &payload).packet_id().expect("QoS 1");
        self.subscriber.puback(id);
    }

    /// Each of these opens a connection and is answered with this reason in CONNACK, or with nothing, and a close.
    pub fn refuse_first(&mut self, cases: &[(&str, Vec<u8>, Answer)]) {
        for (what, bytes, answer) in cases {
            let version = if matches!(answer, Answer::ReturnCode(_)) { V311 } else { V5 };
            let mut client = Client::dial(self.broker.address(), version);
            client.send_bytes(bytes);
            let answered = client.rest();
            match answer {
                Answer::Nothing => assert!(answered.is_empty(), "{what}: {answered:02x?}"),
                Answer::ReturnCode(code) => assert_eq!(answered, [0x20, 2, 0, *code], "{what}"),
                Answer::Reason(reason) => assert_eq!(refusal(what, client.decoder(), &answered), (false, *reason), "{what}"),
            }
            self.notice_nothing();
        }
    }

    /// Each of these is sent by a client that is let in, and ends its connection: 5.0 is told this reason, older ones are not.
    pub fn refuse(&mut self, version: ProtocolVersion, cases: &[(&str, Vec<u8>, u8)]) {
        for (what, bytes, reason) in cases {
            let mut client = Client::connect_with(self.broker.address(), connect_as("offender", version)).0;
            client.send_bytes(bytes);
            let answered = client.rest();
            let told = if version == V5 { Some(*reason) } else { None };
            assert_eq!(parting(what, client.decoder(), &answered), told, "{what}");
            self.notice_nothing();
        }
    }
}

fn connect_as(id: &str, version: ProtocolVersion) -> dunlin::packet::Connect<'_> {
    dunlin::packet::Connect { client_id: id, ..connect(version) }
}

/// What a broker says to a first packet before it hangs up.
#[derive(Clone, Copy)]
pub enum Answer {
    Nothing,
    /// CONNACK of 3.1.1.
    ReturnCode(u8),
    /// CONNACK of 5.0.
    Reason(u8),
}

/// The one packet that `bytes` are.
fn look_at<R>(what: &str, decoder: Decoder, bytes: &[u8], look: impl FnOnce(&Packet<'_>) -> R) -> R {
    let (packet, length) = decoder.decode(bytes).expect("a valid packet").unwrap_or_else(|| panic!("{what}: no packet"));
    assert_eq!(length, bytes.len(), "{what}: one packet, not {bytes:02x?}");
    look(&packet)
}

/// Session Present and reason of a CONNACK.
fn refusal(what: &str, decoder: Decoder, bytes: &[u8]) -> (bool, u8) {
    look_at(what, decoder, bytes, |packet| match packet {
        Packet::ConnAck(ack) => (ack.session_present, ack.reason as u8),
        other => panic!("{what}: {other:?}"),
    })
}

/// The reason of a DISCONNECT that is all that was said.
fn parting(what: &str, decoder: Decoder, bytes: &[u8]) -> Option<u8> {
    if bytes.is_empty() {
        return None;
    }
    Some(look_at(what, decoder, bytes, |packet| match packet {
        Packet::Disconnect(disconnect) => disconnect.reason as u8,
        other => panic!("{what}: {other:?}"),
    }))
}
