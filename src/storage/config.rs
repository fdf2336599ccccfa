use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// `[durability]`: what an acknowledgement promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Durability {
    /// What sessions, subscriptions and retained messages survive, and messages unless `topics` says otherwise.
    pub level: Level,
    /// Other levels for the messages of some topics; the first filter that matches counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<TopicLevel>,
    /// Bytes of one file of the journal. Space comes back in units of this.
    pub segment_size: ByteSize,
    /// With less free space than this on the disk, QoS 1 and 2 messages that need it are refused with 0x97; `0` is no bound.
    pub min_free_space: ByteSize,
    /// Bytes that may wait to be written; publishers whose messages wait are read from no further until there is room.
    pub max_unwritten: ByteSize,
    /// Bytes of memory for messages that are on disk and that a work queue hands out soon: the first 1 MiB of each queue, as long as there
    /// is room; the others are read back. `0`: all are.
    pub max_recent: ByteSize,
}

/// What a stored message survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Nothing: it is kept in memory.
    Memory,
    /// The end of this process, not of the machine: it is acknowledged once the operating system has it.
    Os,
    /// A power cut: it is acknowledged once the disk has it.
    #[default]
    Sync,
}

/// The level of the messages of some topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicLevel {
    /// A topic filter, `telemetry/#`.
    pub filter: String,
    pub level: Level,
}

impl Default for Durability {
    fn default() -> Self {
        Self {
            level: Level::Sync,
            topics: Vec::new(),
            segment_size: ByteSize(32 << 20),
            min_free_space: ByteSize(64 << 20),
            max_unwritten: ByteSize(64 << 20),
            max_recent: ByteSize(16 << 20),
        }
    }
}

impl Durability {
    /// The highest level that is named: what sessions and subscriptions must have for their messages to have it.
    pub fn highest(&self) -> Level {
        self.topics.iter().map(|topic| topic.level).fold(self.level, Level::max)
    }
}
