//! The broker on a disk that forgets what was not synced: clients that keep to the rules through any number of crashes get what was
//! acknowledged, QoS 2 once, in order.
//!
//! `DUNLIN_CRASH_SEEDS=1000..50000` runs other seeds than the few of every test run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::session::Taken;
use crate::storage::fake::{FakeBackend, Random, at_pause};
use crate::storage::{Clock, Committed, Committer, Durability, Keeper, Opened, open};
use crate::units::{ByteSize, Span};

const CLIENTS: usize = 4;
const LIVES: usize = 4;
const TOPICS: [&str; 4] = ["t/a", "t/b", "u/a", "r"];
const FILTERS: [&str; 4] = ["t/+", "u/#", "t/a", "+/a"];

/// A broker, its disk, and the thread that commits, which is us.
pub(super) struct Life {
    pub house: House,
    pub backend: FakeBackend,
    committer: Committer<Waiter>,
    keeper: Arc<Keeper<Waiter>>,
}

#[derive(Debug)]
struct Rights1(Arc<Rights>);

impl RightsOf for Rights1 {
    fn rights_of(&self, _listener: &str) -> Arc<Rights> {
        self.0.clone()
    }
}

impl Life {
    fn begin(backend: FakeBackend, segment_size: u64) -> Self {
        Self::begin_at(WALL, backend, segment_size)
    }

    /// The same, at a time in milliseconds since the epoch.
    pub fn begin_at(wall: u64, backend: FakeBackend, segment_size: u64) -> Self {
        let config = Durability { segment_size: ByteSize(segment_size), min_free_space: ByteSize(0), ..Durability::default() };
        let clock = Clock::new(Instant::now(), wall);
        let shared: Arc<dyn crate::storage::Backend> = Arc::new(backend.clone());
        let opened = open(
            shared.clone(),
            &config,
            None,
            (clock, Instant::now),
            Arc::default(),
            Box::new(QueueFold::default()),
            &mut |_, _| (),
        );
        let Opened { committer, state, bodies, messages, starts, .. } =
            opened.expect("a crash leaves nothing that must be repaired");
        let journal = committer.journal().clone();
        let limits = Limits { max_session_expiry: Span::seconds(0), max_inflight: 8, ..Limits::default() };
        let house = House::at(wall, limits, None, Some(journal.clone()));
        let rights = Rights1(house.door.rights.clone());
        house.broker.restore(Recovered { state, bodies, messages, starts, rights: &rights }, house.now);
        Self { house, backend, keeper: Arc::new(Keeper::new(journal, shared)), committer }
    }

    pub fn commit(&mut self) {
        let (broker, now) = (self.house.broker.clone(), self.house.now);
        let committed = self.committer.commit(&mut |waiters| broker.release(waiters, now)).expect("this disk does not fail");
        assert_eq!(committed, Committed::All);
    }

    /// A checkpoint is made, and stands still between its pieces while `meanwhile` has its turn.
    pub fn tend_in_pieces(&mut self, mut meanwhile: impl FnMut(&mut Self)) {
        let (keeper, broker) = (self.keeper.clone(), self.house.broker.clone());
        let (pause, pauses) = std::sync::mpsc::channel();
        let (go_on, turns) = std::sync::mpsc::channel();
        let keeping = std::thread::spawn(move || {
            at_pause(move || {
                pause.send(()).expect("we wait for it");
                turns.recv().expect("it is told when to go on");
            });
            drop(keeper.hold(&*broker).expect("this disk does not fail"));
        });
        while !keeping.is_finished() {
            if pauses.try_recv().is_ok() {
                meanwhile(self);
                go_on.send(()).expect("it waits for it");
            } else {
                self.commit();
            }
        }
        keeping.join().expect("a checkpoint is made");
    }

    /// A checkpoint is made, and more happens meanwhile.
    pub fn tend_while(&mut self, mut meanwhile: impl FnMut(&House)) {
        let is_done = AtomicBool::new(false);
        let Self { house, committer, keeper, .. } = self;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop(keeper.hold(&*house.broker).expect("this disk does not fail"));
                is_done.store(true, Ordering::Release);
            });
            while !is_done.load(Ordering::Acquire) {
                meanwhile(house);
                committer.commit(&mut |waiters| house.broker.release(waiters, house.now)).expect("this disk does not fail");
            }
        });
    }
}

type Number = usize;

struct Told {
    topic: &'static str,
    qos: QoS,
    publisher: usize,
    is_acknowledged: bool,
}

