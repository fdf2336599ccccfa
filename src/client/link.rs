use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

use super::{Event, Failure, Machine, Pipe, Stream};

/// A [`Machine`] on a stream: moves the bytes and asks the clock.
pub struct Link<'a> {
    pub machine: &'a mut Machine,
    pipe: Pipe,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Failure(#[from] Failure),
    #[error("the server has closed the connection")]
    Closed,
}

impl<'a> Link<'a> {
    /// Sends the CONNECT of `machine` over `stream`.
    pub fn new(machine: &'a mut Machine, stream: Box<dyn Stream>) -> Self {
        machine.connect(Instant::now());
        Self { machine, pipe: Pipe::new(stream), timer: None }
    }

    /// The next thing that happens. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Event, LinkError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same; `None` as soon as fewer than `bytes` wait to be written, if more do now.
    pub async fn next_or_room(&mut self, bytes: usize) -> Result<Option<Event>, LinkError> {
        let was_full = self.waiting() >= bytes;
        poll_fn(|cx| match self.poll_next(cx) {
            Poll::Ready(event) => Poll::Ready(event.map(Some)),
            Poll::Pending if was_full && self.waiting() < bytes => Poll::Ready(Ok(None)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, LinkError>> {
        loop {
            self.machine.take_output(self.pipe.output());
            if let Poll::Ready(Err(error)) = self.pipe.poll_write(cx) {
                return Poll::Ready(Err(error.into()));
            }
            if let Some(event) = self.machine.poll_event() {
                return Poll::Ready(Ok(event));
            }
            let now = Instant::now();
            match self.pipe.poll_read(cx) {
                Poll::Ready(Ok(true)) => {
                    let used = self.machine.receive(self.pipe.input(), now)?;
                    self.pipe.consume(used);
                    continue;
                }
                Poll::Ready(Ok(false)) => return Poll::Ready(Err(LinkError::Closed)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {}
            }
            if self.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
            self.machine.handle_timeout(Instant::now())?;
        }
    }

    /// Ready when a timeout is due. What is due later than expected, since something was sent, costs no new timer until the old one fires.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(at) = self.machine.poll_timeout() else {
                self.timer = None;
                return Poll::Pending;
            };
            let timer = match &mut self.timer {
                Some((set, timer)) if *set <= at => timer,
                _ => &mut self.timer.insert((at, Box::pin(sleep_until(at.into())))).1,
            };
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
            if at <= Instant::now() {
                return Poll::Ready(());
            }
        }
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.pipe.waiting() + self.machine.output_len()
    }

    /// Writes what is left, ends the stream.
    pub async fn close(mut self) -> Result<(), LinkError> {
        self.machine.take_output(self.pipe.output());
        Ok(poll_fn(|cx| self.pipe.poll_close(cx)).await?)
    }

    /// Writes what the machine has to say.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        self.machine.take_output(self.pipe.output());
        Ok(poll_fn(|cx| self.pipe.poll_write(cx)).await?)
    }
}
