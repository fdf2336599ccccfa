//! The one face that the connection driver sees of TCP, TLS, WebSocket and Unix sockets.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};

/// A connected stream of MQTT bytes. Polled from one task only.
pub trait Wire: Send {
    /// Reads what is there into `buffer`; `Ok(0)` is the end of the stream. Registers the task when there is nothing.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes some of `slices`; registers the task when the peer takes nothing.
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Pushes out what layers above the socket (TLS records, WebSocket frames) hold back.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the stream in the transport's own way (TLS close_notify, WebSocket close frame), then the socket's write side.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// For plain sockets: a handle through which another task may write while nothing is held back.
    fn direct(&self) -> Option<Arc<dyn DirectWrite>> {
        None
    }
}

pub use crate::broker::DirectWrite;
