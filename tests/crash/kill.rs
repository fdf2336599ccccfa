//! The kill test: a fleet of clients that keep the rules, and a broker that is killed again and again on the same data directory.

use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use dunlin::packet::QoS;

use crate::house::House;
use crate::login::Login;
use crate::model::{Audience, all};
use crate::publisher::Publisher;
use crate::retained::Reader;
use crate::subscriber::{Habits, Subscriber};
use crate::support::client::{V5, V311};
use crate::support::dice::Dice;
use crate::wills::Testator;
use crate::world::{Phase, World};

const ONE: QoS = QoS::AtLeastOnce;
const TWO: QoS = QoS::ExactlyOnce;

/// Small segments, so that many are begun, dropped and rewritten; queues without an end, so that nothing is dropped by right. What is
/// stored at level "os" survives a kill too.
const CONFIG: &str = r#"
[durability]
level = "sync"
segment_size = "1MiB"
[[durability.topics]]
filter = "fleet/car2/#"
level = "os"
[[durability.topics]]
filter = "fleet/car5/#"
level = "os"
[limits]
max_queued_messages = 10_000_000
max_queued_bytes = "4GiB"
"#;

/// What is played, and how often it is interrupted.
pub struct Plan {
    pub seed: u64,
    pub cycles: usize,
}

impl Plan {
    fn from_environment() -> Self {
        Self { seed: seed(), cycles: cycles() }
    }
}

/// `DUNLIN_CRASH_CYCLES`, or 20.
pub fn cycles() -> usize {
    usize::try_from(number("DUNLIN_CRASH_CYCLES").unwrap_or(20)).expect("a number of cycles")
}

/// `DUNLIN_CRASH_SEED`, or one that changes every second.
pub fn seed() -> u64 {
    number("DUNLIN_CRASH_SEED").unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs()))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn what_was_acknowledged_is_never_lost_or_doubled_however_often_the_broker_is_killed() {
    let plan = Plan::from_environment();
    println!("DUNLIN_CRASH_SEED={} DUNLIN_CRASH_CYCLES={}", plan.seed, plan.cycles);
    let cast = Cast::new();
    let world = World::new(plan.seed, cast.history, cast.audiences.clone());
    let house = House::new(CONFIG);
    let (kills, looks) = play(&plan, &world, &house, cast);

    let judgement = world.judge();
    let accepted = all(&world.history()).filter(|(_, message)| message.accepted.is_some()).count();
    println!(
        "cycles={} kills={kills} acknowledged={accepted} owed={} delivered={} retained looks={looks} lost={} doubled={} \
         out of order={}",
        plan.cycles,
        judgement.owed,
        judgement.deliveries,
        judgement.lost.len(),
        judgement.doubled.len(),
        judgement.disordered.len()
    );
    let complaints = world.complaints();
    if !judgement.is_clean() || !complaints.is_empty() {
        let shown: String = complaints.iter().take(20).map(|line| format!("  {line}\n")).collect();
        panic!(
            "seed {}, data directory kept in {}\n{}complaints: {}\n{shown}",
            plan.seed,
            house.keep().display(),
            judgement.report(),
            complaints.len()
        );
    }
    assert!(accepted > plan.cycles * 10, "the clients have been at work");
}

