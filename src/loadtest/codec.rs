//! The control packets that are not on the hot path, by mqttbytes, in both versions.

use bytes::BytesMut;
use mqttbytes::{QoS, v4, v5};

use super::frame::Frame;
use super::settings::{Target, Version};

/// Larger answers are nonsense.
const ANSWER_MAX: usize = 1 << 20;

/// What a CONNACK says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    pub(super) session_present: bool,
    /// How many QoS 1 and 2 messages the broker takes at once.
    pub(super) receive_maximum: u16,
    /// Seconds, if the broker wants it otherwise than the client has said.
    pub(super) keep_alive: Option<u16>,
}

/// What a SUBACK says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// Filters.
    pub(super) granted: u64,
    pub(super) denied: u64,
    /// Why filters were denied, and which QoS was granted instead of that which was asked for.
    pub(super) complaints: Vec<String>,
}

/// What becomes of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionWish {
    /// A new one that ends with the connection.
    Clean,
    /// The one that is there, or a new one, that outlives the connection.
    Kept,
}

pub(super) fn connect(out: &mut Vec<u8>, target: &Target, client_id: &str, wish: SessionWish) {
    let clean = wish == SessionWish::Clean;
    let login = target.user.clone().unwrap_or_default();
    let password = target.password.clone().unwrap_or_default();
    let has_login = target.user.is_some() || target.password.is_some();
    let mut bytes = BytesMut::new();
    let written = match target.version {
        Version::V4 => {
            let mut packet = v4::Connect::new(client_id);
            packet.keep_alive = target.keep_alive;
            packet.clean_session = clean;
            packet.login = has_login.then_some(v4::Login { username: login, password });
            packet.write(&mut bytes)
        }
        Version::V5 => {
            let mut packet = v5::Connect::new(client_id);
            packet.keep_alive = target.keep_alive;
            packet.clean_session = clean;
            packet.login = has_login.then_some(v5::Login { username: login, password });
            packet.properties = Some(connect_properties(if clean { 0 } else { target.session_expiry }, target.receive_maximum));
            packet.write(&mut bytes)
        }
    };
    written.expect("a CONNECT is far from too long");
    out.extend_from_slice(&bytes);
}

fn connect_properties(session_expiry: u32, receive_maximum: Option<u16>) -> v5::ConnectProperties {
    v5::ConnectProperties {
        session_expiry_interval: Some(session_expiry),
        receive_maximum,
        max_packet_size: None,
        topic_alias_max: None,
        request_response_info: None,
        request_problem_info: None,
        user_properties: Vec::new(),
        authentication_method: None,
        authentication_data: None,
    }
}

/// What the broker answered to CONNECT, or why it refused.
pub(super) fn connack(frame: &Frame<'_>, version: Version) -> Result<Welcome, String> {
    let mut bytes = BytesMut::from(frame.whole);
    match version {
        Version::V4 => match v4::read(&mut bytes, ANSWER_MAX) {
            Ok(v4::Packet::ConnAck(ack)) if ack.code == v4::ConnectReturnCode::Success => {
                Ok(Welcome { session_present: ack.session_present, receive_maximum: u16::MAX, keep_alive: None })
            }
            Ok(v4::Packet::ConnAck(ack)) => Err(format!("the broker refused the connection: {}", words(&ack.code))),
            other => Err(instead_of("CONNACK", &other)),
        },
        Version::V5 => match v5::read(&mut bytes, ANSWER_MAX) {
            Ok(v5::Packet::ConnAck(ack)) if ack.code == v5::ConnectReturnCode::Success => {
                let properties = ack.properties.as_ref();
                let receive_maximum = properties.and_then(|properties| properties.receive_max).unwrap_or(u16::MAX);
                let keep_alive = properties.and_then(|properties| properties.server_keep_alive);
                Ok(Welcome { session_present: ack.session_present, receive_maximum, keep_alive })
            }
            Ok(v5::Packet::ConnAck(ack)) => Err(refusal(&ack)),
            other => Err(instead_of("CONNACK", &other)),
        },
    }
}

fn refusal(ack: &v5::ConnAck) -> String {
    let reason = ack.properties.as_ref().and_then(|properties| properties.reason_string.as_deref());
    let reason = reason.map(|text| format!(" ({text})")).unwrap_or_default();
    format!("the broker refused the connection: {}{reason}", words(&ack.code))
}

pub(super) fn subscribe(out: &mut Vec<u8>, version: Version, id: u16, filters: &[String], qos: QoS) {
    let mut bytes = BytesMut::new();
    let written = match version {
        Version::V4 => {
            let filters = filters.iter().map(|filter| v4::SubscribeFilter::new(filter.clone(), qos));
            let mut packet = v4::Subscribe::new_many(filters);
            packet.pkid = id;
            packet.write(&mut bytes)
        }
        Version::V5 => {
            let filters = filters.iter().map(|filter| v5::SubscribeFilter::new(filter.clone(), qos));
            let mut packet = v5::Subscribe::new_many(filters);
            packet.pkid = id;
            packet.write(&mut bytes)
        }
    };
    written.expect("a hundred filters are far from too long");
    out.extend_from_slice(&bytes);
}

