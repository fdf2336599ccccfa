use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Span};

/// `[overload]`: what is given up first when memory runs short. It comes back by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OverloadConfig {
    /// The resident memory that is 100 percent below; 0 is the limit of the control group (`memory.max`) that the broker runs in,
    /// and no bound where there is none.
    pub memory_max: ByteSize,
    /// From this percentage on, QoS 0 messages to subscribers that do not keep up are dropped.
    pub shed_at: u8,
    /// From this one on, new connections are refused with 0x89 (3.1.1: 3), and the broker is not ready.
    pub refuse_connections_at: u8,
    /// From this one on, PUBLISH packets with a payload of `big_publish` or more are refused with 0x97 (3.1.1: the connection is
    /// closed; QoS 0: dropped).
    pub refuse_publishes_at: u8,
    /// So many percent below its beginning a stage ends.
    pub recover_by: u8,
    /// What is a big payload.
    pub big_publish: ByteSize,
    /// New connections are refused, too, while tasks wait longer than this for their turn, in each of three seconds; `"0s"`: never.
    pub max_delay: Span,
}

impl Default for OverloadConfig {
    fn default() -> Self {
        Self {
            memory_max: ByteSize(0),
            shed_at: 80,
            refuse_connections_at: 90,
            refuse_publishes_at: 95,
            recover_by: 5,
            big_publish: ByteSize(16 << 10),
            max_delay: Span::seconds(0),
        }
    }
}

/// How far it has come. Each stage has those before it in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    #[default]
    Normal,
    /// QoS 0 messages to slow subscribers are dropped.
    Shed,
    /// New connections are refused.
    RefuseConnections,
    /// Big publishes are refused.
    RefusePublishes,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Normal, Self::Shed, Self::RefuseConnections, Self::RefusePublishes];

    /// The name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Shed => "shed",
            Self::RefuseConnections => "refuse-connections",
            Self::RefusePublishes => "refuse-publishes",
        }
    }
}

/// Measured figures become a stage, without a clock and without `/proc`: to be shown both once a second.
#[derive(Debug, Default)]
pub struct OverloadGauge {
    by_memory: Stage,
    /// Seconds one after the other with too long a delay.
    late_seconds: u32,
}

/// So many late seconds are no accident.
const LATE_SECONDS: u32 = 3;

impl OverloadGauge {
    /// `memory_max` of 0 is no bound.
    pub fn observe(&mut self, config: &OverloadConfig, resident: u64, memory_max: u64, delay: std::time::Duration) -> Stage {
        self.by_memory = by_memory(config, self.by_memory, resident, memory_max);
        let is_late = !config.max_delay.is_zero() && delay > config.max_delay.0;
        self.late_seconds = if is_late { self.late_seconds.saturating_add(1) } else { 0 };
        if self.late_seconds >= LATE_SECONDS { self.by_memory.max(Stage::RefuseConnections) } else { self.by_memory }
    }
}

fn by_memory(config: &OverloadConfig, before: Stage, resident: u64, memory_max: u64) -> Stage {
    if memory_max == 0 {
        return Stage::Normal;
    }
    let begins = |stage| match stage {
        Stage::Normal => 0,
        Stage::Shed => config.shed_at,
        Stage::RefuseConnections => config.refuse_connections_at,
        Stage::RefusePublishes => config.refuse_publishes_at,
    };
    let is_in = |stage: Stage| {
        let percent = if stage <= before { begins(stage).saturating_sub(config.recover_by) } else { begins(stage) };
        u128::from(resident) * 100 >= u128::from(memory_max) * u128::from(percent)
    };
    Stage::ALL.into_iter().rev().find(|stage| is_in(*stage)).unwrap_or_default()
}

/// The stage that the broker is in, as all its threads see it.
#[derive(Debug, Default)]
pub struct Overload {
    stage: AtomicU8,
    big_publish: AtomicU64,
}

impl Overload {
    pub fn set(&self, stage: Stage, big_publish: ByteSize) {
        self.big_publish.store(big_publish.0, Ordering::Relaxed);
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.stage.load(Ordering::Relaxed))]
    }

    /// QoS 0 messages to slow subscribers are dropped.
    pub fn sheds(&self) -> bool {
        self.stage.load(Ordering::Relaxed) >= Stage::Shed as u8
    }

    pub fn refuses_connections(&self) -> bool {
        self.stage.load(Ordering::Relaxed) >= Stage::RefuseConnections as u8
    }

    /// Whether a message with so long a payload is refused.
    pub fn refuses_publish(&self, payload: usize) -> bool {
        self.stage.load(Ordering::Relaxed) >= Stage::RefusePublishes as u8
            && payload as u64 >= self.big_publish.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stages<const N: usize>(percent: [u64; N]) -> [Stage; N] {
        let (config, mut gauge) = (OverloadConfig::default(), OverloadGauge::default());
        percent.map(|percent| gauge.observe(&config, percent * 10, 1000, Duration::ZERO))
    }

    #[test]
    fn a_stage_begins_at_its_mark_and_ends_some_way_below() {
        use Stage::{Normal, RefuseConnections, RefusePublishes, Shed};
        assert_eq!(stages([79, 80, 76, 75, 74, 79, 80]), [Normal, Shed, Shed, Shed, Normal, Normal, Shed]);
        assert_eq!(
            stages([99, 91, 90, 89, 85, 84, 10]),
            [RefusePublishes, RefusePublishes, RefusePublishes, RefuseConnections, RefuseConnections, Shed, Normal]
        );
    }

    #[test]
    fn without_a_bound_there_is_no_stage() {
        let (config, mut gauge) = (OverloadConfig::default(), OverloadGauge::default());
        assert_eq!(gauge.observe(&config, u64::MAX, 0, Duration::MAX), Stage::Normal);
    }

    #[test]
    fn tasks_that_wait_too_long_refuse_connections_if_that_lasts() {
        let config = OverloadConfig { max_delay: Span::seconds(1), ..OverloadConfig::default() };
        let mut gauge = OverloadGauge::default();
        let mut seen = [2, 2, 0, 2, 2, 2, 2, 1].map(|delay| gauge.observe(&config, 1, 0, Duration::from_secs(delay)));
        seen.reverse();
        assert_eq!(seen.iter().position(|stage| *stage == Stage::RefuseConnections), Some(1));
        assert_eq!(seen.iter().filter(|stage| **stage == Stage::RefuseConnections).count(), 2);
    }

    #[test]
    fn what_is_refused_follows_from_the_stage() {
        let overload = Overload::default();
        let mut seen = Vec::new();
        for stage in Stage::ALL {
            overload.set(stage, ByteSize(100));
            assert_eq!(overload.stage(), stage);
            assert!(!overload.refuses_publish(99));
            seen.push((overload.sheds(), overload.refuses_connections(), overload.refuses_publish(100)));
        }
        assert_eq!(seen, [(false, false, false), (true, false, false), (true, true, false), (true, true, true)]);
    }
}
