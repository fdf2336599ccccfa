use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};

use super::cgroup;
use crate::admin::{Condition, Process};
use crate::broker::{Broker, OverloadConfig, OverloadGauge, Stage};

/// How often it is measured how late tasks get their turn.
const DELAY_TICK: Duration = Duration::from_millis(100);
/// Ticks from one look at the memory to the next.
const TICKS_PER_LOOK: u32 = 10;

/// Measures memory, and how late tasks get their turn, and gives up what the config says, for ever. `has_room` is the condition under
/// which new clients may be sent here.
pub async fn run(broker: Arc<Broker>, config: Arc<ArcSwap<OverloadConfig>>, has_room: Arc<Condition>) {
    let mut gauge = OverloadGauge::default();
    let mut ticks = interval(DELAY_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut worst = Duration::ZERO;
        for _ in 0..TICKS_PER_LOOK {
            let due = Instant::now() + DELAY_TICK;
            ticks.tick().await;
            worst = worst.max(Instant::now().saturating_duration_since(due));
        }
        look(&broker, &config.load(), &mut gauge, worst);
        has_room.set(!broker.overload.refuses_connections());
    }
}

fn look(broker: &Broker, config: &OverloadConfig, gauge: &mut OverloadGauge, delay: Duration) {
    let memory_max = if config.memory_max.0 > 0 { config.memory_max.0 } else { cgroup::memory_max().unwrap_or(0) };
    let resident = Process::resident();
    let (before, stage) = (broker.overload.stage(), gauge.observe(config, resident, memory_max, delay));
    broker.overload.set(stage, config.big_publish);
    let metrics = &broker.metrics.overload;
    metrics.stage.set(stage as u64);
    metrics.memory_max.set(memory_max);
    metrics.delay_microseconds.set(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX));
    match stage {
        _ if stage == before => {}
        Stage::Normal => tracing::info!(resident, memory_max, ?delay, "no more overload"),
        _ => tracing::warn!(stage = stage.name(), before = before.name(), resident, memory_max, ?delay, "overload"),
    }
}
