//! `$SYS/broker/…` with the names and formats of mosquitto(8).

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::metrics::{Batch, Metrics, PacketType, QueueFigures};

use super::Process;

/// The figures of the last tick, so that only changes are published.
#[derive(Debug)]
pub struct SysTopics {
    started: Instant,
    last_tick: Instant,
    loads: Vec<Load>,
    clients_maximum: u64,
    published: HashMap<String, String>,
}

/// Which total a rate is of.
type ReadTotal = fn(&Totals<'_>) -> u64;

/// What averages are kept of, under `$SYS/broker/load/`.
const RATES: [(&str, ReadTotal); 9] = [
    ("messages/received", |totals| totals.traffic.all_packets_received()),
    ("messages/sent", |totals| totals.traffic.all_packets_sent()),
    ("publish/dropped", |totals| totals.traffic.messages_lost()),
    ("publish/received", |totals| totals.traffic.packets_received(PacketType::Publish)),
    ("publish/sent", |totals| totals.traffic.packets_sent(PacketType::Publish)),
    ("bytes/received", |totals| totals.traffic.total_bytes_received()),
    ("bytes/sent", |totals| totals.traffic.total_bytes_sent()),
    ("sockets", |totals| totals.sockets),
    ("connections", |totals| totals.traffic.packets_received(PacketType::Connect)),
];

const WINDOWS: [(&str, Duration); 3] =
    [("1min", Duration::from_secs(60)), ("5min", Duration::from_secs(300)), ("15min", Duration::from_secs(900))];

impl SysTopics {
    /// For a broker that started at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            started: now,
            last_tick: now,
            loads: vec![Load::default(); RATES.len()],
            clients_maximum: 0,
            published: HashMap::new(),
        }
    }

    /// The topics, with their payloads, whose value has changed since the last tick; all of them at the first one. To be published
    /// retained. `now` may not go back.
    ///
    /// The heap is the resident memory of the process. The maximum of clients is the largest number seen at a tick. Stored messages
    /// are the retained ones and those that wait in queues, once for each queue.
    pub fn tick(&mut self, metrics: &Metrics, process: &Process, now: Instant) -> Vec<(String, String)> {
        let totals = Totals::read(metrics);
        self.clients_maximum = self.clients_maximum.max(totals.online());
        let mut values = vec![
            ("version".into(), concat!("dunlin version ", env!("CARGO_PKG_VERSION")).into()),
            ("uptime".into(), format!("{} seconds", now.saturating_duration_since(self.started).as_secs())),
        ];
        values.extend(self.loads(&totals, now));
        values.extend(totals.counts().map(|(name, count)| (name.into(), count.to_string())));
        let memory = [
            ("clients/maximum", self.clients_maximum),
            ("heap/current", process.resident_bytes),
            ("heap/maximum", process.peak_resident_bytes),
        ];
        values.extend(memory.map(|(name, bytes)| (name.into(), bytes.to_string())));
        metrics.queues.get().iter().for_each(|queue| values.extend(of_queue(queue)));
        self.last_tick = now;
        self.changed(values)
    }

    fn loads(&mut self, totals: &Totals<'_>, now: Instant) -> Vec<(String, String)> {
        let elapsed = now.saturating_duration_since(self.last_tick);
        let mut values = Vec::new();
        for (load, (name, read)) in self.loads.iter_mut().zip(RATES) {
            load.update(read(totals), elapsed);
            for (average, (window, _)) in load.averages.iter().zip(WINDOWS) {
                values.push((format!("load/{name}/{window}"), format!("{average:.2}")));
            }
        }
        values
    }

    fn changed(&mut self, values: Vec<(String, String)>) -> Vec<(String, String)> {
        let mut changed = self.cleared(&values);
        for (name, value) in values {
            if self.published.get(&name) != Some(&value) {
                changed.push((format!("$SYS/broker/{name}"), value.clone()));
                self.published.insert(name, value);
            }
        }
        changed
    }

    /// What is published of queues that are gone: with an empty payload nothing of it stays retained.
    fn cleared(&mut self, values: &[(String, String)]) -> Vec<(String, String)> {
        let names: HashSet<&str> = values.iter().map(|(name, _)| &**name).collect();
        let gone = self.published.extract_if(|name, _| !names.contains(&**name));
        gone.map(|(name, _)| (format!("$SYS/broker/{name}"), String::new())).collect()
    }
}

