//! Many devices, one broker, a clock that is told what time it is, and a seed that decides all the rest. After each step the broker
//! is held against plain maps of what must be so.
//!
//! `DUNLIN_SIMULATION_SEEDS=1000..50000` runs other seeds than the few of every test run.

mod device;
mod network;
mod truth;

use std::sync::Weak;

use device::Device;
use network::{Task, TaskState};
use truth::{Told, Truth, Will as ToldWill};

use super::*;
use crate::broker::handle::{Receiver, SessionHandle};
use crate::broker::publish::forget_matches;
use crate::metrics::DropReason;
use crate::routing::Subscriber;
use crate::units::Span;

const DEVICES: usize = 5;
const STEPS: usize = 150;
const TOPICS: [&str; 7] = ["n/a", "n/b", "n/a/b", "n/c", "s0/a", "s0/b", "s1/a"];
const FILTERS: [&str; 8] = ["n/a", "n/+", "n/#", "n/a/b", "n/+/b", "$share/g/s0/+", "$share/h/s1/#", "r/+"];
const TICK: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

/// Numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

struct World {
    house: House,
    random: Random,
    truth: Truth,
    devices: Vec<Device>,
    tasks: Vec<Task>,
    /// The session of each task, once it is let in.
    sessions: Vec<Option<usize>>,
    /// What the DISCONNECT of each task's device said: whether the will is published, and another session expiry.
    goodbyes: Vec<Option<(bool, Option<u32>)>>,
    /// Wills as they are published.
    watcher: Peer,
    wills: Vec<String>,
    handles: Vec<Weak<SessionHandle>>,
}

/// Tells which seed it was, if there is something to tell.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("again with DUNLIN_SIMULATION_SEEDS={}..{}", self.0, self.0 + 1);
        }
    }
}

