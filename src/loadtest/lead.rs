//! The leader of a run: tells the workers what to do, waits, and measures.

mod findings;
mod waiting;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::campaign::Campaign;
use super::clock;
use super::codec::SessionWish;
use super::crew::Crew;
use super::process::{self, Usage};
use super::progress::Progress;
use super::report::{Phase, Unit};
use super::settings::{Pace, Settings};
use super::tally::{Figure, Tally};
use super::worker::{Command, Group};
use waiting::{LOOK, Patience, Waited, share};

/// How long clients may take to part.
const GOODBYE: Duration = Duration::from_secs(3);

/// Messages that a publisher has under way while a backlog is made.
const FILL_WINDOW: u32 = 100;

pub(super) struct Lead<'a> {
    pub(super) crew: Crew,
    pub(super) settings: &'a Settings,
    pub(super) phases: Vec<Phase>,
    /// Deliveries that must be made besides those that publishers count.
    pub(super) also_expected: u64,
    /// Messages that were published to wait for consumers.
    backlog: u64,
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

impl<'a> Lead<'a> {
    pub(super) fn new(crew: Crew, settings: &'a Settings, is_quiet: bool, interrupted: &'a AtomicBool) -> Self {
        let progress = Progress::new(settings.pid, is_quiet);
        Self {
            crew,
            settings,
            phases: Vec::new(),
            also_expected: 0,
            backlog: 0,
            progress,
            interrupted,
            problems: Vec::new(),
            publishers_online: 0,
            others_online: 0,
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot, String> {
        let usage = self.settings.pid.map(process::usage).transpose()?;
        Ok(Snapshot { at: Instant::now(), tally: self.crew.tally(), usage })
    }

    /// How things stand after a wait. If that was in vain, time ended when something came last: patience is not measured.
    pub(super) fn snapshot_after(&self, waited: Waited) -> Result<Snapshot, String> {
        let now = self.snapshot()?;
        Ok(match waited {
            Waited::Done => now,
            Waited::InVain { since } => Snapshot { at: since, ..now },
        })
    }

    /// Connects a group; an error if nobody gets in.
    pub(super) fn connect(&mut self, group: Group, wish: SessionWish) -> Result<Waited, String> {
        self.gather(group, wish, self.patience())
    }

    /// Ends the sessions that outlive their connections, also after Ctrl-C: the next run finds a broker without them.
    pub(super) fn forget_sessions(&mut self) {
        if let Err(error) = self.gather(Group::Others, SessionWish::Clean, self.patience().lasting()) {
            self.note_problem(format!("the sessions were not ended: {error}"));
        }
        self.disconnect(Group::Others);
    }

    fn gather(&mut self, group: Group, wish: SessionWish, patience: Patience) -> Result<Waited, String> {
        let interval = self.settings.connect_interval;
        let patience = patience.and(interval).for_comers();
        let wanted = if group == Group::Publishers { self.crew.publishers } else { self.crew.others } as u64;
        let before = self.crew.tally();
        self.crew.tell(&Command::Connect { group, wish, interval });
        let settled = move |tally: &Tally| {
            let change = tally.since(&before);
            change[Figure::Connected] + change[Figure::Refused]
        };
        let waited = self.wait("connect", patience, |tally| share(settled(tally), wanted));
        let connected = self.crew.tally().since(&before)[Figure::Connected];
        *self.online(group) = connected;
        if connected == 0 && wanted > 0 && !self.is_interrupted() {
            let reasons = self.crew.shared.reasons.lock().join("; ");
            let none = format!("{} does not answer", self.settings.target.address);
            return Err(if reasons.is_empty() { none } else { reasons });
        }
        if !waited.is_done() {
            let unsettled = wanted.saturating_sub(settled(&self.crew.tally()));
            self.note_problem(format!("{unsettled} of {wanted} connections got no answer"));
        } else if connected < wanted {
            self.note_problem(format!("{} of {wanted} connections did not come about", wanted - connected));
        }
        Ok(waited)
    }

    pub(super) fn subscribe(&mut self) -> Waited {
        let wanted = self.crew.filters;
        let before = self.crew.tally();
        self.crew.tell(&Command::Subscribe);
        let answered = move |tally: &Tally| {
            let change = tally.since(&before);
            change[Figure::Granted] + change[Figure::Denied] + change[Figure::Broken]
        };
        let waited = self.wait("subscribe", self.patience(), |tally| share(answered(tally), wanted));
        let granted = self.crew.tally().since(&before)[Figure::Granted];
        if granted < wanted {
            self.note_problem(format!("{} of {wanted} subscriptions were not granted", wanted - granted));
        }
        waited
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
        let waited = match load.duration {
            Some(duration) => self.pause_unless_done(name, duration),
            None => self.wait_until_sent(name, self.limit().unwrap_or(0)),
        };
        let after = self.snapshot_after(waited)?;
        self.crew.tell(&Command::Stop);
        self.note_phase(name, unit, &before, &after);
        // What is under way arrives, or is lost, also of a run that ends early.
        self.wait_until_done("finish", 0, self.patience().lasting());
        Ok(())
    }

    /// Waits until so many have been sent and have arrived; tells if they were not sent, unless somebody ended the run.
    fn wait_until_sent(&mut self, name: &str, limit: u64) -> Waited {
        let waited = self.wait_until_done(name, limit, self.patience_at_pace());
        let sent = self.crew.tally()[Figure::Sent];
        if sent < limit && !self.is_interrupted() {
            self.note_problem(format!("{sent} of {limit} messages were sent"));
        }
        waited
    }

    /// Publishers of an open loop may have nothing to send for a whole interval, which is not what patience is for.
    fn patience_at_pace(&self) -> Patience {
        self.patience().and(self.campaign().interval().unwrap_or_default())
    }

    /// Publishes so many messages for those who are not there, as fast as they are acknowledged, and measures it as a phase.
    pub(super) fn fill(&mut self, messages: u64) -> Result<(), String> {
        let before = self.snapshot()?;
        let pace = Pace::Window(FILL_WINDOW);
        self.crew.tell(&Command::Publish(Campaign { limit: Some(messages), pace, ..self.campaign() }));
        let waited = self.wait_until_sent("fill", messages);
        let after = self.snapshot_after(waited)?;
        self.backlog = after.tally.since(&before.tally)[Figure::Sent];
        self.note_phase("fill", Unit::Messages, &before, &after);
        Ok(())
    }

    /// Messages of the whole run, if there is a bound.
    pub(super) fn limit(&self) -> Option<u64> {
        self.settings.load.limit.map(|limit| limit + self.backlog)
    }

    /// Publishes messages without payload, which clear the retained ones, also after Ctrl-C.
    pub(super) fn clear(&mut self) -> Result<(), String> {
        let campaign = Campaign { size: 0, retain: true, ..self.campaign() };
        let before = self.snapshot()?;
        self.crew.tell(&Command::Publish(campaign));
        let wanted = self.settings.load.limit.unwrap_or(0);
        let acknowledged = |tally: &Tally| tally.since(&before.tally)[Figure::Acknowledged];
        let waited = self.wait("clear", self.patience_at_pace().lasting(), |tally| share(acknowledged(tally), wanted));
        let after = self.snapshot_after(waited)?;
        self.note_phase("clear", Unit::Messages, &before, &after);
        Ok(())
    }

    fn campaign(&self) -> Campaign {
        let campaign = Campaign::new(&self.settings.load, self.crew.publishers, self.delivers_now());
        Campaign { backlog: self.backlog, ..campaign }
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
}
