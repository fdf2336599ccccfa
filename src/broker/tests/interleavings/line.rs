//! A connection's socket, the device at its far end, and what wakes its task.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Poll, Wake};

use loom::sync::Notify;
use loom::sync::atomic::{AtomicUsize, Ordering};
use parking_lot::Mutex;

use super::super::simulation::network::Socket;
use super::super::*;

/// Wakes the connection's task.
#[derive(Default)]
pub struct Alarm(Notify);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

impl Alarm {
    /// Until it was woken since the last time.
    pub fn wait(&self) {
        self.0.wait();
    }
}

/// The way from the broker to a device that acknowledges what it gets.
pub struct Line {
    pub socket: Socket,
    /// Threads that are writing.
    writers: AtomicUsize,
    pub alarm: Arc<Alarm>,
    pub device: Mutex<Device>,
}

#[derive(Default)]
pub struct Device {
    unread: Vec<u8>,
    is_welcome: bool,
    /// Payloads in the order in which they came.
    pub got: Vec<String>,
    /// What it has sent and the broker has not read.
    pub sent: Vec<u8>,
    /// Messages after which the connection's task is let go.
    expected: usize,
    pub is_done: bool,
    pub goodbye: Option<u8>,
    fails: bool,
}

impl Line {
    pub fn new(expected: usize) -> Arc<Self> {
        let device = Mutex::new(Device { expected, ..Device::default() });
        Arc::new(Self { socket: Socket::default(), writers: AtomicUsize::new(0), alarm: Arc::default(), device })
    }

    /// One write at a time; others may come in while it goes on.
    fn write<R>(&self, work: impl FnOnce() -> R) -> R {
        assert_eq!(self.writers.fetch_add(1, Ordering::SeqCst), 0, "two write at once");
        let result = work();
        self.writers.fetch_sub(1, Ordering::SeqCst);
        let news = self.device.lock().take(&self.socket.take_received());
        if news {
            self.wake();
        }
        result
    }

    pub fn wake(&self) {
        self.alarm.clone().wake();
    }

    pub fn poll_write(&self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.write(|| if self.fails() { Poll::Ready(Err(broken())) } else { self.socket.poll_write(slices) })
    }

    /// The device takes so many bytes from now on. Whether the task is to be woken.
    pub fn set_room(&self, room: usize) -> bool {
        self.writers.load(Ordering::SeqCst); // Others may come first.
        self.socket.set_room(room)
    }

    /// The connection's task goes on until the connection ends.
    pub fn never_done(&self) {
        self.device.lock().expected = usize::MAX;
    }

    /// From now on nothing can be written.
    pub fn fail(&self) {
        self.device.lock().fails = true;
    }

    fn fails(&self) -> bool {
        self.device.lock().fails
    }
}

fn broken() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl DirectWrite for Line {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(|| if self.fails() { Err(broken()) } else { self.socket.try_write(slices) })
    }
}

impl Device {
    /// Reads and acknowledges. Returns whether the connection's task has a reason to look.
    fn take(&mut self, bytes: &[u8]) -> bool {
        self.unread.extend_from_slice(bytes);
        let decoder = Decoder {
            version: Some(ProtocolVersion::V5),
            maximum_packet_size: u32::MAX,
            user_properties_max: 0,
            filters_max: 0,
            peer: crate::packet::Peer::Server,
        };
        let (mut at, before) = (0, self.sent.len());
        while let Some((packet, length)) = decoder.decode(&self.unread[at..]).expect("whole packets, none torn") {
            at += length;
            assert_eq!(self.goodbye, None, "something comes behind DISCONNECT");
            assert!(self.is_welcome || matches!(packet, Packet::ConnAck(_)), "{packet:?} comes before CONNACK");
            match packet {
                Packet::ConnAck(_) => self.is_welcome = true,
                Packet::Publish(publish) => {
                    self.got.push(String::from_utf8(publish.payload.to_vec()).unwrap());
                    if let Some(id) = publish.delivery.packet_id() {
                        let ack = Packet::PubAck(PublishAck::new(id, PublishReason::Success));
                        encode(&ack, ProtocolVersion::V5, &mut self.sent);
                    }
                }
                Packet::Disconnect(disconnect) => self.goodbye = Some(disconnect.reason as u8),
                _ => {}
            }
        }
        self.unread.drain(..at);
        let becomes_done = self.got.len() >= self.expected && !self.is_done;
        self.is_done |= becomes_done;
        becomes_done || self.sent.len() > before
    }

    /// Each publisher's messages came in their order and once each; all of them if `is_whole`.
    pub fn check(&self, messages: &[usize], is_whole: bool) {
        assert!(self.unread.is_empty(), "a packet is cut short");
        for (publisher, count) in messages.iter().enumerate() {
            let mine: Vec<_> = self.got.iter().filter(|text| text.starts_with(&publisher.to_string())).collect();
            assert!(!is_whole || mine.len() == *count, "{} of {count} of publisher {publisher}", mine.len());
            for (number, text) in mine.into_iter().enumerate() {
                assert_eq!(*text, format!("{publisher} {number}"), "{:?}", self.got);
            }
        }
    }
}