#[test]
fn many_devices_do_as_they_like_and_the_broker_keeps_its_promises() {
    let seeds = std::env::var("DUNLIN_SIMULATION_SEEDS").unwrap_or_else(|_| "0..200".into());
    let (first, last) = seeds.split_once("..").expect("FIRST..LAST");
    for seed in first.parse().unwrap()..last.parse().unwrap() {
        let _seed = Seed(seed);
        World::new(seed).run();
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let limits = Limits { max_session_expiry: Span::seconds(0), max_inflight: 20, ..Limits::default() };
        let house = House::with_limits(limits);
        let mut watcher = house.client(ProtocolVersion::V5, "watcher");
        watcher.subscribe(&house, "w", QoS::ExactlyOnce);
        watcher.receive(&house);
        Self {
            house,
            random: Random(seed),
            truth: Truth::default(),
            devices: (0..DEVICES).map(|device| Device::new(format!("d{device}"))).collect(),
            tasks: Vec::new(),
            sessions: Vec::new(),
            goodbyes: Vec::new(),
            watcher,
            wills: Vec::new(),
            handles: Vec::new(),
        }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            for _ in 0..=self.random.below(3) {
                self.act();
            }
            self.work();
            self.check();
        }
        self.settle();
    }

    /// A device, or the time, does something.
    fn act(&mut self) {
        let device = self.random.below(DEVICES);
        let (is_connected, is_welcome) = (self.devices[device].task.is_some(), self.devices[device].is_welcome);
        match self.random.below(40) {
            0..=4 if !is_connected => self.connect(device),
            5 => self.connect(device),
            6 => self.cut(device),
            7..=9 => self.pass(),
            10 if is_connected => self.stall(device),
            11 if is_connected => self.unstall(device),
            12 if is_welcome => self.goodbye(device),
            13 if is_welcome => {
                self.devices[device].silent_since.get_or_insert(self.house.now);
            }
            14..=17 if is_welcome => self.subscribe(device),
            18 if is_welcome => self.unsubscribe(device),
            19..=29 if is_welcome => self.publish(device),
            30..=38 if is_welcome => self.answer(device),
            39 if is_welcome => self.retain(device),
            _ => {}
        }
    }

    fn connect(&mut self, device: usize) {
        let random = &mut self.random;
        let version = random.pick(&[ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5, ProtocolVersion::V5]);
        let mut properties = ConnectProperties::default();
        if version == ProtocolVersion::V5 {
            properties.receive_maximum = random.pick(&[1, 2, 3, 65_535]);
            properties.session_expiry_interval = random.pick(&[0, 1, 5, 20, 400, u32::MAX]);
        }
        let will_payload = format!("{}", self.tasks.len());
        let will = random.one_in(2).then(|| Will {
            topic: TopicName::new("w").unwrap(),
            payload: will_payload.as_bytes(),
            qos: random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
            retain: false,
            delay_interval: if version == ProtocolVersion::V5 { random.pick(&[0, 1, 7, 350]) } else { 0 },
            message_expiry_interval: None,
            properties: ForwardedProperties::default(),
        });
        let keep_alive = random.pick(&[0, 10]);
        let task = self.tasks.len();
        let id = self.devices[device].id.clone();
        let receive_maximum = usize::from(properties.receive_maximum.min(20));
        let (clean_start, is_direct) = (random.one_in(3), random.one_in(2));
        let request = Connect { version, clean_start, keep_alive, client_id: &id, will, properties, ..connect(version) };
        let device_of = &mut self.devices[device];
        device_of.connects(task, self.house.now);
        device_of.version = version;
        device_of.keep_alive = keep_alive;
        device_of.receive_maximum = receive_maximum;
        let bytes = device_of.encode(&Packet::Connect(request));
        self.tasks.push(Task::new(&self.house, device, version, is_direct));
        self.sessions.push(None);
        self.goodbyes.push(None);
        self.tasks[task].socket.set_room(usize::MAX);
        self.send(device, bytes);
    }

    fn cut(&mut self, device: usize) {
        let Some(task) = self.devices[device].task else { return };
        self.devices[device].disconnected();
        self.lose(task);
    }

    fn lose(&mut self, task: usize) {
        if self.tasks[task].state == TaskState::Open {
            self.tasks[task].lose(&self.house);
            self.closed(task);
        }
    }

    /// The broker has settled the end of a connection.
    fn closed(&mut self, task: usize) {
        if let Some(session) = self.sessions[task] {
            self.truth.close(session, task, self.goodbyes[task], self.house.now);
        }
    }

    /// The device takes no more, or only so much.
    fn stall(&mut self, device: usize) {
        let room = self.random.pick(&[0, 0, 1, 10, 100]);
        let Device { task: Some(task), stuck_since, .. } = &mut self.devices[device] else { return };
        if room > 0 {
            *stuck_since = Some(self.house.now);
        }
        stuck_since.get_or_insert(self.house.now);
        if self.tasks[*task].socket.set_room(room) {
            self.tasks[*task].wake();
        }
    }

    fn unstall(&mut self, device: usize) {
        let Device { task: Some(task), stuck_since, .. } = &mut self.devices[device] else { return };
        if self.tasks[*task].socket.set_room(usize::MAX) {
            self.tasks[*task].wake();
        }
        *stuck_since = None;
    }

    fn goodbye(&mut self, device: usize) {
        let (reason, has_will) = self
            .random
            .pick(&[(DisconnectReason::NormalDisconnection, false), (DisconnectReason::DisconnectWithWillMessage, true)]);
        let is_v5 = self.devices[device].version == ProtocolVersion::V5;
        let has_will = has_will && is_v5;
        let task = self.devices[device].task.unwrap();
        let had_expiry = self.sessions[task].is_some_and(|session| self.truth.sessions[session].has_expiry());
        let expiry = (is_v5 && had_expiry && self.random.one_in(3)).then(|| self.random.pick(&[0, 3, 30]));
        let bytes = self.devices[device]
            .encode(&Packet::Disconnect(Disconnect { session_expiry_interval: expiry, ..Disconnect::new(reason) }));
        self.send(device, bytes);
        self.goodbyes[task] = Some((has_will, expiry));
        self.devices[device].disconnected();
    }

    fn subscribe(&mut self, device: usize) {
        let filter = self.random.pick(&FILTERS);
        // All members of a group ask for the same, so that it does not matter who gets a message.
        let qos = match filter {
            "$share/g/s0/+" => QoS::AtLeastOnce,
            "$share/h/s1/#" => QoS::ExactlyOnce,
            _ => self.random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
        };
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let bytes = self.devices[device].encode(&Packet::Subscribe(subscription(filter, options, None)));
        self.send(device, bytes);
    }

    fn unsubscribe(&mut self, device: usize) {
        let filter = TopicFilter::new(self.random.pick(&FILTERS)).unwrap();
        let packet = Unsubscribe { packet_id: packet_id(9), user_properties: UserProperties::default(), filters: vec![filter] };
        let bytes = self.devices[device].encode(&Packet::Unsubscribe(packet));
        self.send(device, bytes);
    }

    fn publish(&mut self, device: usize) {
        let topic = self.random.pick(&TOPICS).to_owned();
        let qos = self.random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce]);
        self.truth.messages.push(Told { topic, qos });
        let number = self.truth.messages.len() - 1;
        let bytes = self.devices[device].publish(number, &self.truth, false);
        self.send(device, bytes);
    }

    fn retain(&mut self, device: usize) {
        let topic = self.random.pick(&["r/a", "r/b", "r/c"]).to_owned();
        self.truth.messages.push(Told { topic, qos: QoS::AtMostOnce });
        let number = self.truth.messages.len() - 1;
        let bytes = self.devices[device].publish(number, &self.truth, true);
        self.send(device, bytes);
    }

    /// The device sends one of the acknowledgements that it owes.
    fn answer(&mut self, device: usize) {
        let owed = self.devices[device].owed.len();
        if owed > 0 {
            let index = self.random.below(owed);
            let bytes = self.devices[device].answer(index);
            self.send(device, bytes);
        }
    }

    fn send(&mut self, device: usize, bytes: Vec<u8>) {
        let now = self.house.now;
        let device = &mut self.devices[device];
        device.silent_since = device.silent_since.map(|_| now);
        let task = &mut self.tasks[device.task.expect("it is connected")];
        if task.state == TaskState::Open {
            task.inbox.push(bytes);
            task.wake();
        }
    }

    /// Time passes; devices that are not silent send PINGREQ often enough.
    fn pass(&mut self) {
        let time = Duration::from_secs(self.random.pick(&[1, 1, 2, 6, 16, 40, 200]));
        let end = self.house.now + time;
        while self.house.now < end {
            self.work();
            for device in 0..DEVICES {
                let Device { task, is_welcome, silent_since, .. } = &self.devices[device];
                if task.is_some() && *is_welcome && silent_since.is_none() {
                    let bytes = self.devices[device].encode(&Packet::PingReq);
                    self.send(device, bytes);
                }
            }
            self.work();
            self.house.now += TICK;
            self.house.broker.handle_timeout(self.house.now);
            self.truth.handle_timeout(self.house.now);
        }
        self.work();
    }

    /// Runs the tasks that are woken, in any order, and lets devices read, until nothing moves.
    fn work(&mut self) {
        loop {
            let woken: Vec<usize> = (0..self.tasks.len()).filter(|task| self.is_runnable(*task)).collect();
            if woken.is_empty() && !self.read() {
                return;
            }
            if !woken.is_empty() {
                let task = self.random.pick(&woken);
                self.poll(task);
            }
        }
    }

    fn is_runnable(&self, task: usize) -> bool {
        self.tasks[task].state != TaskState::Gone && self.tasks[task].is_woken()
    }

    fn poll(&mut self, task: usize) {
        let Self { house, tasks, sessions, truth, devices, .. } = self;
        let task_of = &mut tasks[task];
        let (device, version) = (task_of.device, task_of.version);
        let is_closed =
            task_of.poll(house, |bytes| processed(bytes, version, task, &mut devices[device], &mut sessions[task], truth));
        if is_closed {
            self.judge_end(task);
            self.closed(task);
        }
    }

    /// The broker ends connections for a reason only.
    fn judge_end(&self, task: usize) {
        let device = &self.devices[self.tasks[task].device];
        let is_taken_over = self.sessions[task].is_some_and(|session| self.truth.sessions[session].online != Some(task));
        // A connection that overtook a later one of its device is left alone.
        let is_orphan = device.task != Some(task);
        if is_orphan || is_taken_over || self.goodbyes[task].is_some() {
            return;
        }
        let since = |instant: Option<Instant>| instant.map_or(Duration::ZERO, |at| self.house.now - at);
        let is_silent = device.keep_alive > 0 && since(device.silent_since) >= Duration::from_secs(15) - TICK;
        let is_stuck = since(device.stuck_since) >= PATIENCE;
        let end = &self.tasks[task].client.end;
        assert!(is_silent || is_stuck, "task {task} was ended for nothing: {end:?}");
    }

    /// Devices read what has come. Whether there was something.
    fn read(&mut self) -> bool {
        let mut has_read = false;
        for device in 0..DEVICES {
            let Some(task) = self.devices[device].task else { continue };
            let bytes = self.tasks[task].socket.take_received();
            if !bytes.is_empty() {
                has_read = true;
                for answer in self.devices[device].read(&bytes, &mut self.truth) {
                    self.send(device, answer);
                }
            }
            if self.tasks[task].state == TaskState::Gone {
                self.devices[device].disconnected();
            }
        }
        let seen = self.watcher.receive(&self.house);
        for packet in seen {
            if let Seen::Publish { payload, id, qos, .. } = packet {
                self.wills.push(payload);
                match (qos, id) {
                    (QoS::AtLeastOnce, Some(id)) => self.watcher.ack(&self.house, id),
                    (QoS::ExactlyOnce, Some(id)) => {
                        self.watcher.send(&self.house, &Packet::PubRec(PublishAck::new(packet_id(id), PublishReason::Success)));
                        self.watcher.send(&self.house, &Packet::PubComp(Release::new(packet_id(id), ReleaseReason::Success)));
                    }
                    _ => {}
                }
            }
        }
        has_read
    }

    /// What holds whenever nothing moves.
    fn check(&mut self) {
        self.wills.sort_unstable();
        self.truth.wills.sort_unstable();
        assert_eq!(self.wills, self.truth.wills, "wills");
        self.check_sessions();
        self.check_index();
        self.check_gauges();
        self.check_ends();
    }

    fn check_sessions(&mut self) {
        let sessions = self.house.broker.registry.all();
        assert_eq!(sessions.len(), self.truth.live().count() + 1, "sessions");
        for handle in sessions {
            if !self.handles.iter().any(|known| std::ptr::eq(known.as_ptr(), &*handle)) {
                self.handles.push(Arc::downgrade(&handle));
            }
            let Some(device) = self.devices.iter().position(|device| device.id == **handle.client_id()) else { continue };
            let name = self.truth.of_device(device).expect("a session that must be");
            let truth = &self.truth.sessions[name];
            handle.lock(|slot| {
                assert!(!slot.is_ended && slot.evicted.is_empty());
                assert_eq!(slot.online.is_some(), truth.online.is_some(), "whether {} is online", self.devices[device].id);
                let mut filters: Vec<_> = slot.session.subscriptions.keys().map(TopicFilter::as_str).collect();
                filters.sort_unstable();
                assert!(filters.iter().eq(truth.subscriptions.keys()), "subscriptions: {filters:?}");
                assert_eq!(slot.session.received_len(), truth.received.len());
                let Some(online) = &slot.online else { return };
                let is_blocked = self.tasks[truth.online.unwrap()].socket.is_awaited();
                assert_eq!(online.outbox.blocked_since.is_some(), is_blocked, "whether it is blocked");
                let blocked_for = online.outbox.blocked_since.map_or(Duration::ZERO, |since| self.house.now - since);
                assert!(blocked_for <= 2 * PATIENCE + TICK, "stuck for too long");
                assert!(online.outbox.is_empty() || is_blocked, "something is unwritten and nobody was woken");
                let device = &self.devices[device];
                let waits_for_device = is_blocked || device.task != truth.online || !device.owed.is_empty();
                let outbound = &slot.session.outbound;
                assert!(outbound.queue.is_empty() || waits_for_device, "nobody was woken: {outbound:?} {online:?}");
            });
        }
    }

    fn check_index(&self) {
        let (mut ordinary, mut shared) = (1, 0); // the watcher's own
        for (_, session) in self.truth.live() {
            let count = session.subscriptions.keys().filter(|filter| filter.starts_with("$share/")).count();
            shared += count;
            ordinary += session.subscriptions.len() - count;
        }
        let index = self.house.broker.router.change();
        assert_eq!((index.index.len(), index.index.shared_len()), (ordinary + shared, shared), "subscriptions in the index");
        for topic in TOPICS {
            let matches = index.index.matches(TopicName::new(topic).unwrap());
            let mut found: Vec<_> = matches
                .recipients
                .iter()
                .map(|recipient| {
                    let Receiver::Session(handle) = &recipient.subscriber;
                    assert_eq!(handle.key, recipient.subscriber.key());
                    handle.client_id().to_string()
                })
                .collect();
            found.sort_unstable();
            let mut expected: Vec<_> = self
                .truth
                .live()
                .filter(|(_, session)| session.subscriptions.keys().any(|filter| truth::is_match(filter, topic)))
                .map(|(_, session)| self.devices[session.device].id.clone())
                .collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "recipients of {topic}");
        }
    }

    fn check_gauges(&self) {
        let broker = &self.house.broker;
        broker.measure();
        let (mut queued, mut bytes, mut inflight) = (0, 0, 0);
        for handle in broker.registry.all() {
            handle.lock(|slot| {
                queued += slot.session.outbound.queue.len() as u64;
                bytes += slot.session.outbound.queue.bytes() as u64;
                inflight += slot.session.outbound.inflight.len() as u64;
            });
        }
        let traffic = broker.metrics.traffic();
        assert_eq!((traffic.queued_messages(), traffic.queued_bytes(), traffic.inflight_messages()), (queued, bytes, inflight));
        let online = self.truth.live().filter(|(_, session)| session.online.is_some()).count() as u64 + 1;
        let all = self.truth.live().count() as u64 + 1;
        let metrics = &broker.metrics;
        assert_eq!((metrics.sessions.online.get(), metrics.sessions.offline.get()), (online, all - online), "sessions");
        assert_eq!(metrics.retained_messages.get(), self.truth.retained.len() as u64);
        let lost: Vec<_> =
            DropReason::ALL.iter().filter(|reason| reason.is_loss() && **reason != DropReason::SessionGone).collect();
        let lost = lost.into_iter().filter(|reason| **reason != DropReason::SlowConsumer);
        assert_eq!(lost.map(|reason| traffic.messages_dropped(*reason)).sum::<u64>(), 0, "lost in spite of all the room");
    }

    /// Those who say nothing are ended in time.
    fn check_ends(&self) {
        for device in self.devices.iter().filter(|device| device.is_welcome) {
            let task = &self.tasks[device.task.unwrap()];
            if task.state != TaskState::Open {
                continue;
            }
            let since = |instant: Option<Instant>| instant.map_or(Duration::ZERO, |at| self.house.now - at);
            assert!(device.keep_alive == 0 || since(device.silent_since) <= Duration::from_secs(16), "silent for too long");
        }
    }

    /// Everyone takes and answers everything: first those who are there, on wakes alone, then those who come back.
    fn settle(&mut self) {
        for device in 0..DEVICES {
            self.unstall(device);
            self.devices[device].silent_since = None;
        }
        self.answer_all();
        for device in 0..DEVICES {
            if self.devices[device].task.is_some_and(|task| self.tasks[task].state == TaskState::Open) {
                assert!(self.devices[device].is_settled(), "{} waits for something", self.devices[device].id);
            }
        }
        for device in 0..DEVICES {
            if self.devices[device].task.is_none() && self.truth.of_device(device).is_some() {
                self.come_back(device);
            }
        }
        self.answer_all();
        self.check();
        for handle in self.house.broker.registry.all() {
            handle.lock(|slot| {
                let outbound = &slot.session.outbound;
                let is_there = slot.online.is_some();
                assert!(!is_there || (outbound.queue.is_empty() && outbound.inflight.is_empty()), "something is left");
            });
        }
        self.truth.check_deliveries();
        self.let_go();
    }

    fn answer_all(&mut self) {
        self.work();
        while (0..DEVICES).any(|device| self.devices[device].is_welcome && !self.devices[device].owed.is_empty()) {
            for device in 0..DEVICES {
                if self.devices[device].is_welcome {
                    self.answer(device);
                }
            }
            self.work();
        }
    }

    fn come_back(&mut self, device: usize) {
        let task = self.tasks.len();
        let id = self.devices[device].id.clone();
        let properties = ConnectProperties { session_expiry_interval: u32::MAX, ..ConnectProperties::default() };
        let version = ProtocolVersion::V5;
        let request = Connect { client_id: &id, clean_start: false, properties, ..connect(version) };
        let device_of = &mut self.devices[device];
        device_of.connects(task, self.house.now);
        device_of.version = version;
        device_of.keep_alive = 0;
        device_of.receive_maximum = 20;
        let bytes = device_of.encode(&Packet::Connect(request));
        self.tasks.push(Task::new(&self.house, device, version, true));
        self.sessions.push(None);
        self.goodbyes.push(None);
        self.tasks[task].socket.set_room(usize::MAX);
        self.send(device, bytes);
    }

    /// Nothing holds a session that is over.
    fn let_go(&mut self) {
        forget_matches();
        let live: Vec<_> = self.house.broker.registry.all().iter().map(|handle| handle.key).collect();
        let held = self.handles.iter().filter_map(Weak::upgrade).filter(|handle| !live.contains(&handle.key));
        assert_eq!(held.map(|handle| handle.client_id().to_string()).collect::<Vec<_>>(), Vec::<String>::new());
        for task in 0..self.tasks.len() {
            self.lose(task);
        }
        self.tasks.clear();
        let metrics = self.house.broker.metrics.listener("test");
        assert_eq!((metrics.connected().iter().sum::<u64>(), metrics.pending.get()), (1, 0), "the watcher");
    }
}