/// `queues/NAME/…`; of a queue at a mount point, `queues/PREFIX/NAME/…`.
fn of_queue(queue: &QueueFigures) -> impl Iterator<Item = (String, String)> {
    let place = match queue.mount_point.trim_matches('/') {
        "" => format!("queues/{}", queue.name),
        mount_point => format!("queues/{mount_point}/{}", queue.name),
    };
    let sum = |counts: &[(&str, u64)]| counts.iter().map(|(_, count)| count).sum::<u64>();
    let values = [
        ("messages", queue.ready + queue.leased + queue.delayed),
        ("messages/ready", queue.ready),
        ("messages/leased", queue.leased),
        ("messages/delayed", queue.delayed),
        ("bytes", queue.bytes),
        ("oldest", queue.oldest_age_seconds as u64),
        ("consumers", queue.consumers),
        ("blocked", queue.blocked_keys),
        ("enqueued", queue.enqueued),
        ("settled", queue.settled),
        ("failed", queue.failed.iter().map(|(_, count)| count).sum()),
        ("redelivered", sum(&queue.redelivered)),
        ("duplicates", queue.dedup_hits),
        ("dead", sum(&queue.dead)),
        ("dead/waiting", queue.dead_letters),
    ];
    values.into_iter().map(move |(name, value)| (format!("{place}/{name}"), value.to_string()))
}

/// How many a minute, averaged with exponential decay over each window.
#[derive(Clone, Debug, Default)]
struct Load {
    last_total: u64,
    averages: [f64; WINDOWS.len()],
}

impl Load {
    fn update(&mut self, total: u64, elapsed: Duration) {
        if elapsed.is_zero() {
            return;
        }
        let per_minute = total.saturating_sub(self.last_total) as f64 * 60.0 / elapsed.as_secs_f64();
        self.last_total = total;
        for (average, (_, window)) in self.averages.iter_mut().zip(WINDOWS) {
            let kept = (-elapsed.as_secs_f64() / window.as_secs_f64()).exp();
            *average = per_minute + kept * (*average - per_minute);
        }
    }
}

/// The figures at one tick.
struct Totals<'a> {
    metrics: &'a Metrics,
    traffic: Batch,
    sockets: u64,
}

impl<'a> Totals<'a> {
    fn read(metrics: &'a Metrics) -> Self {
        let sockets = metrics.listeners().iter().map(|listener| listener.accepted.get()).sum();
        Self { metrics, traffic: metrics.traffic(), sockets }
    }

    fn online(&self) -> u64 {
        self.metrics.sessions.online.get()
    }

    fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let (metrics, traffic) = (self.metrics, &self.traffic);
        let (online, offline) = (self.online(), metrics.sessions.offline.get());
        let stored = metrics.retained_messages.get() + traffic.queued_messages();
        [
            ("clients/total", online + offline),
            ("clients/connected", online),
            ("clients/active", online),
            ("clients/disconnected", offline),
            ("clients/inactive", offline),
            ("clients/expired", metrics.sessions.expired.get()),
            ("connections/socket/count", self.sockets),
            ("messages/received", traffic.all_packets_received()),
            ("messages/sent", traffic.all_packets_sent()),
            ("messages/stored", stored),
            ("messages/inflight", traffic.inflight_messages()),
            ("store/messages/count", stored),
            ("store/messages/bytes", metrics.retained_bytes.get() + traffic.queued_bytes()),
            ("publish/messages/received", traffic.packets_received(PacketType::Publish)),
            ("publish/messages/sent", traffic.packets_sent(PacketType::Publish)),
            ("publish/messages/dropped", traffic.messages_lost()),
            ("publish/bytes/received", traffic.payload_bytes_received()),
            ("publish/bytes/sent", traffic.payload_bytes_sent()),
            ("bytes/received", traffic.total_bytes_received()),
            ("bytes/sent", traffic.total_bytes_sent()),
            ("retained messages/count", metrics.retained_messages.get()),
            ("subscriptions/count", metrics.subscriptions.get()),
            ("shared_subscriptions/count", metrics.shared_subscriptions.get()),
        ]
        .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::DropReason;

