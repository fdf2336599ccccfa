//! What a histogram of `/metrics` says, as numbers.

use serde::Serialize;

/// A histogram of seconds since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Histogram {
    pub count: u64,
    /// Of all samples.
    pub sum: f64,
    /// Upper bounds, each with the samples up to it; what is above the last bound is in `count` only.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// The one without labels of that name, out of Prometheus' text; empty if it is not there.
    pub fn read(text: &str, name: &str) -> Self {
        let mut histogram = Self::default();
        for rest in text.lines().filter_map(|line| line.strip_prefix(name)) {
            let Some((what, value)) = rest.rsplit_once(' ') else { continue };
            match what {
                "_count" => histogram.count = value.parse().unwrap_or(0),
                "_sum" => histogram.sum = value.parse().unwrap_or(0.0),
                _ => histogram.buckets.extend(bucket(what, value)),
            }
        }
        histogram
    }
}

fn bucket(what: &str, value: &str) -> Option<(f64, u64)> {
    let bound = what.strip_prefix("_bucket{le=\"")?.strip_suffix("\"}")?;
    let bound: f64 = bound.parse().ok()?;
    bound.is_finite().then_some((bound, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Exporter;

    #[test]
    fn what_the_exporter_writes_is_read() {
        let exporter = Exporter::new();
        let metrics = exporter.metrics();
        [0.000_06, 0.000_06, 0.2, 100.0].into_iter().for_each(|seconds| metrics.latency.publish_to_ack.record(seconds));
        exporter.upkeep();
        let text = exporter.render(&metrics);
        let read = Histogram::read(&text, "dunlin_publish_to_ack_seconds");
        assert_eq!((read.count, read.buckets.len()), (4, 15));
        assert!((read.sum - 100.200_12).abs() < 1e-6, "{}", read.sum);
        let up_to = |bound: f64| read.buckets.iter().find(|(known, _)| *known == bound).map(|(_, count)| *count);
        assert_eq!([0.000_05, 0.000_1, 0.25, 30.0].map(up_to), [Some(0), Some(2), Some(3), Some(3)]);
        assert_eq!(Histogram::read(&text, "dunlin_publish_to_delivery_seconds").count, 0);
    }

    #[test]
    fn what_is_not_there_is_empty() {
        assert_eq!(Histogram::read("a_count x\na_bucket{le=\"+Inf\"} 7\na_bucket{le=\"y\"} 7\na\n", "a"), Histogram::default());
        assert_eq!(Histogram::read("ab_count 3\n", "a"), Histogram::default());
    }
}
