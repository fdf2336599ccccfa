//! Bytes: listeners, TLS, WebSocket, and the driver that moves them.

pub mod config;
pub mod limits;
pub mod log_limiter;
pub mod plain;
pub mod proxy_protocol;
pub mod stats;
pub mod tls;
pub mod url;
pub mod websocket;
pub mod wire;

pub use config::{ListenerConfig, TlsConfig};
pub use wire::{DirectWrite, Wire};
