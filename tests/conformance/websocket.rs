//! Chapter 6: MQTT in WebSocket frames, written by hand so that every way of cutting can be tried.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use dunlin::packet::{ConnAck, Connect, Decoder, Packet, Peer, ProtocolVersion, QoS, encode};

use crate::steps::id;
use crate::support::client::{V5, V31, V311, connect, delivery, publish};
use crate::support::{Broker, Client, PATIENCE};

const BINARY: u8 = 0x2;
const TEXT: u8 = 0x1;
const CONTINUATION: u8 = 0x0;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

fn broker() -> Broker {
    Broker::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [[listeners]]
        name = "ws"
        url = "ws://127.0.0.1:0/mqtt"
        "#,
    )
}

/// A WebSocket client that speaks frames.
struct Socket {
    stream: TcpStream,
    version: ProtocolVersion,
    /// Bytes of MQTT that have come.
    mqtt: Vec<u8>,
    raw: Vec<u8>,
}

struct Frame {
    opcode: u8,
    is_final: bool,
    payload: Vec<u8>,
}

/// The answer to a request for a WebSocket: its status, its headers, and the stream.
fn request(broker: &Broker, path: &str, subprotocol: Option<&str>) -> (u16, String, TcpStream) {
    let mut stream = TcpStream::connect(broker.listener("ws")).expect("the broker accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let subprotocol = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{subprotocol}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("the request goes out");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "the head of the answer is whole");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head, stream)
}

impl Socket {
    fn open(broker: &Broker, version: ProtocolVersion) -> Self {
        let subprotocol = if version == V31 { "mqttv3.1" } else { "mqtt" };
        let (status, _, stream) = request(broker, "/mqtt", Some(subprotocol));
        assert_eq!(status, 101);
        Self { stream, version, mqtt: Vec::new(), raw: Vec::new() }
    }

    /// A client that is let in.
    fn connect(broker: &Broker, version: ProtocolVersion, client_id: &str) -> Self {
        let mut socket = Self::open(broker, version);
        let bytes = socket.encode(&Packet::Connect(Connect { client_id, ..connect(version) }));
        socket.frame(BINARY, true, &bytes);
        socket.expect("CONNACK", |packet| match packet {
            Packet::ConnAck(ConnAck { reason, .. }) if !reason.is_error() => Some(()),
            _ => None,
        });
        socket
    }

    fn encode(&self, packet: &Packet<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(packet, self.version, &mut bytes);
        bytes
    }

    fn frame(&mut self, opcode: u8, is_final: bool, payload: &[u8]) {
        let mask = [0x12, 0xAB, 0x00, 0xFF];
        let mut bytes = vec![opcode | if is_final { 0x80 } else { 0 }];
        match payload.len() {
            length @ 0..=125 => bytes.push(0x80 | length as u8),
            length @ 126..=0xFFFF => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        let _ = self.stream.write_all(&bytes);
    }

    /// The next frame; `None` at the end of the stream.
    fn next_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = parse(&self.raw) {
                self.raw.drain(..length);
                return Some(frame);
            }
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.raw.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no frame: {error}"),
            }
        }
    }

    fn expect<R>(&mut self, what: &str, want: impl FnOnce(&Packet<'_>) -> Option<R>) -> R {
        let decoder = Decoder {
            version: Some(self.version),
            maximum_packet_size: u32::MAX,
            user_properties_max: 100,
            filters_max: 0,
            peer: Peer::Server,
        };
        loop {
            if let Some((packet, length)) = decoder.decode(&self.mqtt).expect("valid packets") {
                let result = want(&packet).unwrap_or_else(|| panic!("wanted {what}, got {packet:?}"));
                self.mqtt.drain(..length);
                return result;
            }
            let frame = self.next_frame().unwrap_or_else(|| panic!("wanted {what}, got the end"));
            // [MQTT-6.0.0-1]
            assert!(matches!(frame.opcode, BINARY | CONTINUATION), "binary frames only, not {:#x}", frame.opcode);
            self.mqtt.extend_from_slice(&frame.payload);
        }
    }

    fn expect_pingresp(&mut self) {
        self.expect("PINGRESP", |packet| matches!(packet, Packet::PingResp).then_some(()));
    }

    /// The status of the close frame, and the end of the stream; MQTT that comes before is passed over.
    fn expect_close(&mut self) -> Option<u16> {
        let mut status = None;
        while let Some(frame) = self.next_frame() {
            if frame.opcode == CLOSE {
                status = frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
        status
    }
}

fn parse(raw: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*raw.first()?, *raw.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (length, start) = match second {
        126 => (usize::from(u16::from_be_bytes(*raw.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*raw.get(2..)?.first_chunk()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let payload = raw.get(start..start + length)?.to_vec();
    Some((Frame { opcode: first & 0x0F, is_final: first & 0x80 != 0, payload }, start + length))
}

/// `[MQTT-6.0.0-3]`, `[MQTT-6.0.0-4]`, `[MQTT3-6.0.0-3]`: the subprotocol is agreed upon by name.
#[test]
fn the_subprotocol_that_was_offered_is_chosen() {
    let broker = broker();
    for (offered, chosen) in [
        ("mqtt", "mqtt"),
        ("mqttv3.1", "mqttv3.1"),
        ("chat, mqtt", "mqtt"),
        ("mqttv3.1, mqtt", "mqttv3.1"),
        ("mqtt,mqttv3.1", "mqtt"),
    ] {
        let (status, head, _) = request(&broker, "/mqtt", Some(offered));
        assert_eq!(status, 101, "{offered}");
        assert!(head.contains(&format!("sec-websocket-protocol: {chosen}\r\n")), "{offered}: {head}");
    }
}

#[test]
fn what_is_not_mqtt_gets_an_answer_in_http() {
    let broker = broker();
    for (path, subprotocol, status) in [
        ("/other", Some("mqtt"), 404),
        ("/", Some("mqtt"), 404),
        ("/mqtt/", Some("mqtt"), 404),
        ("/mqtt", None, 400),
        ("/mqtt", Some("chat"), 400),
        ("/mqtt", Some("MQTT5"), 400),
    ] {
        let (told, _, mut stream) = request(&broker, path, subprotocol);
        assert_eq!(told, status, "{path} {subprotocol:?}");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the stream ends");
    }
}

/// Clients over WebSocket and TCP talk to each other, in all versions.
#[test]
fn websocket_and_tcp_clients_meet() {
    let broker = broker();
    for version in [V31, V311, V5] {
        let mut tcp = Client::connect(broker.listener("tcp"), V5, "tcp");
        tcp.subscribe("to/tcp", QoS::AtLeastOnce);
        let mut socket = Socket::connect(&broker, version, "socket");
        let bytes = socket.encode(&Packet::Publish(publish("to/tcp", "hello", delivery(QoS::AtLeastOnce, id(1)))));
        socket.frame(BINARY, true, &bytes);
        socket.expect("PUBACK", |packet| matches!(packet, Packet::PubAck(_)).then_some(()));
        tcp.expect_message("to/tcp", "hello");

        let subscribe: &[u8] = if version == V5 { b"\x82\x0a\0\x01\0\0\x04to/s\0" } else { b"\x82\x09\0\x01\0\x04to/s\0" };
        socket.frame(BINARY, true, subscribe);
        socket.expect("SUBACK", |packet| matches!(packet, Packet::SubAck(_)).then_some(()));
        tcp.publish("to/s", "answer", QoS::AtMostOnce);
        socket.expect("the answer", |packet| {
            matches!(packet, Packet::Publish(publish) if publish.payload == b"answer").then_some(())
        });
    }
}

/// `[MQTT-6.0.0-2]`, `[MQTT3-6.0.0-2]`: packets need not be aligned with frames, so many may be in one.
#[test]
fn several_packets_in_one_frame_are_several_packets() {
    let broker = broker();
    let mut socket = Socket::open(&broker, V5);
    let mut bytes = socket.encode(&Packet::Connect(Connect { client_id: "c", ..connect(V5) }));
    for _ in 0..200 {
        bytes.extend_from_slice(&[0xC0, 0]);
    }
    socket.frame(BINARY, true, &bytes);
    socket.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(_)).then_some(()));
    for _ in 0..200 {
        socket.expect_pingresp();
    }
}

/// `[MQTT-6.0.0-2]`: a packet may go over many frames, be they messages of their own or parts of one, empty ones between.
#[test]
fn a_packet_over_several_frames_is_one_packet() {
    let broker = broker();
    for size in [1, 2, 7] {
        let mut socket = Socket::open(&broker, V5);
        let connect = socket.encode(&Packet::Connect(Connect { client_id: "c", ..connect(V5) }));
        for part in connect.chunks(size) {
            socket.frame(BINARY, true, part);
        }
        socket.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(_)).then_some(()));

        let payload = "x".repeat(300);
        let bytes = socket.encode(&Packet::Publish(publish("t", &payload, delivery(QoS::AtLeastOnce, id(1)))));
        let parts: Vec<_> = bytes.chunks(size).collect();
        for (number, part) in parts.iter().enumerate() {
            let opcode = if number == 0 { BINARY } else { CONTINUATION };
            socket.frame(opcode, number + 1 == parts.len(), part);
            if number == 3 {
                // Control frames may stand within a message (RFC 6455, 5.4).
                socket.frame(PING, true, b"there?");
                socket.frame(CONTINUATION, false, b"");
            }
        }
        let pong = socket.next_frame().expect("a pong");
        assert_eq!((pong.opcode, pong.is_final, &pong.payload[..]), (PONG, true, &b"there?"[..]));
        socket.expect("PUBACK", |packet| matches!(packet, Packet::PubAck(ack) if ack.packet_id == id(1)).then_some(()));
    }
}

/// A packet that ends in a frame where the next one begins.
#[test]
fn frames_and_packets_may_overlap_in_any_way() {
    let broker = broker();
    let mut socket = Socket::connect(&broker, V311, "c");
    let mut bytes = Vec::new();
    for number in 1..=100 {
        let payload = "y".repeat(usize::from(number) * 7);
        bytes.extend(socket.encode(&Packet::Publish(publish("t", &payload, delivery(QoS::AtLeastOnce, id(number))))));
    }
    for (number, part) in bytes.chunks(997).enumerate() {
        socket.frame(BINARY, true, part);
        if number % 3 == 0 {
            socket.frame(BINARY, true, b"");
        }
    }
    for number in 1..=100 {
        socket.expect("PUBACK", |packet| matches!(packet, Packet::PubAck(ack) if ack.packet_id == id(number)).then_some(()));
    }
}

/// Packets that are larger than any buffer go both ways.
#[test]
fn large_packets_go_both_ways() {
    let broker = broker();
    let mut socket = Socket::connect(&broker, V5, "c");
    socket.frame(BINARY, true, b"\x82\x07\0\x01\0\0\x01t\0");
    socket.expect("SUBACK", |packet| matches!(packet, Packet::SubAck(_)).then_some(()));
    let payload: String = (0..500_000).map(|number| char::from(b'a' + (number % 26) as u8)).collect();
    let bytes = socket.encode(&Packet::Publish(publish("t", &payload, delivery(QoS::AtMostOnce, id(1)))));
    socket.frame(BINARY, true, &bytes);
    socket.expect("the message", |packet| {
        matches!(packet, Packet::Publish(got) if got.payload == payload.as_bytes()).then_some(())
    });
}

/// `[MQTT-6.0.0-1]`, `[MQTT3-6.0.0-1]`: anything but a binary frame closes the connection; 1003 is for data that is not taken.
#[test]
fn a_text_frame_closes_the_connection() {
    let broker = broker();
    let mut socket = Socket::connect(&broker, V5, "c");
    socket.frame(TEXT, true, b"hello");
    assert_eq!(socket.expect_close(), Some(1003));
    let mut socket = Socket::open(&broker, V5);
    socket.frame(TEXT, true, b"hello");
    assert_eq!(socket.expect_close(), Some(1003));
}

/// RFC 6455, 5.1 and 5.2: a client masks, and uses no reserved bits.
#[test]
fn frames_that_are_none_close_the_connection() {
    let broker = broker();
    for frame in
        [&[0x82, 0x02, 0xC0, 0x00][..], &[0xC2, 0x80, 0, 0, 0, 0], &[0x83, 0x80, 0, 0, 0, 0], &[0x80, 0x80, 0, 0, 0, 0]]
    {
        let mut socket = Socket::connect(&broker, V5, "c");
        socket.stream.write_all(frame).unwrap();
        assert_eq!(socket.expect_close(), Some(1002), "{frame:x?}");
    }
}

/// 4.13 holds as on TCP: DISCONNECT with its reason in a binary frame, then the close frame.
#[test]
fn a_protocol_error_is_told_in_mqtt_and_in_websocket() {
    let broker = broker();
    let mut socket = Socket::connect(&broker, V5, "c");
    socket.frame(BINARY, true, &[0xC1, 0]);
    socket.expect("DISCONNECT", |packet| match packet {
        Packet::Disconnect(disconnect) => (disconnect.reason as u8 == 0x81).then_some(()),
        _ => None,
    });
    assert_eq!(socket.expect_close(), Some(1000));
}

/// A close frame ends the connection like a close of the network: the will goes out.
#[test]
fn a_close_frame_is_answered_and_publishes_the_will() {
    let broker = broker();
    let mut witness = Client::connect(broker.listener("tcp"), V5, "witness");
    witness.subscribe("will", QoS::AtMostOnce);
    let mut socket = Socket::open(&broker, V5);
    let will = Some(crate::steps::will("will", "gone"));
    let bytes = socket.encode(&Packet::Connect(Connect { client_id: "c", will, ..connect(V5) }));
    socket.frame(BINARY, true, &bytes);
    socket.expect("CONNACK", |packet| matches!(packet, Packet::ConnAck(_)).then_some(()));
    socket.frame(CLOSE, true, &1001u16.to_be_bytes());
    assert_eq!(socket.expect_close(), Some(1001));
    witness.expect_message("will", "gone");
}

/// RFC 6455, 5.5.1 and 8.1.
#[test]
fn a_close_frame_that_is_wrong_is_told_what_is_wrong_with_it() {
    let broker = broker();
    for (payload, status) in [(&[][..], 1000), (&[3], 1002), (&[3, 0xE8, b'x'], 1000), (&[3, 0xE8, 0xFF], 1007)] {
        let mut socket = Socket::connect(&broker, V5, "c");
        socket.frame(CLOSE, true, payload);
        assert_eq!(socket.expect_close(), Some(status), "{payload:x?}");
    }
}

/// DISCONNECT over WebSocket is DISCONNECT.
#[test]
fn a_goodbye_in_mqtt_closes_the_websocket() {
    let broker = broker();
    let mut socket = Socket::connect(&broker, V5, "c");
    socket.frame(BINARY, true, &[0xE0, 0]);
    assert_eq!(socket.expect_close(), Some(1000));
}
