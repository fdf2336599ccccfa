//! A work queue as a state machine: each message goes to one consumer and stays until that consumer is done with it, comes again a
//! bounded number of times, and ends among the dead letters where people can see it. No sockets, no clock, no files: events and `now`
//! go in, deliveries and durable changes come out.
//!
//! ```text
//! ready → leased(consumer, deadline, attempt) → settled
//!   ↑        │ failed, timed out, given back      │ attempts used up, rejected
//!   └ backoff┘                                    └→ dead → redriven
//! ```

mod backoff;
mod change;
mod codec;
mod config;
mod consumer;
mod consumers;
mod dead_letter;
mod dedup;
mod delayed;
mod delivery;
mod enqueue;
mod entries;
mod entry;
mod index;
mod key;
mod list;
mod machine;
mod membership;
mod name;
mod names;
mod operation;
mod owner;
pub mod properties;
mod random;
mod ready;
mod restore;
mod settlement;
mod slab;
mod snapshot;
mod stats;
mod tag;
#[cfg(test)]
mod tests;
mod time;
mod timeouts;
pub mod topics;
mod untold;
mod wheel;
mod work_queue;

pub use backoff::{Backoff, GrowingBackoff};
pub use change::{Change, DedupId, DropCause, Durability, Record};
pub use codec::{Body, MalformedChange};
pub use config::{AckMode, Config, Expired, Finding, OnDead, Overflow, Strategy};
pub use consumer::{ConsumerId, Join};
pub use dead_letter::{DeadLetter, DeadReason};
pub use delayed::{DelayedBounds, DelayedChange, DelayedFull, DelayedMessages, Due};
pub use delivery::Delivery;
pub use enqueue::{Enqueue, Enqueued, Refused};
pub use key::{Key, KeyMode, KeySource};
pub use machine::Queue;
pub use name::{InvalidQueueName, QueueName};
pub use operation::{Peeked, Status};
pub use owner::Owner;
pub use restore::Restore;
pub use settlement::{EXTEND_MAX, Outcome, SettleError};
pub use snapshot::Showing;
pub use stats::{Cause, Counters, Stats};
pub use tag::{InvalidTag, Lease, Secret, Tag};
pub use time::UnixMillis;
pub use topics::Part;
pub use work_queue::{Which, WorkQueue};