#[derive(Default)]
struct Device {
    name: String,
    peer: Option<Peer>,
    is_welcome: bool,
    /// CONNACK has promised that there is a session.
    has_session: bool,
    next_id: u16,
    outgoing: BTreeMap<u16, (Number, bool)>,
    owed: Vec<Owed>,
    received: BTreeSet<u16>,
    /// Filters that were acknowledged, and those of which it is not known whether they are there.
    subscribed: BTreeMap<&'static str, QoS>,
    unsure: BTreeSet<&'static str>,
    asked: Vec<(u16, &'static str, Option<QoS>)>,
    /// Numbers in the order in which they came first, and how often they came anew.
    got: Vec<Number>,
    times: BTreeMap<Number, usize>,
    /// Those that came with QoS 2.
    exactly: BTreeSet<Number>,
}

#[derive(Clone, Copy, PartialEq)]
enum Owed {
    Ack(u16),
    Rec(u16),
    Comp(u16),
}

struct World {
    random: Random,
    devices: Vec<Device>,
    messages: Vec<Told>,
    /// Which message must come to which device, if it is acknowledged.
    expected: BTreeSet<(Number, usize)>,
}

pub(super) struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("again with DUNLIN_CRASH_SEEDS={}..{}", self.0, self.0 + 1);
        }
    }
}

