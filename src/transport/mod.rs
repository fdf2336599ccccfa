//! Bytes: listeners, TLS, WebSocket, and the driver that moves them.

pub mod config;
mod driver;
pub mod url;
pub mod wire;

pub use config::{ListenerConfig, TlsConfig};
pub use driver::Driver;
pub use url::ListenerUrl;
pub use wire::{DirectWrite, Wire};
