//! Many devices, one broker, a clock that is told what time it is, and a seed that decides all the rest. After each step the broker
//! is held against plain maps of what must be so.
//!
//! `DUNLIN_SIMULATION_SEEDS=1000..50000` runs other seeds than the few of every test run.

mod act;
mod check;
mod device;
pub(super) mod network;
mod truth;

use std::sync::Weak;

use device::Device;
use network::{Task, TaskState};
use truth::{Told, Truth, Will as ToldWill};

use super::*;
use crate::broker::handle::SessionHandle;
use crate::broker::publish::forget_matches;
use crate::metrics::DropReason;
use crate::session::QueuePolicy;
use crate::units::Span;

const DEVICES: usize = 5;
const MAX_INFLIGHT: u16 = 20;
/// Messages that wait for a session where they are to be lost.
const QUEUE_NARROW: usize = 2;
const STEPS: usize = 150;
const TOPICS: [&str; 7] = ["n/a", "n/b", "n/a/b", "n/c", "s0/a", "s0/b", "s1/a"];
const FILTERS: [&str; 8] = ["n/a", "n/+", "n/#", "n/a/b", "n/+/b", "$share/g/s0/+", "$share/h/s1/#", "r/+"];
const TICK: Duration = Duration::from_secs(1);
/// A keep alive of 10 seconds is kept with room to spare.
const PING_SECONDS: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(30);

/// Numbers from a seed (SplitMix64).
pub(super) struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    pub(in super::super) fn below(&mut self, bound: usize) -> usize {
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
    /// Queues are so short that messages are lost, as the policy says.
    is_narrow: bool,
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
    assert_eq!(simulate("0..200", &Limits::default()), 0);
}

#[test]
fn queues_that_overflow_all_the_time_keep_their_bound_and_double_nothing() {
    for (seeds, queue_policy) in [("0..50", QueuePolicy::DropNew), ("50..100", QueuePolicy::DropOldest)] {
        let lost = simulate(seeds, &Limits { max_queued_messages: QUEUE_NARROW, queue_policy, ..Limits::default() });
        assert!(lost > 0, "nothing of it was seen");
    }
}

/// Returns how many messages found a queue full.
fn simulate(seeds: &str, limits: &Limits) -> u64 {
    let seeds = std::env::var("DUNLIN_SIMULATION_SEEDS").unwrap_or_else(|_| seeds.into());
    let (first, last) = seeds.split_once("..").expect("FIRST..LAST");
    let worlds = (first.parse().unwrap()..last.parse().unwrap()).map(|seed: u64| {
        let _seed = Seed(seed);
        World::new(seed, limits.clone()).run()
    });
    worlds.sum()
}

impl World {
    fn new(seed: u64, limits: Limits) -> Self {
        let is_narrow = limits.max_queued_messages == QUEUE_NARROW;
        let limits = Limits { max_session_expiry: Span::seconds(0), max_inflight: MAX_INFLIGHT, ..limits };
        let house = House::with_limits(limits);
        let mut watcher = house.client(ProtocolVersion::V5, "watcher");
        watcher.subscribe(&house, "w", QoS::ExactlyOnce);
        watcher.receive(&house);
        Self {
            is_narrow,
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

    fn run(mut self) -> u64 {
        for _ in 0..STEPS {
            for _ in 0..=self.random.below(3) {
                self.act();
            }
            self.work();
            self.check();
        }
        self.settle();
        self.house.broker.metrics.traffic().messages_dropped(DropReason::QueueFull)
    }

    /// Time passes; devices that are not silent send PINGREQ often enough.
    fn pass(&mut self) {
        let seconds = self.random.pick(&[1, 1, 2, 6, 16, 40, 200]);
        self.work();
        for second in 0..seconds {
            if second % PING_SECONDS == 0 {
                self.ping();
            }
            self.house.now += TICK;
            self.house.broker.handle_timeout(self.house.now);
            self.truth.handle_timeout(self.house.now);
            self.work();
        }
    }

    fn ping(&mut self) {
        for device in 0..DEVICES {
            let Device { task, is_welcome, silent_since, .. } = &self.devices[device];
            if task.is_some() && *is_welcome && silent_since.is_none() {
                let bytes = self.devices[device].encode(&Packet::PingReq);
                self.send(device, bytes);
            }
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
        // Left for an attempt that came to nothing.
        let is_orphan = device.task != Some(task);
        if is_orphan || is_taken_over || self.goodbyes[task].is_some() {
            return;
        }
        let since = |instant: Option<Instant>| instant.map_or(Duration::ZERO, |at| self.house.now - at);
        let is_silent = device.keep_alive > 0 && since(device.silent_since) >= Duration::from_secs(15 - PING_SECONDS);
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
        self.truth.check_deliveries(self.is_narrow);
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
    if truth.sessions[name].online != Some(task) {
        return; // Taken over.
    }
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
