use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::{FrameError, FrameReader, Opcode, own_header};
use crate::transport::Wire;

/// Bytes of MQTT in one message of ours, and so about the most that is held back for a peer that takes nothing.
const MESSAGE_LENGTH_MAX: usize = 64 * 1024;

/// Slices of one write that go into one message.
const SLICES_MAX: usize = 64;

/// RFC 6455, 7.4.1: the purpose is fulfilled.
const NORMAL_CLOSURE: u16 = 1000;

/// MQTT in WebSocket frames over `S`, TCP or TLS. Holds no buffer while nothing waits to be written.
pub struct WebSocketWire<S> {
    stream: S,
    reader: FrameReader,
    /// The rest of frames that the stream has not taken yet.
    held_back: Vec<u8>,
    failure: Option<FrameError>,
    /// Our close frame is written or held back; no frame may follow it (RFC 6455, 5.5.1).
    is_closing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WebSocketWire<S> {
    /// `stream` after the handshake.
    pub fn new(stream: S) -> Self {
        Self { stream, reader: FrameReader::default(), held_back: Vec::new(), failure: None, is_closing: false }
    }

    /// Pushes out what is held back, then the answer to the client's last ping and to its close frame. Only one pong is held
    /// back at a time, so that a flood of pings does not grow the buffer.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held_back(cx))?;
        if let Some(payload) = self.reader.ping.take() {
            self.hold_back_control(Opcode::Pong, &payload);
        }
        if let Some(payload) = &self.reader.close {
            let code = closing_code(payload);
            self.hold_back_close(code);
        }
        if self.held_back.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_held_back(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// As `poll_answer`, for a reader: it does not wait for the peer to take the answer.
    fn try_answer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll_answer(cx) {
            Poll::Ready(done) => done,
            Poll::Pending => Ok(()),
        }
    }

    fn hold_back_control(&mut self, opcode: Opcode, payload: &[u8]) {
        if self.is_closing {
            return;
        }
        let (header, end) = own_header(opcode, payload.len());
        self.held_back.extend_from_slice(&header[..end]);
        self.held_back.extend_from_slice(payload);
    }

    fn hold_back_close(&mut self, code: u16) {
        self.hold_back_control(Opcode::Close, &code.to_be_bytes());
        self.is_closing = true;
    }

    fn poll_held_back(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held_back.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.held_back))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.held_back.drain(..written)),
            }
        }
        self.held_back = Vec::new();
        Poll::Ready(Ok(()))
    }

    #[cfg(test)]
    pub(super) fn held_back_capacity(&self) -> usize {
        self.held_back.capacity()
    }

    fn poll_read_raw(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for WebSocketWire<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            self.try_answer(cx)?;
            if let Some(error) = self.failure {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
            if self.reader.close.is_some() {
                return Poll::Ready(Ok(0));
            }
            let raw = ready!(self.poll_read_raw(cx, buffer))?;
            let (length, end) = self.reader.unwrap(&mut buffer[..raw]);
            self.failure = end.err();
            if raw == 0 || length > 0 {
                self.try_answer(cx)?;
                return Poll::Ready(Ok(length));
            }
        }
    }

    /// Writes one binary message, of no more than 64 KiB.
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_answer(cx))?;
        if self.is_closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let slices = &slices[..slices.len().min(SLICES_MAX)];
        let length = slices.iter().map(|slice| slice.len()).sum::<usize>().min(MESSAGE_LENGTH_MAX);
        if length == 0 {
            return Poll::Ready(Ok(0));
        }
        let (header, end) = own_header(Opcode::Binary, length);
        let mut message = message(&header[..end], slices);
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &message))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        // The header has promised the whole message, so the rest is ours to send.
        let mut rest = &mut message[..];
        IoSlice::advance_slices(&mut rest, written);
        self.held_back.extend(rest.iter().flat_map(|slice| slice.iter()));
        Poll::Ready(Ok(length))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // [MQTT-6.0.0-1] 1003 when the client sent a text frame.
        self.hold_back_close(self.failure.map_or(NORMAL_CLOSURE, FrameError::close_code));
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The header, and the slices as far as they fit into one message.
fn message<'a>(header: &'a [u8], slices: &'a [IoSlice<'a>]) -> SmallVec<[IoSlice<'a>; 16]> {
    let mut message = SmallVec::from_iter([IoSlice::new(header)]);
    let mut room = MESSAGE_LENGTH_MAX;
    for slice in slices {
        let part = &slice[..slice.len().min(room)];
        message.push(IoSlice::new(part));
        room -= part.len();
    }
    message
}

/// What a close frame of the client is answered with: its own code, or what is wrong with it (RFC 6455, 5.5.1 and 8.1).
fn closing_code(payload: &[u8]) -> u16 {
    match payload {
        [] => NORMAL_CLOSURE,
        [_] => 1002,
        [high, low, reason @ ..] => match u16::from_be_bytes([*high, *low]) {
            code if !is_sendable(code) => 1002,
            _ if std::str::from_utf8(reason).is_err() => 1007,
            code => code,
        },
    }
}

/// Codes that may stand in a close frame (RFC 6455, 7.4).
const fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
