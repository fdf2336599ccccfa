//! Someone who comes anew after each restart and looks at what is retained: it must be the last value, or none, that was acknowledged
//! before the look, or one that was sent later.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dunlin::packet::{
    Packet, PacketId, ProtocolVersion, PublishAck, PublishReason, QoS, Subscribe, SubscriptionOptions, TopicFilter,
    UserProperties,
};

use crate::login::Login;
use crate::model::{Key, Message, Tick, key_of};
use crate::support::PATIENCE;
use crate::support::dice::Dice;
use crate::wire::{Gone, Got, Wire};
use crate::world::{Phase, World};

pub struct Reader {
    pub name: &'static str,
    pub version: ProtocolVersion,
    /// What covers all retained topics, and nothing else.
    pub filter: &'static str,
    /// The publishers that set and clear them.
    pub publishers: Vec<usize>,
}

impl Reader {
    /// Looks again and again, and once more when all is published; how often it has seen everything.
    pub fn run(self, world: &World) -> usize {
        let mut dice = Dice::new(world.seed, self.name);
        let mut login = Login::new(self.name, self.version, false);
        let mut looks = 0;
        while let Some(address) = world.wait_for_broker() {
            let is_last = world.phase() >= Phase::Drain;
            let looked = login.resume(world, address, None).and_then(|(wire, _)| self.look(world, wire));
            looks += usize::from(looked.is_ok());
            match looked {
                Ok(()) if is_last => break,
                Ok(()) => drop(world.pause(dice.millis(10, 300), world.phase())),
                Err(Gone) => world.take_breath(),
            }
        }
        looks
    }

    fn look(&self, world: &World, mut wire: Wire) -> Result<(), Gone> {
        let from = world.tick();
        let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
        wire.put(&Packet::Subscribe(Subscribe {
            packet_id: PacketId::FIRST,
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            filters: vec![(TopicFilter::new(self.filter).expect("a filter"), options)],
        }));
        let mut seen = HashMap::new();
        let deadline = Instant::now() + PATIENCE;
        let mut is_complete = false;
        while !is_complete {
            wire.flush()?;
            if Instant::now() > deadline {
                world.complain(format!("{}: no answer to SUBSCRIBE", self.name));
                return Err(Gone);
            }
            match wire.next(Duration::from_millis(100))? {
                Some(Got::Publish(arrived)) => {
                    if let Some(id) = arrived.id {
                        wire.put(&Packet::PubAck(PublishAck::new(id, PublishReason::Success)));
                    }
                    if arrived.retain && seen.insert(arrived.topic.clone(), arrived.payload).is_some() {
                        world.complain(format!("{}: {} is retained twice", self.name, arrived.topic));
                    }
                }
                Some(Got::SubAck(..)) => wire.put(&Packet::PingReq),
                Some(Got::Pong) => is_complete = true,
                Some(Got::Disconnect(_)) => return Err(Gone),
                _ => {}
            }
        }
        self.check(world, &seen, (from, world.tick()));
        wire.leave();
        Ok(())
    }

    /// Compares what was seen between two moments with what the publishers did.
    fn check(&self, world: &World, seen: &HashMap<String, Vec<u8>>, span: (Tick, Tick)) {
        let mut known = 0;
        for publisher in &self.publishers {
            let mut topics: HashMap<String, Vec<(usize, Message)>> = HashMap::new();
            for (number, message) in world.sent_by(*publisher).iter().enumerate() {
                topics.entry(message.topic.clone()).or_default().push((number, message.clone()));
            }
            for (topic, messages) in topics {
                known += usize::from(seen.contains_key(&topic));
                let value = seen.get(&topic).map(|payload| key_of(payload));
                if !may_be_retained(&messages, *publisher, value, span) {
                    let tell = |(number, message): &(usize, Message)| (*number, message.clears, message.sent, message.accepted);
                    let last: Vec<_> = messages.iter().rev().take(6).map(tell).collect();
                    world.complain(format!(
                        "{}: {topic} has {value:?} at {span:?}, after (number, clears, sent, accepted) {last:?}",
                        self.name
                    ));
                }
            }
        }
        if known != seen.len() {
            world.complain(format!("{}: {} topics are retained, of which {known} were published", self.name, seen.len()));
        }
    }
}

/// Whether a topic may have this value (`None`: none; `Some(None)`: one that is no payload of ours) at some moment of the span.
fn may_be_retained(
    messages: &[(usize, Message)],
    publisher: usize,
    value: Option<Option<Key>>,
    (from, to): (Tick, Tick),
) -> bool {
    let last_accepted = messages.iter().rposition(|(_, message)| message.accepted.is_some_and(|tick| tick < from));
    let candidates = &messages[last_accepted.unwrap_or(0)..];
    let may_be = |(number, message): &(usize, Message)| match value {
        None => message.clears,
        Some(key) => !message.clears && key == Some(Key { publisher, number: *number }),
    };
    (last_accepted.is_none() && value.is_none()) || candidates.iter().any(|message| message.1.sent < to && may_be(message))
}
