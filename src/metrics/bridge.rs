use super::{Counter, Gauge};

/// Why a message does not go over a bridge, in the order of `BridgeMetrics::drops`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeDrop {
    /// No topic of the config is for it any more.
    Unmatched,
    /// It bears the bridge's own mark.
    Loop,
    /// It is larger than the broker it was to go to takes.
    TooLarge,
    /// That broker will not have it: a missing right, an invalid name.
    Rejected,
}

impl BridgeDrop {
    pub const ALL: [Self; 4] = [Self::Unmatched, Self::Loop, Self::TooLarge, Self::Rejected];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unmatched => "unmatched",
            Self::Loop => "loop",
            Self::TooLarge => "too_large",
            Self::Rejected => "rejected",
        }
    }
}

/// The figures of one bridge.
#[derive(Debug)]
pub struct BridgeMetrics {
    name: Box<str>,
    /// 1 while both brokers are connected.
    pub connected: Gauge,
    /// Messages sent to the other broker, those that were sent again included.
    pub sent: Counter,
    /// Messages received from it.
    pub received: Counter,
    /// Connections that ended, or could not be had.
    pub reconnects: Counter,
    drops: [Counter; 4],
}

impl BridgeMetrics {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            connected: Gauge::default(),
            sent: Counter::default(),
            received: Counter::default(),
            reconnects: Counter::default(),
            drops: Default::default(),
        }
    }

    /// The name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a message that did not go over.
    pub fn dropped(&self, reason: BridgeDrop) {
        self.drops[reason as usize].increment();
    }

    /// Messages that did not go over for this reason.
    pub fn drops(&self, reason: BridgeDrop) -> u64 {
        self.drops[reason as usize].get()
    }
}
