//! The MQTT in WebSocket frames is the same however the bytes arrive, and no frame makes the reader fall over.

#![no_main]

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use arbitrary::Arbitrary;
use dunlin::transport::Wire;
use dunlin::transport::websocket::WebSocketWire;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Lengths of the pieces in which the bytes arrive, and of the buffers that they are read into.
    pieces: &'a [u8],
    buffers: &'a [u8],
    bytes: &'a [u8],
}

/// Gives its pieces one by one, then the end; takes everything.
struct Stream {
    pieces: VecDeque<Vec<u8>>,
    written: Vec<u8>,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(piece) = self.pieces.front_mut() {
            let length = piece.len().min(buffer.remaining());
            buffer.put_slice(&piece[..length]);
            piece.drain(..length);
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fuzz_target!(|input: Input<'_>| {
    let whole = read(vec![input.bytes.to_vec()], &[255]);
    let mut pieces = Vec::new();
    let mut rest = input.bytes;
    for length in input.pieces {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*length).max(1)));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces.push(rest.to_vec());
    pieces.retain(|piece| !piece.is_empty());
    assert_eq!(whole, read(pieces, input.buffers));
});

/// The MQTT that came through, and whether it ended well.
fn read(pieces: Vec<Vec<u8>>, buffers: &[u8]) -> (Vec<u8>, bool) {
    let mut wire = WebSocketWire::new(Stream { pieces: pieces.into(), written: Vec::new() });
    let mut cx = Context::from_waker(Waker::noop());
    let mut read = Vec::new();
    let mut lengths = buffers.iter().copied().cycle();
    loop {
        let mut buffer = vec![0; usize::from(lengths.next().unwrap_or(64)).max(1)];
        match wire.poll_read(&mut cx, &mut buffer) {
            Poll::Ready(Ok(0)) => return (read, true),
            Poll::Ready(Ok(count)) => read.extend_from_slice(&buffer[..count]),
            Poll::Ready(Err(_)) => return (read, false),
            Poll::Pending => panic!("there is always something to read"),
        }
    }
}