    struct Ticks {
        sys: SysTopics,
        now: Instant,
        metrics: Metrics,
        process: Process,
    }

    impl Ticks {
        fn new() -> Self {
            let now = Instant::now();
            Self { sys: SysTopics::new(now), now, metrics: Metrics::default(), process: Process::default() }
        }

        fn after(&mut self, seconds: u64) -> HashMap<String, String> {
            self.now += Duration::from_secs(seconds);
            let changed = self.sys.tick(&self.metrics, &self.process, self.now);
            let count = changed.len();
            let map: HashMap<_, _> = changed.into_iter().collect();
            assert_eq!(map.len(), count, "a topic twice in one tick");
            map
        }

        fn count(&self, fill: impl FnOnce(&mut Batch)) {
            let mut batch = Batch::default();
            fill(&mut batch);
            self.metrics.add(&mut batch);
        }
    }

    #[test]
    fn the_first_tick_publishes_all_of_mosquittos_topics() {
        let mut ticks = Ticks::new();
        let first = ticks.after(0);
        let loads = [
            "messages/received",
            "messages/sent",
            "publish/dropped",
            "publish/received",
            "publish/sent",
            "bytes/received",
            "bytes/sent",
            "sockets",
            "connections",
        ];
        for load in loads {
            for window in ["1min", "5min", "15min"] {
                assert_eq!(first[&format!("$SYS/broker/load/{load}/{window}")], "0.00");
            }
        }
        for name in [
            "clients/total",
            "clients/connected",
            "clients/disconnected",
            "clients/inactive",
            "clients/active",
            "clients/maximum",
            "clients/expired",
            "messages/received",
            "messages/sent",
            "messages/stored",
            "messages/inflight",
            "publish/messages/received",
            "publish/messages/sent",
            "publish/messages/dropped",
            "publish/bytes/received",
            "publish/bytes/sent",
            "bytes/received",
            "bytes/sent",
            "retained messages/count",
            "store/messages/count",
            "store/messages/bytes",
            "subscriptions/count",
            "shared_subscriptions/count",
            "heap/current",
            "heap/maximum",
        ] {
            assert_eq!(first[&format!("$SYS/broker/{name}")], "0", "{name}");
        }
        assert_eq!(first["$SYS/broker/version"], format!("dunlin version {}", env!("CARGO_PKG_VERSION")));
        assert_eq!(first["$SYS/broker/uptime"], "0 seconds");
    }

    #[test]
    fn later_ticks_publish_only_what_changed() {
        let mut ticks = Ticks::new();
        ticks.after(0);
        assert_eq!(ticks.after(10), HashMap::from([("$SYS/broker/uptime".to_owned(), "10 seconds".to_owned())]));

        ticks.metrics.subscriptions.increment();
        let changed = ticks.after(10);
        assert_eq!(changed["$SYS/broker/subscriptions/count"], "1");
        assert_eq!(changed["$SYS/broker/uptime"], "20 seconds");
        assert_eq!(changed.len(), 2);
    }

    #[test]
    fn nothing_is_retained_of_a_queue_that_is_gone() {
        let mut ticks = Ticks::new();
        ticks.metrics.queues.set(vec![QueueFigures { name: "jobs".into(), ..QueueFigures::default() }]);
        assert_eq!(ticks.after(0)["$SYS/broker/queues/jobs/messages"], "0");
        ticks.metrics.queues.set(Vec::new());
        let cleared = ticks.after(10);
        assert_eq!(cleared["$SYS/broker/queues/jobs/messages"], "");
        assert_eq!(cleared.keys().filter(|topic| topic.contains("/queues/")).count(), 15);
        assert!(ticks.after(10).keys().all(|topic| !topic.contains("/queues/")), "told once");
    }

