//! Waiting for what the crew does, and telling how far it is.

use std::thread;
use std::time::{Duration, Instant};

use super::super::progress::Share;
use super::super::tally::{Figure, Tally};
use super::Lead;

/// How often it looks whether something has come about.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// How long to wait for what does not come: as the settings say, and not after Ctrl-C, or even then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    UntilInterrupted,
    Lasting,
}

impl Lead<'_> {
    /// Sleeps, telling how things stand.
    pub(in super::super) fn pause(&mut self, name: &str, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.is_over() {
            self.show(name, time, end);
        }
    }

    /// The same, but no longer than until all that is to be sent has been sent and has arrived.
    pub(super) fn pause_unless_done(&mut self, name: &str, time: Duration) {
        let end = Instant::now() + time;
        let limit = self.limit();
        while Instant::now() < end && !self.is_over() {
            let tally = self.crew.tally();
            if limit.is_some_and(|limit| tally[Figure::Sent] >= limit && self.has_arrived(&tally)) {
                return;
            }
            self.show(name, time, end);
        }
    }

    /// Waits until so many have been sent, and all that was sent has been acknowledged and delivered.
    pub(super) fn wait_until_done(&mut self, name: &str, limit: u64, patience: Patience) {
        let (is_acked, is_delivered) = (self.settings.load.qos as u8 > 0, self.delivers_now());
        self.wait(name, patience, |tally| {
            let is_done = tally[Figure::Sent] >= limit && has_arrived(tally, is_acked, is_delivered);
            if is_done { 1.0 } else { share(tally[Figure::Sent], limit).min(0.99) }
        });
    }

    /// Waits until so many deliveries have come in all.
    pub(in super::super) fn await_deliveries(&mut self, name: &str, wanted: u64) {
        let before = self.crew.tally()[Figure::Fresh];
        let is_done = |tally: &Tally| share(tally[Figure::Fresh] - before, wanted.saturating_sub(before));
        self.wait(name, Patience::UntilInterrupted, is_done);
    }

    /// Waits for messages of others until the time is over, or so many have come.
    pub(in super::super) fn receive(&mut self, name: &str, duration: Option<Duration>, limit: Option<u64>) {
        let start = Instant::now();
        let end = duration.map(|duration| start + duration);
        let done = |tally: &Tally| {
            let of_time = duration.map(|duration| start.elapsed().as_secs_f64() / duration.as_secs_f64());
            let of_limit = limit.map(|limit| share(tally[Figure::Delivered], limit));
            of_time.into_iter().chain(of_limit).reduce(f64::max)
        };
        while end.is_none_or(|end| Instant::now() < end) && !self.is_over() {
            let tally = self.crew.tally();
            if limit.is_some_and(|limit| tally[Figure::Delivered] >= limit) {
                break;
            }
            self.progress.show(name, &tally, done(&tally).map(|done| Share { done }));
            thread::sleep(LOOK);
        }
    }

    /// Until all of it is done; false if nothing has changed for as long as patience lasts.
    pub(super) fn wait(&mut self, name: &str, patience: Patience, done: impl Fn(&Tally) -> f64) -> bool {
        let mut last = (self.crew.tally(), Instant::now());
        loop {
            let tally = self.crew.tally();
            if self.crew.has_obeyed(&tally) && done(&tally) >= 1.0 {
                return true;
            }
            if tally != last.0 {
                last = (tally, Instant::now());
            }
            let is_stopped = patience == Patience::UntilInterrupted && self.is_interrupted();
            if last.1.elapsed() > self.settings.patience || is_stopped || !self.crew.is_alive() || is_deserted(&tally) {
                return false;
            }
            self.progress.show(name, &tally, Some(Share { done: done(&tally) }));
            thread::sleep(LOOK);
        }
    }

    fn show(&mut self, name: &str, time: Duration, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        let done = 1.0 - left.as_secs_f64() / time.as_secs_f64().max(1e-9);
        self.progress.show(name, &self.crew.tally(), Some(Share { done }));
        thread::sleep(LOOK.min(left));
    }

    fn is_over(&self) -> bool {
        self.is_interrupted() || !self.crew.is_alive() || is_deserted(&self.crew.tally())
    }

    fn has_arrived(&self, tally: &Tally) -> bool {
        has_arrived(tally, self.settings.load.qos as u8 > 0, self.delivers_now())
    }
}

/// How much of what is wanted is there; all of it if nothing is.
pub(super) fn share(count: u64, wanted: u64) -> f64 {
    if wanted == 0 { 1.0 } else { count as f64 / wanted as f64 }
}

/// All connections that were there have broken.
fn is_deserted(tally: &Tally) -> bool {
    tally[Figure::Broken] > 0 && tally[Figure::Connected] <= tally[Figure::Closed] + tally[Figure::Broken]
}

fn has_arrived(tally: &Tally, is_acked: bool, is_delivered: bool) -> bool {
    let acked = !is_acked || tally[Figure::Acknowledged] + tally[Figure::Rejected] >= tally[Figure::Sent];
    acked && (!is_delivered || tally[Figure::Fresh] >= tally[Figure::Expected])
}
