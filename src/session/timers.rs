use std::time::{Duration, Instant};

/// Many timers that are cheap to set and never cancelled: an entry that is no longer wanted is found out when its time comes.
/// One entry costs its own size and 8 bytes; setting one is a push, and time moves in ticks of [`TICK`].
#[derive(Debug)]
pub struct TimerWheel<T> {
    slots: Vec<Vec<(u64, T)>>,
    start: Instant,
    /// The first tick that has not been looked at.
    next_tick: u64,
}

/// How exactly timers fire: never early, late by up to this much.
pub const TICK: Duration = Duration::from_millis(100);
const SLOTS: usize = 1024;

impl<T> TimerWheel<T> {
    pub fn new(now: Instant) -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), start: now, next_tick: 0 }
    }

    /// Hands `entry` out again once `at` has come.
    pub fn insert(&mut self, at: Instant, entry: T) {
        let tick = self.tick_of(at).max(self.next_tick);
        self.slots[(tick % SLOTS as u64) as usize].push((tick, entry));
    }

    /// All entries whose time has come.
    pub fn take_due(&mut self, now: Instant) -> Vec<T> {
        let passed = (now.saturating_duration_since(self.start).as_millis() / TICK.as_millis()) as u64;
        let mut due = Vec::new();
        // After a long sleep one turn of the wheel sees every entry.
        let turns = (passed + 1).saturating_sub(self.next_tick).min(SLOTS as u64);
        for tick in (passed + 1 - turns)..=passed {
            let slot = &mut self.slots[(tick % SLOTS as u64) as usize];
            if slot.is_empty() {
                continue;
            }
            for (at, entry) in std::mem::take(slot) {
                if at <= passed {
                    due.push(entry);
                } else {
                    slot.push((at, entry));
                }
            }
        }
        self.next_tick = self.next_tick.max(passed + 1);
        due
    }

    pub fn len(&self) -> usize {
        self.slots.iter().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(Vec::is_empty)
    }

    fn tick_of(&self, at: Instant) -> u64 {
        // Of nanoseconds: an entry that fires a part of a millisecond early finds that nothing is due.
        at.saturating_duration_since(self.start).as_nanos().div_ceil(TICK.as_nanos()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_once_never_early_and_at_most_a_tick_late() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start);
        let delays = [0_u64, 1, 99, 100, 101, 5_000, 102_399, 102_400, 250_000, 1_000_000];
        for delay in delays {
            wheel.insert(start + Duration::from_millis(delay), delay);
        }
        let mut fired = Vec::new();
        for step in 0..=20_002_u64 {
            let millis = step * 50;
            for delay in wheel.take_due(start + Duration::from_millis(millis)) {
                assert!(delay <= millis && millis < delay + 150, "{delay} fired at {millis}");
                fired.push(delay);
            }
        }
        assert_eq!(fired, delays);
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_part_of_a_millisecond_behind_a_tick_is_not_early() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start);
        let at = start + TICK * 3 + Duration::from_nanos(1);
        wheel.insert(at, ());
        assert!(wheel.take_due(start + TICK * 3).is_empty());
        assert!(wheel.take_due(at).is_empty());
        assert_eq!(wheel.take_due(start + TICK * 4), [()]);
    }

    #[test]
    fn a_long_sleep_loses_no_timer() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start);
        for delay in 0..300 {
            wheel.insert(start + Duration::from_secs(delay), delay);
        }
        let mut due = wheel.take_due(start + Duration::from_secs(3600));
        due.sort_unstable();
        assert_eq!(due, (0..300).collect::<Vec<_>>());
        wheel.insert(start, 1); // in the past: with the next tick
        assert_eq!(wheel.take_due(start + Duration::from_millis(3_600_100)), [1]);
    }
}