/// What became of filters for which this QoS was asked.
pub(super) fn suback(frame: &Frame<'_>, version: Version, asked: QoS) -> Result<Answers, String> {
    let mut bytes = BytesMut::from(frame.whole);
    let codes: Vec<Result<QoS, String>> = match version {
        Version::V4 => match v4::read(&mut bytes, ANSWER_MAX) {
            Ok(v4::Packet::SubAck(ack)) => ack.return_codes.iter().map(granted_v4).collect(),
            other => return Err(instead_of("SUBACK", &other)),
        },
        Version::V5 => match v5::read(&mut bytes, ANSWER_MAX) {
            Ok(v5::Packet::SubAck(ack)) => ack.return_codes.iter().map(granted_v5).collect(),
            other => return Err(instead_of("SUBACK", &other)),
        },
    };
    let mut answers = Answers::default();
    for code in codes {
        match code {
            Ok(qos) => {
                answers.granted += 1;
                let is_less = (qos as u8) < asked as u8;
                let less = is_less.then(|| format!("the broker granted QoS {} instead of {}", qos as u8, asked as u8));
                answers.complaints.extend(less);
            }
            Err(reason) => {
                answers.denied += 1;
                answers.complaints.push(reason);
            }
        }
    }
    Ok(answers)
}

fn granted_v4(code: &v4::SubscribeReasonCode) -> Result<QoS, String> {
    match code {
        v4::SubscribeReasonCode::Success(qos) => Ok(*qos),
        v4::SubscribeReasonCode::Failure => Err("the broker refused the subscription".into()),
    }
}

fn granted_v5(code: &v5::SubscribeReasonCode) -> Result<QoS, String> {
    use v5::SubscribeReasonCode::{QoS0, QoS1, QoS2};
    match code {
        QoS0 => Ok(QoS::AtMostOnce),
        QoS1 => Ok(QoS::AtLeastOnce),
        QoS2 => Ok(QoS::ExactlyOnce),
        other => Err(format!("the broker refused the subscription: {}", words(other))),
    }
}

pub(super) fn ping(out: &mut Vec<u8>) {
    let mut bytes = BytesMut::new();
    v4::PingReq.write(&mut bytes).expect("two bytes");
    out.extend_from_slice(&bytes);
}

/// Two bytes that mean the same in both versions.
pub(super) fn disconnect(out: &mut Vec<u8>) {
    let mut bytes = BytesMut::new();
    v4::Disconnect.write(&mut bytes).expect("two bytes");
    out.extend_from_slice(&bytes);
}

/// Why the broker sent the client away. Read by hand, since mqttbytes refuses a DISCONNECT without a body.
pub(super) fn disconnect_reason(frame: &Frame<'_>) -> String {
    let code = frame.body.first().copied().unwrap_or(0);
    format!("the broker sent the client away with reason 0x{code:02X}")
}

fn instead_of<P: std::fmt::Debug>(wanted: &str, got: &Result<P, mqttbytes::Error>) -> String {
    match got {
        Ok(packet) => format!("the broker answered {packet:?} instead of {wanted}"),
        Err(error) => format!("the broker's {wanted} cannot be read: {error:?}"),
    }
}

/// `NotAuthorized` as people write it.
fn words(name: &impl std::fmt::Debug) -> String {
    let mut text = String::new();
    for letter in format!("{name:?}").chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> Frame<'_> {
        Frame::next(bytes).unwrap().unwrap()
    }

    #[test]
    fn a_refusal_is_told_in_words() {
        let refused = connack(&frame(&[0x20, 2, 0, 5]), Version::V4);
        assert_eq!(refused, Err("the broker refused the connection: not authorized".into()));
        let refused = connack(&frame(b"\x20\x0a\x00\x87\x07\x1f\x00\x04nope"), Version::V5);
        assert_eq!(refused, Err("the broker refused the connection: not authorized (nope)".into()));
        assert!(connack(&frame(&[0xd0, 0]), Version::V5).unwrap_err().contains("instead of CONNACK"));
    }

    #[test]
    fn a_welcome_carries_the_brokers_receive_maximum_and_keep_alive() {
        let welcome = connack(&frame(&[0x20, 6, 1, 0, 3, 0x21, 0, 20]), Version::V5);
        assert_eq!(welcome, Ok(Welcome { session_present: true, receive_maximum: 20, keep_alive: None }));
        let welcome = connack(&frame(&[0x20, 6, 0, 0, 3, 0x13, 0, 30]), Version::V5);
        assert_eq!(welcome, Ok(Welcome { session_present: false, receive_maximum: u16::MAX, keep_alive: Some(30) }));
    }

    #[test]
    fn granted_and_refused_filters_are_told_apart() {
        let answers = suback(&frame(&[0x90, 4, 0, 1, 1, 0x80]), Version::V4, QoS::AtLeastOnce).unwrap();
        assert_eq!((answers.granted, answers.denied), (1, 1));
        let answers = suback(&frame(&[0x90, 6, 0, 1, 0, 2, 0x87, 0]), Version::V5, QoS::AtMostOnce).unwrap();
        let complaints = vec!["the broker refused the subscription: not authorized".into()];
        assert_eq!(answers, Answers { granted: 2, denied: 1, complaints });
    }

    #[test]
    fn a_lower_qos_than_was_asked_for_is_granted_and_told() {
        for (bytes, version) in [(&[0x90, 4, 0, 1, 1, 2][..], Version::V4), (&[0x90, 5, 0, 1, 0, 1, 2][..], Version::V5)] {
            let answers = suback(&frame(bytes), version, QoS::ExactlyOnce).unwrap();
            let complaints = vec!["the broker granted QoS 1 instead of 2".into()];
            assert_eq!(answers, Answers { granted: 2, denied: 0, complaints }, "{version:?}");
        }
    }
}
