//! The leader of a run: tells the workers what to do, waits, and measures.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::campaign::Campaign;
use super::clock;
use super::codec::SessionWish;
use super::crew::Crew;
use super::desk::AllTimes;
use super::ledger::Faults;
use super::process::{self, Usage};
use super::progress::{Progress, Share};
use super::report::{Fault, Messages, Phase, Unit};
use super::settings::Settings;
use super::tally::{Figure, Tally};
use super::worker::{Command, Group, Outcome};

/// How often it looks whether something has come about.
const LOOK: Duration = Duration::from_millis(5);

/// How long clients may take to part.
const GOODBYE: Duration = Duration::from_secs(3);

/// Faults that are told one by one.
const FAULTS_MAX: usize = 20;

pub(super) struct Lead<'a> {
    pub(super) crew: Crew,
    pub(super) settings: &'a Settings,
    pub(super) phases: Vec<Phase>,
    /// Deliveries that must be made besides those that publishers count.
    pub(super) also_expected: u64,
    progress: Progress,
    interrupted: &'a AtomicBool,
    problems: Vec<String>,
    publishers_online: u64,
    others_online: u64,
}

/// How things stood at one moment.
#[derive(Clone, Copy)]
pub(super) struct Snapshot {
    at: Instant,
    tally: Tally,
    usage: Option<Usage>,
}

/// How long to wait for what does not come: as the settings say, and not after Ctrl-C, or even then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    UntilInterrupted,
    Lasting,
}

/// What a run came to besides its phases.
pub(super) struct Findings {
    pub(super) times: AllTimes,
    pub(super) messages: Messages,
    pub(super) faults: Vec<Fault>,
    pub(super) problems: Vec<String>,
    pub(super) phases: Vec<Phase>,
}

