//! A bridge: what is published here is published at another broker too, and the other way round.
//!
//! It is a client of both brokers at once, and keeps nothing of its own. A PUBLISH goes on under the packet identifier that
//! it came with, and so do its acknowledgements: the source hears PUBACK, PUBREC and PUBCOMP only when the target has said
//! so. So a message is always owned by one of the two sessions, each of which outlives a broken connection, and the receiving
//! one recognizes a QoS 2 message that comes again. The two connections live and die together; while the other broker is
//! away, our own session of the bridge keeps what is to go there, on disk like every session that is stored.

mod backoff;
mod caution;
mod config;
mod leg;
mod oversized;
mod relay;
mod run;
mod topics;

pub use config::{BridgeConfig, BridgeTls, BridgeTopic, BridgeUrl, Direction};
pub use run::{Bridge, Start, prepare, run};
pub use topics::Rules;
