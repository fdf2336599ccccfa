use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep, sleep_until};

use super::Wire;
use crate::broker::{Client, Closed, Deliveries, Written};

/// One connection's task: reads, lets the broker work on what was read, writes. One wake takes all that is there, in one read, one
/// look at the clock, one write.
pub struct Driver {
    wire: Box<dyn Wire>,
    client: Client,
    /// The beginning of a packet whose rest has not come; nothing while idle.
    partial: Vec<u8>,
    /// `partial` holds whole packets that could not be taken when they came.
    is_held_back: bool,
    state: State,
    /// Rings when a client that is not read from is to be looked at again.
    pause: Option<Pin<Box<Sleep>>>,
}

enum State {
    /// CONNECT is due by then.
    Opening(Pin<Box<Sleep>>),
    Open,
    /// What is left is written, until then at most.
    Flushing(Pin<Box<Sleep>>),
    /// What still comes is thrown away, so that closing does not destroy what the peer has not read yet.
    Lingering(Pin<Box<Sleep>>),
}

/// Bytes that one read takes at most. The buffer belongs to the thread, not to the connection.
const READ_BUFFER: usize = 64 * 1024;
/// The beginning of a packet that is moved to the front of the read buffer; a longer one stays where it is and grows.
const PARTIAL_MOVED_MAX: usize = 4 * 1024;
/// Reads in one wake, before others have their turn.
const READS_MAX: usize = 4;
/// How long a connection that ends may take to read the last of what it was sent.
const FLUSH_TIME: Duration = Duration::from_secs(2);
/// A client that is not read from for longer is looked at meanwhile, so that it does not seem silent: less than the shortest keep alive.
const PAUSE_LOOK: Duration = Duration::from_secs(1);
/// How long what still comes is thrown away.
const LINGER_TIME: Duration = Duration::from_secs(1);

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
    static DELIVERIES: RefCell<Deliveries> = RefCell::new(Deliveries::default());
}

/// What reading came to.
enum Read {
    /// There is nothing more for now; whether something came.
    Drained(bool),
    /// There may be more, and others should have their turn first.
    Yield,
    /// The peer has ended the stream, or it broke.
    Ended(io::Result<()>),
}

impl Driver {
    /// `connect_by` is when CONNECT is due.
    pub fn new(wire: Box<dyn Wire>, client: Client, connect_by: Instant) -> Self {
        let deadline = Box::pin(sleep_until(connect_by.into()));
        Self { wire, client, partial: Vec::new(), is_held_back: false, state: State::Opening(deadline), pause: None }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>, deliveries: &mut Deliveries) -> Poll<()> {
        let now = Instant::now();
        // While we do not listen its silence is not its own.
        let was_deaf = self.is_deaf();
        self.client.poll_login(cx, now);
        self.client.resume(now);
        let read = self.read(cx, now, deliveries);
        // A login that has just begun must be asked for once, or its answer would wake nobody.
        let is_decided = self.client.poll_login(cx, now);
        deliveries.flush(self.client.broker(), now);
        let (has_received, must_yield) = match read {
            Read::Drained(has_received) => (has_received, is_decided),
            Read::Yield => (true, true),
            Read::Ended(result) => {
                let is_broken = result.is_err();
                let why = result.map_or_else(|error| error.to_string().into(), |()| "closed by the client".into());
                self.client.lost(why, now, deliveries);
                deliveries.flush(self.client.broker(), now);
                if !is_broken {
                    return Poll::Ready(());
                }
                // What broke may be the layer below MQTT, which tells the peer why: WebSocket in its close frame, TLS in an alert.
                self.end();
                return self.poll_flush(cx, deliveries);
            }
        };
        if let State::Opening(deadline) = &mut self.state {
            if self.client.is_connected() {
                self.state = State::Open;
            } else if deadline.as_mut().poll(cx).is_ready() {
                self.client.too_late();
            }
        }
        let took_bytes = self.client.takes_bytes();
        let closed = self.client.turn(now, has_received || was_deaf, deliveries);
        if !took_bytes && self.client.takes_bytes() {
            cx.waker().wake_by_ref(); // Nothing is registered for reading.
        }
        let written = self.write(cx, now, deliveries);
        deliveries.flush(self.client.broker(), now);
        match written {
            Err(error) => {
                self.client.lost(error.to_string().into(), now, deliveries);
                deliveries.flush(self.client.broker(), now);
                return Poll::Ready(());
            }
            Ok(Written::Yield) => cx.waker().wake_by_ref(),
            Ok(Written::All | Written::Blocked) => {}
        }
        if closed == Closed::Yes {
            self.end();
            cx.waker().wake_by_ref();
        } else if must_yield {
            cx.waker().wake_by_ref();
        }
        self.poll_pause(cx, now);
        Poll::Pending
    }

    /// Whether a client that is in is not read from: it has sent more than its rate, somebody is asked about what it has sent, or that
    /// is not safe yet.
    fn is_deaf(&self) -> bool {
        matches!(self.state, State::Open) && !self.client.takes_bytes()
    }