/// The storm, and the calm after it; how often the broker was killed, and how often the retained messages were looked at.
fn play(plan: &Plan, world: &World, house: &House, cast: Cast) -> (usize, usize) {
    thread::scope(|scope| {
        let _end = AtEnd(world);
        let publishers: Vec<_> = cast.publishers.into_iter().map(|actor| scope.spawn(|| actor.run(world))).collect();
        let testators: Vec<_> = cast.testators.into_iter().map(|actor| scope.spawn(|| actor.run(world))).collect();
        let subscribers: Vec<_> = cast.subscribers.into_iter().map(|actor| scope.spawn(|| actor.run(world))).collect();
        let readers: Vec<_> = cast.readers.into_iter().map(|actor| scope.spawn(|| actor.run(world))).collect();

        let kills = storm(plan, world, house);
        let mut broker = house.start();
        world.open(broker.address());
        if plan.cycles == 0 {
            thread::sleep(Duration::from_secs(3)); // the actors alone, to see that they play well
        }
        world.enter(Phase::Finish);
        world.wait_until("publishers finish", || are_done(&publishers) && are_done(&testators));
        world.settle();
        world.enter(Phase::Drain);
        world.wait_until("subscribers take what is left", || are_done(&subscribers) && are_done(&readers));
        if !broker.is_running() {
            world.complain(format!("the broker has ended by itself:\n{}", broker.told()));
        }
        world.enter(Phase::Over);
        let looks = readers.into_iter().map(|reader| reader.join().expect("the reader has not panicked")).sum();
        (kills, looks)
    })
}

/// Starts and kills the broker; how often it was killed.
pub fn storm(plan: &Plan, world: &World, house: &House) -> usize {
    let mut dice = Dice::new(plan.seed, "storm");
    let mut kills = 0;
    for _ in 0..plan.cycles {
        let mut broker = house.start();
        world.open(broker.address());
        thread::sleep(dice.millis(20, 1500));
        if !broker.is_running() {
            world.complain(format!("the broker has ended by itself:\n{}", broker.told()));
        }
        broker.kill();
        world.close();
        kills += 1;
        // Now and then once more while it starts, before or after it has opened its doors.
        while dice.once_in(4) {
            let broker = house.spawn(&[]);
            thread::sleep(dice.millis(0, 60));
            broker.kill();
            kills += 1;
        }
    }
    kills
}

fn are_done<T>(actors: &[ScopedJoinHandle<'_, T>]) -> bool {
    actors.iter().all(ScopedJoinHandle::is_finished)
}

/// Sends the actors home also when the test fails, since the scope waits for them.
pub struct AtEnd<'a>(pub &'a World);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.enter(Phase::Over);
    }
}

struct Cast {
    publishers: Vec<Publisher>,
    testators: Vec<Testator>,
    subscribers: Vec<Subscriber>,
    readers: Vec<Reader>,
    audiences: Vec<Audience>,
    /// How many publishers and testators there are.
    history: usize,
}

impl Cast {
    fn new() -> Self {
        let mut cast = Self {
            publishers: Vec::new(),
            testators: Vec::new(),
            subscribers: Vec::new(),
            readers: Vec::new(),
            audiences: Vec::new(),
            history: 0,
        };
        cast.add_publishers();
        cast.add_retained();
        cast.add_subscribers();
        cast.add_testators();
        cast
    }

    fn add_publishers(&mut self) {
        for (name, version, keeps, qos, window) in [
            ("car0", V5, true, &[ONE, TWO][..], 16),
            ("car1", V311, true, &[ONE, TWO], 20),
            ("car2", V5, true, &[TWO], 8),
            ("car3", V311, false, &[ONE], 32),
            ("car4", V5, false, &[TWO], 4),
            ("car5", V5, false, &[ONE, TWO, ONE], 1),
        ] {
            let topics = ["a", "b", "c"].map(|end| format!("fleet/{name}/{end}")).to_vec();
            let login = Login::new(name, version, keeps);
            let index = self.next_in_history();
            self.publishers.push(Publisher { index, login, topics, qos, retains: false, dedups: false, window, leisure: 30 });
        }
    }

    /// Those who publish retained messages, and those who look at them.
    fn add_retained(&mut self) {
        let mut publishers = Vec::new();
        for (name, version, keeps, qos) in
            [("lamp0", V5, true, &[ONE][..]), ("lamp1", V311, true, &[TWO]), ("lamp2", V5, false, &[ONE, TWO])]
        {
            let topics = (0..6).map(|number| format!("state/{name}/{number}")).collect();
            let login = Login::new(name, version, keeps);
            let index = self.next_in_history();
            publishers.push(index);
            self.publishers.push(Publisher { index, login, topics, qos, retains: true, dedups: false, window: 4, leisure: 40 });
        }
        for (name, version) in [("reader5", V5), ("reader311", V311)] {
            self.readers.push(Reader { name, version, filter: "state/#", publishers: publishers.clone() });
        }
    }

