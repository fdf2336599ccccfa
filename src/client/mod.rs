//! A client of any broker: what MQTT asks of the client's side as a state machine, and the wires that it speaks over.
//!
//! [`Machine`] knows no socket and no clock: bytes and `now` go in, bytes and [`Event`]s come out. [`Link`] moves them, and
//! asks the clock. [`dial()`] opens TCP, TLS and Unix sockets. The bridge uses the wires, and passes packets on without a
//! `Machine`.

pub mod bridge;
mod dial;
mod link;
mod machine;
mod message;
mod options;
mod outgoing;
mod pipe;
#[cfg(test)]
mod tests;
mod tls;

pub use dial::{DialError, Endpoint, Stream, dial};
pub use link::{Link, LinkError};
pub use machine::{Event, Failure, Machine, PublishError};
pub use message::{Message, MessageProperties};
pub use options::{Options, WillOptions};
pub use pipe::Pipe;
pub use tls::{TlsConnector, TlsOptions};
