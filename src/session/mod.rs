//! What MQTT says must happen between the two ends of a session. No sockets, no clock: packets and `now` go in, actions and bytes
//! come out.

pub mod acks;
mod by_id;
mod chunked_queue;
pub mod config;
pub mod connection;
mod grant;
pub mod inflight;
mod known_notes;
pub mod numbering;
pub mod out_buffer;
pub mod outbound;
pub mod outbound_queue;
pub mod outlasting;
pub mod queued;
pub mod state;
#[cfg(test)]
mod tests;
pub mod timers;
pub mod topic_aliases;
pub mod window;
pub mod work;
pub mod writer;

pub use acks::{AckToken, Answer, Note};
pub use config::{Limits, QueuePolicy};
pub use connection::{Action, Agreement, Connection, InboundPublish, Phase, Violation};
pub use grant::Grant;
pub use inflight::{ExchangeState, Taken};
pub use numbering::Numbering;
pub use out_buffer::OutBuffer;
pub use outbound::{EXCHANGES_MAX, Outbound};
pub use outbound_queue::QueueBounds;
pub use outlasting::Outlasting;
pub use queued::Queued;
pub use state::{Replay, Session, SessionCell, Subscription};
pub use timers::TimerWheel;
pub use topic_aliases::OutboundAliases;
pub use work::{Errand, Fate, Returns, Work};
pub use writer::{Publication, Receiver, Scratch, Writer};