    fn add_subscribers(&mut self) {
        let steady = Habits { stays: 2000, away: 50, dawdles: false, changes: false, forgets: false };
        let sleepy = Habits { stays: 10, away: 3_600_000, ..steady };
        let restless = Habits { stays: 300, away: 300, dawdles: true, ..steady };
        self.subscribe("all", V5, steady, &[("fleet/#", TWO)]);
        self.subscribe("one level", V311, steady, &[("fleet/+/a", ONE)]);
        self.subscribe("overlapping", V5, restless, &[("fleet/+/b", ONE), ("fleet/car0/#", TWO), ("fleet/car1/b", TWO)]);
        self.subscribe("asleep", V311, sleepy, &[("fleet/car0/#", TWO), ("fleet/+/c", ONE), ("fleet/car3/a", TWO)]);
        self.subscribe("asleep 5", V5, sleepy, &[("fleet/car2/#", TWO)]);
        self.subscribe("narrow", V5, restless, &[("fleet/car2/+", TWO), ("fleet/car4/#", TWO)]).login.receive_maximum = 3;
        let pool =
            [("fleet/car0/#", ONE), ("fleet/+/a", TWO), ("fleet/car2/b", TWO), ("fleet/car3/#", ONE), ("fleet/+/+", ONE)];
        self.subscribe("changing", V5, Habits { changes: true, ..steady }, &pool);
        self.subscribe("changing 311", V311, Habits { changes: true, ..restless }, &pool);
        self.subscribe("forgetful", V5, Habits { changes: true, forgets: true, ..restless }, &pool);
        self.share("crew", &[("crew 0", V5, steady), ("crew 1", V311, restless), ("crew 2", V5, sleepy)], ("fleet/+/c", TWO));
        self.share("pair", &[("pair 0", V5, restless), ("pair 1", V311, restless)], ("fleet/car1/#", ONE));
    }

    fn add_testators(&mut self) {
        let steady = Habits { stays: 1000, away: 100, dawdles: false, changes: false, forgets: false };
        self.subscribe("heirs", V5, steady, &[("wills/#", TWO)]);
        let heirs = self.audiences.len() - 1;
        for (name, comes_back) in [("mortal0", false), ("mortal1", false), ("mortal2", false), ("immortal", true)] {
            let index = self.next_in_history();
            self.testators.push(Testator { index, login: Login::new(name, V5, true), heirs, comes_back });
        }
    }

    fn next_in_history(&mut self) -> usize {
        self.history += 1;
        self.history - 1
    }

    fn subscribe(
        &mut self,
        name: &str,
        version: dunlin::packet::ProtocolVersion,
        habits: Habits,
        filters: &[(&'static str, QoS)],
    ) -> &mut Subscriber {
        self.audiences.push(Audience::new(name));
        self.subscribers.push(Subscriber {
            login: Login::new(name, version, true),
            audience: self.audiences.len() - 1,
            member: 0,
            prefix: "",
            filters: filters.to_vec(),
            habits,
        });
        self.subscribers.last_mut().expect("it was added")
    }

    /// A shared subscription with its members.
    fn share(
        &mut self,
        group: &'static str,
        members: &[(&str, dunlin::packet::ProtocolVersion, Habits)],
        filter: (&'static str, QoS),
    ) {
        let prefix = if group == "crew" { "$share/crew/" } else { "$share/pair/" };
        self.audiences.push(Audience { is_group: true, ..Audience::new(group) });
        for (member, (name, version, habits)) in members.iter().enumerate() {
            self.subscribers.push(Subscriber {
                login: Login::new(name, *version, true),
                audience: self.audiences.len() - 1,
                member,
                prefix,
                filters: vec![filter],
                habits: *habits,
            });
        }
    }
}