impl<'a> Lead<'a> {
    pub(super) fn new(crew: Crew, settings: &'a Settings, is_quiet: bool, interrupted: &'a AtomicBool) -> Self {
        let progress = Progress::new(settings.pid, is_quiet);
        Self {
            crew,
            settings,
            phases: Vec::new(),
            also_expected: 0,
            progress,
            interrupted,
            problems: Vec::new(),
            publishers_online: 0,
            others_online: 0,
        }
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot, String> {
        let usage = self.settings.pid.map(process::usage).transpose()?;
        Ok(Snapshot { at: Instant::now(), tally: self.crew.tally(), usage })
    }

    /// Connects a group; an error if nobody gets in.
    pub(super) fn connect(&mut self, group: Group, wish: SessionWish) -> Result<(), String> {
        let wanted = if group == Group::Publishers { self.crew.publishers } else { self.crew.others } as u64;
        let before = self.crew.tally();
        self.crew.tell(&Command::Connect { group, wish, interval: self.settings.connect_interval });
        let settled = move |tally: &Tally| {
            let change = tally.since(&before);
            change[Figure::Connected] + change[Figure::Refused]
        };
        let is_done = self.wait(
            "connect",
            Patience::UntilInterrupted,
            |tally| settled(tally) >= wanted,
            |tally| settled(tally) as f64 / wanted as f64,
        );
        let connected = self.crew.tally().since(&before)[Figure::Connected];
        *self.online(group) = connected;
        if connected == 0 && wanted > 0 && !self.is_interrupted() {
            let reasons = self.crew.shared.reasons.lock().join("; ");
            let none = format!("{} does not answer", self.settings.target.address);
            return Err(if reasons.is_empty() { none } else { reasons });
        }
        if !is_done {
            self.note_problem(format!("{} of {wanted} connections got no answer", wanted - settled(&self.crew.tally())));
        } else if connected < wanted {
            self.note_problem(format!("{} of {wanted} connections did not come about", wanted - connected));
        }
        Ok(())
    }

    pub(super) fn subscribe(&mut self) {
        let wanted = self.crew.filters;
        let before = self.crew.tally();
        self.crew.tell(&Command::Subscribe);
        let answered = move |tally: &Tally| {
            let change = tally.since(&before);
            change[Figure::Granted] + change[Figure::Denied] + change[Figure::Broken]
        };
        let is_done = self.wait(
            "subscribe",
            Patience::UntilInterrupted,
            |tally| answered(tally) >= wanted,
            |tally| answered(tally) as f64 / wanted as f64,
        );
        let granted = self.crew.tally().since(&before)[Figure::Granted];
        if !is_done || granted < wanted {
            self.note_problem(format!("{} of {wanted} subscriptions were not granted", wanted - granted));
        }
    }

    /// Publishes as the settings say, and measures it as a phase of this name.
    pub(super) fn publish(&mut self, name: &'static str, unit: Unit) -> Result<(), String> {
        let load = &self.settings.load;
        if load.warmup.is_zero() {
            self.crew.measure_from(0);
        }
        let mut before = self.snapshot()?;
        self.crew.tell(&Command::Publish(self.campaign()));
        if !load.warmup.is_zero() {
            self.pause("warm-up", load.warmup);
            self.crew.measure_from(clock::now());
            before = self.snapshot()?;
        }
        match load.duration {
            Some(duration) => self.pause_unless_done(name, duration),
            None => self.wait_until_done(name, load.limit.unwrap_or(0), Patience::UntilInterrupted),
        }
        let after = self.snapshot()?;
        self.crew.tell(&Command::Stop);
        self.note_phase(name, unit, &before, &after);
        // What is under way arrives, or is lost, also of a run that ends early.
        self.wait_until_done("finish", 0, Patience::Lasting);
        Ok(())
    }

    /// The same for retained messages without payload.
    pub(super) fn clear(&mut self) -> Result<(), String> {
        let campaign = Campaign { size: 0, retain: true, ..self.campaign() };
        let before = self.snapshot()?;
        self.crew.tell(&Command::Publish(campaign));
        let wanted = self.settings.load.limit.unwrap_or(0);
        let acknowledged = |tally: &Tally| tally.since(&before.tally)[Figure::Acknowledged];
        self.wait(
            "clear",
            Patience::UntilInterrupted,
            |tally| acknowledged(tally) >= wanted,
            |tally| acknowledged(tally) as f64 / wanted as f64,
        );
        let after = self.snapshot()?;
        self.note_phase("clear", Unit::Messages, &before, &after);
        Ok(())
    }

    fn campaign(&self) -> Campaign {
        Campaign::new(&self.settings.load, self.crew.publishers, self.delivers_now())
    }

    /// Waits until so many deliveries have come in all.
    pub(super) fn await_deliveries(&mut self, name: &'static str, wanted: u64) -> bool {
        let before = self.crew.tally()[Figure::Fresh];
        let share = move |tally: &Tally| (tally[Figure::Fresh] - before) as f64 / (wanted - before.min(wanted)).max(1) as f64;
        self.wait(name, Patience::UntilInterrupted, |tally| tally[Figure::Fresh] >= wanted, share)
    }

    pub(super) fn note_phase(&mut self, name: &'static str, unit: Unit, before: &Snapshot, after: &Snapshot) {
        let change = after.tally.since(&before.tally);
        let (count, bytes) = match unit {
            Unit::Connections => (change[Figure::Connected], 0),
            Unit::Subscriptions => (change[Figure::Granted], 0),
            Unit::Messages if self.settings.load.qos as u8 > 0 => (change[Figure::Acknowledged], change[Figure::BytesSent]),
            Unit::Messages => (change[Figure::Sent], change[Figure::BytesSent]),
            Unit::Queued => (change[Figure::Expected], change[Figure::BytesSent]),
            Unit::Deliveries => (change[Figure::Fresh], change[Figure::BytesDelivered]),
        };
        let seconds = (after.at - before.at).as_secs_f64();
        let mut phase = Phase::new(name, unit, seconds, count, bytes);
        phase.acknowledged_per_second = phase.rate(change[Figure::Acknowledged]);
        if let (Some(before), Some(after)) = (&before.usage, &after.usage) {
            phase = phase.with_usage(before, after);
        }
        self.phases.push(phase);
    }

    /// What connections cost that do nothing.
    pub(super) fn note_idle(&mut self, before: &Snapshot, after: &Snapshot) {
        let tally = &after.tally;
        let online = tally[Figure::Connected] - tally[Figure::Broken];
        let phase = Phase::new("idle", Unit::Connections, (after.at - before.at).as_secs_f64(), online, 0);
        self.phases.push(match (&before.usage, &after.usage) {
            (Some(before), Some(after)) => phase.with_usage(before, after),
            _ => phase,
        });
    }

    /// Waits for messages of others until the time is over, or so many have come.
    pub(super) fn receive(&mut self, name: &str, duration: Option<Duration>, limit: Option<u64>) {
        let start = Instant::now();
        let end = duration.map(|duration| start + duration);
        let share = |tally: &Tally| {
            let of_time = duration.map(|duration| start.elapsed().as_secs_f64() / duration.as_secs_f64());
            let of_limit = limit.map(|limit| tally[Figure::Delivered] as f64 / limit as f64);
            of_time.into_iter().chain(of_limit).reduce(f64::max)
        };
        while end.is_none_or(|end| Instant::now() < end) && !self.is_interrupted() && self.crew.is_alive() {
            let tally = self.crew.tally();
            if limit.is_some_and(|limit| tally[Figure::Delivered] >= limit) {
                break;
            }
            self.progress.show(name, &tally, share(&tally).map(|done| Share { done }));
            thread::sleep(LOOK);
        }
    }

    /// Lets a group go, and closes the connections of those whom the broker does not let go.
    pub(super) fn disconnect(&mut self, group: Group) {
        let before = self.crew.tally();
        let online = std::mem::take(self.online(group));
        let wanted = online.saturating_sub(before[Figure::Broken]);
        self.crew.tell(&Command::Disconnect(group));
        let deadline = Instant::now() + GOODBYE;
        while self.crew.tally().since(&before)[Figure::Closed] < wanted && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        self.crew.tell(&Command::Drop(group));
    }

    pub(super) fn note_problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Sleeps, telling how things stand.
    pub(super) fn pause(&mut self, name: &str, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.is_interrupted() && self.crew.is_alive() {
            self.show(name, time, end);
        }
    }

    fn pause_unless_done(&mut self, name: &str, time: Duration) {
        let end = Instant::now() + time;
        let limit = self.settings.load.limit;
        while Instant::now() < end && !self.is_interrupted() && self.crew.is_alive() {
            let tally = self.crew.tally();
            if limit.is_some_and(|limit| tally[Figure::Sent] >= limit && self.is_done(&tally)) {
                return;
            }
            self.show(name, time, end);
        }
    }

    fn show(&mut self, name: &str, time: Duration, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        let done = 1.0 - left.as_secs_f64() / time.as_secs_f64().max(1e-9);
        self.progress.show(name, &self.crew.tally(), Some(Share { done }));
        thread::sleep(LOOK.min(left));
    }

    /// Waits until so many have been sent, and all that was sent has been acknowledged and delivered.
    fn wait_until_done(&mut self, name: &'static str, limit: u64, patience: Patience) {
        let (is_acked, is_delivered) = (self.settings.load.qos as u8 > 0, self.delivers_now());
        let is_done = move |tally: &Tally| tally[Figure::Sent] >= limit && is_done(tally, is_acked, is_delivered);
        let share = move |tally: &Tally| tally[Figure::Sent] as f64 / limit.max(1) as f64;
        self.wait(name, patience, is_done, share);
    }

    fn is_done(&self, tally: &Tally) -> bool {
        is_done(tally, self.settings.load.qos as u8 > 0, self.delivers_now())
    }

    /// Whether subscribers are there to get what is published.
    const fn delivers_now(&self) -> bool {
        self.others_online > 0
    }

    const fn online(&mut self, group: Group) -> &mut u64 {
        match group {
            Group::Publishers => &mut self.publishers_online,
            Group::Others => &mut self.others_online,
        }
    }

    /// False if nothing has changed for as long as patience lasts.
    fn wait(
        &mut self,
        name: &str,
        patience: Patience,
        is_done: impl Fn(&Tally) -> bool,
        share: impl Fn(&Tally) -> f64,
    ) -> bool {
        let mut last = (self.crew.tally(), Instant::now());
        loop {
            let tally = self.crew.tally();
            if is_done(&tally) {
                return true;
            }
            if tally != last.0 {
                last = (tally, Instant::now());
            }
            let is_stopped = patience == Patience::UntilInterrupted && self.is_interrupted();
            if last.1.elapsed() > self.settings.patience || is_stopped || !self.crew.is_alive() {
                return false;
            }
            self.progress.show(name, &tally, Some(Share { done: share(&tally) }));
            thread::sleep(LOOK);
        }
    }

    /// Ends the run and looks into all books.
    pub(super) fn finish(mut self) -> Result<Findings, String> {
        self.progress.clear();
        let tally = self.crew.tally();
        let shared = std::sync::Arc::clone(&self.crew.shared);
        let outcomes = self.crew.finish()?;
        let mut times = AllTimes::new();
        outcomes.iter().for_each(|outcome| times.add(&outcome.times));
        let (total, faults) = faults(&outcomes);
        let unanswered = tally[Figure::Sent] - tally[Figure::Acknowledged] - tally[Figure::Rejected];
        if self.settings.load.qos as u8 > 0 && unanswered > 0 {
            self.problems.push(format!("{unanswered} messages were not acknowledged"));
        }
        if tally[Figure::Broken] > 0 {
            self.problems.push(format!("{} connections broke", tally[Figure::Broken]));
        }
        self.problems.extend(shared.reasons.lock().iter().cloned());
        let messages = Messages {
            sent: tally[Figure::Sent],
            acknowledged: tally[Figure::Acknowledged],
            rejected: tally[Figure::Rejected],
            expected: tally[Figure::Expected] + self.also_expected,
            delivered: tally[Figure::Delivered],
            lost: total.lost,
            doubled: total.doubled,
            reordered: total.reordered,
            unexpected: tally[Figure::Unexpected],
        };
        Ok(Findings { times, messages, faults, problems: self.problems, phases: self.phases })
    }
}

fn is_done(tally: &Tally, is_acked: bool, is_delivered: bool) -> bool {
    let acked = !is_acked || tally[Figure::Acknowledged] + tally[Figure::Rejected] >= tally[Figure::Sent];
    acked && (!is_delivered || tally[Figure::Fresh] >= tally[Figure::Expected])
}

/// All faults together, and the worst ones one by one.
fn faults(outcomes: &[Outcome]) -> (Faults, Vec<Fault>) {
    let streams = outcomes.iter().flat_map(|outcome| &outcome.streams);
    let sent: HashMap<u32, (&str, u64)> = streams.map(|(id, topic, sent)| (*id, (topic.as_str(), *sent))).collect();
    let mut total = Faults::default();
    let mut list = Vec::new();
    for (owner, book) in outcomes.iter().flat_map(|outcome| &outcome.books) {
        for (stream, faults) in book.faults(|stream| sent.get(&stream).map_or(0, |(_, sent)| *sent)) {
            total.add(faults);
            let topic = sent.get(&stream).map_or_else(|| stream.to_string(), |(topic, _)| (*topic).to_owned());
            let Faults { lost, doubled, reordered } = faults;
            list.push(Fault { subscriber: owner.clone(), stream: topic, lost, doubled, reordered });
        }
    }
    list.sort_by_key(|fault| std::cmp::Reverse(fault.lost + fault.doubled + fault.reordered));
    list.truncate(FAULTS_MAX);
    (total, list)
}
