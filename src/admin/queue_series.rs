//! The series of the work queues. Queues come and go, and so do their series: they are written anew for each scrape.

use std::fmt::Write;

use crate::metrics::QueueFigures;

/// Appends them in the text format of Prometheus.
pub(super) fn render(queues: &[QueueFigures], text: &mut String) {
    let mut series = Series { queues, text };
    series.gauge("dunlin_queue_bytes", "Bytes of the messages in a work queue.", |queue| queue.bytes as f64);
    series.labelled("dunlin_queue_messages", "gauge", "Messages in a work queue, by state.", "state", |queue| {
        vec![("ready".into(), queue.ready), ("leased".into(), queue.leased), ("delayed".into(), queue.delayed)]
    });
    series.gauge("dunlin_queue_oldest_age_seconds", "How long the oldest message has been in the queue.", |queue| {
        queue.oldest_age_seconds
    });
    series.gauge("dunlin_queue_consumers", "Consumers of a queue, those that are away too.", |queue| queue.consumers as f64);
    series.gauge("dunlin_queue_keys", "Ordering keys that have messages.", |queue| queue.keys as f64);
    series.gauge("dunlin_queue_blocked_keys", "Ordering keys that stand still because of a dead message.", |queue| {
        queue.blocked_keys as f64
    });
    series.gauge("dunlin_queue_paused", "1 while no message leaves, by an operator's word.", |queue| {
        f64::from(u8::from(queue.is_paused))
    });
    series.gauge("dunlin_queue_dead_letters", "Messages among the dead letters of a queue.", |queue| queue.dead_letters as f64);
    series.gauge("dunlin_queue_dead_letters_oldest_age_seconds", "How long the oldest dead letter has been there.", |queue| {
        queue.dead_letters_oldest_age_seconds
    });
    series.gauge("dunlin_queue_dead_letter_consumers", "Consumers of the dead letters.", |queue| {
        queue.dead_letter_consumers as f64
    });
    series.counter("dunlin_queue_enqueued_total", "Messages taken in.", |queue| queue.enqueued);
    series.counter("dunlin_queue_delivered_total", "Deliveries to consumers.", |queue| queue.delivered);
    series.counter("dunlin_queue_settled_total", "Messages done.", |queue| queue.settled);
    series.counter("dunlin_queue_settled_late_total", "Those of them that were settled after their lease was over.", |queue| {
        queue.settled_late
    });
    series.counter("dunlin_queue_rejected_total", "Publishes refused because the queue was full.", |queue| queue.rejected);
    series.counter("dunlin_queue_dedup_hits_total", "Repeated publishes that were taken once.", |queue| queue.dedup_hits);
    series.counter("dunlin_queue_redriven_total", "Dead letters that went back into their queue.", |queue| queue.redriven);
    series.counter("dunlin_queue_settle_refused_total", "Settle topics that named no lease of their client.", |queue| {
        queue.settle_refused
    });
    series.labelled("dunlin_queue_failed_total", "counter", "Failed attempts that a reason code told of.", "code", |queue| {
        queue.failed.iter().map(|(code, count)| (format!("0x{code:02x}"), *count)).collect()
    });
    let named = |counts: &[(&'static str, u64)]| counts.iter().map(|(name, count)| ((*name).into(), *count)).collect();
    series.labelled("dunlin_queue_redelivered_total", "counter", "Leases that ended undone, by cause.", "cause", |queue| {
        named(&queue.redelivered)
    });
    series
        .labelled("dunlin_queue_dead_total", "counter", "Messages that died, by reason.", "reason", |queue| named(&queue.dead));
    series.labelled("dunlin_queue_dropped_total", "counter", "Messages that went away undone, by reason.", "reason", |queue| {
        named(&queue.dropped)
    });
}

struct Series<'a> {
    queues: &'a [QueueFigures],
    text: &'a mut String,
}

impl Series<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: impl Fn(&QueueFigures) -> f64) {
        self.head(name, "gauge", help);
        for queue in self.queues {
            self.line(name, queue, "", &value(queue).to_string());
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Fn(&QueueFigures) -> u64) {
        self.head(name, "counter", help);
        for queue in self.queues {
            self.line(name, queue, "", &value(queue).to_string());
        }
    }

    fn labelled(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: impl Fn(&QueueFigures) -> Vec<(String, u64)>,
    ) {
        self.head(name, kind, help);
        for queue in self.queues {
            for (of, value) in values(queue) {
                self.line(name, queue, &format!(",{label}=\"{of}\""), &value.to_string());
            }
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        if !self.queues.is_empty() {
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}"); // a String takes it
        }
    }

    fn line(&mut self, name: &str, queue: &QueueFigures, more: &str, value: &str) {
        let mount_point = match &*queue.mount_point {
            "" => String::new(),
            mount_point => format!(",mount_point=\"{}\"", escaped(mount_point)),
        };
        let _ = writeln!(self.text, "{name}{{queue=\"{}\"{mount_point}{more}}} {value}", escaped(&queue.name));
    }
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_queues_are_told_as_they_are() {
        let queue = QueueFigures {
            name: "a \"b\"".into(),
            mount_point: "m/".into(),
            ready: 3,
            failed: vec![(0x83, 2)],
            ..QueueFigures::default()
        };
        let mut text = String::new();
        render(&[queue], &mut text);
        assert!(text.contains("dunlin_queue_messages{queue=\"a \\\"b\\\"\",mount_point=\"m/\",state=\"ready\"} 3\n"), "{text}");
        assert!(
            text.contains("dunlin_queue_failed_total{queue=\"a \\\"b\\\"\",mount_point=\"m/\",code=\"0x83\"} 2\n"),
            "{text}"
        );
    }

    #[test]
    fn without_queues_there_is_nothing() {
        let mut text = String::new();
        render(&[], &mut text);
        assert!(text.is_empty());
    }
}
