//! Whatever can be written is read back as it was, in every version.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;
use super::{decode_one, decoder};
use crate::packet::ProtocolVersion::{V5, V31, V311};

// Packets borrow what they hold; a test may leak it.

fn text() -> impl Strategy<Value = &'static str> {
    "[^\0]{0,12}".prop_map(|text| &*text.leak())
}

fn bytes() -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..200).prop_map(|bytes| &*bytes.leak())
}

fn topic() -> impl Strategy<Value = TopicName<'static>> {
    "[^\0+#]{1,20}".prop_map(|topic| TopicName::new(topic.leak()).unwrap())
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    "([a-zé$]{0,3}/|[+]/){0,4}([a-z]{1,3}|#|[+])".prop_map(|filter| TopicFilter::new(&filter).unwrap())
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|value| PacketId::new(value).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn user_properties(version: ProtocolVersion) -> impl Strategy<Value = UserProperties<'static>> {
    let pairs_max = if version == V5 { 4 } else { 1 };
    vec((text(), text()), 0..pairs_max).prop_map(|pairs| {
        let mut buf = UserPropertiesBuf::new();
        pairs.into_iter().for_each(|(name, value)| buf.push(name, value));
        Box::leak(Box::new(buf)).as_ref()
    })
}

/// What only 5.0 carries.
fn only_v5<T: std::fmt::Debug + Clone + 'static>(
    version: ProtocolVersion,
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    if version == V5 { option::of(value).boxed() } else { Just(None).boxed() }
}

fn connect(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let properties = if version == V5 { connect_properties().boxed() } else { Just(ConnectProperties::default()).boxed() };
    let login = (option::of(text()), option::of(bytes()));
    (any::<bool>(), any::<u16>(), text(), option::of(will(version)), login, properties).prop_map(
        move |(clean_start, keep_alive, client_id, will, (username, password), properties)| {
            let password = password.filter(|_| username.is_some() || version == V5);
            Packet::Connect(Connect { version, clean_start, keep_alive, client_id, will, username, password, properties })
        },
    )
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties<'static>> {
    let numbers = (any::<u32>(), 1..=u16::MAX, option::of(1..=u32::MAX), any::<u16>());
    let authentication = option::of((text(), option::of(bytes())));
    (numbers, any::<bool>(), any::<bool>(), user_properties(V5), authentication).prop_map(
        |(numbers, request_response_information, request_problem_information, user_properties, authentication)| {
            let (session_expiry_interval, receive_maximum, maximum_packet_size, topic_alias_maximum) = numbers;
            ConnectProperties {
                session_expiry_interval,
                receive_maximum,
                maximum_packet_size,
                topic_alias_maximum,
                request_response_information,
                request_problem_information,
                user_properties,
                authentication_method: authentication.map(|(method, _)| method),
                authentication_data: authentication.and_then(|(_, data)| data),
            }
        },
    )
}

fn will(version: ProtocolVersion) -> impl Strategy<Value = Will<'static>> {
    let properties = (only_v5(version, any::<u32>()), only_v5(version, any::<u32>()), forwarded(version));
    (topic(), bytes(), qos(), any::<bool>(), properties).prop_map(|(topic, payload, qos, retain, properties)| {
        let (delay, message_expiry_interval, properties) = properties;
        Will { topic, payload, qos, retain, delay_interval: delay.unwrap_or(0), message_expiry_interval, properties }
    })
}

/// Made by writing a PUBLISH and reading it, which is how they come about.
fn forwarded(version: ProtocolVersion) -> impl Strategy<Value = ForwardedProperties<'static>> {
    publish_properties(version).prop_map(|properties| {
        let publish = Publish {
            dup: false,
            retain: false,
            delivery: Delivery::AtMostOnce,
            topic: Some(TopicName::new("t").unwrap()),
            properties: PublishProperties { topic_alias: None, message_expiry_interval: None, ..properties },
            payload: b"",
        };
        let mut out = Vec::new();
        encode(&Packet::Publish(publish), V5, &mut out);
        match decode_one(&decoder(Some(V5), Peer::Server), out.leak()) {
            Ok(Packet::Publish(publish)) => publish.properties.forwarded,
            other => panic!("{other:?}"),
        }
    })
}

