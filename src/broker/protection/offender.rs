use std::time::{Duration, Instant};

/// How often something has happened lately, and how often that was too often.
#[derive(Clone, Copy, Debug)]
pub struct Offender {
    window_began: Instant,
    count: u32,
    /// Bans one after the other.
    bans: u32,
    banned_until: Option<Instant>,
}

/// What is too often, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// So many times within `window`.
    pub count: u32,
    pub window: Duration,
    pub ban_time: Duration,
    pub max_ban_time: Duration,
}

impl Offender {
    pub const fn new(now: Instant) -> Self {
        Self { window_began: now, count: 0, bans: 0, banned_until: None }
    }

    /// It has happened again; how long to ban for, if that was once too often.
    pub fn count(&mut self, rule: &Rule, now: Instant) -> Option<Duration> {
        if now.saturating_duration_since(self.window_began) >= rule.window {
            (self.window_began, self.count) = (now, 0);
        }
        if self.banned_until.is_some_and(|until| now >= until + rule.max_ban_time) {
            (self.bans, self.banned_until) = (0, None);
        }
        self.count += 1;
        if self.count < rule.count {
            return None;
        }
        let time = rule.ban_time.saturating_mul(1 << self.bans.min(30)).min(rule.max_ban_time);
        self.bans += 1;
        self.banned_until = Some(now + time);
        self.count = 0;
        Some(time)
    }

    /// Whether it may happen once more; if not, it is not counted.
    pub fn may(&mut self, rule: &Rule, now: Instant) -> bool {
        if now.saturating_duration_since(self.window_began) >= rule.window {
            (self.window_began, self.count) = (now, 0);
        }
        let may = self.count + 1 < rule.count;
        self.count += u32::from(may);
        may
    }

    /// Whether there is nothing to remember.
    pub fn is_forgiven(&self, rule: &Rule, now: Instant) -> bool {
        let is_over = self.banned_until.is_none_or(|until| now >= until + rule.max_ban_time);
        is_over && now.saturating_duration_since(self.window_began) >= rule.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RULE: Rule = Rule {
        count: 3,
        window: Duration::from_secs(10),
        ban_time: Duration::from_secs(60),
        max_ban_time: Duration::from_secs(200),
    };

    fn times(offender: &mut Offender, now: Instant, times: usize) -> Vec<Option<u64>> {
        (0..times).map(|_| offender.count(&RULE, now).map(|time| time.as_secs())).collect()
    }

    #[test]
    fn each_ban_is_twice_as_long_up_to_the_maximum() {
        let start = Instant::now();
        let mut offender = Offender::new(start);
        assert_eq!(times(&mut offender, start, 9), [None, None, Some(60), None, None, Some(120), None, None, Some(200)]);
        assert_eq!(times(&mut offender, start, 3)[2], Some(200));
    }

    #[test]
    fn what_is_spread_over_time_is_not_too_often() {
        let start = Instant::now();
        let mut offender = Offender::new(start);
        for window in 0..100 {
            assert_eq!(times(&mut offender, start + SECOND * 10 * window, 2), [None, None]);
        }
    }

    #[test]
    fn whoever_behaves_for_long_begins_anew() {
        let start = Instant::now();
        let mut offender = Offender::new(start);
        times(&mut offender, start, 3);
        assert!(!offender.is_forgiven(&RULE, start + SECOND * 259));
        assert!(offender.is_forgiven(&RULE, start + SECOND * 260));
        assert_eq!(times(&mut offender, start + SECOND * 260, 3)[2], Some(60));
    }
}
