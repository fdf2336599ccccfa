//! Random operations on the sending half of a session, watched by a client that keeps to the rules.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::super::inflight::Received;
use super::*;
use crate::metrics::{Batch, DropReason};
use crate::units::ByteSize;

#[derive(Clone, Debug)]
enum Operation {
    /// A message comes: its QoS, its lifetime in seconds, whether it is larger than the client takes, whether it is the client's own.
    Deliver {
        qos: u8,
        lifetime: Option<u8>,
        is_large: bool,
        is_own: bool,
    },
    /// The client reads so many packets.
    Read(usize),
    /// The client sends one of the acknowledgements that it owes.
    Answer(prop::sample::Index),
    /// The client refuses a QoS 2 message that it owes PUBREC for.
    Refuse(prop::sample::Index),
    /// The client sends an acknowledgement that it does not owe.
    Stray {
        kind: u8,
        id: u16,
    },
    Cut,
    Connect {
        window: u16,
    },
    Wait(u8),
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let lifetime = prop::option::weighted(0.2, 0..8_u8);
    prop_oneof![
        8 => (0..3_u8, lifetime, prop::bool::weighted(0.05), prop::bool::weighted(0.2))
            .prop_map(|(qos, lifetime, is_large, is_own)| Deliver { qos, lifetime, is_large, is_own }),
        6 => (1..5_usize).prop_map(Read),
        6 => any::<prop::sample::Index>().prop_map(Answer),
        1 => any::<prop::sample::Index>().prop_map(Refuse),
        1 => (0..4_u8, 1..12_u16).prop_map(|(kind, id)| Stray { kind, id }),
        1 => Just(Cut),
        2 => (1..6_u16).prop_map(|window| Connect { window }),
        2 => (0..4_u8).prop_map(Wait),
    ]
}

/// An acknowledgement that the client owes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(clippy::enum_variant_names)] // the specification's names
enum Owed {
    PubAck(u16),
    PubRec(u16),
    PubComp(u16),
}

#[derive(Clone, Copy)]
struct Told {
    qos: QoS,
    expires_at: Option<Instant>,
}

/// The session under test and everything that is known from outside.
struct World {
    outbound: Outbound,
    writer: Writer,
    out: OutBuffer,
    batch: Batch,
    limits: Limits,
    now: Instant,
    is_online: bool,
    window: u16,
    /// By number, which is its payload.
    messages: Vec<Told>,
    /// Written for the client and not read yet.
    network: VecDeque<Sent>,
    /// The message of each exchange that is not acknowledged to the end.
    open: BTreeMap<u16, usize>,
    /// Identifiers of PUBLISH packets of this connection that are not acknowledged to the end.
    under_way: BTreeSet<u16>,
    /// Messages that were sent, in their order.
    sent: Vec<usize>,
    /// The last message that was sent again on this connection.
    sent_again: Option<usize>,
    /// The client's QoS 2 identifiers that wait for PUBREL.
    received: BTreeSet<u16>,
    owed: Vec<Owed>,
    /// How often the client's application got each message.
    got: BTreeMap<usize, usize>,
    refused: BTreeSet<usize>,
}

const TOO_LARGE: u32 = 60;

impl World {
    fn new(policy: QueuePolicy, queue_qos0: bool) -> Self {
        let limits = Limits {
            max_queued_messages: 6,
            max_queued_bytes: ByteSize(100),
            queue_policy: policy,
            queue_qos0,
            ..Limits::default()
        };
        Self {
            outbound: Outbound::default(),
            writer: Writer { maximum_packet_size: Some(TOO_LARGE), ..writer(V5) },
            out: OutBuffer::default(),
            batch: Batch::default(),
            limits,
            now: Instant::now(),
            is_online: false,
            window: 0,
            messages: Vec::new(),
            network: VecDeque::new(),
            open: BTreeMap::new(),
            under_way: BTreeSet::new(),
            sent: Vec::new(),
            sent_again: None,
            received: BTreeSet::new(),
            owed: Vec::new(),
            got: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Deliver { qos, lifetime, is_large, is_own } => self.deliver(qos, lifetime, is_large, is_own),
            Operation::Read(count) => (0..count).for_each(|_| self.read()),
            Operation::Answer(index) => {
                if self.is_online && !self.owed.is_empty() {
                    let owed = self.owed.remove(index.index(self.owed.len()));
                    self.answer(owed, PublishReason::Success);
                }
            }
            Operation::Refuse(index) => self.refuse(index),
            Operation::Stray { kind, id } => self.stray(kind, id),
            Operation::Cut => self.cut(),
            Operation::Connect { window } => self.connect(window),
            Operation::Wait(seconds) => self.now += Duration::from_secs(seconds.into()),
        }
        self.fill();
        self.check();
    }