fn publish_properties(version: ProtocolVersion) -> impl Strategy<Value = PublishProperties<'static>> {
    let numbers = (only_v5(version, any::<u32>()), only_v5(version, 1..=u16::MAX), only_v5(version, any::<bool>()));
    let identifiers = only_v5(version, vec(1..=VARINT_MAX, 0..3));
    let texts = (only_v5(version, topic()), only_v5(version, bytes()), only_v5(version, text()));
    let user_properties = only_v5(version, user_properties(version));
    (numbers, identifiers, texts, user_properties).prop_map(|(numbers, identifiers, texts, user_properties)| {
        let (message_expiry_interval, topic_alias, payload_format_indicator) = numbers;
        let (response_topic, correlation_data, content_type) = texts;
        PublishProperties {
            payload_format_indicator,
            message_expiry_interval,
            topic_alias,
            response_topic: response_topic.map(TopicName::as_str),
            correlation_data,
            content_type,
            subscription_identifiers: identifiers.unwrap_or_default().into(),
            user_properties: user_properties.unwrap_or_default(),
            forwarded: ForwardedProperties::default(),
        }
    })
}

fn publish(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let flags = (any::<bool>(), any::<bool>(), qos(), packet_id(), any::<bool>());
    (flags, topic(), publish_properties(version), bytes()).prop_map(
        |((dup, retain, qos, id, leave_topic_out), topic, properties, payload)| {
            let delivery = match qos {
                QoS::AtMostOnce => Delivery::AtMostOnce,
                QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
                QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
            };
            let dup = dup && qos != QoS::AtMostOnce;
            let topic = if leave_topic_out && properties.topic_alias.is_some() { None } else { Some(topic) };
            Packet::Publish(Publish { dup, retain, delivery, topic, properties, payload })
        },
    )
}

fn ack(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let reason = if version == V5 { select(PublishReason::ALL).boxed() } else { Just(PublishReason::Success).boxed() };
    let properties = (only_v5(version, text()), only_v5(version, user_properties(version)));
    (packet_id(), reason, properties, any::<bool>()).prop_map(|(packet_id, reason, properties, received)| {
        let ack =
            PublishAck { packet_id, reason, reason_string: properties.0, user_properties: properties.1.unwrap_or_default() };
        if received { Packet::PubRec(ack) } else { Packet::PubAck(ack) }
    })
}

fn release(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let reason = if version == V5 { select(ReleaseReason::ALL).boxed() } else { Just(ReleaseReason::Success).boxed() };
    let properties = (only_v5(version, text()), only_v5(version, user_properties(version)));
    (packet_id(), reason, properties, any::<bool>()).prop_map(|(packet_id, reason, properties, complete)| {
        let release =
            Release { packet_id, reason, reason_string: properties.0, user_properties: properties.1.unwrap_or_default() };
        if complete { Packet::PubComp(release) } else { Packet::PubRel(release) }
    })
}

fn subscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let handling = select(vec![RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]);
    let options = (qos(), only_v5(version, (any::<bool>(), any::<bool>(), handling))).prop_map(|(qos, options)| {
        let (no_local, retain_as_published, retain_handling) = options.unwrap_or_default();
        SubscriptionOptions { qos, no_local, retain_as_published, retain_handling }
    });
    let properties = (only_v5(version, 1..=VARINT_MAX), only_v5(version, user_properties(version)));
    (packet_id(), properties, vec((filter(), options), 1..5)).prop_map(|(packet_id, properties, filters)| {
        Packet::Subscribe(Subscribe {
            packet_id,
            subscription_identifier: properties.0,
            user_properties: properties.1.unwrap_or_default(),
            filters,
        })
    })
}

fn unsubscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    (packet_id(), only_v5(version, user_properties(version)), vec(filter(), 1..5)).prop_map(
        |(packet_id, user_properties, filters)| {
            Packet::Unsubscribe(Unsubscribe { packet_id, user_properties: user_properties.unwrap_or_default(), filters })
        },
    )
}

