//! The network between devices and broker: sockets that take as much as they are told to, and tasks that run when they are woken.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use parking_lot::Mutex;

use super::super::*;

/// One direction of a socket, from the broker to its device.
#[derive(Default)]
pub struct Socket(Mutex<SocketState>);

#[derive(Default)]
struct SocketState {
    /// Bytes that the device has not read.
    received: Vec<u8>,
    /// Bytes that are taken before it blocks.
    room: usize,
    /// The connection's task waits for room.
    is_awaited: bool,
}

impl Socket {
    /// What the connection's own task does.
    pub fn poll_write(&self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        match state.write(slices) {
            Some(written) => Poll::Ready(Ok(written)),
            None => {
                state.is_awaited = true;
                Poll::Pending
            }
        }
    }

    /// The device takes so many bytes from now on. Whether the task is to be woken.
    pub fn set_room(&self, room: usize) -> bool {
        let mut state = self.0.lock();
        state.room = room;
        room > 0 && std::mem::take(&mut state.is_awaited)
    }

    pub fn is_awaited(&self) -> bool {
        self.0.lock().is_awaited
    }

    pub fn take_received(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().received)
    }
}

impl DirectWrite for Socket {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.lock().write(slices).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl SocketState {
    /// `None`: it blocks.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Option<usize> {
        let before = self.received.len();
        for slice in slices {
            let taken = slice.len().min(self.room);
            self.received.extend_from_slice(&slice[..taken]);
            self.room -= taken;
        }
        Some(self.received.len() - before).filter(|written| *written > 0)
    }
}

#[derive(Default)]
pub struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One connection's task, as the transport drives it.
pub struct Task {
    pub device: usize,
    pub version: ProtocolVersion,
    pub client: Client,
    pub socket: Arc<Socket>,
    flag: Arc<Flag>,
    /// Whole packets that the device has sent.
    pub inbox: Vec<Vec<u8>>,
    pub state: TaskState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    Open,
    /// The session is settled; the rest is written.
    Flushing,
    Gone,
}

impl Task {
    pub fn new(house: &House, device: usize, version: ProtocolVersion, is_direct: bool) -> Self {
        let socket = Arc::new(Socket::default());
        let direct = is_direct.then(|| socket.clone() as Arc<dyn DirectWrite>);
        let client = Client::new(house.broker.clone(), house.origin(), direct, Box::new(Anyone));
        let flag = Arc::new(Flag::default());
        Self { device, version, client, socket, flag, inbox: Vec::new(), state: TaskState::Open }
    }

    pub fn wake(&self) {
        self.flag.0.store(true, Ordering::Relaxed);
    }

    pub fn is_woken(&self) -> bool {
        self.flag.0.load(Ordering::Relaxed)
    }

    /// One turn. `processed` hears of each packet that the broker has taken. Returns whether the connection's end was settled.
    pub fn poll(&mut self, house: &House, mut processed: impl FnMut(&[u8])) -> bool {
        self.flag.0.store(false, Ordering::Relaxed);
        let (now, mut deliveries) = (house.now, Deliveries::default());
        if self.state == TaskState::Flushing {
            self.flush(now, &mut deliveries);
            return false;
        }
        let waker = Waker::from(self.flag.clone());
        self.client.poll_login(&mut Context::from_waker(&waker), now);
        let mut has_received = false;
        for packet in std::mem::take(&mut self.inbox) {
            let taken = self.client.receive(&packet, now, &mut deliveries);
            has_received = true;
            if taken > 0 {
                assert_eq!(taken, packet.len());
                processed(&packet);
            }
        }
        deliveries.flush(&house.broker, now);
        let closed = self.client.turn(now, has_received, &mut deliveries);
        assert_ne!(closed, Closed::Soon, "nobody else is writing");
        self.write(now, &mut deliveries);
        deliveries.flush(&house.broker, now);
        if closed == Closed::No {
            return false;
        }
        self.state = TaskState::Flushing;
        self.wake();
        true
    }

    /// The network goes away.
    pub fn lose(&mut self, house: &House) {
        let mut deliveries = Deliveries::default();
        self.client.lost("cut".into(), house.now, &mut deliveries);
        deliveries.flush(&house.broker, house.now);
        self.state = TaskState::Gone;
    }

    fn flush(&mut self, now: Instant, deliveries: &mut Deliveries) {
        if self.write(now, deliveries) == Written::All {
            self.state = TaskState::Gone;
        }
    }

    fn write(&mut self, now: Instant, deliveries: &mut Deliveries) -> Written {
        let Self { client, socket, .. } = self;
        let written = client.write(now, deliveries, |slices| socket.poll_write(slices)).expect("sockets do not fail");
        if written == Written::Yield {
            self.wake();
        }
        written
    }
}
