//! TLS by rustls: the certificates of a listener, which may change while connections live, and the wire.

mod acceptor;
mod pem;
mod revoked;
mod server_config;
mod server_names;
mod wire;

pub use acceptor::TlsAcceptorSlot;
pub use pem::TlsFileError;
pub use revoked::Revoked;
pub use server_config::{TlsError, server_config};
pub use wire::{TlsWire, peer_certificate};

#[cfg(test)]
mod tests;
