use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;

/// A stream with what was read from it and not used yet, and what is to be written to it.
pub struct Pipe {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
    /// How much of `input` is used.
    used: usize,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
}

/// Bytes that one read takes at most.
const READ_SIZE: usize = 32 * 1024;
/// Bytes that are written and not forgotten, until as many do not wait behind them.
const WRITTEN_KEPT: usize = 64 * 1024;

impl Pipe {
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, input: Vec::new(), used: 0, output: Vec::new(), written: 0 }
    }

    /// What has been read and not used.
    pub fn input(&self) -> &[u8] {
        &self.input[self.used..]
    }

    /// The first `count` bytes of [`Self::input`] are used.
    pub fn consume(&mut self, count: usize) {
        self.used += count;
        if self.used >= self.input.len() {
            self.input.clear();
            self.used = 0;
        }
    }

    /// What has been read and not used, to be looked at while the rest of the pipe is used; [`Self::put_input`] gives it back.
    pub fn take_input(&mut self) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.input);
        if self.used > 0 {
            input.drain(..std::mem::take(&mut self.used));
        }
        input
    }

    /// Gives back what [`Self::take_input`] took; the first `used` bytes of it are used.
    pub fn put_input(&mut self, input: Vec<u8>, used: usize) {
        self.input = input;
        self.consume(used);
    }

    /// Where to put what is to be written.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.output.len() - self.written
    }

    /// Reads once. `Ok(false)` is the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        let filled = self.input.len();
        self.input.resize(filled + READ_SIZE, 0);
        let mut buffer = ReadBuf::new(&mut self.input[filled..]);
        let read = Pin::new(&mut *self.stream).poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        self.input.truncate(filled + count);
        read.map_ok(|()| count > 0)
    }

    /// Writes all that waits.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            match Pin::new(&mut *self.stream).poll_write(cx, &self.output[self.written..]) {
                Poll::Pending => {
                    self.forget_written();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        self.output.clear();
        self.written = 0;
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    /// A peer that is slow all the time never lets it run empty: what is written goes nonetheless, each byte being moved once at most on
    /// average.
    fn forget_written(&mut self) {
        if self.written >= WRITTEN_KEPT && self.written >= self.waiting() {
            self.output.drain(..std::mem::take(&mut self.written));
        }
    }

    /// Writes all that waits and ends the stream.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_write(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut *self.stream).poll_shutdown(cx),
            other => other,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_a_slow_peer_has_taken_does_not_stay_in_memory() {
        let (ours, mut theirs) = tokio::io::duplex(16 * 1024);
        let mut pipe = Pipe::new(Box::new(ours));
        let (mut sent, mut taken) = (0_u8, Vec::new());
        for _ in 0..2000 {
            // Never empty: something is added whenever something has gone.
            while pipe.waiting() < 256 * 1024 {
                pipe.output().extend(std::iter::repeat_n(sent, 4096));
                sent = sent.wrapping_add(1);
            }
            tokio::task::yield_now().await; // Or tokio would say that nothing can be written, so that others have their turn.
            assert!(poll_fn(|cx| Poll::Ready(pipe.poll_write(cx).is_pending())).await);
            let mut some = vec![0; 16 * 1024];
            let count = theirs.read(&mut some).await.unwrap();
            taken.extend_from_slice(&some[..count]);
        }
        assert!(pipe.output.len() <= 2 * 256 * 1024 + 4096, "{}", pipe.output.len());
        let is_in_order = taken.iter().enumerate().all(|(at, byte)| *byte == (at / 4096) as u8);
        assert!(taken.len() > 16 << 20 && is_in_order);
    }
}
