//! Steps that several chapters take.

use std::net::SocketAddr;

use dunlin::packet::{
    Connect, ConnectProperties, Delivery, Disconnect, DisconnectReason, ForwardedProperties, Packet, PacketId, PublishAck,
    PublishReason, QoS, Release, ReleaseReason, TopicName, Will,
};

use crate::support::client::{V5, connect, publish};
use crate::support::{Broker, Client};

pub const NEVER: u32 = u32::MAX;

pub fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("not zero")
}

/// A CONNECT that goes on with a session that outlives it: without clean session, or with an hour of expiry.
pub fn keeping(version: dunlin::packet::ProtocolVersion, client_id: &str) -> Connect<'_> {
    let session_expiry_interval = if version == V5 { 3600 } else { 0 };
    let properties = ConnectProperties { session_expiry_interval, ..Default::default() };
    Connect { client_id, clean_start: false, properties, ..connect(version) }
}

/// A 5.0 CONNECT with a session that lasts this many seconds beyond the connection.
pub fn expiring(client_id: &str, clean_start: bool, session_expiry_interval: u32) -> Connect<'_> {
    let properties = ConnectProperties { session_expiry_interval, ..Default::default() };
    Connect { client_id, clean_start, properties, ..connect(V5) }
}

/// A 5.0 CONNECT that keeps its session and takes so many messages at a time.
pub fn taking(client_id: &str, receive_maximum: u16) -> Connect<'_> {
    let mut connect = keeping(V5, client_id);
    connect.properties.receive_maximum = receive_maximum;
    connect
}

/// Connects anew to the session that must be there.
pub fn resume(address: SocketAddr, connect: Connect<'_>) -> Client {
    let (client, is_present) = Client::connect_with(address, connect);
    assert!(is_present, "the session is there");
    client
}

/// Connects to a session that must not have been there.
pub fn begin(address: SocketAddr, connect: Connect<'_>) -> Client {
    let (client, is_present) = Client::connect_with(address, connect);
    assert!(!is_present, "the session is new");
    client
}

/// DISCONNECT; the broker has settled the session when this returns.
pub fn leave(client: Client) {
    leave_with(client, Disconnect::new(DisconnectReason::NormalDisconnection));
}

/// The same with a DISCONNECT of one's own.
pub fn leave_with(mut client: Client, disconnect: Disconnect<'_>) {
    client.send(&Packet::Disconnect(disconnect));
    assert_eq!(client.expect_close(), None, "the server closes without a word");
}

/// The network goes away; the broker has noticed when this returns.
pub fn lose(broker: &mut Broker, client: Client, client_id: &str) {
    let address = client.address();
    client.cut();
    broker.wait_for_log(&format!(r#""disconnected","client":"{client_id}","peer":"{address}""#));
}

/// A will with QoS 1 that is sent at once.
pub fn will<'a>(topic: &'a str, payload: &'a str) -> Will<'a> {
    Will {
        topic: TopicName::new(topic).expect("a topic"),
        payload: payload.as_bytes(),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_interval: 0,
        message_expiry_interval: None,
        properties: ForwardedProperties::default(),
    }
}

/// Sends a PUBLISH with this identifier, for the first time or again, and waits for nothing.
pub fn send(client: &mut Client, topic: &str, payload: &str, delivery: Delivery, dup: bool) {
    let mut packet = publish(topic, payload, delivery);
    packet.dup = dup;
    client.send(&Packet::Publish(packet));
}

/// The next packet is a PUBLISH; its payload, delivery and DUP flag.
pub fn next_message(client: &mut Client) -> (String, Delivery, bool) {
    client.expect_publish(|publish| (String::from_utf8_lossy(publish.payload).into_owned(), publish.delivery, publish.dup))
}

/// The next packet is a PUBLISH with QoS 1 or 2; its payload and identifier.
pub fn next_id(client: &mut Client) -> (String, PacketId) {
    let (payload, delivery, _) = next_message(client);
    (payload, delivery.packet_id().expect("a message with an identifier"))
}

pub fn expect_puback(client: &mut Client, id: PacketId) -> u8 {
    client.expect("PUBACK", |packet| match packet {
        Packet::PubAck(ack) if ack.packet_id == id => Some(ack.reason as u8),
        _ => None,
    })
}

pub fn expect_pubrec(client: &mut Client, id: PacketId) -> u8 {
    client.expect("PUBREC", |packet| match packet {
        Packet::PubRec(ack) if ack.packet_id == id => Some(ack.reason as u8),
        _ => None,
    })
}

pub fn expect_pubrel(client: &mut Client, id: PacketId) -> u8 {
    client.expect("PUBREL", |packet| match packet {
        Packet::PubRel(release) if release.packet_id == id => Some(release.reason as u8),
        _ => None,
    })
}

pub fn expect_pubcomp(client: &mut Client, id: PacketId) -> u8 {
    client.expect("PUBCOMP", |packet| match packet {
        Packet::PubComp(release) if release.packet_id == id => Some(release.reason as u8),
        _ => None,
    })
}

pub fn pubrel(client: &mut Client, id: PacketId) {
    client.send(&Packet::PubRel(Release::new(id, ReleaseReason::Success)));
}

/// PUBACK that refuses the message.
pub fn refuse_puback(client: &mut Client, id: PacketId) {
    client.send(&Packet::PubAck(PublishAck::new(id, PublishReason::ImplementationSpecificError)));
}

/// PUBREC that refuses the message.
pub fn refuse_pubrec(client: &mut Client, id: PacketId) {
    client.send(&Packet::PubRec(PublishAck::new(id, PublishReason::ImplementationSpecificError)));
}

/// Acknowledges a message as its QoS asks.
pub fn acknowledge(client: &mut Client, delivery: Delivery) {
    let Some(id) = delivery.packet_id() else { return };
    if delivery.qos() == QoS::AtLeastOnce {
        return client.puback(id);
    }
    client.pubrec(id);
    expect_pubrel(client, id);
    client.pubcomp(id);
}