fn suback(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let known: Vec<_> = SubscribeReason::ALL
        .iter()
        .copied()
        .filter(|reason| version == V5 || SubscribeReason::from_v3(reason.to_v3()) == Some(*reason))
        .collect();
    let properties = (only_v5(version, text()), only_v5(version, user_properties(version)));
    (packet_id(), properties, vec(select(known), 1..5)).prop_map(|(packet_id, properties, reasons)| {
        Packet::SubAck(SubAck {
            packet_id,
            reason_string: properties.0,
            user_properties: properties.1.unwrap_or_default(),
            reasons,
        })
    })
}

fn unsuback(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let properties = (only_v5(version, text()), only_v5(version, user_properties(version)));
    (packet_id(), properties, vec(select(UnsubscribeReason::ALL), 1..5)).prop_map(move |(packet_id, properties, reasons)| {
        Packet::UnsubAck(UnsubAck {
            packet_id,
            reason_string: properties.0,
            user_properties: properties.1.unwrap_or_default(),
            reasons: if version == V5 { reasons } else { Vec::new() },
        })
    })
}

fn connack(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let known: Vec<_> = ConnectReason::ALL
        .iter()
        .copied()
        .filter(|reason| version == V5 || ConnectReason::from_v3(reason.to_v3()) == Some(*reason))
        .collect();
    let properties = if version == V5 { connack_properties().boxed() } else { Just(ConnAckProperties::default()).boxed() };
    (any::<bool>(), select(known), properties).prop_map(move |(session_present, reason, properties)| {
        let session_present = session_present && !reason.is_error() && version != V31;
        Packet::ConnAck(ConnAck { session_present, reason, properties })
    })
}

fn connack_properties() -> impl Strategy<Value = ConnAckProperties<'static>> {
    let numbers = (option::of(any::<u32>()), 1..=u16::MAX, qos(), option::of(1..=u32::MAX), any::<u16>());
    let available = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let texts = (option::of(text()), option::of(text()), option::of(text()), option::of(text()), option::of(text()));
    (numbers, available, texts, option::of(bytes()), option::of(any::<u16>()), user_properties(V5)).prop_map(
        |(numbers, available, texts, authentication_data, server_keep_alive, user_properties)| ConnAckProperties {
            session_expiry_interval: numbers.0,
            receive_maximum: numbers.1,
            maximum_qos: numbers.2,
            retain_available: available.0,
            maximum_packet_size: numbers.3,
            assigned_client_identifier: texts.0,
            topic_alias_maximum: numbers.4,
            reason_string: texts.1,
            user_properties,
            wildcard_subscription_available: available.1,
            subscription_identifiers_available: available.2,
            shared_subscription_available: available.3,
            server_keep_alive,
            response_information: texts.2,
            server_reference: texts.3,
            authentication_method: texts.4,
            authentication_data,
        },
    )
}

fn disconnect(version: ProtocolVersion, peer: Peer) -> BoxedStrategy<Packet<'static>> {
    if version != V5 {
        return Just(Packet::Disconnect(Disconnect::new(DisconnectReason::NormalDisconnection))).boxed();
    }
    let allowed: Vec<_> = DisconnectReason::ALL
        .iter()
        .copied()
        .filter(|reason| if peer == Peer::Client { reason.is_for_client() } else { reason.is_for_server() })
        .collect();
    (select(allowed), option::of(any::<u32>()), option::of(text()), user_properties(V5), option::of(text()))
        .prop_map(move |(reason, expiry, reason_string, user_properties, server_reference)| {
            Packet::Disconnect(Disconnect {
                reason,
                session_expiry_interval: expiry.filter(|_| peer == Peer::Client),
                reason_string,
                user_properties,
                server_reference,
            })
        })
        .boxed()
}

fn auth(peer: Peer) -> impl Strategy<Value = Packet<'static>> {
    let allowed: Vec<_> = AuthReason::ALL
        .iter()
        .copied()
        .filter(|reason| if peer == Peer::Client { reason.is_for_client() } else { reason.is_for_server() })
        .collect();
    (select(allowed), text(), option::of(bytes()), option::of(text()), user_properties(V5)).prop_map(
        |(reason, method, authentication_data, reason_string, user_properties)| {
            Packet::Auth(Auth {
                reason,
                authentication_method: Some(method),
                authentication_data,
                reason_string,
                user_properties,
            })
        },
    )
}

