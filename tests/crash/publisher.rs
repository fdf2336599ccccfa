//! A publisher that keeps the rules: it records what was acknowledged, and on resume sends again what was not, PUBLISH with DUP and
//! PUBREL, in the original order.

use std::collections::VecDeque;
use std::time::Duration;

use dunlin::packet::{Packet, PacketId, Publish, QoS, Release, ReleaseReason};

use crate::login::Login;
use crate::model::{Key, Message, payload};
use crate::support::PATIENCE;
use crate::support::client::{delivery, publish};
use crate::support::dice::Dice;
use crate::wire::{Gone, Got, Wire};
use crate::world::{Phase, World};

pub struct Publisher {
    /// Its number in the history.
    pub index: usize,
    pub login: Login,
    pub topics: Vec<String>,
    /// The QoS to choose from for each message.
    pub qos: &'static [QoS],
    /// Publishes retained messages, and clears some.
    pub retains: bool,
    /// Gives each message a deduplication identifier.
    pub dedups: bool,
    /// How many messages may be unacknowledged.
    pub window: usize,
    /// The longest pause between two handfuls of messages, in milliseconds.
    pub leisure: usize,
}

/// A message that is not acknowledged to the end.
struct Flight {
    id: PacketId,
    number: usize,
    is_released: bool,
}

struct State {
    publisher: Publisher,
    dice: Dice,
    flights: VecDeque<Flight>,
}

impl Publisher {
    /// Publishes until the storm is over and all is acknowledged.
    pub fn run(self, world: &World) {
        let dice = Dice::new(world.seed, &self.login.name);
        let mut state = State { publisher: self, dice, flights: VecDeque::new() };
        while let Some(address) = world.wait_for_broker() {
            let connected = state.publisher.login.resume(world, address, None);
            let visited = connected.and_then(|(wire, present)| state.visit(world, wire, present));
            match visited {
                Ok(wire) if world.phase() > Phase::Storm && state.flights.is_empty() => return wire.leave(),
                Ok(wire) => wire.cut(),
                Err(Gone) => world.take_breath(),
            }
        }
    }
}

impl State {
    /// One connection, to its end or to when it has had enough.
    fn visit(&mut self, world: &World, mut wire: Wire, present: bool) -> Result<Wire, Gone> {
        self.resend(world, &mut wire, present)?;
        let mut messages_left = if self.dice.once_in(3) { self.dice.below(2000) } else { usize::MAX };
        loop {
            let is_publishing = world.phase() == Phase::Storm;
            if !is_publishing && self.flights.is_empty() {
                return Ok(wire);
            }
            if is_publishing {
                let room = self.publisher.window - self.flights.len();
                for _ in 0..self.dice.below(room + 1).min(messages_left) {
                    self.publish(world, &mut wire);
                    messages_left -= 1;
                }
                wire.flush()?;
                if messages_left == 0 {
                    return Ok(wire); // with its last messages unacknowledged
                }
            }
            self.hear(world, &mut wire)?;
        }
    }

    /// What is still under way, after a connection was lost. Where the session is gone with it, QoS 1 messages are sent anew, and
    /// QoS 2 ones given up: to send them once more might double them.
    fn resend(&mut self, world: &World, wire: &mut Wire, present: bool) -> Result<(), Gone> {
        if !present {
            let publisher = self.publisher.index;
            let messages = world.sent_by(publisher);
            self.flights.retain(|flight| messages[flight.number].qos == QoS::AtLeastOnce);
        }
        for flight in &self.flights {
            if flight.is_released {
                wire.put(&Packet::PubRel(Release::new(flight.id, ReleaseReason::Success)));
            } else {
                put(world, wire, self.publisher.index, flight, present);
            }
        }
        wire.flush()
    }

    fn publish(&mut self, world: &World, wire: &mut Wire) {
        let Self { publisher, dice, flights } = self;
        let mut topic = dice.pick(&publisher.topics).clone();
        if publisher.dedups {
            let number = world.sent_by(publisher.index).len();
            topic = format!("$dedup/{}-{number}/{topic}", publisher.login.name);
        }
        let clears = publisher.retains && dice.once_in(4);
        let message = Message {
            topic,
            qos: *dice.pick(publisher.qos),
            retain: publisher.retains,
            clears,
            sent: world.tick(),
            accepted: None,
            is_will: false,
            withdrawn: false,
            cycle: world.cycle(),
        };
        let id = publisher.login.packet_id(|id| flights.iter().all(|flight| flight.id != id));
        let number = {
            let mut messages = world.sent_by(publisher.index);
            messages.push(message);
            messages.len() - 1
        };
        let flight = Flight { id, number, is_released: false };
        put(world, wire, publisher.index, &flight, false);
        flights.push_back(flight);
    }

    /// Takes the acknowledgements that are there, or waits for some.
    fn hear(&mut self, world: &World, wire: &mut Wire) -> Result<(), Gone> {
        let is_full = self.flights.len() == self.publisher.window || world.phase() > Phase::Storm && !self.flights.is_empty();
        let patience = if is_full { PATIENCE } else { self.dice.millis(0, self.publisher.leisure) };
        let mut got = wire.next(patience)?;
        if got.is_none() && is_full {
            world.complain(format!("{}: no acknowledgement comes", self.publisher.login.name));
            return Err(Gone);
        }
        while let Some(packet) = got {
            self.take(world, wire, packet)?;
            got = wire.next(Duration::ZERO)?;
        }
        wire.flush()
    }

    fn take(&mut self, world: &World, wire: &mut Wire, packet: Got) -> Result<(), Gone> {
        world.advance();
        let wrong = match packet {
            Got::PubAck(id, reason) if reason < 0x80 => self.accepted(world, id, QoS::AtLeastOnce).then(|| self.done(id)),
            Got::PubRec(id, reason) if reason < 0x80 => self.accepted(world, id, QoS::ExactlyOnce).then(|| {
                wire.put(&Packet::PubRel(Release::new(id, ReleaseReason::Success)));
            }),
            Got::PubComp(id, _) => {
                self.flights.iter().any(|flight| flight.id == id && flight.is_released).then(|| self.done(id))
            }
            Got::Disconnect(_) => return Err(Gone),
            _ => None,
        };
        if wrong.is_none() {
            world.complain(format!("{}: {packet:?} is no answer to what was sent", self.publisher.login.name));
        }
        Ok(())
    }

    /// PUBACK or PUBREC for a message of this QoS that waits for it: from now on it is the broker's.
    fn accepted(&mut self, world: &World, id: PacketId, qos: QoS) -> bool {
        let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id && !flight.is_released) else { return false };
        let mut messages = world.sent_by(self.publisher.index);
        let message = &mut messages[flight.number];
        message.accepted = Some(world.tick());
        flight.is_released = true;
        message.qos == qos
    }

    fn done(&mut self, id: PacketId) {
        self.flights.retain(|flight| flight.id != id);
    }
}

/// PUBLISH of a message, for the first time or again.
fn put(world: &World, wire: &mut Wire, publisher: usize, flight: &Flight, dup: bool) {
    let messages = world.sent_by(publisher);
    let message = &messages[flight.number];
    let key = Key { publisher, number: flight.number };
    let payload = if message.clears { Vec::new() } else { payload(key) };
    let packet = Publish {
        dup,
        retain: message.retain,
        payload: &payload,
        ..publish(&message.topic, "", delivery(message.qos, flight.id))
    };
    wire.put(&Packet::Publish(packet));
}
