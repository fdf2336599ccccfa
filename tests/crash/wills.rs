//! A client with a will that waits: it goes without a word, by its own doing or by the broker's death, and the will must come once.

use std::time::Duration;

use dunlin::packet::{ForwardedProperties, Packet, QoS, TopicName, Will};

use crate::login::{EXPIRY, Login};
use crate::model::{Key, Message, payload};
use crate::support::dice::Dice;
use crate::wire::{Gone, Got};
use crate::world::{Phase, World};

pub struct Testator {
    /// Its number in the history: its wills are its messages.
    pub index: usize,
    pub login: Login,
    /// The audience that hears of its wills.
    pub heirs: usize,
    /// It always comes back in time, and its wills are taken back; the last one is due when it gives up its session.
    pub comes_back: bool,
}

impl Testator {
    pub fn run(mut self, world: &World) {
        let mut dice = Dice::new(world.seed, &self.login.name);
        while world.phase() < Phase::Finish {
            let Some(number) = self.live(world, &mut dice) else { return };
            if self.comes_back {
                world.pause(dice.millis(0, 100), Phase::Storm);
            } else {
                self.wait_for_will(world, number);
            }
        }
        if self.comes_back {
            self.give_up(world);
        }
    }

    /// One life with a will of its own, at least up to the CONNACK; the will's number.
    fn live(&mut self, world: &World, dice: &mut Dice) -> Option<usize> {
        loop {
            let address = world.wait_for_broker()?;
            let number = self.write_will(world);
            let key = Key { publisher: self.index, number };
            let topic = self.topic();
            let payload = payload(key);
            let will = Will {
                topic: TopicName::new(&topic).expect("a topic"),
                payload: &payload,
                qos: QoS::ExactlyOnce,
                retain: false,
                delay_interval: if self.comes_back { EXPIRY } else { 1 },
                message_expiry_interval: None,
                properties: ForwardedProperties::default(),
            };
            let Ok((mut wire, _)) = self.login.resume(world, address, Some(will)) else {
                world.take_breath();
                continue;
            };
            // The CONNECT that came through took back the wills before it, those that perhaps were never heard of included.
            if self.comes_back {
                world.sent_by(self.index)[..number].iter_mut().for_each(|message| message.withdrawn = true);
            } else {
                world.sent_by(self.index)[number].accepted = Some(world.tick());
            }
            let stay = dice.millis(1, 400);
            let end = std::time::Instant::now() + stay;
            while std::time::Instant::now() < end {
                wire.put(&Packet::PingReq);
                match wire.flush().and_then(|()| wire.next(Duration::from_millis(50))) {
                    Ok(Some(Got::Pong) | None) => std::thread::sleep(Duration::from_millis(10)),
                    Ok(Some(_)) | Err(Gone) => break,
                }
            }
            wire.cut();
            return Some(number);
        }
    }

    fn write_will(&self, world: &World) -> usize {
        let mut messages = world.sent_by(self.index);
        messages.push(Message {
            topic: self.topic(),
            qos: QoS::ExactlyOnce,
            retain: false,
            clears: false,
            sent: world.tick(),
            accepted: None,
            is_will: true,
            withdrawn: false,
            cycle: world.cycle(),
        });
        messages.len() - 1
    }

    fn topic(&self) -> String {
        format!("wills/{}", self.login.name)
    }

    /// Stays away until it is dead to all.
    fn wait_for_will(&self, world: &World, number: usize) {
        let key = Key { publisher: self.index, number };
        world.wait_until(&format!("the will {key:?} comes"), || {
            world.phase() > Phase::Storm || world.audience(self.heirs).has(key)
        });
    }

    /// A clean start ends the session, and so the last will is due at once.
    fn give_up(&mut self, world: &World) {
        while let Some(address) = world.wait_for_broker() {
            if let Ok((wire, _)) = self.login.begin(world, address, None) {
                if let Some(last) = world.sent_by(self.index).last_mut() {
                    last.accepted = Some(world.tick());
                }
                return wire.leave();
            }
            world.take_breath();
        }
    }
}
