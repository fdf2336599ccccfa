//! Packets and their bytes: the one table that reading and writing are both held against.

use super::super::*;
use super::decoder;
use crate::packet::ProtocolVersion::{V5, V31, V311};

pub(super) struct WireCase {
    pub(super) name: &'static str,
    pub(super) version: ProtocolVersion,
    pub(super) sender: Peer,
    pub(super) bytes: &'static [u8],
    pub(super) packet: Packet<'static>,
    /// Whether we write these very bytes, or only read them (another order, a longer form than ours).
    pub(super) written: bool,
}

impl WireCase {
    /// The decoder for it: CONNECT is read before there is a version.
    pub(super) fn decoder(&self) -> Decoder {
        let version = if matches!(self.packet, Packet::Connect(_)) { None } else { Some(self.version) };
        decoder(version, self.sender)
    }
}

pub(super) fn wire_cases() -> Vec<WireCase> {
    [connects(), connacks(), publishes(), acks(), subscribes(), unsubscribes(), pings(), disconnects(), auths()]
        .into_iter()
        .flatten()
        .collect()
}

fn case(
    name: &'static str,
    version: ProtocolVersion,
    sender: Peer,
    bytes: &'static [u8],
    packet: impl Into<Packet<'static>>,
) -> WireCase {
    WireCase { name, version, sender, bytes, packet: packet.into(), written: true }
}

fn only_read(case: WireCase) -> WireCase {
    WireCase { written: false, ..case }
}

