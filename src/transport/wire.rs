//! The one face that the connection driver sees of TCP, TLS, WebSocket and Unix sockets.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};

/// A connected stream of MQTT bytes. Polled from one task only.
pub trait Wire: Send {
    /// Reads what is there into `buffer`; `Ok(0)` is the end of the stream. Registers the task when there is nothing.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Takes some of `slices` to be written; registers the task when the peer takes nothing. TLS and WebSocket may hold back a
    /// bounded part of what they took: a batch is written when `poll_flush` is ready.
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Pushes out what layers above the socket (TLS records, WebSocket frames) hold back. At once ready on plain sockets.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the stream in the transport's own way (TLS close_notify, WebSocket close frame), then the socket's write side.
    /// What is held back goes out before, so this too may wait for the peer: the caller bounds the time.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// For plain sockets: a handle through which another task may write while nothing is held back.
    fn direct(&self) -> Option<Arc<dyn DirectWrite>> {
        None
    }
}

pub use crate::broker::DirectWrite;
