//! Bytes: listeners, TLS, WebSocket, and the driver that moves them.

mod accept_loop;
pub mod config;
pub mod context;
mod driver;
pub mod limits;
pub mod listener;
pub mod plain;
pub mod proxy_protocol;
mod reception;
pub mod stats;
mod stream_wire;
pub mod tls;
mod unix;
pub mod url;
pub mod websocket;
pub mod wire;

pub use crate::broker::LogLimiter;
pub use config::{ListenerConfig, TlsConfig};
pub use context::{Accepted, ListenerContext, PeerInfo, VersionSet};
pub use driver::Driver;
pub use limits::{ConnectionGate, GateLimits, Permit, Refused};
pub use listener::{BindError, Listener};
pub use reception::Reception;
pub use stats::{HandshakeStep, TransportStats};
pub use stream_wire::StreamWire;
pub use tls::TlsAcceptorSlot;
pub use url::ListenerUrl;
pub use wire::{DirectWrite, Wire};
