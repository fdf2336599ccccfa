use std::time::Instant;

use crate::broker::Broker;
use crate::metrics::QueueFigures;
use crate::queue::{Cause, DeadReason, Part, Stats};

impl Broker {
    /// Brings the figures of the queues up to date.
    pub(in crate::broker) fn measure_queues(&self, now: Instant) {
        let wall = self.queues.moment(now);
        let figures = self.queues.all().into_iter().map(|queue| {
            let state = queue.lock();
            let (main, dead) = (state.work.part(Part::Main).stats(wall), state.work.part(Part::Dead).stats(wall));
            drop(state);
            let mount_point = queue.id.mount_point.as_deref().unwrap_or_default().to_owned();
            figures(queue.id.name.to_string(), mount_point, main, &dead)
        });
        self.metrics.queues.set(figures.collect());
        let (messages, bytes) = self.delayed_counts();
        self.metrics.delayed_messages.set(messages);
        self.metrics.delayed_bytes.set(bytes);
    }
}

fn figures(name: String, mount_point: String, main: Stats, dead: &Stats) -> QueueFigures {
    let counters = main.counters;
    let count = |counts: &std::collections::BTreeMap<Cause, u64>, cause| counts.get(&cause).copied().unwrap_or_default();
    QueueFigures {
        name,
        mount_point,
        ready: main.depth - main.leased - main.delayed,
        leased: main.leased,
        delayed: main.delayed,
        bytes: main.bytes,
        oldest_age_seconds: main.oldest_age.as_secs_f64(),
        consumers: main.consumers,
        keys: main.keys,
        blocked_keys: main.blocked_keys,
        is_paused: main.is_paused,
        enqueued: counters.enqueued,
        delivered: counters.delivered,
        settled: counters.settled,
        settled_late: counters.settled_late,
        failed: counters.failed.into_iter().collect(),
        redelivered: Cause::ALL.map(|cause| (cause.as_str(), count(&counters.redelivered, cause))).into(),
        dead: DeadReason::ALL.map(|reason| (reason.as_str(), counters.dead.get(&reason).copied().unwrap_or_default())).into(),
        dropped: [
            ("expired", counters.expired),
            ("overflow", counters.overflow_dropped),
            ("deleted", counters.deleted),
            ("dead-overflow", dead.counters.overflow_dropped),
        ],
        rejected: counters.overflow_rejected,
        dedup_hits: counters.dedup_hits,
        settle_refused: counters.settle_refused + dead.counters.settle_refused,
        dead_letters: dead.depth,
        dead_letters_oldest_age_seconds: dead.oldest_age.as_secs_f64(),
        dead_letter_consumers: dead.consumers,
        redriven: dead.counters.redriven,
    }
}
