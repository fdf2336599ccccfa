use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::transport::Wire;

/// MQTT over TLS.
pub struct TlsWire<S>(TlsStream<S>);

impl<S> TlsWire<S> {
    /// `stream` after the handshake.
    pub fn new(stream: TlsStream<S>) -> Self {
        Self(stream)
    }

    /// The client's own certificate, in DER, if it showed one; it is verified.
    pub fn peer_certificate(&self) -> Option<Box<[u8]>> {
        peer_certificate(&self.0)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for TlsWire<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        match ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer)) {
            Ok(()) => Poll::Ready(Ok(buffer.filled().len())),
            // An end without close_notify is the way of most clients. It cuts off nothing unnoticed: MQTT packets tell their
            // length, and an end without DISCONNECT is one for the Will anyway.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The client's own certificate, in DER, if it showed one; it is verified.
pub fn peer_certificate<S>(stream: &TlsStream<S>) -> Option<Box<[u8]>> {
    let chain = stream.get_ref().1.peer_certificates()?;
    chain.first().map(|certificate| certificate.as_ref().into())
}
