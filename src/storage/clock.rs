use std::time::{Duration, Instant};

/// Turns the monotonic time that the broker runs by into the wall-clock time that is stored, and back. Taken once, so that a clock that
/// is set while the broker runs changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    instant: Instant,
    /// Milliseconds since the epoch.
    wall: u64,
}

impl Clock {
    /// `wall`, in milliseconds since the epoch, is the time at `instant`.
    pub fn new(instant: Instant, wall: u64) -> Self {
        super::body::begin_time(instant);
        Self { instant, wall }
    }

    /// Milliseconds since the epoch.
    pub fn wall(&self, instant: Instant) -> u64 {
        match instant.checked_duration_since(self.instant) {
            Some(since) => self.wall.saturating_add(milliseconds(since)),
            None => self.wall.saturating_sub(milliseconds(self.instant - instant)),
        }
    }

    /// The instant of a time that was stored; one that lies before this machine's clock began is the earliest that can be told.
    pub fn instant(&self, wall: u64) -> Instant {
        if wall >= self.wall {
            let ahead = Duration::from_millis((wall - self.wall).min(FAR));
            return self.instant + ahead;
        }
        self.instant.checked_sub(Duration::from_millis(self.wall - wall)).unwrap_or(self.instant)
    }
}

/// A hundred years: what is further away never comes, and must not overflow.
const FAR: u64 = 100 * 365 * 86_400 * 1000;

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_were() {
        let now = Instant::now();
        let clock = Clock::new(now, 1_000_000);
        assert_eq!(clock.wall(now + Duration::from_secs(5)), 1_005_000);
        assert_eq!(clock.instant(1_005_000), now + Duration::from_secs(5));
        assert_eq!(clock.wall(clock.instant(999_000)), 999_000);
        assert!(clock.instant(u64::MAX) > now + Duration::from_secs(86_400 * 365));
    }
}
