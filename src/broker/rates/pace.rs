use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bucket::{Bucket, Rate};
use super::config::Flow;
use crate::metrics::Limit;

/// Who is held to a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Client,
    User,
    Address,
    Listener,
}

impl Scope {
    /// What is hit: the bound on messages, the bound on bytes.
    const fn limits(self) -> (Limit, Limit) {
        match self {
            Self::Client => (Limit::ClientMessageRate, Limit::ClientByteRate),
            Self::User => (Limit::UserMessageRate, Limit::UserByteRate),
            Self::Address => (Limit::AddressMessageRate, Limit::AddressByteRate),
            Self::Listener => (Limit::ListenerMessageRate, Limit::ListenerByteRate),
        }
    }
}

/// What one client, user, address or listener has sent, against what it may.
#[derive(Debug)]
pub struct Buckets {
    messages: Bucket,
    bytes: Bucket,
}

/// Shared by all connections of one user, address or listener.
pub type SharedBuckets = Arc<Mutex<Buckets>>;

impl Buckets {
    pub const fn new(now: Instant) -> Self {
        Self { messages: Bucket::new(now), bytes: Bucket::new(now) }
    }

    pub fn shared(now: Instant) -> SharedBuckets {
        Arc::new(Mutex::new(Self::new(now)))
    }

    pub fn is_full(&self, now: Instant) -> bool {
        self.messages.is_full(now) && self.bytes.is_full(now)
    }
}

/// Holds one connection to all the rates that it falls under. What a packet costs is taken after it was read; then nothing more is read
/// until that is paid. Who shares a rate with others waits its turn.
#[derive(Debug, Default)]
pub struct Pace {
    tracks: Vec<(Scope, Flow, SharedBuckets)>,
    paused_until: Option<Instant>,
}

impl Pace {
    /// Nothing is kept for a scope without a bound.
    pub fn hold_to(&mut self, scope: Scope, flow: Flow, buckets: impl FnOnce() -> SharedBuckets) {
        if !flow.is_unbounded() {
            self.tracks.push((scope, flow, buckets()));
        }
    }

    /// There is nothing to be held to.
    pub const fn is_unbounded(&self) -> bool {
        self.tracks.is_empty()
    }

    /// A packet was read. If that makes the connection wait, the limit that makes it wait longest.
    pub fn spend(&mut self, is_publish: bool, bytes: usize, now: Instant) -> Option<Limit> {
        let mut longest: Option<(Duration, Limit)> = None;
        for (scope, flow, buckets) in &self.tracks {
            let mut buckets = buckets.lock();
            let (messages_limit, bytes_limit) = scope.limits();
            let mut take = |bucket: &mut Bucket, rate: Option<Rate>, count: u64, limit: Limit| {
                let wait = rate.map_or(Duration::ZERO, |rate| bucket.take(count, rate, now));
                if wait > longest.map_or(Duration::ZERO, |(longest, _)| longest) {
                    longest = Some((wait, limit));
                }
            };
            if is_publish {
                take(&mut buckets.messages, flow.messages, 1, messages_limit);
            }
            take(&mut buckets.bytes, flow.bytes, bytes as u64, bytes_limit);
        }
        let (wait, limit) = longest?;
        self.paused_until = now.checked_add(wait);
        Some(limit)
    }

    /// Until when nothing is read, if it waits.
    pub const fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Goes on if its time has come.
    pub fn resume(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Rates;
    use super::*;
    use crate::units::ByteSize;

    #[test]
    fn the_rate_that_makes_wait_longest_is_named() {
        let (rates, now) = (Rates::default(), Instant::now());
        let mut pace = Pace::default();
        pace.hold_to(Scope::User, rates.flow(0, ByteSize(0)), || unreachable!("it has no bound"));
        assert!(pace.is_unbounded());
        pace.hold_to(Scope::Client, rates.flow(2, ByteSize(0)), || Buckets::shared(now));
        pace.hold_to(Scope::Listener, rates.flow(0, ByteSize(1000)), || Buckets::shared(now));
        assert_eq!(pace.spend(true, 100, now), None);
        assert_eq!(pace.spend(false, 100, now), None, "no message");
        assert_eq!(pace.spend(true, 100, now), None);
        assert_eq!(pace.spend(true, 100, now), Some(Limit::ClientMessageRate));
        assert_eq!(pace.paused_until(), Some(now + Duration::from_millis(500)));
        assert_eq!(pace.spend(false, 2000, now), Some(Limit::ListenerByteRate));
        assert_eq!(pace.paused_until(), Some(now + Duration::from_millis(1400)));
        pace.resume(now + Duration::from_millis(1399));
        assert!(pace.paused_until().is_some());
        pace.resume(now + Duration::from_millis(1400));
        assert_eq!(pace.paused_until(), None);
    }

    /// Ten connections that send all they can, for ten seconds: together they get the rate, and each its part.
    #[test]
    fn those_who_share_a_rate_get_equal_parts_of_it() {
        let (rates, start) = (Rates::default(), Instant::now());
        let shared = Buckets::shared(start);
        let mut paces: Vec<(Pace, u32)> = (0..10)
            .map(|_| {
                let mut pace = Pace::default();
                pace.hold_to(Scope::User, rates.flow(100, ByteSize(0)), || shared.clone());
                (pace, 0)
            })
            .collect();
        for millis in 0..10_000 {
            let now = start + Duration::from_millis(millis);
            for (pace, sent) in &mut paces {
                pace.resume(now);
                while pace.paused_until().is_none() {
                    pace.spend(true, 10, now);
                    *sent += 1;
                }
            }
        }
        let sent: Vec<u32> = paces.iter().map(|(_, sent)| *sent).collect();
        let total: u32 = sent.iter().sum();
        assert!((1090..=1120).contains(&total), "a second's burst, and ten seconds: {total}");
        // The burst goes to whoever comes first.
        assert!(sent.iter().all(|sent| (95..=210).contains(sent)), "{sent:?}");
    }
}