    fn deliver(&mut self, qos: u8, lifetime: Option<u8>, is_large: bool, is_own: bool) {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)];
        let expires_at = lifetime.map(|seconds| self.now + Duration::from_secs(seconds.into()));
        let payload = if is_large { "x".repeat(TOO_LARGE as usize) } else { self.messages.len().to_string() };
        self.messages.push(Told { qos, expires_at });
        let message = stored("topic", payload.as_bytes(), qos, expires_at);
        let mut publication = Publication::stored(&message);
        if is_own && self.is_online {
            self.outbound.deliver_later(&mut publication, grant(qos), None, &self.limits, self.now, &mut self.batch);
        } else {
            let link = self.is_online.then_some((&mut self.writer, &mut self.out));
            self.outbound.deliver(link, &mut publication, grant(qos), &self.limits, self.now, &mut self.batch);
        }
        self.look();
    }

    fn fill(&mut self) {
        if self.is_online {
            self.outbound.fill(&mut self.writer, &mut self.out, self.now, &mut self.batch);
            self.look();
        }
    }

    /// Judges what was written.
    fn look(&mut self) {
        for packet in sent(&drain(&mut self.out), V5) {
            if let Sent::Publish { payload, qos, dup, id } = &packet {
                let number: usize = payload.parse().expect("a large one is not sent");
                assert_eq!(*qos, self.messages[number].qos);
                if *dup {
                    self.look_again(number, id.unwrap())
                } else {
                    self.look_first(number, *id)
                }
                assert!(self.under_way.len() <= usize::from(self.window), "more than Receive Maximum is under way");
            }
            self.network.push_back(packet);
        }
    }

    fn look_first(&mut self, number: usize, id: Option<u16>) {
        let Told { expires_at, .. } = self.messages[number];
        // QoS 0 may pass what waits for a place in the window; otherwise the order of delivery is that of arrival.
        let is_at_most_once = |number: usize| self.messages[number].qos == QoS::AtMostOnce;
        let last = self.sent.iter().rev().find(|last| is_at_most_once(**last) == is_at_most_once(number));
        assert!(last.is_none_or(|last| *last < number), "{number} came after {last:?}");
        let is_at_once = number + 1 == self.messages.len();
        assert!(is_at_once || expires_at.is_none_or(|at| at > self.now), "{number} has expired");
        self.sent.push(number);
        if let Some(id) = id {
            assert_eq!(self.open.insert(id, number), None, "identifier {id} is in use");
            self.under_way.insert(id);
        }
    }

    fn look_again(&mut self, number: usize, id: u16) {
        assert_eq!(self.open.get(&id), Some(&number), "sent again under another identifier");
        assert!(self.under_way.insert(id), "sent twice on one connection");
        assert!(self.sent_again.is_none_or(|last| last < number), "sent again out of order");
        self.sent_again = Some(number);
    }

    fn read(&mut self) {
        match self.network.pop_front() {
            Some(Sent::Publish { payload, qos, id, .. }) => {
                let number = payload.parse().unwrap();
                let (is_new, owed) = match (qos, id) {
                    (QoS::AtLeastOnce, Some(id)) => (true, Some(Owed::PubAck(id))),
                    (QoS::ExactlyOnce, Some(id)) => (self.received.insert(id), Some(Owed::PubRec(id))),
                    _ => (true, None),
                };
                *self.got.entry(number).or_default() += usize::from(is_new);
                self.owed.extend(owed);
            }
            Some(Sent::PubRel(id, _)) => {
                self.received.remove(&id);
                self.owed.push(Owed::PubComp(id));
            }
            other => assert_eq!(other, None),
        }
    }

    fn answer(&mut self, owed: Owed, reason: PublishReason) {
        match owed {
            Owed::PubAck(value) => {
                if self.outbound.handle_puback(id(value)).is_some() {
                    self.over(value);
                }
            }
            Owed::PubRec(value) => match self.outbound.handle_pubrec(id(value), reason) {
                Received::Release => self.network.push_back(Sent::PubRel(value, 0)),
                Received::ReleaseStored(_) => unreachable!("nothing is stored"),
                Received::Refused(_) => self.over(value),
                Received::Unknown => {}
            },
            Owed::PubComp(value) => {
                if self.outbound.handle_pubcomp(id(value)) {
                    self.over(value);
                }
            }
        }
    }

    fn over(&mut self, id: u16) {
        assert!(self.open.remove(&id).is_some(), "an end without a beginning");
        self.under_way.remove(&id);
    }

    fn refuse(&mut self, index: prop::sample::Index) {
        let recs: Vec<u16> =
            self.owed.iter().filter_map(|owed| if let Owed::PubRec(id) = owed { Some(*id) } else { None }).collect();
        if !self.is_online || recs.is_empty() {
            return;
        }
        let value = *index.get(&recs);
        self.owed.retain(|owed| *owed != Owed::PubRec(value));
        self.received.remove(&value);
        self.refused.extend(self.open.get(&value));
        self.answer(Owed::PubRec(value), PublishReason::QuotaExceeded);
    }

    /// Identifiers that name nothing that could wait for this kind of answer: nothing may change.
    fn stray(&mut self, kind: u8, value: u16) {
        if !self.is_online {
            return;
        }
        let qos = self.open.get(&value).map(|number| self.messages[*number].qos);
        let before = (self.outbound.inflight.len(), self.outbound.queue.len());
        match kind {
            0 if qos != Some(QoS::AtLeastOnce) => assert!(self.outbound.handle_puback(id(value)).is_none()),
            1 | 2 if qos != Some(QoS::ExactlyOnce) => {
                let reason = if kind == 1 { PublishReason::Success } else { PublishReason::QuotaExceeded };
                assert!(matches!(self.outbound.handle_pubrec(id(value), reason), Received::Unknown));
            }
            3 if qos != Some(QoS::ExactlyOnce) => assert!(!self.outbound.handle_pubcomp(id(value))),
            _ => {}
        }
        assert_eq!(before, (self.outbound.inflight.len(), self.outbound.queue.len()));
    }

    /// What is on its way is lost in both directions.
    fn cut(&mut self) {
        self.outbound.disconnect();
        self.is_online = false;
        self.network.clear();
        self.owed.clear();
        self.under_way.clear();
        assert!(!self.outbound.has_room());
    }

    fn connect(&mut self, window: u16) {
        self.network.clear();
        self.owed.clear();
        self.under_way.clear();
        self.sent_again = None;
        self.window = window;
        self.is_online = true;
        self.outbound.connect(window);
    }

    fn check(&self) {
        let queue = &self.outbound.queue;
        assert_eq!(self.outbound.inflight.len(), self.open.len());
        assert!(queue.len() <= self.limits.max_queued_messages && queue.bytes() as u64 <= self.limits.max_queued_bytes.0);
        assert_eq!(queue.is_empty(), queue.bytes() == 0);
        let dropped: u64 = DropReason::ALL.iter().map(|reason| self.batch.messages_dropped(*reason)).sum();
        assert_eq!(self.messages.len(), self.sent.len() + queue.len() + dropped as usize, "lost and not counted");
    }

    /// The client reads and answers everything, one message at a time.
    fn settle(&mut self) {
        self.connect(1);
        self.fill();
        while !(self.network.is_empty() && self.owed.is_empty()) {
            self.read();
            if let Some(owed) = self.owed.pop() {
                self.answer(owed, PublishReason::Success);
            }
            self.fill();
        }
        self.check();
        assert!(self.open.is_empty() && self.outbound.inflight.is_empty() && self.outbound.queue.is_empty());
        for number in &self.sent {
            let got = self.got.get(number).copied().unwrap_or_default();
            match self.messages[*number].qos {
                QoS::AtMostOnce => assert!(got <= 1, "{number} came {got} times"),
                QoS::AtLeastOnce => assert!(got >= 1, "{number} never came"),
                QoS::ExactlyOnce if self.refused.contains(number) => {}
                QoS::ExactlyOnce => assert_eq!(got, 1, "{number} came {got} times"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_session_keeps_its_promises_whatever_happens(
        operations in prop::collection::vec(operation(), 1..150),
        policy in prop_oneof![Just(QueuePolicy::DropNew), Just(QueuePolicy::DropOldest)],
        queue_qos0 in any::<bool>(),
    ) {
        let mut world = World::new(policy, queue_qos0);
        for operation in operations {
            world.apply(operation);
        }
        world.settle();
    }
}
