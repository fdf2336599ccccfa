use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

use super::cgroup;
use crate::admin::{Condition, Process};
use crate::broker::{Broker, OverloadConfig, OverloadGauge, Stage};

/// How often it is measured how late tasks get their turn.
const DELAY_TICK: Duration = Duration::from_millis(100);
/// Ticks from one look at the memory to the next.
const TICKS_PER_LOOK: u32 = 10;

/// Sizes of different kinds for the allocator, in bytes.
const STIRRED: [usize; 6] = [64, 1 << 10, 4 << 10, 10 << 10, 32 << 10, 128 << 10];
/// So many of each, none of which is written to.
const STIRRED_AT_ONCE: usize = 64;
/// How long one worker waits for the others to do so too.
const STIR_PATIENCE: Duration = Duration::from_millis(2);

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
        if broker.overload.stage() > Stage::Normal {
            stir();
        }
    }
}

/// The allocator gives back what a thread has freed as that thread goes on allocating. Where newcomers are refused there may be nothing to
/// do, and the memory would look taken for ever: each worker is given something to allocate.
fn stir() {
    let runtime = Handle::current();
    let (workers, here) = (runtime.metrics().num_workers(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..workers {
        let here = here.clone();
        runtime.spawn(async move {
            here.fetch_add(1, Ordering::AcqRel);
            // Else one worker would take all of them before the others are awake.
            let until = Instant::now() + STIR_PATIENCE;
            while here.load(Ordering::Acquire) < workers && Instant::now() < until {
                std::thread::yield_now();
            }
            for size in STIRRED {
                let many: Vec<_> = (0..STIRRED_AT_ONCE).map(|_| Vec::<u8>::with_capacity(size)).collect();
                drop(std::hint::black_box(many));
            }
        });
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
