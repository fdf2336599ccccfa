//! One MQTT client: its connection, what it has read in part, what it has still to write, and what it is for.

use std::io::{self, ErrorKind};
use std::net::IpAddr;

use mio::{Interest, Registry, Token};

use super::clock;
use super::codec::{self, SessionWish};
use super::desk::Desk;
use super::frame::{self, Frame, Malformed, kind};
use super::publisher::{Acked, OUT_MAX, Publisher};
use super::shared::Shared;
use super::subscriber::Subscriber;
use super::tally::Figure;
use super::wire::{self, Wire};

/// What a client is for.
#[derive(Debug)]
pub(super) enum Role {
    Publisher(Box<Publisher>),
    Subscriber(Box<Subscriber>),
    Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Offline,
    /// The network connection is on its way.
    Opening,
    /// CONNECT is on its way.
    AwaitConnack,
    Online,
    /// DISCONNECT is on its way.
    Closing,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) role: Role,
    state: State,
    /// Which of the run's publishers it is, or else which of the others.
    pub(super) number: usize,
    source: Option<IpAddr>,
    wire: Option<Box<Wire>>,
    /// The beginning of a packet whose rest has not come.
    rest: Vec<u8>,
    out: Vec<u8>,
    /// How much of `out` has been written.
    written: usize,
    /// The socket took less than it was given, and has not said since that it takes more.
    is_blocked: bool,
    /// There is something to read.
    is_readable: bool,
    /// The other side sends nothing more: behind what is to be read is the end, of which no further event tells.
    is_hung_up: bool,
    opened_at: u64,
    written_at: u64,
    /// Seconds, as the broker has agreed to.
    keep_alive: u16,
    wish: SessionWish,
}

impl Client {
    pub(super) const fn new(id: String, role: Role, number: usize, source: Option<IpAddr>) -> Self {
        Self {
            id,
            role,
            state: State::Offline,
            number,
            source,
            wire: None,
            rest: Vec::new(),
            out: Vec::new(),
            written: 0,
            is_blocked: false,
            is_readable: false,
            is_hung_up: false,
            opened_at: 0,
            written_at: 0,
            keep_alive: 0,
            wish: SessionWish::Clean,
        }
    }

    pub(super) fn open(&mut self, wish: SessionWish, desk: &mut Desk, registry: &Registry, token: Token) {
        let target = &desk.shared.target;
        let opened = wire::open(target.address, self.source).map_err(|error| cannot_connect(&desk.shared, &error));
        let wire = opened.and_then(|stream| Wire::new(stream, desk.shared.tls.as_ref(), &target.host));
        let wire = wire.map(|wire| match &target.websocket {
            Some(path) => wire.with_websocket(&target.host, path),
            None => wire,
        });
        let registered = wire.and_then(|mut wire| {
            let interest = Interest::READABLE.add(Interest::WRITABLE);
            registry.register(wire.socket(), token, interest).map_err(|error| error.to_string())?;
            Ok(wire)
        });
        self.out.clear();
        self.written = 0;
        self.rest.clear();
        self.is_blocked = true;
        self.is_hung_up = false;
        self.opened_at = desk.now;
        self.wish = wish;
        self.state = State::Opening;
        match registered {
            Ok(wire) => {
                self.wire = Some(Box::new(wire));
                codec::connect(&mut self.out, target, &self.id, wish);
            }
            Err(reason) => self.fail(desk, &reason),
        }
    }

    pub(super) const fn is_settling(&self) -> bool {
        matches!(self.state, State::Opening | State::AwaitConnack)
    }

    pub(super) const fn note_event(&mut self, is_readable: bool, is_writable: bool, is_hung_up: bool) {
        self.is_readable |= is_readable;
        self.is_hung_up |= is_hung_up;
        self.is_blocked &= !is_writable;
    }

    /// Reads what is there, does what follows, writes what there is to write. True if it is to have another turn soon.
    pub(super) fn turn(&mut self, desk: &mut Desk, buffer: &mut Vec<u8>) -> bool {
        if self.state == State::Opening && !self.is_blocked {
            self.state = State::AwaitConnack;
        }
        let has_more = self.is_readable && self.wire.is_some() && self.read(desk, buffer);
        let has_more_to_say = self.fill(desk);
        self.flush(desk);
        has_more || has_more_to_say && !self.is_blocked
    }

