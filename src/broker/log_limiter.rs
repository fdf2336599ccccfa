use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;

/// How many lines of one kind may be written.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Lines that may come at once.
    pub burst: u32,
    /// After a burst, the time that one more line costs.
    pub refill: Duration,
}

impl Rate {
    /// What only faults or attacks cause: ten lines, then one a second.
    pub const RARE: Self = Self { burst: 10, refill: Duration::from_secs(1) };
    /// What a fleet that comes back after an outage causes too: a thousand lines, then twenty a second.
    pub const OFTEN: Self = Self { burst: 1000, refill: Duration::from_millis(50) };
}

/// Holds back log lines that strangers can cause, so that a flood of bad clients cannot fill a disk. What was held back is told with
/// the next line that is not.
#[derive(Default)]
pub struct LogLimiter {
    buckets: Mutex<HashMap<&'static str, Bucket>>,
}

/// How many lines of the kind were held back before this one; a field that is left out when there were none.
pub type Suppressed = Option<u64>;

/// As much of a client's text as a log line takes.
const EXCERPT_MAX: usize = 256;

/// The beginning of a client's text, for a log line: topics may have 64 KiB.
pub fn excerpt(text: &str) -> &str {
    let end = (0..=EXCERPT_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

struct Bucket {
    tokens: u32,
    /// When `tokens` was last counted up.
    refilled: Instant,
    suppressed: u64,
}

impl LogLimiter {
    /// Whether a line of this rare kind may be written now.
    ///
    /// Kinds are `'static` so that a client cannot make them up, and the table stays as small as the source text.
    pub fn allow(&self, kind: &'static str, now: Instant) -> Option<Suppressed> {
        self.allow_at(Rate::RARE, kind, now)
    }

    /// The same with a rate of its own, which must be the same each time.
    pub fn allow_at(&self, rate: Rate, kind: &'static str, now: Instant) -> Option<Suppressed> {
        let mut buckets = self.buckets.lock();
        let bucket = buckets.entry(kind).or_insert(Bucket { tokens: rate.burst, refilled: now, suppressed: 0 });
        bucket.refill(rate, now);
        if bucket.tokens == 0 {
            bucket.suppressed += 1;
            return None;
        }
        bucket.tokens -= 1;
        Some(Some(std::mem::take(&mut bucket.suppressed)).filter(|count| *count > 0))
    }
}

impl Bucket {
    fn refill(&mut self, rate: Rate, now: Instant) {
        let earned = now.saturating_duration_since(self.refilled).as_nanos() / rate.refill.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if self.tokens.saturating_add(earned) >= rate.burst {
            self.tokens = rate.burst;
            self.refilled = now;
        } else {
            self.tokens += earned;
            self.refilled += rate.refill * earned;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: u32 = Rate::RARE.burst;
    const REFILL: Duration = Rate::RARE.refill;

    #[test]
    fn after_a_burst_one_line_a_second_tells_what_was_held_back() {
        let logs = LogLimiter::default();
        let start = Instant::now();
        let written = (0..1000).filter(|_| logs.allow("tls", start).is_some()).count();
        assert_eq!(written, BURST as usize);
        assert_eq!(logs.allow("tls", start + REFILL / 2), None);
        assert_eq!(logs.allow("tls", start + REFILL), Some(Some(991)));
        assert_eq!(logs.allow("tls", start + REFILL), None);
        assert_eq!(logs.allow("tls", start + REFILL * 2), Some(Some(1)));
    }

    #[test]
    fn kinds_do_not_hold_each_other_back() {
        let logs = LogLimiter::default();
        let now = Instant::now();
        while logs.allow("tls", now).is_some() {}
        assert_eq!(logs.allow("websocket", now), Some(None));
    }

    #[test]
    fn a_quiet_while_restores_the_burst_and_no_more() {
        let logs = LogLimiter::default();
        let start = Instant::now();
        while logs.allow("tls", start).is_some() {}
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| logs.allow("tls", later).is_some()).count(), BURST as usize);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_is_harmless() {
        let logs = LogLimiter::default();
        let now = Instant::now() + REFILL;
        assert_eq!(logs.allow("tls", now), Some(None));
        assert_eq!(logs.allow("tls", now - REFILL), Some(None));
    }

    #[test]
    fn an_excerpt_ends_between_characters() {
        assert_eq!(excerpt("a/b"), "a/b");
        assert_eq!(excerpt(""), "");
        let long = format!("a{}", "é".repeat(1000));
        assert_eq!(excerpt(&long).len(), EXCERPT_MAX - 1);
        assert!(long.starts_with(excerpt(&long)));
    }
}
