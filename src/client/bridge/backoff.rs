use std::time::Duration;

/// Times to wait between tries: each twice the one before, up to a bound, and shortened by up to a half at random, so that a
/// thousand bridges do not come back at the same moment.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), next: min }
    }

    /// It has worked: begin with the shortest again.
    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }

    /// How long to wait now. `dice` is from 0 to 1.
    pub(super) fn wait(&mut self, dice: f64) -> Duration {
        let wait = self.next;
        self.next = self.next.saturating_mul(2).min(self.max);
        wait.mul_f64(1.0 - dice.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_up_to_a_bound_and_is_never_cut_below_half() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(5));
        assert_eq!([0.0; 5].map(|dice| backoff.wait(dice)), [1, 2, 4, 5, 5].map(seconds));
        assert_eq!(backoff.wait(1.0), Duration::from_millis(2500));
        backoff.reset();
        assert_eq!(backoff.wait(0.0), seconds(1));
    }
}
