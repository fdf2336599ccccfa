//! A relay: what publishers send goes to subscribers as it is. No broker can be cheaper on the same machine.
//!
//! It answers CONNECT, SUBSCRIBE and PINGREQ, and reads the topic of the first message of each publisher, to know who gets what
//! that one sends from then on. Of all other packets it looks at the first byte and the length only. QoS 0 only: it acknowledges
//! nothing.

mod audience;
mod peer;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::descriptors;
use audience::Audience;
use peer::{Next, Peer};

const LISTENER: Token = Token(usize::MAX);

/// What is read at once; longer packets make it grow.
const BUFFER: usize = 256 * 1024;

/// Bytes that may wait for one subscriber before its publishers are read no further.
const WAITING_MAX: usize = 4 * 1024 * 1024;

/// How often it looks whether it is to end.
const TICK: Duration = Duration::from_millis(200);

/// Clients that it is made for.
const CLIENTS_MAX: usize = 100_000;

struct Relay {
    poll: Poll,
    listener: TcpListener,
    peers: Slab<Peer>,
    buffer: Vec<u8>,
    /// Those who have something to write since the last turn.
    dirty: Vec<usize>,
    /// Publishers with more to read.
    again: Vec<usize>,
    /// Publishers whose subscribers have too much waiting.
    paused: Vec<usize>,
    audience: Audience,
}

/// Listens and relays until `interrupted`. `ready` is told the address.
///
/// # Errors
/// If the address cannot be had, or the system fails.
pub fn relay(address: SocketAddr, interrupted: &AtomicBool, ready: impl FnOnce(SocketAddr)) -> Result<(), String> {
    // Fewer are enough for most.
    let _ = descriptors::make_room_for(CLIENTS_MAX);
    let mut relay = Relay::listen(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    ready(relay.listener.local_addr().map_err(|error| error.to_string())?);
    relay.run(interrupted).map_err(|error| format!("the relay failed: {error}"))
}

impl Relay {
    fn listen(address: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            peers: Slab::new(),
            buffer: vec![0; BUFFER],
            dirty: Vec::new(),
            again: Vec::new(),
            paused: Vec::new(),
            audience: Audience::default(),
        })
    }

    fn run(&mut self, interrupted: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !interrupted.load(Ordering::Relaxed) {
            let timeout = if self.again.is_empty() { TICK } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            for index in std::mem::take(&mut self.again) {
                self.read(index);
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(index) => self.attend(index, event.is_writable(), event.is_read_closed()),
                }
            }
            self.flush();
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
                Err(error) => return Err(error),
            };
            socket.set_nodelay(true)?;
            let entry = self.peers.vacant_entry();
            let interest = Interest::READABLE.add(Interest::WRITABLE);
            self.poll.registry().register(&mut socket, Token(entry.key()), interest)?;
            entry.insert(Peer::new(socket));
        }
    }

    fn attend(&mut self, index: usize, is_writable: bool, is_hung_up: bool) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        peer.note_hang_up(is_hung_up);
        if is_writable && peer.unblock() {
            self.dirty.push(index);
        }
        self.read(index);
    }

    /// Reads once and does what follows.
    fn read(&mut self, index: usize) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        if peer.is_publisher() && self.is_held_up(index) {
            self.paused.push(index);
            return;
        }
        let Some(peer) = self.peers.get_mut(index) else { return };
        let count = match peer.read(&mut self.buffer) {
            Ok(0) => return self.remove(index),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => return self.remove(index),
        };
        if count == self.buffer.len() || peer.is_hung_up() {
            self.again.push(index);
        }
        let buffer = std::mem::take(&mut self.buffer);
        self.handle(index, &buffer[..count]);
        self.buffer = buffer;
    }

    fn handle(&mut self, index: usize, bytes: &[u8]) {
        let mut at = 0;
        while let Some(peer) = self.peers.get_mut(index) {
            match peer.handle(&bytes[at..]) {
                Next::Subscribed(length, filters) => {
                    filters.into_iter().for_each(|filter| self.audience.add(index, filter));
                    at += length;
                    self.dirty.push(index);
                }
                Next::Answered(length) => {
                    at += length;
                    self.dirty.push(index);
                }
                Next::Relay(length) => {
                    self.pass_on(index, &bytes[at..at + length]);
                    at += length;
                }
                Next::Rest => return peer.keep(&bytes[at..]),
                Next::Gone => return self.remove(index),
            }
        }
    }

    fn pass_on(&mut self, index: usize, bytes: &[u8]) {
        self.find_receivers(index);
        let receivers = self.peers[index].take_receivers();
        for receiver in &receivers {
            if let Some(peer) = self.peers.get_mut(*receiver)
                && peer.push(bytes)
            {
                self.dirty.push(*receiver);
            }
        }
        self.peers[index].give_receivers(receivers);
    }

    /// Anew only if subscribers have come or gone since the last time.
    fn find_receivers(&mut self, index: usize) {
        let generation = self.audience.generation();
        let Some(topic) = self.peers[index].outdated_topic(generation) else { return };
        self.peers[index].set_receivers(self.audience.of(&topic), generation);
    }

    fn is_held_up(&self, index: usize) -> bool {
        let receivers = self.peers[index].receivers();
        receivers.iter().any(|receiver| self.peers.get(*receiver).is_some_and(|peer| peer.waiting() > WAITING_MAX))
    }

    /// One write for each who has something.
    fn flush(&mut self) {
        let mut has_drained = false;
        for index in std::mem::take(&mut self.dirty) {
            let Some(peer) = self.peers.get_mut(index) else { continue };
            match peer.flush() {
                Ok(is_empty) => has_drained |= is_empty,
                Err(_) => self.remove(index),
            }
        }
        if has_drained {
            self.again.append(&mut self.paused);
        }
    }

    fn remove(&mut self, index: usize) {
        if self.peers.remove(index).is_subscriber() {
            self.audience.remove(index);
        }
        // Nobody waits for one who is gone.
        self.again.append(&mut self.paused);
    }
}
