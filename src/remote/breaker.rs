use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Stops asking somebody who does not answer, and tries again after a while with one question.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In a row.
    failures: u32,
    /// Nobody is asked until then.
    paused_until: Option<Instant>,
    /// The one question after the pause is under way.
    is_trying: bool,
}

/// Leave to ask one question. Dropped without a word, it was not answered and says nothing.
#[derive(Debug)]
pub(super) struct Leave<'a> {
    breaker: &'a Breaker,
    is_trial: bool,
}

impl Breaker {
    pub(super) fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max, pause, state: Mutex::default() }
    }

    /// `None` while nobody is asked.
    pub(super) fn ask(&self, now: Instant) -> Option<Leave<'_>> {
        let mut state = self.state.lock();
        let is_trial = state.paused_until.is_some();
        if state.paused_until.is_some_and(|until| now < until) || (is_trial && state.is_trying) {
            return None;
        }
        state.is_trying = is_trial;
        Some(Leave { breaker: self, is_trial })
    }
}

impl Leave<'_> {
    pub(super) fn answered(self) {
        *self.breaker.state.lock() = State::default();
    }

    /// Returns whether nobody is asked from now on.
    pub(super) fn failed(self, now: Instant) -> bool {
        let mut state = self.breaker.state.lock();
        state.failures = state.failures.saturating_add(1);
        let is_over = self.is_trial || state.failures >= self.breaker.failures_max;
        if is_over {
            state.paused_until = Some(now + self.breaker.pause);
        }
        is_over
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.state.lock().is_trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn after_failures_in_a_row_nobody_is_asked_until_one_trial_is_answered() {
        let (breaker, start) = (Breaker::new(2, SECOND), Instant::now());
        assert!(!breaker.ask(start).unwrap().failed(start));
        breaker.ask(start).unwrap().answered();
        assert!(!breaker.ask(start).unwrap().failed(start), "an answer between them counts");
        assert!(breaker.ask(start).unwrap().failed(start));
        assert!(breaker.ask(start).is_none());
        let later = start + SECOND;
        let trial = breaker.ask(later).unwrap();
        assert!(breaker.ask(later).is_none(), "one trial at a time");
        assert!(trial.failed(later));
        assert!(breaker.ask(later).is_none());
        let later = later + SECOND;
        breaker.ask(later).unwrap().answered();
        assert!(breaker.ask(later).is_some());
        assert!(!breaker.ask(later).unwrap().failed(later), "it begins to count anew");
    }

    #[test]
    fn a_trial_that_nobody_waits_for_any_more_makes_room_for_another() {
        let (breaker, start) = (Breaker::new(1, SECOND), Instant::now());
        assert!(breaker.ask(start).unwrap().failed(start));
        let later = start + SECOND;
        drop(breaker.ask(later).unwrap());
        assert!(breaker.ask(later).is_some());
    }
}
