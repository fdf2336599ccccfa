//! The process dies at a certain call, rather than at a certain time: before it, after it, in the middle of it; or the power goes, and
//! takes what was not synced. A publisher that keeps the rules goes on after each restart; its messages arrive once, in order.

use std::time::Duration;

use dunlin::packet::{Packet, PacketId, Publish, QoS, Release, ReleaseReason};

use crate::failures::{take_all, waited, waiting};
use crate::faults::{Call, Fault};
use crate::house::{Broker, House};
use crate::steps::{keeping, leave, resume};
use crate::support::PATIENCE;
use crate::support::client::{Client, V5, delivery, publish};
use crate::support::dice::Dice;
use crate::wire::{Gone, Got, Wire};

/// Small, so that each run begins, drops and rewrites some.
const CONFIG: &str = "[durability]\nsegment_size = \"64KiB\"\n";

/// A publisher of QoS 2 messages, one after the other, with a session that is kept.
struct Publisher {
    sent: usize,
    accepted: usize,
    is_released: bool,
}

impl Publisher {
    /// Publishes up to so many in all, and goes on with the one that is under way.
    fn go_on(&mut self, broker: &Broker, total: usize) -> Result<(), Gone> {
        let (mut wire, present) = Wire::connect(broker.address(), keeping(V5, "publisher"), PATIENCE)?;
        assert!(present || self.sent == 0, "the publisher's session is there");
        let mut is_resumed = self.accepted < self.sent || self.is_released;
        while self.sent < total || is_resumed {
            if !is_resumed {
                self.sent += 1;
            }
            if !self.is_released {
                self.put(&mut wire, is_resumed);
                wait_for(&mut wire, |got| matches!(got, Got::PubRec(_, 0)))?;
                self.accepted = self.sent;
                self.is_released = true;
            }
            wire.put(&Packet::PubRel(Release::new(PacketId::FIRST, ReleaseReason::Success)));
            wait_for(&mut wire, |got| matches!(got, Got::PubComp(..)))?;
            self.is_released = false;
            is_resumed = false;
        }
        wire.leave();
        Ok(())
    }

    fn put(&self, wire: &mut Wire, dup: bool) {
        let payload = text(self.sent - 1);
        let packet = publish("a/b", &payload, delivery(QoS::ExactlyOnce, PacketId::FIRST));
        wire.put(&Packet::Publish(Publish { dup, ..packet }));
    }
}

/// The payload of a message: long enough that a segment is soon full.
fn text(number: usize) -> String {
    format!("{number:05} {}", "x".repeat(number * 37 % 3000))
}

fn wait_for(wire: &mut Wire, is_it: impl Fn(&Got) -> bool) -> Result<(), Gone> {
    wire.flush()?;
    let got = wire.next(PATIENCE)?.expect("an answer");
    assert!(is_it(&got), "{got:?}");
    Ok(())
}

/// Someone who takes what waits for them, so that space comes back; whether the broker was there to the end.
fn take_what_waits(broker: &Broker) -> bool {
    let Ok((mut wire, _)) = Wire::connect(broker.address(), keeping(V5, "takes"), PATIENCE) else { return false };
    loop {
        match wire.next(Duration::from_millis(30)) {
            Ok(Some(Got::Publish(arrived))) => {
                let answer = |id| dunlin::packet::PublishAck::new(id, dunlin::packet::PublishReason::Success);
                if let Some(id) = arrived.id {
                    wire.put(&Packet::PubRec(answer(id)));
                }
            }
            Ok(Some(Got::PubRel(id))) => wire.put(&Packet::PubComp(Release::new(id, ReleaseReason::Success))),
            Ok(Some(_)) => {}
            Ok(None) => {
                wire.leave();
                return true;
            }
            Err(Gone) => return false,
        }
        if wire.flush().is_err() {
            return false;
        }
    }
}

