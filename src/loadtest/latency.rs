//! Histograms of times, and what is told of them.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longer times count as this.
const HIGHEST: u64 = 3_600_000_000_000;

/// Times in nanoseconds, to three digits.
#[derive(Clone, Debug)]
pub(super) struct Times(Histogram<u64>);

impl Times {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, HIGHEST, 3).expect("the bounds are valid"))
    }

    pub(super) fn note(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds.max(1));
    }

    /// The same time for so many.
    pub(super) fn note_many(&mut self, nanoseconds: u64, count: u64) {
        // None of them would still be taken for the least or the most.
        if count > 0 {
            self.0.saturating_record_n(nanoseconds.max(1), count);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// `None` if there was none.
    pub(super) fn summary(&self) -> Option<LatencySummary> {
        let at = |quantile| micros(self.0.value_at_quantile(quantile));
        (!self.0.is_empty()).then(|| LatencySummary {
            count: self.0.len(),
            min: micros(self.0.min()),
            mean: (self.0.mean() / 100.0).round() / 10.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: micros(self.0.max()),
        })
    }
}

/// Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencySummary {
    pub count: u64,
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// To a tenth.
fn micros(nanoseconds: u64) -> f64 {
    (nanoseconds as f64 / 100.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_noted() {
        let mut times = Times::new();
        assert_eq!(times.summary(), None);
        for value in 1..=1000 {
            times.note(value * 1000);
        }
        let mut other = Times::new();
        other.note_many(u64::MAX, 1);
        other.note_many(1, 0);
        times.add(&other);
        let summary = times.summary().unwrap();
        assert_eq!((summary.count, summary.min), (1001, 1.0));
        let near = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 0.002;
        assert!(near(summary.p50, 501.0) && near(summary.p90, 901.0) && near(summary.p99, 991.0), "{summary:?}");
        assert!(near(summary.max, HIGHEST as f64 / 1000.0), "{summary:?}");
    }
}
