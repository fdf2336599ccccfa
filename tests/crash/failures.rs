//! A disk that fails: after an error of a write or a sync nothing is acknowledged any more, the process ends with 74, and the next
//! one has all that was acknowledged before.

use std::collections::HashSet;
use std::time::Duration;

use dunlin::packet::{Delivery, Packet, PacketId, QoS};

use crate::faults::{Call, EIO, Fault};
use crate::house::{Broker, House};
use crate::steps::{begin, expect_pubrec, id, keeping, leave, pubrel, resume, send};
use crate::support::Client;
use crate::support::client::{V5, V311};

pub const CONFIG: &str = "[durability]\nsegment_size = \"1MiB\"\n";

/// A session that waits for `a/#` and is away.
pub fn waiting(broker: &Broker, name: &str) {
    let mut subscriber = begin(broker.address(), keeping(V5, name));
    subscriber.subscribe("a/#", QoS::ExactlyOnce);
    leave(subscriber);
}

/// What waits for that session, in its order.
pub fn waited(broker: &Broker, name: &str) -> Vec<String> {
    let mut subscriber = resume(broker.address(), keeping(V5, name));
    let payloads = take_all(&mut subscriber);
    leave(subscriber);
    payloads
}

/// All that comes, acknowledged to the end.
pub fn take_all(subscriber: &mut Client) -> Vec<String> {
    let mut payloads = Vec::new();
    let mut unreleased = HashSet::new();
    let mut is_pinged = false;
    let mut is_quiet = true;
    loop {
        if unreleased.is_empty() && !is_pinged {
            subscriber.send(&Packet::PingReq);
            (is_pinged, is_quiet) = (true, true);
        }
        let next = subscriber.expect("PUBLISH, PUBREL or PINGRESP", |packet| match packet {
            Packet::Publish(publish) => {
                let payload = String::from_utf8_lossy(publish.payload).into_owned();
                Some(Came::Publish(payload, publish.delivery))
            }
            Packet::PubRel(release) => Some(Came::PubRel(release.packet_id)),
            Packet::PingResp => Some(Came::Pong),
            _ => None,
        });
        match next {
            Came::Publish(payload, delivery) => {
                payloads.push(payload);
                match delivery {
                    Delivery::AtMostOnce => {}
                    Delivery::AtLeastOnce(id) => subscriber.puback(id),
                    Delivery::ExactlyOnce(id) => {
                        subscriber.pubrec(id);
                        unreleased.insert(id);
                    }
                }
            }
            Came::PubRel(id) => {
                subscriber.pubcomp(id);
                unreleased.remove(&id);
            }
            Came::Pong if is_quiet && unreleased.is_empty() => return payloads,
            Came::Pong => {
                is_pinged = false;
                continue;
            }
        }
        is_quiet = false;
    }
}

enum Came {
    Publish(String, Delivery),
    PubRel(PacketId),
    Pong,
}

/// What a client does for which an answer is owed only when it is on the disk.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    PublishOnce,
    PublishTwice,
    Release,
    Subscribe,
    Unsubscribe,
    Connect,
    Retain,
}

pub const STEPS: [Step; 7] =
    [Step::PublishOnce, Step::PublishTwice, Step::Release, Step::Subscribe, Step::Unsubscribe, Step::Connect, Step::Retain];

/// Brings a client to where the step is next; [`Step::take`] takes it.
pub struct Ready {
    pub client: Client,
    pub step: Step,
}

impl Step {
    pub fn prepare(self, broker: &Broker, name: &str, version: dunlin::packet::ProtocolVersion) -> Ready {
        let mut client = if matches!(self, Self::Connect) {
            Client::dial(broker.address(), version)
        } else {
            begin(broker.address(), keeping(version, name))
        };
        match self {
            Self::Release => {
                send(&mut client, "a/released", "released", Delivery::ExactlyOnce(id(500)), false);
                expect_pubrec(&mut client, id(500));
            }
            Self::Unsubscribe => client.subscribe("b/unsubscribed", QoS::AtLeastOnce),
            _ => {}
        }
        Ready { client, step: self }
    }
}

impl Ready {
    pub fn take(&mut self, name: &str) {
        let client = &mut self.client;
        match self.step {
            Step::PublishOnce => send(client, "a/once", "last", Delivery::AtLeastOnce(id(501)), false),
            Step::PublishTwice => send(client, "a/twice", "last", Delivery::ExactlyOnce(id(501)), false),
            Step::Release => pubrel(client, id(500)),
            // SUBSCRIBE and UNSUBSCRIBE, which 5.0 gives a property length.
            Step::Subscribe if client.version == V5 => client.send_bytes(b"\x82\x09\x01\xF5\x00\x00\x03b/s\x01"),
            Step::Subscribe => client.send_bytes(b"\x82\x08\x01\xF5\x00\x03b/s\x01"),
            Step::Unsubscribe if client.version == V5 => client.send_bytes(b"\xA2\x13\x01\xF5\x00\x00\x0Eb/unsubscribed"),
            Step::Unsubscribe => client.send_bytes(b"\xA2\x12\x01\xF5\x00\x0Eb/unsubscribed"),
            Step::Connect => client.send(&Packet::Connect(keeping(client.version, name))),
            Step::Retain => {
                let mut packet = crate::support::client::publish("r/retained", "last", Delivery::AtLeastOnce(id(501)));
                packet.retain = true;
                client.send(&Packet::Publish(packet));
            }
        }
    }