    pub(super) fn subscribe(&mut self) {
        if let Role::Subscriber(subscriber) = &mut self.role
            && self.state == State::Online
        {
            subscriber.rewind();
            subscriber.subscribe(&mut self.out);
        }
    }

    /// A publisher sends nothing new. What an open loop should have sent by now and could not is told.
    pub(super) fn stop(&mut self, desk: &mut Desk) {
        let Role::Publisher(publisher) = &mut self.role else { return };
        let held_up = publisher.held_up(desk.now);
        publisher.orders = None;
        if let Some(held_up) = held_up.filter(|_| self.state == State::Online) {
            desk.note_held_up(held_up);
        }
    }

    /// It has said nothing for half its keep alive.
    pub(super) fn is_too_silent(&self, now: u64) -> bool {
        let silence = u64::from(self.keep_alive) * 500_000_000;
        self.state == State::Online && silence > 0 && self.written_at + silence < now
    }

    pub(super) fn ping(&mut self) {
        codec::ping(&mut self.out);
    }

    /// Says goodbye and waits for the broker to close; one who was not yet there just goes.
    pub(super) fn disconnect(&mut self, desk: &mut Desk) {
        match self.state {
            State::Online => {
                codec::disconnect(&mut self.out);
                self.state = State::Closing;
                self.flush(desk);
            }
            State::Opening | State::AwaitConnack => self.drop_connection(),
            State::Offline | State::Closing => {}
        }
    }

    /// Closes without waiting any longer.
    pub(super) fn drop_connection(&mut self) {
        self.wire = None;
        self.state = State::Offline;
        self.is_readable = false;
        self.is_hung_up = false;
        self.rest = Vec::new();
        self.out = Vec::new();
        self.written = 0;
    }

    fn read(&mut self, desk: &mut Desk, buffer: &mut Vec<u8>) -> bool {
        let kept = self.rest.len();
        if kept * 2 > buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
        buffer[..kept].copy_from_slice(&self.rest);
        let Some(wire) = &mut self.wire else { return false };
        let got = match wire.read(&mut buffer[kept..]) {
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_readable = self.is_hung_up;
                return self.is_readable;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            Err(error) => {
                self.end(desk, &self.network_error(desk, &error));
                return false;
            }
        };
        if got.count == 0 {
            self.end(desk, "the broker closed the connection");
            return false;
        }
        self.is_readable = got.more || self.is_hung_up;
        desk.now = clock::now();
        self.handle_bytes(desk, &buffer[..kept + got.count]);
        self.is_readable
    }

    fn handle_bytes(&mut self, desk: &mut Desk, bytes: &[u8]) {
        let mut at = 0;
        while self.state != State::Offline {
            match Frame::next(&bytes[at..]) {
                Ok(Some(frame)) => {
                    at += frame.whole.len();
                    if let Err(reason) = self.handle_packet(desk, &frame) {
                        self.fail(desk, &reason);
                    }
                }
                Ok(None) => {
                    self.rest.clear();
                    self.rest.extend_from_slice(&bytes[at..]);
                    break;
                }
                Err(malformed) => self.fail(desk, &malformed.to_string()),
            }
        }
        desk.settle();
    }

    fn handle_packet(&mut self, desk: &mut Desk, frame: &Frame<'_>) -> Result<(), String> {
        match (frame.kind(), &mut self.role) {
            (kind::PUBLISH, Role::Subscriber(subscriber)) => {
                subscriber.handle_publish(frame, desk, &mut self.out).map_err(|malformed| malformed.to_string())
            }
            (kind::PUBREL, Role::Subscriber(_)) => {
                let (id, _) = frame.ack().map_err(|malformed| malformed.to_string())?;
                frame::write_ack(&mut self.out, kind::PUBCOMP, id);
                Ok(())
            }
            (kind @ (kind::PUBACK | kind::PUBREC | kind::PUBCOMP), Role::Publisher(publisher)) => {
                let (id, reason) = frame.ack().map_err(|malformed| malformed.to_string())?;
                let acked = publisher.handle_ack(kind, id, reason, &mut self.out);
                note_ack(acked, reason, desk)
            }
            (kind::CONNACK, _) if self.state == State::AwaitConnack => self.handle_connack(desk, frame),
            (kind::SUBACK, Role::Subscriber(subscriber)) => {
                let answers = codec::suback(frame, desk.shared.target.version, subscriber.qos)?;
                desk.tally[Figure::Granted] += answers.granted;
                desk.tally[Figure::Denied] += answers.denied;
                answers.complaints.into_iter().for_each(|reason| desk.shared.complain(reason));
                subscriber.subscribe(&mut self.out);
                Ok(())
            }
            (kind::PINGRESP, _) => Ok(()),
            (kind::DISCONNECT, _) => Err(codec::disconnect_reason(frame)),
            (kind, _) => Err(format!("the broker sent a packet of type {kind} that nobody asked for")),
        }
    }

