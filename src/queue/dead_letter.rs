use std::fmt;
use std::sync::Arc;

use super::key::Key;
use super::time::UnixMillis;

/// The story of a message that died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub reason: DeadReason,
    /// How often it had been delivered.
    pub attempts: u32,
    /// The client that had it last, if one had.
    pub last_client: Option<Arc<str>>,
    /// The reason code of its last failure, if that had one.
    pub last_code: Option<u8>,
    pub at: UnixMillis,
    /// When it had come into its queue.
    pub enqueued_at: UnixMillis,
    /// Its ordering key there, for its way back.
    pub key: Option<Key>,
}

/// Why a message died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadReason {
    /// Delivered as often as the queue allows, and not settled.
    MaxDeliveries,
    /// A consumer said that no further attempt makes sense.
    Rejected,
    /// It outlived its time, and the queue keeps such messages among its dead letters.
    Expired,
    /// It made room in a full queue that keeps such messages among its dead letters.
    QueueFull,
}

impl DeadReason {
    pub const ALL: [Self; 4] = [Self::MaxDeliveries, Self::Rejected, Self::Expired, Self::QueueFull];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxDeliveries => "max-deliveries",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::QueueFull => "queue-full",
        }
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