    /// Sets the alarm for a client that is not read from for a while: nothing is registered for reading.
    fn poll_pause(&mut self, cx: &mut Context<'_>, now: Instant) {
        if !self.is_deaf() {
            self.pause = None;
            return;
        }
        let look = now + PAUSE_LOOK;
        let at = self.client.paused_until().map_or(look, |until| until.min(look)).into();
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep_until(at)));
        pause.as_mut().reset(at);
        if pause.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn end(&mut self) {
        self.partial = Vec::new();
        self.pause = None;
        self.state = State::Flushing(Box::pin(sleep(FLUSH_TIME)));
    }

    /// Reads and takes what there is.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant, deliveries: &mut Deliveries) -> Read {
        let mut has_received = false;
        for _ in 0..READS_MAX {
            // Others are woken when that changes: the login is decided, an acknowledgement has become possible.
            if !self.client.takes_bytes() {
                return if self.client.is_logging_in() { self.read_ahead(cx) } else { Read::Drained(has_received) };
            }
            if self.is_held_back {
                has_received = true;
                self.receive_partial(now, deliveries);
                continue;
            }
            match BUFFER.with_borrow_mut(|buffer| self.read_once(cx, buffer, now, deliveries)) {
                Poll::Pending => return Read::Drained(has_received),
                Poll::Ready(Ok(0)) => return Read::Ended(Ok(())),
                Poll::Ready(Ok(_)) => has_received = true,
                Poll::Ready(Err(error)) => return Read::Ended(Err(error)),
            }
            if deliveries.is_ahead {
                break;
            }
        }
        Read::Yield
    }

    /// While a login is looked at: finds out whether the peer goes away. What it sends meanwhile waits, up to a bound.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Read {
        while self.partial.len() < PARTIAL_MOVED_MAX {
            let room = PARTIAL_MOVED_MAX - self.partial.len();
            let read = BUFFER.with_borrow_mut(|buffer| {
                let Poll::Ready(count) = self.wire.poll_read(cx, &mut buffer[..room])? else { return Poll::Pending };
                self.partial.extend_from_slice(&buffer[..count]);
                Poll::Ready(Ok(count))
            });
            match read {
                Poll::Pending => break,
                // What came before the end still counts.
                Poll::Ready(Ok(0)) if !self.partial.is_empty() => break,
                Poll::Ready(Ok(0)) => return Read::Ended(Ok(())),
                Poll::Ready(Ok(_)) => self.is_held_back = true,
                Poll::Ready(Err(error)) => return Read::Ended(Err(error)),
            }
        }
        Read::Drained(false)
    }

    /// One read, and all the packets in it.
    fn read_once(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        now: Instant,
        deliveries: &mut Deliveries,
    ) -> Poll<io::Result<usize>> {
        let kept = self.partial.len();
        if kept > PARTIAL_MOVED_MAX {
            let Poll::Ready(count) = self.wire.poll_read(cx, buffer)? else { return Poll::Pending };
            self.partial.extend_from_slice(&buffer[..count]);
            let is_whole = self.client.packet_length(&self.partial).is_none_or(|length| length <= self.partial.len());
            if is_whole {
                self.receive_partial(now, deliveries);
            }
            return Poll::Ready(Ok(count));
        }
        let Poll::Ready(count) = self.wire.poll_read(cx, &mut buffer[kept..])? else { return Poll::Pending };
        buffer[..kept].copy_from_slice(&self.partial);
        let bytes = &buffer[..kept + count];
        let consumed = self.client.receive(bytes, now, deliveries);
        self.partial.clear();
        self.keep(&bytes[consumed..]);
        Poll::Ready(Ok(count))
    }

    fn receive_partial(&mut self, now: Instant, deliveries: &mut Deliveries) {
        let bytes = std::mem::take(&mut self.partial);
        let consumed = self.client.receive(&bytes, now, deliveries);
        if consumed == 0 {
            self.is_held_back = self.client.holds_packet(&bytes);
            self.partial = bytes;
        } else {
            self.keep(&bytes[consumed..]);
        }
    }

    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.partial = Vec::new();
            self.is_held_back = false;
        } else {
            self.partial.extend_from_slice(rest);
            // Not by whether it takes bytes now: what kept it from that may be over already.
            self.is_held_back = self.client.holds_packet(rest);
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, now: Instant, deliveries: &mut Deliveries) -> io::Result<Written> {
        let Self { wire, client, .. } = self;
        let written = client.write(now, deliveries, |slices| wire.poll_write(cx, slices))?;
        match wire.poll_flush(cx)? {
            Poll::Ready(()) => Ok(written),
            Poll::Pending => Ok(Written::Blocked),
        }
    }

    /// Writes what is left and ends the stream.
    fn poll_flush(&mut self, cx: &mut Context<'_>, deliveries: &mut Deliveries) -> Poll<()> {
        let State::Flushing(deadline) = &mut self.state else { return Poll::Ready(()) };
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match self.write(cx, Instant::now(), deliveries) {
            Ok(Written::All) => {}
            Ok(Written::Blocked | Written::Yield) => return Poll::Pending,
            Err(_) => return Poll::Ready(()),
        }
        match self.wire.poll_shutdown(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(())) => {
                self.state = State::Lingering(Box::pin(sleep(LINGER_TIME)));
                self.poll_linger(cx)
            }
        }
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Lingering(deadline) = &mut self.state else { return Poll::Ready(()) };
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        for _ in 0..READS_MAX {
            match BUFFER.with_borrow_mut(|buffer| self.wire.poll_read(cx, buffer)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    /// Also when the task panics, or the runtime goes: the session must not stay held.
    fn drop(&mut self) {
        if self.client.is_connected() {
            let mut deliveries = Deliveries::default();
            let now = Instant::now();
            self.client.lost("the connection's task ended".into(), now, &mut deliveries);
            deliveries.flush(self.client.broker(), now);
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        DELIVERIES.with_borrow_mut(|deliveries| match this.state {
            State::Opening(_) | State::Open => this.poll_open(cx, deliveries),
            State::Flushing(_) => this.poll_flush(cx, deliveries),
            State::Lingering(_) => this.poll_linger(cx),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tokio adds about 100 bytes, and aligns its tasks to 128.
    #[test]
    fn the_task_of_an_idle_connection_costs_512_bytes() {
        assert!(size_of::<Driver>() <= 408, "{}", size_of::<Driver>());
    }
}
