//! What runs beside the connections: the broker's clock, `$SYS`, presence, the watchdog.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::house::{limit, warn_of_expiry};
use crate::admin::{Process, SysConfig, SysTopics, presence};
use crate::broker::{Broker, Event, EventKind, Publisher};
use crate::metrics::{Limit, ListenerMetrics};
use crate::packet::{ForwardedProperties, Message, MessageView, QoS, TopicName};
use crate::session::timers::TICK;
use crate::transport::{ConnectionGate, HandshakeStep, ListenerContext, Refused};

/// Events that may wait to be told; more are dropped, since nobody's connection waits for them.
pub const EVENTS_MAX: usize = 10_000;

/// How often what is remembered of users and addresses is looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How often certificates that are about to end are told of.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Moves the broker's timers, for ever.
pub async fn run_timers(broker: Arc<Broker>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        broker.handle_timeout(Instant::now());
    }
}

/// How long the work queues are left alone after each look, however much is due.
const QUEUES_REST: Duration = Duration::from_millis(1);

/// Ends leases, makes delayed messages ready, and takes back what sessions have let go of, for ever.
pub async fn run_queues(broker: Arc<Broker>) {
    loop {
        broker.queues_are_due().await;
        broker.tend_queues(Instant::now());
        tokio::time::sleep(QUEUES_REST).await;
    }
}

/// Brings gauges up to date once a second, and counts what the listeners have refused, for ever.
pub async fn run_gauges(broker: Arc<Broker>, listeners: Vec<(Arc<ListenerContext>, Arc<ListenerMetrics>)>) {
    let mut ticks = interval(Duration::from_secs(1));
    let mut known = vec![([0; HandshakeStep::ALL.len()], [0; Refused::ALL.len()], 0); listeners.len()];
    loop {
        ticks.tick().await;
        broker.measure(Instant::now());
        for ((context, metrics), (failures, refusals, pauses)) in listeners.iter().zip(&mut known) {
            for (step, before) in HandshakeStep::ALL.into_iter().zip(failures) {
                let now = context.stats.handshake_failures(step);
                let failed = now - std::mem::replace(before, now);
                metrics.handshake_failures.add(failed);
                if step == HandshakeStep::Timeout {
                    broker.metrics.limit_hits.add(Limit::ConnectTimeout, failed);
                }
            }
            for (refused, before) in Refused::ALL.into_iter().zip(refusals) {
                let now = context.stats.refusals(refused);
                broker.metrics.limit_hits.add(limit(refused), now - std::mem::replace(before, now));
            }
            let now = context.stats.pauses();
            let paused = now - std::mem::replace(pauses, now);
            broker.metrics.limit_hits.add(Limit::ListenerConnectionRate, paused);
        }
    }
}

/// Tells every day of certificates that end soon, or have, for ever. What is read at the start or by a reload is told of then.
pub async fn run_expiry_warnings(listeners: Vec<Arc<ListenerMetrics>>) {
    let mut days = interval(EXPIRY_INTERVAL);
    days.tick().await; // at once
    loop {
        days.tick().await;
        for listener in &listeners {
            let expires_at = listener.certificate_expiry.get();
            if expires_at > 0 {
                warn_of_expiry(listener.name(), expires_at);
            }
        }
    }
}

/// Forgets users and addresses of whom there is nothing to remember, for ever.
pub async fn run_sweeps(broker: Arc<Broker>, gate: Arc<ConnectionGate>) {
    let mut ticks = interval(SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        broker.pacing.sweep(&broker.metrics, now);
        broker.watch.sweep(&broker.metrics, now);
        broker.accounts.sweep();
        broker.metrics.limit_hits.add(Limit::MaxTracked, gate.sweep(now));
    }
}

/// Publishes the figures under `$SYS/broker`, for ever.
pub async fn run_sys_topics(broker: Arc<Broker>, config: SysConfig) {
    if config.interval.is_zero() {
        return;
    }
    let mut topics = SysTopics::new(Instant::now());
    let mut ticks = interval(config.interval.0);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        broker.measure(now);
        for (topic, payload) in topics.tick(&broker.metrics, &Process::read(), now) {
            publish_sys(&broker, &topic, &payload, true, now);
        }
    }
}

/// Tells who comes and goes, until the broker is gone.
pub async fn run_presence(broker: Arc<Broker>, config: SysConfig, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        if !config.presence {
            continue;
        }
        let now = milliseconds();
        let mut client = presence::Client {
            id: &event.client_id,
            user_name: event.username.as_deref(),
            address: event.address,
            version: event.version,
            keep_alive: 0,
            clean_start: false,
            session_expiry: 0,
            connected_at: now,
        };
        let (topic, payload) = match event.kind {
            EventKind::Connected { keep_alive, clean_start, expiry_interval } => {
                (client.keep_alive, client.clean_start, client.session_expiry) = (keep_alive, clean_start, expiry_interval);
                presence::connected(&config.node, &client)
            }
            EventKind::Disconnected { reason } => {
                presence::disconnected(&config.node, &client, reason.name_in_disconnect(), now)
            }
        };
        publish_sys(&broker, &topic, &payload, false, Instant::now());
    }
}

/// Tells systemd that the runtime is alive, as often as it wants to hear it.
pub async fn run_watchdog() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = interval(patience / 2);
    loop {
        ticks.tick().await;
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    }
}

/// Publishes a figure of the broker itself.
pub fn publish_sys(broker: &Broker, topic: &str, payload: &str, retain: bool, now: Instant) {
    let Ok(topic) = TopicName::new(topic) else { return };
    let view = MessageView { topic, properties: ForwardedProperties::default(), payload: payload.as_bytes() };
    let message = Message::new(view, QoS::AtMostOnce, retain, None);
    broker.publish_message(&message, &Publisher::BROKER, now);
}

fn milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