fn from_client(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let common = prop_oneof![
        connect(version),
        ack(version),
        release(version),
        subscribe(version),
        unsubscribe(version),
        Just(Packet::PingReq),
        disconnect(version, Peer::Client),
    ];
    if version == V5 { prop_oneof![7 => common, 1 => auth(Peer::Client)].boxed() } else { common.boxed() }
}

fn from_server(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let common = prop_oneof![
        connack(version),
        publish(version),
        ack(version),
        release(version),
        suback(version),
        unsuback(version),
        Just(Packet::PingResp),
    ];
    if version == V5 {
        prop_oneof![7 => common, 1 => disconnect(version, Peer::Server), 1 => auth(Peer::Server)].boxed()
    } else {
        common.boxed()
    }
}

fn any_packet() -> impl Strategy<Value = (ProtocolVersion, Peer, Packet<'static>)> {
    select(vec![V31, V311, V5]).prop_flat_map(|version| {
        prop_oneof![
            from_client(version).prop_map(move |packet| (version, Peer::Client, packet)),
            from_server(version).prop_map(move |packet| (version, Peer::Server, packet)),
        ]
    })
}

/// The reader fills in the run that is handed on; the writer has no use for it.
fn without_forwarded(packet: Packet<'_>) -> Packet<'_> {
    match packet {
        Packet::Publish(mut publish) => {
            publish.properties.forwarded = ForwardedProperties::default();
            Packet::Publish(publish)
        }
        packet => packet,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_packet_comes_back_as_it_was_written((version, peer, packet) in any_packet()) {
        let mut out = Vec::new();
        encode(&packet, version, &mut out);
        let read = decode_one(&decoder(Some(version), peer), &out);
        prop_assert_eq!(read.map(without_forwarded), Ok(packet));
    }

    #[test]
    fn no_prefix_of_a_packet_is_an_error((version, peer, packet) in any_packet(), cut in any::<prop::sample::Index>()) {
        let mut out = Vec::new();
        encode(&packet, version, &mut out);
        let prefix = &out[..cut.index(out.len())];
        prop_assert_eq!(decoder(Some(version), peer).decode(prefix), Ok(None));
    }

    #[test]
    fn a_receiver_s_limit_is_never_passed((version, _, packet) in any_packet(), maximum in 1..300u32) {
        let mut out = Vec::new();
        match encode_within(&packet, version, Some(maximum), &mut out) {
            Ok(()) => prop_assert!(out.len() <= maximum as usize),
            Err(PacketTooLarge) => prop_assert!(out.is_empty()),
        }
    }

    /// PUBLISH by the hot path says the same as PUBLISH by the common one.
    #[test]
    fn both_writers_of_a_publish_agree((version, packet) in select(vec![V31, V311, V5]).prop_flat_map(|version| {
        publish(version).prop_map(move |packet| (version, packet))
    })) {
        let mut common = Vec::new();
        encode(&packet, version, &mut common);
        let Ok(Packet::Publish(read)) = decode_one(&decoder(Some(version), Peer::Server), &common) else {
            return Err(TestCaseError::fail("no PUBLISH came back"));
        };
        let message = read.view(read.topic.unwrap_or_else(|| TopicName::new("left/out").unwrap()));
        let alias_use = if read.topic.is_some() { AliasUse::Define } else { AliasUse::Refer };
        let publish = OutgoingPublish {
            dup: read.dup,
            retain: read.retain,
            delivery: read.delivery,
            message_expiry_interval: read.properties.message_expiry_interval,
            subscription_identifiers: &read.properties.subscription_identifiers,
            topic_alias: read.properties.topic_alias.map(|alias| (alias, alias_use)),
        };
        let mut hot = Vec::new();
        let encoded = encode_publish(&message, &publish, version, &mut hot).unwrap();
        prop_assert_eq!(&hot, &common);
        prop_assert_eq!(encoded.length, hot.len());
        prop_assert_eq!(encoded_publish_length(&message, &publish, version), hot.len());
    }
}