/// Dies at the `nth` such call, if there are as many; whether it did.
fn dies_at(house: &House, call: Call, nth: u64, fault: Fault) -> bool {
    let what = format!("{fault:?} at {call:?} number {nth}");
    let mut publisher = Publisher { sent: 0, accepted: 0, is_released: false };
    let mut broker = house.start();
    waiting(&broker, "s");
    waiting(&broker, "takes");
    house.faults().at_nth(call, nth, fault);
    for total in [20, 40, 60] {
        if publisher.go_on(&broker, total).is_err() || !take_what_waits(&broker) {
            break;
        }
    }
    // Closing the last connection may have been what it died of.
    let has_died = house.faults().hits(call) > 0;
    if has_died {
        let ended = broker.ends();
        assert_eq!(ended.code, None, "{what}: it was killed: {}", ended.told);
    } else {
        broker.kill();
    }
    house.faults().off(call);

    let broker = house.start();
    publisher.go_on(&broker, publisher.sent).unwrap_or_else(|Gone| panic!("{what}: the broker is gone"));
    let sent: Vec<String> = (0..publisher.sent).map(text).collect();
    let came = waited(&broker, "s");
    let short = |all: &[String]| all.iter().map(|text| text[..5].to_owned()).collect::<Vec<_>>();
    assert_eq!(short(&came), short(&sent), "{what}: each once, in order");
    assert_eq!(came, sent, "{what}: and whole");

    let mut takes = resume(broker.address(), keeping(V5, "takes"));
    let rest = take_all(&mut takes);
    assert!(sent.ends_with(&rest), "{what}: what waits is the end of it: {:?} of {}", short(&rest), sent.len());
    leave(takes);
    let mut client = Client::connect(broker.address(), V5, "client");
    assert_eq!(client.publish("a/b", "later", QoS::AtLeastOnce), 0, "{what}: it goes on");
    broker.stop();
    assert_eq!(waited(&house.start(), "s"), ["later"], "{what}");
    has_died
}

/// The first calls of each kind, and some of the later ones; more of them in a long run.
fn places(dice: &mut Dice) -> Vec<u64> {
    let mut places = vec![1, 2];
    for _ in 0..crate::kill::cycles().div_ceil(20) {
        places.extend([10, 100].map(|bound| 3 + dice.below(bound) as u64));
    }
    places
}

fn dies_everywhere(name: &str, calls: &[Call], faults: impl Fn(&mut Dice) -> Vec<Fault>) {
    let seed = crate::kill::seed();
    println!("DUNLIN_CRASH_SEED={seed}");
    let mut dice = Dice::new(seed, name);
    let mut died = 0;
    for call in calls {
        for fault in faults(&mut dice) {
            for nth in places(&mut dice) {
                let is_cut = matches!(fault, Fault::Cut(_));
                let house = if is_cut { House::with_power(CONFIG) } else { House::with_faults(CONFIG) };
                died += usize::from(dies_at(&house, *call, nth, fault));
            }
        }
    }
    println!("{name}: died {died} times");
    assert!(died > 0, "it has never died");
}

#[test]
fn it_may_die_in_the_middle_of_a_write() {
    dies_everywhere("write", &[Call::Write], |dice| {
        vec![Fault::Die, Fault::Tear(1), Fault::Tear(8), Fault::Tear(20 + dice.below(3000) as u64)]
    });
}

#[test]
fn it_may_die_before_or_after_a_sync() {
    dies_everywhere("sync", &[Call::Sync], |_| vec![Fault::Die, Fault::DieAfter]);
}

#[test]
fn it_may_die_while_it_makes_renames_and_removes_files() {
    let calls = [Call::Create, Call::Allocate, Call::Truncate, Call::Rename, Call::Remove];
    dies_everywhere("files", &calls, |dice| vec![*dice.pick(&[Fault::Die, Fault::DieAfter])]);
}

/// What was written and not synced is lost by sectors, in any order; names and sizes that were not synced are what they were.
#[test]
fn the_power_may_be_cut() {
    let calls = [Call::Write, Call::Sync, Call::Create, Call::Rename, Call::Remove];
    dies_everywhere("power", &calls, |dice| vec![Fault::Cut(dice.throw())]);
}
