use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn decrement(&self) {
        self.add(-1);
    }

    /// Adds; a negative number takes away.
    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Relaxed);
    }

    /// The value; 0 while a decrement has overtaken its increment.
    pub fn get(&self) -> u64 {
        u64::try_from(self.0.load(Relaxed)).unwrap_or(0)
    }
}

/// The values of one label: a closed set, so that no client can make series.
pub trait Kind: Copy + 'static {
    const ALL: &'static [Self];

    /// The label's value.
    fn name(self) -> &'static str;

    /// Its place in `ALL`.
    fn index(self) -> usize;
}

/// One counter for each value of a label.
#[derive(Debug)]
pub struct Family<K>(Box<[Counter]>, PhantomData<fn(K)>);

impl<K: Kind> Default for Family<K> {
    fn default() -> Self {
        Self(K::ALL.iter().map(|_| Counter::default()).collect(), PhantomData)
    }
}

impl<K: Kind> Family<K> {
    /// Counts one.
    pub fn count(&self, kind: K) {
        self.add(kind, 1);
    }

    pub fn add(&self, kind: K, count: u64) {
        self.0[kind.index()].add(count);
    }

    pub fn get(&self, kind: K) -> u64 {
        self.0[kind.index()].get()
    }
}

/// One counter for each reason code, by its byte on the wire (2.4).
#[derive(Debug)]
pub struct Reasons(Box<[Counter; 256]>);

impl Default for Reasons {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| Counter::default())))
    }
}

impl Reasons {
    /// Counts one.
    pub fn count(&self, code: u8) {
        self.0[usize::from(code)].increment();
    }

    pub fn get(&self, code: u8) -> u64 {
        self.0[usize::from(code)].get()
    }

    /// The codes counted at least once, with their counts.
    pub fn seen(&self) -> impl Iterator<Item = (u8, u64)> + '_ {
        (0..=u8::MAX).map(|code| (code, self.get(code))).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limit;
    use super::*;

    #[test]
    fn a_gauge_that_was_overtaken_reads_as_zero() {
        let gauge = Gauge::default();
        gauge.decrement();
        assert_eq!(gauge.get(), 0);
        gauge.add(3);
        assert_eq!(gauge.get(), 2);
        gauge.set(7);
        assert_eq!(gauge.get(), 7);
    }

    #[test]
    fn a_family_counts_each_kind_alone() {
        let family = Family::<Limit>::default();
        family.count(Limit::MaxSessions);
        family.count(Limit::MaxSessions);
        assert_eq!(family.get(Limit::MaxSessions), 2);
        let others = Limit::ALL.iter().filter(|limit| **limit != Limit::MaxSessions);
        assert_eq!(others.map(|limit| family.get(*limit)).sum::<u64>(), 0);
    }

    #[test]
    fn only_codes_that_were_counted_are_seen() {
        let reasons = Reasons::default();
        reasons.count(0x00);
        reasons.count(0x8E);
        reasons.count(0x8E);
        reasons.count(0xFF);
        assert_eq!(reasons.seen().collect::<Vec<_>>(), [(0x00, 1), (0x8E, 2), (0xFF, 1)]);
    }
}