    fn handle_connack(&mut self, desk: &mut Desk, frame: &Frame<'_>) -> Result<(), String> {
        let welcome = codec::connack(frame, desk.shared.target.version)?;
        self.state = State::Online;
        desk.count(Figure::Connected);
        desk.times.connect.note(desk.now.saturating_sub(self.opened_at));
        self.keep_alive = welcome.keep_alive.unwrap_or(desk.shared.target.keep_alive);
        if welcome.session_present {
            desk.count(Figure::Resumed);
        }
        if let Role::Publisher(publisher) = &mut self.role {
            publisher.exchanges.set_max(welcome.receive_maximum);
        }
        Ok(())
    }

    /// Lets a publisher write what it may; true if the buffer was full before it was done.
    fn fill(&mut self, desk: &mut Desk) -> bool {
        let (Role::Publisher(publisher), State::Online, false) = (&mut self.role, self.state, self.is_blocked) else {
            return false;
        };
        let flight = &desk.shared.flights[self.number];
        let now = clock::now();
        let filled = publisher.fill(&mut self.out, &desk.filler, now, flight.delivered());
        if publisher.waits_for_deliveries(flight.delivered()) {
            flight.starve();
            if !publisher.waits_for_deliveries(flight.delivered()) {
                desk.ready.push(desk.shared.flights[self.number].client);
            }
        }
        desk.tally[Figure::Sent] += filled.messages;
        desk.tally[Figure::BytesSent] += filled.payload_bytes;
        desk.tally[Figure::Expected] += filled.expected;
        self.out.len() >= OUT_MAX
    }

    fn flush(&mut self, desk: &mut Desk) {
        if self.is_blocked {
            return;
        }
        let Some(wire) = &mut self.wire else { return };
        let mut result = Ok(());
        if self.written < self.out.len() {
            match wire.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) => result = Err(error),
            }
            self.written_at = desk.now;
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        } else {
            self.is_blocked = true;
        }
        match result.and_then(|()| wire.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_blocked = true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.end(desk, &self.network_error(desk, &error)),
        }
    }

    fn network_error(&self, desk: &Desk, error: &io::Error) -> String {
        match self.state {
            State::Opening | State::AwaitConnack => cannot_connect(&desk.shared, error),
            _ => format!("the connection broke: {error}"),
        }
    }

    /// The connection is at its end, by whatever side.
    fn end(&mut self, desk: &mut Desk, reason: &str) {
        if self.state == State::Closing {
            desk.count(Figure::Closed);
            self.drop_connection();
        } else {
            self.fail(desk, reason);
        }
    }

    fn fail(&mut self, desk: &mut Desk, reason: &str) {
        if self.state == State::Closing {
            desk.count(Figure::Closed);
        } else {
            desk.count(if self.is_settling() { Figure::Refused } else { Figure::Broken });
            desk.shared.complain(reason.to_owned());
        }
        self.drop_connection();
    }
}

fn note_ack(acked: Acked, reason: u8, desk: &mut Desk) -> Result<(), String> {
    match acked {
        Acked::Received => Ok(()),
        Acked::Done { due } => {
            desk.note_ack(due);
            Ok(())
        }
        Acked::Rejected { .. } => {
            desk.count(Figure::Rejected);
            desk.shared.complain(format!("the broker refused a message with reason 0x{reason:02X}"));
            Ok(())
        }
        Acked::Unknown => Err("the broker acknowledged what was not sent".into()),
    }
}

fn cannot_connect(shared: &Shared, error: &io::Error) -> String {
    format!("cannot connect to {}: {error}", shared.target.address)
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the broker sent bytes that are not MQTT")
    }
}
