//! What MQTT says must happen between the two ends of a session. No sockets, no clock.

pub mod config;

pub use config::{Limits, QueuePolicy};