/// What a packet that the broker has taken changes in the world.
fn processed(
    bytes: &[u8],
    version: ProtocolVersion,
    task: usize,
    device: &mut Device,
    session: &mut Option<usize>,
    truth: &mut Truth,
) {
    let decoder = Decoder {
        version: (bytes[0] != 0x10).then_some(version),
        maximum_packet_size: u32::MAX,
        user_properties_max: 10,
        filters_max: 10,
        peer: crate::packet::Peer::Client,
    };
    let (packet, _) = decoder.decode(bytes).unwrap().unwrap();
    if let Packet::Connect(connect) = &packet {
        let (name, is_present) = open(connect, task, device, truth);
        *session = Some(name);
        if device.task == Some(task) {
            device.session = name;
            device.is_session_present = is_present;
        }
        return;
    }
    let name = session.expect("only CONNECT comes before");
    match packet {
        Packet::Publish(publish) => {
            let is_new = match publish.delivery {
                Delivery::ExactlyOnce(id) => truth.sessions[name].received.insert(id.get()),
                Delivery::AtMostOnce | Delivery::AtLeastOnce(_) => true,
            };
            if is_new {
                truth.publish(std::str::from_utf8(publish.payload).unwrap().parse().unwrap());
            }
            if publish.retain {
                truth.retained.insert(publish.topic.unwrap().to_string());
            }
        }
        Packet::PubRel(release) => drop(truth.sessions[name].received.remove(&release.packet_id.get())),
        Packet::Subscribe(subscribe) => {
            let (filter, options) = &subscribe.filters[0];
            truth.subscribe(name, filter.as_str(), options.qos);
        }
        Packet::Unsubscribe(unsubscribe) => truth.unsubscribe(name, unsubscribe.filters[0].as_str()),
        _ => {}
    }
}

fn open(connect: &Connect<'_>, task: usize, device: &Device, truth: &mut Truth) -> (usize, bool) {
    let expiry = match (connect.version, connect.clean_start) {
        (ProtocolVersion::V5, _) => connect.properties.session_expiry_interval,
        (_, true) => 0,
        (_, false) => u32::MAX,
    };
    let will = connect.will.as_ref();
    let will = will.map(|will| ToldWill::new(String::from_utf8(will.payload.to_vec()).unwrap(), will.delay_interval));
    let index: usize = device.id[1..].parse().unwrap();
    truth.open(index, task, connect.clean_start, expiry, will)
}
