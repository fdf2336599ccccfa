//! A consumer of a work queue: does its work, fails, says nothing, goes away in the middle. When the storm is over, it does all.

use std::time::Duration;

use dunlin::packet::{Packet, PublishAck, PublishReason, QoS, Subscribe, SubscriptionOptions, TopicFilter, UserProperties};

use crate::login::Login;
use crate::model::{Key, key_of};
use crate::queues::{QUEUES, Tallies};
use crate::support::dice::Dice;
use crate::wire::{Arrived, Gone, Got, Wire};
use crate::world::{Phase, World};

pub struct Worker {
    pub login: Login,
    pub queue: usize,
    /// Takes dead letters, at the end.
    pub buries: bool,
}

impl Worker {
    pub fn run(mut self, world: &World, tallies: &Tallies) {
        let mut dice = Dice::new(world.seed, &self.login.name);
        while self.buries && world.phase() < Phase::Drain {
            world.pause(Duration::from_millis(20), world.phase());
        }
        while let Some(address) = world.wait_for_broker() {
            let connected = self.login.resume(world, address, None);
            match connected.and_then(|(wire, _)| self.visit(world, tallies, &mut dice, wire)) {
                Ok(wire) if dice.once_in(2) => wire.leave(),
                Ok(wire) => wire.cut(),
                Err(Gone) => world.take_breath(),
            }
        }
    }

    fn visit(&self, world: &World, tallies: &Tallies, dice: &mut Dice, mut wire: Wire) -> Result<Wire, Gone> {
        let filter = format!("{}/{}", if self.buries { "$dlq" } else { "$queue" }, QUEUES[self.queue]);
        let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
        wire.put(&Packet::Subscribe(Subscribe {
            packet_id: dunlin::packet::PacketId::new(1).expect("not 0"),
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            filters: vec![(TopicFilter::new(&filter).expect("a filter"), options)],
        }));
        wire.flush()?;
        let is_storming = world.phase() < Phase::Drain;
        while world.phase() < Phase::Over {
            // What it was silent about takes room on this connection until its end.
            if is_storming && world.phase() >= Phase::Drain {
                return Ok(wire);
            }
            match wire.next(Duration::from_millis(50))? {
                Some(Got::Publish(arrived)) => {
                    if !self.work(tallies, (world, is_storming), dice, &mut wire, &arrived)? {
                        return Ok(wire);
                    }
                }
                Some(Got::SubAck(_, reasons)) => {
                    if reasons.iter().any(|reason| *reason >= 0x80) {
                        world.complain(format!("{}: SUBACK {reasons:02x?}", self.login.name));
                    }
                }
                Some(Got::Disconnect(_)) => return Err(Gone),
                Some(_) | None => {}
            }
        }
        Ok(wire)
    }

    /// `false`: it goes away in the middle.
    fn work(
        &self,
        tallies: &Tallies,
        (world, is_storming): (&World, bool),
        dice: &mut Dice,
        wire: &mut Wire,
        arrived: &Arrived,
    ) -> Result<bool, Gone> {
        world.advance();
        let Some(key) = key_of(&arrived.payload) else {
            world.complain(format!("{}: a payload that nobody sent", self.login.name));
            return Err(Gone);
        };
        let id = arrived.id.ok_or(Gone)?;
        let property = |wanted: &str| arrived.user.iter().find(|(name, _)| name == wanted).map(|(_, value)| &**value);
        let name = property("q-id");
        let attempt = property("q-attempt").and_then(|attempt| attempt.parse().ok());
        let deadline = property("q-deadline").and_then(|deadline| deadline.parse().ok());
        if !self.buries {
            tallies.of(self.queue).delivered(world, key, arrived.dup, name.zip(attempt));
        }
        let mood = if is_storming { dice.below(300) } else { 299 };
        let reason = match mood {
            0..3 => return Ok(false),
            3 => return Ok(true), // not a word
            4..28 if name.is_some() => PublishReason::UnspecifiedError,
            28..31 if name.is_some() => PublishReason::PayloadFormatInvalid,
            _ => PublishReason::Success,
        };
        if reason == PublishReason::Success {
            self.done(tallies, key);
        }
        wire.put(&Packet::PubAck(PublishAck::new(id, reason)));
        wire.flush()?;
        // An answer may not arrive on a connection that ends soon, and one that comes late may find the message with somebody else.
        let is_in_time = deadline.is_some_and(|deadline| now_in_millis() + MARGIN < deadline);
        if let Some(name) = name.filter(|_| !is_storming && is_in_time) {
            tallies.of(self.queue).taken(key, name);
        }
        Ok(true)
    }

    fn done(&self, tallies: &Tallies, key: Key) {
        let mut tally = tallies.of(self.queue);
        if self.buries {
            tally.dead.insert(key);
        } else {
            tally.done.insert(key);
        }
    }
}

/// Milliseconds before its deadline in which an answer is sure to reach the broker.
const MARGIN: u64 = 2000;

fn now_in_millis() -> u64 {
    std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| u64::try_from(since.as_millis()).expect("this side of the year 500,000,000"))
}