    /// The answer that is owed for the step comes next.
    pub fn expect_answer(&mut self) {
        let step = self.step;
        self.client.expect("the answer to the step", |packet| {
            let is_it = match step {
                Step::PublishOnce | Step::Retain => matches!(packet, Packet::PubAck(_)),
                Step::PublishTwice => matches!(packet, Packet::PubRec(_)),
                Step::Release => matches!(packet, Packet::PubComp(_)),
                Step::Subscribe => matches!(packet, Packet::SubAck(_)),
                Step::Unsubscribe => matches!(packet, Packet::UnsubAck(_)),
                Step::Connect => matches!(packet, Packet::ConnAck(_)),
            };
            is_it.then_some(())
        });
    }
}

/// Nothing but, for 5.0, a DISCONNECT comes before the end.
fn expect_end_without_answer(mut ready: Ready) {
    let rest = ready.client.rest();
    assert!(rest.is_empty() || rest[0] == 0xE0, "{:?} is answered with {rest:02x?}", ready.step);
}

/// The disk fails at this kind of call, from this moment on.
fn nothing_is_acknowledged_after(call: Call) {
    for version in [V5, V311] {
        for step in STEPS {
            let house = House::with_faults(CONFIG);
            let mut broker = house.start();
            waiting(&broker, "s");
            let mut publisher = Client::connect(broker.address(), V5, "publisher");
            let sent: Vec<String> = (0..10).map(|number| format!("{number}")).collect();
            for payload in &sent {
                assert_eq!(publisher.publish("a/b", payload, QoS::ExactlyOnce), 0);
            }
            let mut ready = step.prepare(&broker, "c", version);

            house.faults().every(call, Fault::Fail(EIO));
            ready.take("c");
            expect_end_without_answer(ready);
            let readiness = broker.get("/readyz").map(|(status, _)| status);
            assert!(matches!(readiness, None | Some(503)), "/readyz says {readiness:?} after {call:?} failed");
            let ended = broker.ends();
            assert_eq!(ended.code, Some(74), "{step:?}: {}", ended.told);
            let is_told = |line: &str| line.contains(r#""level":"ERROR""#) && line.contains("os error 5");
            assert!(ended.told.lines().any(is_told), "{step:?}: the log names the error:\n{}", ended.told);

            house.faults().off(call);
            let broker = house.start();
            let came = waited(&broker, "s");
            assert_eq!(&came[..sent.len().min(came.len())], sent, "{step:?}: what was acknowledged is there, in order");
            assert!(came.len() <= sent.len() + 2, "{step:?}: {came:?}");
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_the_broker_ends_with_74() {
    nothing_is_acknowledged_after(Call::Sync);
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged_and_the_broker_ends_with_74() {
    nothing_is_acknowledged_after(Call::Write);
}

/// fsyncgate: after one failure the kernel says that all is well, and it is not.
#[test]
fn a_sync_that_failed_once_is_not_tried_again() {
    let house = House::with_faults(CONFIG);
    let mut broker = house.start();
    waiting(&broker, "s");
    let mut ready = Step::PublishOnce.prepare(&broker, "c", V5);
    house.faults().at_nth(Call::Sync, 1, Fault::Fail(EIO));
    ready.take("c");
    expect_end_without_answer(ready);
    assert_eq!(broker.ends().code, Some(74));
    assert_eq!(house.faults().hits(Call::Sync), 1);
    let broker = house.start();
    assert!(waited(&broker, "s").len() <= 1);
}

#[test]
fn writes_that_take_only_a_part_are_gone_on_with() {
    let house = House::with_faults(CONFIG);
    let broker = house.start();
    house.faults().every(Call::Write, Fault::Shorten(7));
    waiting(&broker, "s");
    let mut publisher = Client::connect(broker.address(), V311, "publisher");
    let sent: Vec<String> = (0..20).map(|number| format!("{number} of twenty")).collect();
    for payload in &sent {
        publisher.publish("a/b", payload, QoS::AtLeastOnce);
    }
    assert!(house.faults().hits(Call::Write) > 0, "writes were cut short");
    broker.kill();
    house.faults().off(Call::Write);
    assert_eq!(waited(&house.start(), "s"), sent);
}

/// A disk that gives back what it cannot read any more is told as well, rather than guessed at.
#[test]
fn a_failure_while_it_starts_is_told_and_ends_it_with_74() {
    for call in [Call::Sync, Call::Write, Call::Create] {
        let house = House::with_faults(CONFIG);
        house.faults().every(call, Fault::Fail(EIO));
        let mut broker = house.spawn(&[]);
        // A first start may have nothing to write before its first client.
        let was_hit = || house.faults().hits(call) > 0;
        for _ in 0..100 {
            if was_hit() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if was_hit() {
            assert_eq!(broker.ends().code, Some(74), "{call:?}");
        }
    }
}
