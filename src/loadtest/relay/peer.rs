//! One client of the relay.

use std::io::{self, ErrorKind, Read, Write};

use bytes::BytesMut;
use mio::net::TcpStream;
use mqttbytes::{QoS, v4, v5};

use super::super::frame::{Frame, kind};

/// Larger SUBSCRIBEs are nonsense.
const SUBSCRIBE_MAX: usize = 1 << 20;

/// Bytes that have been written and may lie before those that wait.
const WRITTEN_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Peer {
    socket: TcpStream,
    /// The beginning of a packet whose rest has not come.
    rest: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    is_blocked: bool,
    /// Nothing more comes: behind what is to be read is the end, of which no further event tells.
    is_hung_up: bool,
    is_v5: bool,
    is_connected: bool,
    is_subscriber: bool,
    sends: Option<Sends>,
}

/// What a publisher sends, and to whom.
#[derive(Debug, Default)]
struct Sends {
    topic: String,
    receivers: Vec<usize>,
    /// As of which generation of subscribers.
    generation: Option<u64>,
}

/// What is to be done with the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// So many have been answered.
    Answered(usize),
    /// So many were a SUBSCRIBE for these filters, which has been answered.
    Subscribed(usize, Vec<String>),
    /// So many are for others.
    Relay(usize),
    /// They are the beginning of a packet.
    Rest,
    /// The client leaves, or does what a relay cannot do.
    Gone,
}

impl Peer {
    pub(super) const fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            rest: Vec::new(),
            out: Vec::new(),
            written: 0,
            is_blocked: false,
            is_hung_up: false,
            is_v5: false,
            is_connected: false,
            is_subscriber: false,
            sends: None,
        }
    }

    pub(super) const fn is_publisher(&self) -> bool {
        self.sends.is_some()
    }

    pub(super) const fn is_subscriber(&self) -> bool {
        self.is_subscriber
    }

    pub(super) const fn note_hang_up(&mut self, is_hung_up: bool) {
        self.is_hung_up |= is_hung_up;
    }

    pub(super) const fn is_hung_up(&self) -> bool {
        self.is_hung_up
    }

    /// Reads behind what was kept; how many bytes there are then, 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let kept = self.rest.len();
        if kept * 2 > buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
        buffer[..kept].copy_from_slice(&self.rest);
        match self.socket.read(&mut buffer[kept..])? {
            0 => Ok(0),
            count => Ok(kept + count),
        }
    }

    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.rest.clear();
        self.rest.extend_from_slice(bytes);
    }

    /// Messages at the beginning are passed over as long as they are of a kind; one other packet is answered.
    pub(super) fn handle(&mut self, bytes: &[u8]) -> Next {
        let mut end = 0;
        while self.is_publisher()
            && let Ok(Some(frame)) = Frame::next(&bytes[end..])
            && is_qos_0(&frame)
        {
            end += frame.whole.len();
        }
        if end > 0 {
            return Next::Relay(end);
        }
        match Frame::next(bytes) {
            Ok(Some(frame)) => self.answer(&frame).unwrap_or(Next::Gone),
            Ok(None) => Next::Rest,
            Err(_) => Next::Gone,
        }
    }

    fn answer(&mut self, frame: &Frame<'_>) -> Option<Next> {
        match frame.kind() {
            kind::CONNECT => {
                self.is_connected = true;
                // Behind the name of the protocol.
                self.is_v5 = frame.body.get(6) == Some(&5);
                self.out.extend_from_slice(if self.is_v5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] });
            }
            kind::SUBSCRIBE if self.is_connected => {
                return Some(Next::Subscribed(frame.whole.len(), self.subscribe(frame)?));
            }
            kind::PUBLISH if self.is_connected && is_qos_0(frame) => {
                let topic = frame.publish(self.is_v5).ok()?.topic;
                self.sends = Some(Sends { topic: String::from_utf8_lossy(topic).into_owned(), ..Sends::default() });
                return Some(Next::Relay(frame.whole.len()));
            }
            kind::PINGREQ => self.out.extend_from_slice(&[kind::PINGRESP << 4, 0]),
            _ => return None,
        }
        Some(Next::Answered(frame.whole.len()))
    }

    fn subscribe(&mut self, frame: &Frame<'_>) -> Option<Vec<String>> {
        self.is_subscriber = true;
        let (mut bytes, mut answer) = (BytesMut::from(frame.whole), BytesMut::new());
        let filters = if self.is_v5 {
            let v5::Packet::Subscribe(packet) = v5::read(&mut bytes, SUBSCRIBE_MAX).ok()? else { return None };
            let granted = vec![v5::SubscribeReasonCode::QoS0; packet.filters.len()];
            v5::SubAck::new(packet.pkid, granted).write(&mut answer).ok()?;
            packet.filters.into_iter().map(|filter| filter.path).collect()
        } else {
            let v4::Packet::Subscribe(packet) = v4::read(&mut bytes, SUBSCRIBE_MAX).ok()? else { return None };
            let granted = vec![v4::SubscribeReasonCode::Success(QoS::AtMostOnce); packet.filters.len()];
            v4::SubAck::new(packet.pkid, granted).write(&mut answer).ok()?;
            packet.filters.into_iter().map(|filter| filter.path).collect()
        };
        self.out.extend_from_slice(&answer);
        Some(filters)
    }

    /// The topic, if receivers have changed since it was looked for them.
    pub(super) fn outdated_topic(&self, generation: u64) -> Option<String> {
        let sends = self.sends.as_ref().filter(|sends| sends.generation != Some(generation))?;
        Some(sends.topic.clone())
    }

    pub(super) fn set_receivers(&mut self, receivers: Vec<usize>, generation: u64) {
        if let Some(sends) = &mut self.sends {
            sends.receivers = receivers;
            sends.generation = Some(generation);
        }
    }

    pub(super) fn receivers(&self) -> &[usize] {
        self.sends.as_ref().map_or(&[], |sends| &sends.receivers)
    }

    /// To go through them while others are changed; `give_receivers` puts them back.
    pub(super) fn take_receivers(&mut self) -> Vec<usize> {
        self.sends.as_mut().map(|sends| std::mem::take(&mut sends.receivers)).unwrap_or_default()
    }

    pub(super) fn give_receivers(&mut self, receivers: Vec<usize>) {
        if let Some(sends) = &mut self.sends {
            sends.receivers = receivers;
        }
    }

    /// True if it had nothing to write before.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let was_empty = self.out.is_empty();
        self.out.extend_from_slice(bytes);
        was_empty
    }

    pub(super) const fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    /// The socket takes bytes again; true if there are some.
    pub(super) const fn unblock(&mut self) -> bool {
        self.is_blocked = false;
        self.waiting() > 0
    }

    /// True if nothing is left to be written.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        if !self.is_blocked && self.waiting() > 0 {
            match self.socket.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        self.is_blocked = self.waiting() > 0;
        if !self.is_blocked {
            self.out.clear();
            self.written = 0;
        } else if self.written >= WRITTEN_MAX.max(self.waiting()) {
            // One that is never quite up to date would keep all that it ever got.
            self.out.drain(..self.written);
            self.written = 0;
        }
        Ok(!self.is_blocked)
    }
}

const fn is_qos_0(frame: &Frame<'_>) -> bool {
    frame.kind() == kind::PUBLISH && frame.first & 6 == 0
}
