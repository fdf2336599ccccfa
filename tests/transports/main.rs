//! Every kind of door: TLS, WebSocket, Unix sockets, the PROXY protocol, and listeners that differ.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod authority;
mod client_certificates;
mod listeners;
mod mount_point;
mod proxy_protocol;
mod stalled_handshake;
mod tls;
mod unix_socket;
mod websocket_tls;
