use std::time::{Duration, Instant};

/// How many tokens come in a second, and for how long they gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: u64,
    burst: Duration,
}

impl Rate {
    /// `None` for 0: no bound.
    pub fn new(per_second: u64, burst: Duration) -> Option<Self> {
        (per_second > 0).then_some(Self { per_second, burst })
    }

    /// The time in which so many tokens come.
    fn cost(self, count: u64) -> Duration {
        let nanos = u128::from(count) * 1_000_000_000 / u128::from(self.per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A token bucket, kept as the one instant at which it is full again. It may go into debt: then whoever took pays by waiting, and
/// those who share it wait in the order in which they took.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    pub const fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes so many tokens, whether they are there or not; returns the time until they are paid for.
    pub fn take(&mut self, count: u64, rate: Rate, now: Instant) -> Duration {
        let cost = rate.cost(count);
        self.full_at = self.full_at.max(now).checked_add(cost).unwrap_or(self.full_at);
        self.full_at.saturating_duration_since(now).saturating_sub(rate.burst)
    }

    /// Takes a token if there is one. Where the burst is too short for one, a full bucket has it.
    pub fn try_take(&mut self, rate: Rate, now: Instant) -> bool {
        let cost = rate.cost(1);
        let is_there = self.full_at.saturating_duration_since(now) <= rate.burst.saturating_sub(cost);
        if is_there {
            self.full_at = self.full_at.max(now) + cost;
        }
        is_there
    }

    /// Whether it is as good as a new one.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(per_second: u64) -> Rate {
        Rate::new(per_second, SECOND).unwrap()
    }

    #[test]
    fn a_burst_is_free_and_then_each_token_has_its_price() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        assert!((0..10).all(|_| bucket.take(1, rate(10), start).is_zero()));
        assert_eq!(bucket.take(1, rate(10), start), Duration::from_millis(100));
        assert_eq!(bucket.take(5, rate(10), start), Duration::from_millis(600));
        let later = start + Duration::from_millis(600);
        assert_eq!(bucket.take(1, rate(10), later), Duration::from_millis(100), "paid, but for this one");
    }

    #[test]
    fn whoever_takes_first_from_a_bucket_in_debt_waits_least() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        bucket.take(10, rate(10), start);
        let waits: Vec<_> = (0..3).map(|_| bucket.take(1, rate(10), start).as_millis()).collect();
        assert_eq!(waits, [100, 200, 300]);
    }

    #[test]
    fn over_a_long_time_no_more_comes_through_than_the_rate() {
        let start = Instant::now();
        let (mut bucket, mut now, mut taken) = (Bucket::new(start), start, 0_u64);
        while now < start + SECOND * 60 {
            taken += 7;
            // Timers ring a little late, which must not cost any of the rate.
            now += bucket.take(7, rate(1000), now) + Duration::from_micros(700);
        }
        assert!((60_000..61_100).contains(&taken), "{taken} in a minute");
    }

    #[test]
    fn tokens_do_not_gather_for_longer_than_the_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        bucket.take(3, rate(10), start);
        assert!(!bucket.is_full(start) && bucket.is_full(start + SECOND));
        let later = start + SECOND * 3600;
        assert_eq!((0..100).filter(|_| bucket.try_take(rate(10), later)).count(), 10);
    }

    #[test]
    fn what_is_only_tried_makes_no_debt() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        assert_eq!((0..1000).filter(|_| bucket.try_take(rate(10), start)).count(), 10);
        assert!(bucket.try_take(rate(10), start + Duration::from_millis(100)));
        assert!(!bucket.try_take(rate(10), start + Duration::from_millis(100)));
        let mut slow = Bucket::new(start);
        let one_in_ten_seconds = Rate { per_second: 1, burst: Duration::from_millis(100) };
        assert!(slow.try_take(one_in_ten_seconds, start) && !slow.try_take(one_in_ten_seconds, start));
        assert!(slow.try_take(one_in_ten_seconds, start + SECOND));
    }

    #[test]
    fn absurd_numbers_and_a_clock_that_goes_back_are_harmless() {
        let start = Instant::now() + SECOND;
        let mut bucket = Bucket::new(start);
        for _ in 0..3 {
            bucket.take(u64::MAX, rate(1), start);
            bucket.take(u64::MAX, rate(u64::MAX), start - SECOND);
        }
        assert!(!bucket.is_full(start));
        assert_eq!(Rate::new(0, SECOND), None);
    }
}