#[test]
fn what_was_acknowledged_survives_any_crash_and_nothing_of_qos_2_comes_twice() {
    let seeds = std::env::var("DUNLIN_CRASH_SEEDS").unwrap_or_else(|_| "0..120".into());
    let (first, last) = seeds.split_once("..").expect("FIRST..LAST");
    for seed in first.parse().unwrap()..last.parse().unwrap() {
        let _seed = Seed(seed);
        World::new(seed).run();
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let devices = (0..CLIENTS).map(|index| Device { name: format!("d{index}"), next_id: 1, ..Device::default() }).collect();
        Self { random: Random(seed), devices, messages: Vec::new(), expected: BTreeSet::new() }
    }

    fn run(mut self) {
        let segment_size = self.random.pick(&[1024, 16_384]);
        let mut backend = FakeBackend::new();
        for _ in 0..LIVES {
            let mut life = Life::begin(backend.clone(), segment_size);
            for _ in 0..self.random.below(120) {
                match self.random.below(10) {
                    0..=5 => self.act(&life),
                    6..=8 => life.commit(),
                    _ if self.random.one_in(6) => life.tend_in_pieces(|life| {
                        for _ in 0..self.random.below(4) {
                            if self.random.one_in(4) { life.commit() } else { self.act(life) }
                        }
                    }),
                    _ => {}
                }
            }
            backend = if self.random.one_in(2) { life.backend.kill() } else { life.backend.crash(&mut self.random) };
            self.devices.iter_mut().for_each(Device::lose);
        }
        let mut life = Life::begin(backend, segment_size);
        self.settle(&mut life);
        self.check();
    }

    fn act(&mut self, life: &Life) {
        let device = self.random.below(CLIENTS);
        if self.devices[device].peer.is_none() {
            return self.devices[device].connect(life);
        }
        self.read(life, device);
        if !self.devices[device].is_welcome {
            return;
        }
        match self.random.below(12) {
            0 => self.devices[device].cut(life),
            1 => self.subscribe(life, device),
            2 if self.random.one_in(3) => self.unsubscribe(life, device),
            3..=7 => self.publish(life, device),
            _ => self.devices[device].answer(life, &mut self.random),
        }
    }

    fn subscribe(&mut self, life: &Life, device: usize) {
        let (filter, qos) = (self.random.pick(&FILTERS), self.random.pick(&[QoS::AtLeastOnce, QoS::ExactlyOnce]));
        let of = &mut self.devices[device];
        let id = of.id();
        of.asked.push((id, filter, Some(qos)));
        of.unsure.insert(filter);
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let packet = Subscribe { packet_id: packet_id(id), ..subscription(filter, options, None) };
        of.send(life, &Packet::Subscribe(packet));
    }

    fn unsubscribe(&mut self, life: &Life, device: usize) {
        let filter = self.random.pick(&FILTERS);
        // What the broker has not taken by then need not come.
        let messages = &self.messages;
        self.expected.retain(|(number, whose)| *whose != device || messages[*number].is_acknowledged);
        let of = &mut self.devices[device];
        let id = of.id();
        of.asked.push((id, filter, None));
        of.unsure.insert(filter);
        let filters = vec![TopicFilter::new(filter).unwrap()];
        of.send(
            life,
            &Packet::Unsubscribe(Unsubscribe { packet_id: packet_id(id), user_properties: Default::default(), filters }),
        );
    }

    fn publish(&mut self, life: &Life, publisher: usize) {
        let (topic, qos) = (self.random.pick(&TOPICS), self.random.pick(&[QoS::AtLeastOnce, QoS::ExactlyOnce]));
        let number = self.messages.len();
        self.messages.push(Told { topic, qos, publisher, is_acknowledged: false });
        for (index, device) in self.devices.iter().enumerate() {
            let name = TopicName::new(topic).unwrap();
            let matching = device.subscribed.iter().filter(|(filter, _)| TopicFilter::new(filter).unwrap().matches(name));
            let sure = matching.filter(|(filter, _)| !device.unsure.contains(*filter));
            if sure.count() > 0 {
                self.expected.insert((number, index));
            }
        }
        let of = &mut self.devices[publisher];
        let id = of.id();
        of.outgoing.insert(id, (number, false));
        of.send_publish(life, id, number, topic, qos, false);
    }

    /// The device reads what there is.
    fn read(&mut self, life: &Life, device: usize) {
        let Some(peer) = &mut self.devices[device].peer else { return };
        for seen in peer.receive(&life.house) {
            self.see(life, device, seen);
        }
        let of = &mut self.devices[device];
        if of.peer.as_ref().is_some_and(|peer| peer.closed) {
            of.lose();
        }
    }

    fn see(&mut self, life: &Life, device: usize, seen: Seen) {
        let of = &mut self.devices[device];
        match seen {
            Seen::ConnAck { present, reason } => {
                assert_eq!(reason, 0);
                assert!(present || !of.has_session, "a session that was promised is gone");
                of.is_welcome = true;
                of.has_session = true;
                if !present {
                    of.received.clear();
                }
                for (id, (number, is_released)) in of.outgoing.clone() {
                    let Told { topic, qos, .. } = self.messages[number];
                    if is_released {
                        of.send(life, &Packet::PubRel(Release::new(packet_id(id), ReleaseReason::Success)));
                    } else {
                        of.send_publish(life, id, number, topic, qos, true);
                    }
                }
            }
            Seen::Publish { topic, payload, qos, id, .. } => {
                let (number, id) = (payload.parse::<Number>().unwrap(), id.expect("nothing here has QoS 0"));
                assert_eq!(topic, self.messages[number].topic);
                let is_new = qos != QoS::ExactlyOnce || of.received.insert(id);
                of.owed.push(if qos == QoS::ExactlyOnce { Owed::Rec(id) } else { Owed::Ack(id) });
                if is_new {
                    of.take(number, qos);
                }
            }
            Seen::Ack("puback", id, _) => {
                let (number, _) = of.outgoing.remove(&id).expect("it was published");
                self.messages[number].is_acknowledged = true;
            }
            Seen::Ack("pubrec", id, _) => {
                if let Some((number, is_released)) = of.outgoing.get_mut(&id) {
                    *is_released = true;
                    self.messages[*number].is_acknowledged = true;
                    of.send(life, &Packet::PubRel(Release::new(packet_id(id), ReleaseReason::Success)));
                }
            }
            Seen::Ack("pubcomp", id, _) => drop(of.outgoing.remove(&id)),
            Seen::Ack("pubrel", id, _) => {
                of.received.remove(&id);
                of.owed.push(Owed::Comp(id));
            }
            Seen::SubAck(id, _) | Seen::UnsubAck(id, _) => of.answered(id),
            other => panic!("{other:?}"),
        }
    }

    /// Everyone comes, reads and answers until nothing moves any more.
    fn settle(&mut self, life: &mut Life) {
        for _ in 0..2000 {
            let mut is_quiet = true;
            for device in 0..CLIENTS {
                if self.devices[device].peer.is_none() {
                    self.devices[device].connect(life);
                    is_quiet = false;
                }
                self.read(life, device);
                while !self.devices[device].owed.is_empty() {
                    self.devices[device].answer(life, &mut self.random);
                    is_quiet = false;
                }
                is_quiet &= self.devices[device].is_welcome && self.devices[device].outgoing.is_empty();
            }
            life.commit();
            if is_quiet && self.devices.iter_mut().all(|device| device.is_idle(life)) {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn check(&self) {
        for (number, device) in &self.expected {
            let times = self.devices[*device].times.get(number).copied().unwrap_or(0);
            let told = &self.messages[*number];
            assert!(times > 0 || !told.is_acknowledged, "message {number} was acknowledged, and is lost for {device}");
        }
        // One that was published before the device had subscribed comes, if it is sent again, when it comes.
        for (index, device) in self.devices.iter().enumerate() {
            let mut last: BTreeMap<_, Number> = BTreeMap::new();
            for number in device.got.iter().filter(|number| self.expected.contains(&(**number, index))) {
                let told = &self.messages[*number];
                let before = last.insert((told.publisher, told.topic, told.qos), *number);
                assert!(before.is_none_or(|before| before < *number), "{number} came first after {before:?}");
            }
        }
    }
}

impl Device {
    fn id(&mut self) -> u16 {
        while self.outgoing.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn connect(&mut self, life: &Life) {
        let properties = ConnectProperties { session_expiry_interval: 3600, ..ConnectProperties::default() };
        let mut peer = life.house.dial(ProtocolVersion::V5);
        let connect = Connect { client_id: &self.name, clean_start: false, properties, ..connect(ProtocolVersion::V5) };
        peer.send(&life.house, &Packet::Connect(connect));
        self.peer = Some(peer);
    }

    fn cut(&mut self, life: &Life) {
        if let Some(mut peer) = self.peer.take() {
            peer.cut(&life.house);
        }
        self.lose();
    }

    /// What was asked and not answered is not known to hold, nor not to.
    fn lose(&mut self) {
        self.peer = None;
        self.is_welcome = false;
        self.owed.clear();
        for (_, filter, _) in self.asked.drain(..) {
            self.subscribed.remove(filter);
        }
    }

    fn answered(&mut self, id: u16) {
        let index = self.asked.iter().position(|(asked, ..)| *asked == id).expect("it was asked");
        let (_, filter, qos) = self.asked.remove(index);
        match qos {
            Some(qos) => drop(self.subscribed.insert(filter, qos)),
            None => drop(self.subscribed.remove(filter)),
        }
        if !self.asked.iter().any(|(_, other, _)| *other == filter) {
            self.unsure.remove(filter);
        }
    }

    fn answer(&mut self, life: &Life, random: &mut Random) {
        if self.owed.is_empty() {
            return;
        }
        let packet = match self.owed.remove(random.below(self.owed.len())) {
            Owed::Ack(id) => Packet::PubAck(PublishAck::new(packet_id(id), PublishReason::Success)),
            Owed::Rec(id) => Packet::PubRec(PublishAck::new(packet_id(id), PublishReason::Success)),
            Owed::Comp(id) => Packet::PubComp(Release::new(packet_id(id), ReleaseReason::Success)),
        };
        self.send(life, &packet);
    }

    fn take(&mut self, number: Number, qos: QoS) {
        let times = self.times.entry(number).or_default();
        *times += 1;
        assert!(qos != QoS::ExactlyOnce || self.exactly.insert(number), "message {number} comes twice");
        if *times == 1 {
            self.got.push(number);
        }
    }

    fn send_publish(&mut self, life: &Life, id: u16, number: Number, topic: &str, qos: QoS, dup: bool) {
        let delivery = if qos == QoS::ExactlyOnce { q2(id) } else { q1(id) };
        let payload = number.to_string();
        self.send(life, &Packet::Publish(Publish { dup, ..message(topic, &payload, delivery, false) }));
    }

    fn send(&mut self, life: &Life, packet: &Packet<'_>) {
        if let Some(peer) = &mut self.peer {
            peer.send(&life.house, packet);
        }
    }

    fn is_idle(&mut self, life: &Life) -> bool {
        self.owed.is_empty() && self.peer.as_mut().is_some_and(|peer| peer.is_quiet(&life.house))
    }
}

/// `[MQTT-3.2.0-1]`: a connection whose CONNACK still waited for the disk was told by DISCONNECT that another one had taken its session
/// over, and had not been let in yet. It ends without a word.
#[test]
fn a_connection_that_is_taken_over_before_its_connack_ends_without_a_word() {
    let mut life = Life::begin(FakeBackend::new(), 1 << 20);
    let mut connect = Connect { client_id: "c", clean_start: false, ..connect(ProtocolVersion::V5) };
    connect.properties.session_expiry_interval = 60;
    let [mut first, mut second] = [(); 2].map(|()| {
        let mut peer = life.house.dial(ProtocolVersion::V5);
        peer.send(&life.house, &Packet::Connect(connect));
        peer
    });
    assert_eq!((first.receive(&life.house), first.closed), (vec![], true));
    assert!(second.receive(&life.house).is_empty(), "nothing before it is stored");
    life.commit();
    assert_eq!(second.receive(&life.house), [Seen::ConnAck { present: true, reason: 0 }]);
}

/// `[MQTT-3.2.0-1]`: a connection that subscribed and then broke the rules, all before its CONNACK could leave, was sent the retained
/// messages and nothing else.
#[test]
fn a_connection_that_ends_before_its_connack_is_sent_no_retained_messages() {
    let mut life = Life::begin(FakeBackend::new(), 1 << 20);
    life.house.client(ProtocolVersion::V5, "p").retain(&life.house, "t", "there");
    life.commit();
    let mut connect = Connect { client_id: "c", clean_start: false, ..connect(ProtocolVersion::V5) };
    connect.properties.session_expiry_interval = 60;
    let mut peer = life.house.dial(ProtocolVersion::V5);
    peer.send(&life.house, &Packet::Connect(connect));
    peer.subscribe(&life.house, "t", QoS::AtMostOnce);
    assert!(peer.is_quiet(&life.house), "nothing before it is stored");
    peer.send_bytes(&life.house, b"\0\0");
    assert_eq!((peer.receive(&life.house), peer.closed), (vec![], true));
}

/// A client that comes to its session, and is let in.
fn come(life: &mut Life) -> Peer {
    let connect = Connect { client_id: "c", clean_start: false, ..connect(ProtocolVersion::V311) };
    let mut peer = life.house.dial(ProtocolVersion::V311);
    peer.send(&life.house, &Packet::Connect(connect));
    life.commit();
    peer
}

/// Somebody publishes so many messages to `t`, and they are stored.
fn publish_numbers(life: &mut Life, count: u16) {
    let mut from = life.house.client(ProtocolVersion::V5, "from");
    for number in 0..count {
        from.publish(&life.house, "t", &number.to_string(), q1(number + 1));
    }
    life.commit();
}

/// Payloads and identifiers.
fn published(seen: Vec<Seen>) -> Vec<(String, u16)> {
    let publish = |seen| match seen {
        Seen::Publish { payload, id, .. } => Some((payload, id?)),
        _ => None,
    };
    seen.into_iter().filter_map(publish).collect()
}

/// What it is sent, acknowledged, until nothing more comes.
fn all_of(peer: &mut Peer, house: &House) -> Vec<String> {
    let mut got = Vec::new();
    while !peer.is_quiet(house) {
        for (payload, id) in published(peer.receive(house)) {
            peer.ack(house, id);
            got.push(payload);
        }
    }
    got
}

/// What waits when a checkpoint begins may be under way when the piece comes in which it would have been shown.
#[test]
fn a_checkpoint_that_is_overtaken_by_the_messages_of_a_session_loses_none() {
    let mut life = Life::begin(FakeBackend::new(), 1024);
    let mut peer = come(&mut life);
    peer.subscribe(&life.house, "t", QoS::AtLeastOnce);
    publish_numbers(&mut life, 40);
    let mut got = Vec::new();
    life.tend_in_pieces(|life| {
        for (payload, id) in published(peer.receive(&life.house)) {
            if got.len() < 10 {
                peer.ack(&life.house, id);
                got.push(payload);
            }
        }
    });
    assert_eq!(got.len(), 10, "it was overtaken");
    let mut life = Life::begin(life.backend.kill(), 1024);
    let mut peer = come(&mut life);
    got.extend(all_of(&mut peer, &life.house));
    assert_eq!(got, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// A member of a shared group that leaves may keep messages that nobody else can get; a checkpoint that came by while they were in nobody's
/// hands did not know of them.
#[test]
fn messages_that_a_member_of_a_group_has_kept_survive_a_checkpoint_made_meanwhile() {
    let mut life = Life::begin(FakeBackend::new(), 1024);
    let mut peer = come(&mut life);
    peer.subscribe(&life.house, "$share/g/t", QoS::AtLeastOnce);
    publish_numbers(&mut life, 12);
    peer.cut(&life.house);
    let handle = life.house.broker.registry.get("c").expect("it has a session");
    let taken = handle.lock(|slot| slot.session.outbound.take_shared(|_| true));
    assert_eq!(taken.len(), 12);
    life.tend_while(|_| ());
    let mut deliveries = Deliveries::default();
    handle.lock(|slot| {
        for Taken { queued, .. } in taken {
            slot.session.outbound.push(queued, &slot.limits, life.house.now, &mut deliveries.batch);
        }
        slot.report(&mut deliveries.batch);
    });
    deliveries.flush(&life.house.broker, life.house.now);
    life.commit();
    let mut life = Life::begin(life.backend.kill(), 1024);
    let mut peer = come(&mut life);
    assert_eq!(all_of(&mut peer, &life.house), (0..12).map(|number| number.to_string()).collect::<Vec<_>>());
}
