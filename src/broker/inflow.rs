use std::time::{Duration, Instant};

/// How much a connection has sent, and how fast lately. Brought up to date once per wake of its task, under a lock that is taken anyway.
#[derive(Clone, Copy, Debug)]
pub struct Inflow {
    begun: Instant,
    /// Bytes since the connection began.
    received: u64,
    /// Of these, before the present span.
    before: u64,
    /// When the present span began, in milliseconds after the connection: no more than 49 days lie between two of them, or the rate is
    /// wrong once.
    span_at: u32,
    /// Bytes per second in the span before.
    rate: u32,
}

/// A rate is that of at least so long.
const SPAN: Duration = Duration::from_secs(5);

impl Inflow {
    pub const fn new(now: Instant) -> Self {
        Self { begun: now, received: 0, before: 0, span_at: 0, rate: 0 }
    }

    pub const fn begun(&self) -> Instant {
        self.begun
    }

    pub const fn received(&self) -> u64 {
        self.received
    }

    /// `received` bytes have come in all.
    #[inline]
    pub fn set(&mut self, received: u64, now: Instant) {
        let elapsed = self.elapsed(now);
        if elapsed >= SPAN {
            // What has come just now belongs to the next span.
            self.rate = per_second(self.received - self.before, elapsed);
            self.before = self.received;
            self.span_at = self.milliseconds(now);
        }
        self.received = received;
    }

    /// Bytes per second, lately.
    pub fn rate(&self, now: Instant) -> u32 {
        let elapsed = self.elapsed(now);
        if elapsed >= SPAN { per_second(self.received - self.before, elapsed) } else { self.rate }
    }

    fn elapsed(&self, now: Instant) -> Duration {
        Duration::from_millis(self.milliseconds(now).wrapping_sub(self.span_at).into())
    }

    fn milliseconds(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.begun).as_millis() as u32
    }
}

fn per_second(bytes: u64, elapsed: Duration) -> u32 {
    let per_second = u128::from(bytes) * 1000 / elapsed.as_millis().max(1);
    u32::try_from(per_second).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_span_and_falls_in_silence() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut inflow = Inflow::new(start);
        inflow.set(1000, at(1));
        assert_eq!(inflow.rate(at(2)), 0, "it is not known yet");
        inflow.set(5000, at(4));
        inflow.set(6000, at(5));
        assert_eq!((inflow.rate(at(6)), inflow.received()), (1000, 6000));
        assert_eq!(inflow.rate(at(15)), 100, "1000 bytes since the span began ten seconds ago");
        inflow.set(6000, at(15));
        inflow.set(6000, at(25));
        assert_eq!(inflow.rate(at(26)), 0);
    }
}
