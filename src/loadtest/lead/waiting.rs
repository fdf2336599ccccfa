//! Waiting for what the crew does, and telling how far it is.

use std::thread;
use std::time::{Duration, Instant};

use super::super::progress::Share;
use super::super::tally::{Figure, Tally};
use super::Lead;

/// How often it looks whether something has come about.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// How long to wait for what does not come. It ends at Ctrl-C, and when all who were there are cut off, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// With nothing that changes meanwhile.
    time: Duration,
    is_lasting: bool,
    is_for_comers: bool,
}

impl Patience {
    /// The same, with so much more time.
    pub(super) const fn and(self, more: Duration) -> Self {
        Self { time: self.time.saturating_add(more), ..self }
    }

    /// Also after Ctrl-C.
    pub(super) const fn lasting(self) -> Self {
        Self { is_lasting: true, ..self }
    }

    /// For those who are on their way, whatever has become of those who were there.
    pub(super) const fn for_comers(self) -> Self {
        Self { is_for_comers: true, ..self }
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Waited {
    Done,
    /// Not all of it came, and since then nothing.
    InVain {
        since: Instant,
    },
}

impl Waited {
    pub(super) const fn is_done(self) -> bool {
        matches!(self, Self::Done)
    }
}

impl Lead<'_> {
    /// As the settings say.
    pub(super) const fn patience(&self) -> Patience {
        Patience { time: self.settings.patience, is_lasting: false, is_for_comers: false }
    }

    /// Sleeps, telling how things stand.
    pub(in super::super) fn pause(&mut self, name: &str, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.is_over() {
            self.show(name, time, end);
        }
    }

    /// The same, but no longer than until all that is to be sent has been sent and has arrived.
    pub(super) fn pause_unless_done(&mut self, name: &str, time: Duration) -> Waited {
        let end = Instant::now() + time;
        let limit = self.limit();
        while Instant::now() < end && !self.is_over() {
            let tally = self.crew.tally();
            if limit.is_some_and(|limit| tally[Figure::Sent] >= limit && self.has_arrived(&tally)) {
                break;
            }
            self.show(name, time, end);
        }
        Waited::Done
    }

    /// Waits until so many have been sent, and all that was sent has been acknowledged and delivered.
    pub(super) fn wait_until_done(&mut self, name: &str, limit: u64, patience: Patience) -> Waited {
        let (is_acked, is_delivered) = (self.settings.load.qos as u8 > 0, self.delivers_now());
        self.wait(name, patience, |tally| {
            let is_done = tally[Figure::Sent] >= limit && has_arrived(tally, is_acked, is_delivered);
            if is_done { 1.0 } else { share(tally[Figure::Sent], limit).min(0.99) }
        })
    }

    /// Waits until so many deliveries have come in all.
    pub(in super::super) fn await_deliveries(&mut self, name: &str, wanted: u64) -> Waited {
        let before = self.crew.tally()[Figure::Fresh];
        let is_done = |tally: &Tally| share(tally[Figure::Fresh] - before, wanted.saturating_sub(before));
        self.wait(name, self.patience(), is_done)
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

    /// Until all of it is done, or nothing has changed for as long as patience lasts.
    pub(super) fn wait(&mut self, name: &str, patience: Patience, done: impl Fn(&Tally) -> f64) -> Waited {
        let mut last = (self.crew.tally(), Instant::now());
        loop {
            let tally = self.crew.tally();
            if self.crew.has_obeyed(&tally) && done(&tally) >= 1.0 {
                return Waited::Done;
            }
            if tally != last.0 {
                last = (tally, Instant::now());
            }
            let is_stopped = !patience.is_lasting && self.is_interrupted();
            let is_left = !patience.is_for_comers && self.is_deserted(&tally);
            if last.1.elapsed() > patience.time || is_stopped || is_left || !self.crew.is_alive() {
                return Waited::InVain { since: last.1 };
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
        self.is_interrupted() || !self.crew.is_alive() || self.is_deserted(&self.crew.tally())
    }

    /// Somebody should be there, and nobody is any more. Those who were let go are not missed.
    fn is_deserted(&self, tally: &Tally) -> bool {
        self.publishers_online + self.others_online > 0 && have_all_broken(tally)
    }

    fn has_arrived(&self, tally: &Tally) -> bool {
        has_arrived(tally, self.settings.load.qos as u8 > 0, self.delivers_now())
    }
}

/// How much of what is wanted is there; all of it if nothing is.
pub(super) fn share(count: u64, wanted: u64) -> f64 {
    if wanted == 0 { 1.0 } else { count as f64 / wanted as f64 }
}

/// Of all connections that there have been none is left, and not all of them ended as asked.
fn have_all_broken(tally: &Tally) -> bool {
    tally[Figure::Broken] > 0 && tally[Figure::Connected] <= tally[Figure::Closed] + tally[Figure::Broken]
}

fn has_arrived(tally: &Tally, is_acked: bool, is_delivered: bool) -> bool {
    let acked = !is_acked || tally[Figure::Acknowledged] + tally[Figure::Rejected] >= tally[Figure::Sent];
    acked && (!is_delivered || tally[Figure::Fresh] >= tally[Figure::Expected])
}