    #[test]
    fn counts_come_from_the_metrics() {
        let mut ticks = Ticks::new();
        ticks.metrics.sessions.online.add(3);
        ticks.metrics.sessions.offline.add(2);
        ticks.metrics.retained_messages.set(4);
        ticks.metrics.retained_bytes.set(400);
        ticks.process.resident_bytes = 1000;
        ticks.process.peak_resident_bytes = 2000;
        ticks.count(|batch| {
            batch.packet_received(PacketType::Connect);
            batch.packet_received(PacketType::Publish);
            batch.publish_received(1, 30);
            batch.queued(5, 500);
            batch.inflight(6);
            batch.dropped(DropReason::QueueFull, 7);
            batch.dropped(DropReason::NoSubscriber, 100);
        });
        let first = ticks.after(0);
        for (name, value) in [
            ("clients/total", "5"),
            ("clients/active", "3"),
            ("clients/inactive", "2"),
            ("clients/maximum", "3"),
            ("messages/received", "2"),
            ("messages/stored", "9"),
            ("store/messages/bytes", "900"),
            ("messages/inflight", "6"),
            ("publish/messages/received", "1"),
            ("publish/messages/dropped", "7"),
            ("publish/bytes/received", "30"),
            ("heap/current", "1000"),
            ("heap/maximum", "2000"),
        ] {
            assert_eq!(first[&format!("$SYS/broker/{name}")], value, "{name}");
        }
        ticks.metrics.sessions.online.add(-3);
        let second = ticks.after(10);
        assert_eq!(second["$SYS/broker/clients/connected"], "0");
        assert_eq!(second.get("$SYS/broker/clients/maximum"), None, "the maximum stays");
    }

    /// 100 messages in 10 s are 600 a minute: 600 × (1 − e^(−10/60)) = 92.11, over 5 min 19.67, over 15 min 6.63;
    /// then nothing for 10 s: 92.11 × e^(−10/60) = 77.97, 19.67 × e^(−10/300) = 19.03, 6.63 × e^(−10/900) = 6.56.
    #[test]
    fn loads_decay_over_their_windows() {
        let mut ticks = Ticks::new();
        ticks.after(0);
        ticks.count(|batch| (0..100).for_each(|_| batch.packet_received(PacketType::PingReq)));
        let busy = ticks.after(10);
        let load = |tick: &HashMap<String, String>, window: &str| {
            tick[&format!("$SYS/broker/load/messages/received/{window}")].clone()
        };
        assert_eq!(["1min", "5min", "15min"].map(|window| load(&busy, window)), ["92.11", "19.67", "6.63"]);
        let idle = ticks.after(10);
        assert_eq!(["1min", "5min", "15min"].map(|window| load(&idle, window)), ["77.97", "19.03", "6.56"]);
    }

    #[test]
    fn a_constant_rate_becomes_the_average() {
        let mut ticks = Ticks::new();
        let listener = ticks.metrics.listener("tcp");
        let mut last = String::new();
        for _ in 0..600 {
            (0..5).for_each(|_| drop(listener.accept()));
            if let Some(value) = ticks.after(10).remove("$SYS/broker/load/sockets/1min") {
                last = value;
            }
        }
        assert_eq!(last, "30.00");
    }

    #[test]
    fn two_ticks_at_one_instant_lose_nothing() {
        let mut ticks = Ticks::new();
        ticks.count(|batch| batch.bytes_sent(60));
        ticks.after(0);
        assert_eq!(ticks.after(60)["$SYS/broker/load/bytes/sent/1min"], "37.93"); // 60 × (1 − e^−1)
    }
}