macro_rules! into_packet {
    ($($name:ident),+) => { $(
        impl From<$name<'static>> for Packet<'static> {
            fn from(packet: $name<'static>) -> Self { Self::$name(packet) }
        }
    )+ };
}

into_packet!(Connect, ConnAck, Publish, Subscribe, SubAck, Unsubscribe, UnsubAck, Disconnect, Auth);

pub(super) fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn topic(name: &'static str) -> TopicName<'static> {
    TopicName::new(name).unwrap()
}

fn filter(filter: &str) -> TopicFilter {
    TopicFilter::new(filter).unwrap()
}

/// The User Property `a: b` on the wire.
const A_B: UserProperties<'static> = UserProperties::trusted(b"\x26\0\x01a\0\x01b");

const CONNECT: Connect<'static> = Connect {
    version: V5,
    clean_start: true,
    keep_alive: 60,
    client_id: "c",
    will: None,
    username: None,
    password: None,
    properties: ConnectProperties {
        session_expiry_interval: 0,
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        user_properties: UserProperties::trusted(b""),
        authentication_method: None,
        authentication_data: None,
    },
};

fn connects() -> Vec<WireCase> {
    let will = Will {
        topic: topic("w"),
        payload: b"\0\xFF",
        qos: QoS::AtLeastOnce,
        retain: true,
        delay_interval: 0,
        message_expiry_interval: None,
        properties: ForwardedProperties::default(),
    };
    let full = Connect { will: Some(will), username: Some("u"), password: Some(b"\0p"), clean_start: false, ..CONNECT };
    vec![
        case("3.1", V31, Peer::Client, b"\x10\x0F\0\x06MQIsdp\x03\x02\0\x3C\0\x01c", Connect { version: V31, ..CONNECT }),
        case("3.1.1", V311, Peer::Client, b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c", Connect { version: V311, ..CONNECT }),
        case("5.0", V5, Peer::Client, b"\x10\x0E\0\x04MQTT\x05\x02\0\x3C\0\0\x01c", CONNECT),
        case(
            "empty client id",
            V5,
            Peer::Client,
            b"\x10\x0D\0\x04MQTT\x05\x02\0\0\0\0\0",
            Connect { client_id: "", keep_alive: 0, ..CONNECT },
        ),
        case(
            "3.1.1 with all",
            V311,
            Peer::Client,
            b"\x10\x1B\0\x04MQTT\x04\xEC\0\x3C\0\x01c\0\x01w\0\x02\0\xFF\0\x01u\0\x02\0p",
            Connect { version: V311, ..full },
        ),
        only_read(case(
            "3.1 whose flags tell of a user name and a password that are not there",
            V31,
            Peer::Client,
            b"\x10\x0F\0\x06MQIsdp\x03\xC2\0\x3C\0\x01c",
            Connect { version: V31, ..CONNECT },
        )),
        only_read(case(
            "3.1 that says something of a will that is not there",
            V31,
            Peer::Client,
            b"\x10\x0F\0\x06MQIsdp\x03\x3A\0\x3C\0\x01c",
            Connect { version: V31, ..CONNECT },
        )),
        only_read(case(
            "3.1.1 with a padded remaining length",
            V311,
            Peer::Client,
            b"\x10\x8D\x00\0\x04MQTT\x04\x02\0\x3C\0\x01c",
            Connect { version: V311, ..CONNECT },
        )),
        case(
            "password without user name",
            V5,
            Peer::Client,
            b"\x10\x11\0\x04MQTT\x05\x42\0\x3C\0\0\x01c\0\x01p",
            Connect { password: Some(b"p"), ..CONNECT },
        ),
        case(
            "every property",
            V5,
            Peer::Client,
            b"\x10\x32\0\x04MQTT\x05\x02\0\x3C\x24\x11\xFF\xFF\xFF\xFF\x21\0\x0A\x27\0\0\x10\0\x22\0\x05\x19\x01\x17\0\
              \x15\0\x01m\x16\0\x02\0d\x26\0\x01a\0\x01b\0\x01c",
            Connect {
                properties: ConnectProperties {
                    session_expiry_interval: u32::MAX,
                    receive_maximum: 10,
                    maximum_packet_size: Some(4096),
                    topic_alias_maximum: 5,
                    request_response_information: true,
                    request_problem_information: false,
                    user_properties: A_B,
                    authentication_method: Some("m"),
                    authentication_data: Some(b"\0d"),
                },
                ..CONNECT
            },
        ),
        case(
            "every will property",
            V5,
            Peer::Client,
            b"\x10\x43\0\x04MQTT\x05\x2E\0\x3C\0\0\x01c\
              \x2D\x18\0\0\0\x1E\x02\0\0\0\x3C\x01\x01\x03\0\x04text\x08\0\x05reply\x09\0\x03\0\x01\x02\x26\0\x01a\0\x01b\
              \x26\0\0\0\0\0\x01w\0\x02\0\xFF",
            Connect {
                clean_start: true,
                username: None,
                password: None,
                will: Some(Will {
                    delay_interval: 30,
                    message_expiry_interval: Some(60),
                    properties: ForwardedProperties {
                        section: b"\x01\x01\x03\0\x04text\x08\0\x05reply\x09\0\x03\0\x01\x02\x26\0\x01a\0\x01b\x26\0\0\0\0",
                        mixed: false,
                    },
                    ..will
                }),
                ..full
            },
        ),
    ]
}

fn connacks() -> Vec<WireCase> {
    let plain = |reason| ConnAck { session_present: false, reason, properties: ConnAckProperties::default() };
    vec![
        case("3.1", V31, Peer::Server, b"\x20\x02\0\0", plain(ConnectReason::Success)),
        case(
            "session present",
            V311,
            Peer::Server,
            b"\x20\x02\x01\0",
            ConnAck { session_present: true, ..plain(ConnectReason::Success) },
        ),
        case("return code 5", V311, Peer::Server, b"\x20\x02\0\x05", plain(ConnectReason::NotAuthorized)),
        case("5.0", V5, Peer::Server, b"\x20\x03\x01\0\0", ConnAck { session_present: true, ..plain(ConnectReason::Success) }),
        case("refused", V5, Peer::Server, b"\x20\x03\0\x84\0", plain(ConnectReason::UnsupportedProtocolVersion)),
        case(
            "every property",
            V5,
            Peer::Server,
            b"\x20\x40\0\0\x3D\x11\0\0\0\x01\x21\0\x0A\x24\x01\x27\0\0\x10\0\x22\0\x05\x13\0\x1E\x25\0\x28\0\x29\0\x2A\0\
              \x12\0\x01i\x1A\0\x01r\x1C\0\x01s\x15\0\x01m\x16\0\x01\0\x1F\0\x02no\x26\0\x01a\0\x01b",
            ConnAck {
                properties: ConnAckProperties {
                    session_expiry_interval: Some(1),
                    receive_maximum: 10,
                    maximum_qos: QoS::AtLeastOnce,
                    retain_available: false,
                    maximum_packet_size: Some(4096),
                    assigned_client_identifier: Some("i"),
                    topic_alias_maximum: 5,
                    reason_string: Some("no"),
                    user_properties: A_B,
                    wildcard_subscription_available: false,
                    subscription_identifiers_available: false,
                    shared_subscription_available: false,
                    server_keep_alive: Some(30),
                    response_information: Some("r"),
                    server_reference: Some("s"),
                    authentication_method: Some("m"),
                    authentication_data: Some(b"\0"),
                },
                ..plain(ConnectReason::Success)
            },
        ),
    ]
}

fn publishes() -> Vec<WireCase> {
    let plain = Publish {
        dup: false,
        retain: false,
        delivery: Delivery::AtMostOnce,
        topic: Some(topic("a/b")),
        properties: PublishProperties::default(),
        payload: b"hi",
    };
    let all = PublishProperties {
        payload_format_indicator: Some(false),
        message_expiry_interval: Some(9),
        topic_alias: Some(7),
        response_topic: Some("r"),
        correlation_data: Some(b"\0"),
        content_type: Some(""),
        subscription_identifiers: [1, 268_435_455].into_iter().collect(),
        user_properties: A_B,
        forwarded: ForwardedProperties { section: b"\x01\0\x03\0\0\x08\0\x01r\x09\0\x01\0\x26\0\x01a\0\x01b", mixed: false },
    };
    let alias = PublishProperties { topic_alias: Some(1), ..Default::default() };
    let mixed = PublishProperties {
        payload_format_indicator: Some(true),
        message_expiry_interval: Some(9),
        user_properties: A_B,
        forwarded: ForwardedProperties { section: b"\x01\x01\x02\0\0\0\x09\x26\0\x01a\0\x01b", mixed: true },
        ..Default::default()
    };
    vec![
        case("qos 0", V311, Peer::Client, b"\x30\x07\0\x03a/bhi", plain.clone()),
        case(
            "qos 1, dup, retain",
            V31,
            Peer::Server,
            b"\x3B\x09\0\x03a/b\0\x0Ahi",
            Publish { dup: true, retain: true, delivery: Delivery::AtLeastOnce(id(10)), ..plain.clone() },
        ),
        case(
            "qos 2, empty payload",
            V311,
            Peer::Client,
            b"\x34\x07\0\x03a/b\xFF\xFF",
            Publish { delivery: Delivery::ExactlyOnce(id(65_535)), payload: b"", ..plain.clone() },
        ),
        case("5.0", V5, Peer::Client, b"\x30\x08\0\x03a/b\0hi", plain.clone()),
        case(
            "an alias for the topic",
            V5,
            Peer::Client,
            b"\x30\x08\0\0\x03\x23\0\x01hi",
            Publish { topic: None, properties: alias, ..plain.clone() },
        ),
        case(
            "every property",
            V5,
            Peer::Server,
            b"\x32\x2D\0\x03a/b\0\x01\x23\x02\0\0\0\x09\x23\0\x07\x0B\x01\x0B\xFF\xFF\xFF\x7F\
              \x01\0\x03\0\0\x08\0\x01r\x09\0\x01\0\x26\0\x01a\0\x01bhi",
            Publish { delivery: Delivery::AtLeastOnce(id(1)), properties: all, ..plain.clone() },
        ),
        only_read(case(
            "properties in an order of the client's own",
            V5,
            Peer::Client,
            b"\x30\x16\0\x03a/b\x0E\x01\x01\x02\0\0\0\x09\x26\0\x01a\0\x01bhi",
            Publish { properties: mixed, ..plain },
        )),
    ]
}

fn acks() -> Vec<WireCase> {
    let ack = |reason| PublishAck::new(id(1), reason);
    let release = |reason| Release::new(id(1), reason);
    let told = PublishAck { reason_string: Some("no"), user_properties: A_B, ..ack(PublishReason::NotAuthorized) };
    let lost = Release { reason_string: Some("no"), ..release(ReleaseReason::PacketIdentifierNotFound) };
    let done = ack(PublishReason::Success);
    let released = release(ReleaseReason::Success);
    vec![
        case("3.1.1", V311, Peer::Server, b"\x40\x02\0\x01", Packet::PubAck(done)),
        case("5.0", V5, Peer::Client, b"\x40\x02\0\x01", Packet::PubAck(done)),
        case("with a code", V5, Peer::Server, b"\x40\x03\0\x01\x10", Packet::PubAck(ack(PublishReason::NoMatchingSubscribers))),
        case("with all", V5, Peer::Server, b"\x40\x10\0\x01\x87\x0C\x1F\0\x02no\x26\0\x01a\0\x01b", Packet::PubAck(told)),
        only_read(case("long form", V5, Peer::Client, b"\x40\x04\0\x01\0\0", Packet::PubAck(done))),
        only_read(case("success said", V5, Peer::Client, b"\x40\x03\0\x01\0", Packet::PubAck(done))),
        case("plain", V31, Peer::Client, b"\x50\x02\0\x01", Packet::PubRec(done)),
        case("with all", V5, Peer::Client, b"\x50\x10\0\x01\x87\x0C\x1F\0\x02no\x26\0\x01a\0\x01b", Packet::PubRec(told)),
        case("plain", V311, Peer::Client, b"\x62\x02\0\x01", Packet::PubRel(released)),
        only_read(case("of 3.1, once more", V31, Peer::Client, b"\x6A\x02\0\x01", Packet::PubRel(released))),
        case("with a reason", V5, Peer::Client, b"\x62\x09\0\x01\x92\x05\x1F\0\x02no", Packet::PubRel(lost)),
        case("plain", V5, Peer::Server, b"\x70\x02\0\x01", Packet::PubComp(released)),
        case("with a reason", V5, Peer::Server, b"\x70\x09\0\x01\x92\x05\x1F\0\x02no", Packet::PubComp(lost)),
    ]
}

fn subscribes() -> Vec<WireCase> {
    let plain = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let subscribe = Subscribe {
        packet_id: id(10),
        subscription_identifier: None,
        user_properties: UserProperties::default(),
        filters: vec![(filter("a/+"), plain), (filter("#"), SubscriptionOptions::default())],
    };
    let suback = SubAck {
        packet_id: id(10),
        reason_string: None,
        user_properties: UserProperties::default(),
        reasons: vec![SubscribeReason::GrantedQos1, SubscribeReason::UnspecifiedError],
    };
    vec![
        case("3.1.1", V311, Peer::Client, b"\x82\x0C\0\x0A\0\x03a/+\x01\0\x01#\0", subscribe.clone()),
        only_read(case("of 3.1, once more", V31, Peer::Client, b"\x8A\x0C\0\x0A\0\x03a/+\x01\0\x01#\0", subscribe.clone())),
        only_read(case(
            "3.1 that sets bits which it does not use",
            V31,
            Peer::Client,
            b"\x82\x0C\0\x0A\0\x03a/+\xFD\0\x01#\x80",
            subscribe.clone(),
        )),
        case("5.0", V5, Peer::Client, b"\x82\x0D\0\x0A\0\0\x03a/+\x01\0\x01#\0", subscribe.clone()),
        case(
            "with all",
            V5,
            Peer::Client,
            b"\x82\x11\0\x0A\x0A\x0B\x80\x01\x26\0\x01a\0\x01b\0\x01t\x2E",
            Subscribe {
                subscription_identifier: Some(128),
                user_properties: A_B,
                filters: vec![(filter("t"), options)],
                ..subscribe.clone()
            },
        ),
        case(
            "a shared subscription",
            V5,
            Peer::Client,
            b"\x82\x10\0\x0A\0\0\x0A$share/g/t\x01",
            Subscribe { filters: vec![(filter("$share/g/t"), plain)], ..subscribe.clone() },
        ),
        case(
            "a filter that is shared only since 5.0",
            V311,
            Peer::Client,
            b"\x82\x0D\0\x0A\0\x08$share/g\x01",
            Subscribe { filters: vec![(filter("$share/g"), plain)], ..subscribe },
        ),
        case("3.1.1", V311, Peer::Server, b"\x90\x04\0\x0A\x01\x80", suback.clone()),
        case("5.0", V5, Peer::Server, b"\x90\x05\0\x0A\0\x01\x80", suback.clone()),
        case(
            "with all",
            V5,
            Peer::Server,
            b"\x90\x10\0\x0A\x0C\x1F\0\x02no\x26\0\x01a\0\x01b\x8F",
            SubAck {
                reason_string: Some("no"),
                user_properties: A_B,
                reasons: vec![SubscribeReason::TopicFilterInvalid],
                ..suback
            },
        ),
    ]
}

fn unsubscribes() -> Vec<WireCase> {
    let unsubscribe = Unsubscribe {
        packet_id: id(10),
        user_properties: UserProperties::default(),
        filters: vec![filter("a/+"), filter("#")],
    };
    let unsuback =
        UnsubAck { packet_id: id(10), reason_string: None, user_properties: UserProperties::default(), reasons: Vec::new() };
    vec![
        case("3.1.1", V311, Peer::Client, b"\xA2\x0A\0\x0A\0\x03a/+\0\x01#", unsubscribe.clone()),
        case(
            "5.0",
            V5,
            Peer::Client,
            b"\xA2\x12\0\x0A\x07\x26\0\x01a\0\x01b\0\x03a/+\0\x01#",
            Unsubscribe { user_properties: A_B, ..unsubscribe },
        ),
        case("3.1.1", V311, Peer::Server, b"\xB0\x02\0\x0A", unsuback.clone()),
        case(
            "5.0",
            V5,
            Peer::Server,
            b"\xB0\x0A\0\x0A\x05\x1F\0\x02no\0\x11",
            UnsubAck {
                reason_string: Some("no"),
                reasons: vec![UnsubscribeReason::Success, UnsubscribeReason::NoSubscriptionExisted],
                ..unsuback
            },
        ),
    ]
}

fn pings() -> Vec<WireCase> {
    vec![
        case("plain", V31, Peer::Client, b"\xC0\0", Packet::PingReq),
        case("plain", V5, Peer::Server, b"\xD0\0", Packet::PingResp),
    ]
}

fn disconnects() -> Vec<WireCase> {
    let bare = Disconnect::new;
    vec![
        case("3.1.1", V311, Peer::Client, b"\xE0\0", bare(DisconnectReason::NormalDisconnection)),
        case("5.0", V5, Peer::Client, b"\xE0\0", bare(DisconnectReason::NormalDisconnection)),
        case("with the will", V5, Peer::Client, b"\xE0\x01\x04", bare(DisconnectReason::DisconnectWithWillMessage)),
        only_read(case("long form", V5, Peer::Client, b"\xE0\x02\0\0", bare(DisconnectReason::NormalDisconnection))),
        case(
            "of a session's end",
            V5,
            Peer::Client,
            b"\xE0\x07\0\x05\x11\0\0\0\0",
            Disconnect { session_expiry_interval: Some(0), ..bare(DisconnectReason::NormalDisconnection) },
        ),
        case(
            "with all",
            V5,
            Peer::Server,
            b"\xE0\x12\x9D\x10\x1C\0\x01s\x1F\0\x02no\x26\0\x01a\0\x01b",
            Disconnect {
                reason_string: Some("no"),
                server_reference: Some("s"),
                user_properties: A_B,
                ..bare(DisconnectReason::ServerMoved)
            },
        ),
    ]
}

fn auths() -> Vec<WireCase> {
    let with = |reason| Auth { authentication_method: Some("m"), ..Auth::new(reason) };
    vec![
        case("nothing but success", V5, Peer::Server, b"\xF0\0", Auth::new(AuthReason::Success)),
        only_read(case("success in long form", V5, Peer::Server, b"\xF0\x02\0\0", Auth::new(AuthReason::Success))),
        case("again", V5, Peer::Client, b"\xF0\x06\x19\x04\x15\0\x01m", with(AuthReason::ReAuthenticate)),
        case(
            "with all",
            V5,
            Peer::Client,
            b"\xF0\x17\x18\x15\x15\0\x01m\x16\0\x02\0d\x1F\0\x02no\x26\0\x01a\0\x01b",
            Auth {
                authentication_data: Some(b"\0d"),
                reason_string: Some("no"),
                user_properties: A_B,
                ..with(AuthReason::ContinueAuthentication)
            },
        ),
    ]
}
