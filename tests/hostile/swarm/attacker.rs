//! One attacker: connections one after the other, some of which it leaves standing while it goes on.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::draft::Liar;
use super::script::{Script, note};
use super::strict::{Reader, Seen};
use crate::support::PATIENCE;
use crate::support::client::Stream;
use crate::support::dice::Dice;

/// Connections that it leaves standing at a time.
const STANDING: usize = 3;
/// What it keeps in mind of what it was sent.
const SEEN_MAX: usize = 20;

/// The doors of the broker that it attacks.
pub struct Target<'a> {
    pub tcp: SocketAddr,
    pub unix: &'a Path,
}

impl Target<'_> {
    fn dial(&self, dice: &mut Dice) -> io::Result<Box<dyn Stream>> {
        if dice.once_in(2) {
            return Ok(Box::new(UnixStream::connect(self.unix)?));
        }
        let stream = TcpStream::connect(self.tcp)?;
        stream.set_nodelay(true)?;
        if dice.once_in(3) {
            // When it closes the peer gets a reset, in the middle of whatever it does.
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
        Ok(Box::new(stream))
    }
}

/// Attacks with so many connections.
pub fn attack(target: &Target<'_>, connections: usize, mut dice: Dice) {
    let mut standing: Vec<Connection> = Vec::new();
    for _ in 0..connections {
        let mut connection = Connection::new(target.dial(&mut dice).expect("the broker accepts"), &mut dice);
        connection.talk(&mut dice);
        match dice.below(5) {
            0 => drop(connection),
            1 => connection.shut_write_and_leave(),
            2 => connection.disconnect_and_leave(&mut dice),
            _ => standing.push(connection),
        }
        standing.iter_mut().for_each(Connection::read);
        if standing.len() > STANDING {
            let oldest = standing.remove(0);
            if dice.once_in(2) { drop(oldest) } else { oldest.shut_write_and_leave() }
        }
    }
}

struct Connection {
    stream: Box<dyn Stream>,
    script: Script,
    liar: Liar,
    reader: Reader,
    /// What goes out with the next write.
    unsent: Vec<u8>,
    /// All that was sent, for the report of a failure.
    sent: Vec<u8>,
    /// Nothing more goes out, or comes in.
    is_ended: bool,
    /// We have told it that nothing more comes; it may stop in the middle of a packet.
    is_half_closed: bool,
}

impl Connection {
    fn new(stream: Box<dyn Stream>, dice: &mut Dice) -> Self {
        let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
        Self {
            stream,
            script: Script::new(dice),
            liar: Liar::new(dice.one_of(&[None, Some(300), Some(60), Some(15)])),
            reader: Reader::default(),
            unsent: Vec::new(),
            sent: Vec::new(),
            is_ended: false,
            is_half_closed: false,
        }
    }

    fn talk(&mut self, dice: &mut Dice) {
        if !dice.once_in(20) {
            let (connect, terms) = self.script.connect(dice);
            let bytes = self.liar.write(connect, dice);
            self.reader.terms = (!self.liar.has_lied).then_some(terms);
            self.say(bytes, dice);
        }
        for number in 0..dice.below(25) {
            let draft = match number {
                0 if dice.once_in(2) => self.script.subscribe(dice),
                _ => self.script.packet(dice),
            };
            self.reader.terms.iter_mut().for_each(|terms| note(&draft, terms));
            let bytes = self.liar.write(draft, dice);
            if self.liar.has_lied {
                self.reader.terms = None; // From here on nobody knows what the broker has read.
            }
            self.say(bytes, dice);
            if dice.once_in(3) {
                self.read();
            }
            if self.is_ended {
                return;
            }
        }
        self.flush(dice);
    }

    /// Several packets in one write, or one in several.
    fn say(&mut self, mut bytes: Vec<u8>, dice: &mut Dice) {
        self.unsent.append(&mut bytes);
        if !dice.once_in(3) {
            self.flush(dice);
        }
    }

    fn flush(&mut self, dice: &mut Dice) {
        let unsent = std::mem::take(&mut self.unsent);
        let mut rest = &unsent[..];
        while !rest.is_empty() && !self.is_ended {
            let length = if dice.once_in(3) { 1 + dice.below(rest.len()) } else { rest.len() };
            match self.stream.write(&rest[..length]) {
                Ok(count) => {
                    self.sent.extend_from_slice(&rest[..count]);
                    rest = &rest[count..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The broker has hung up, or does not read while we do not: the rest is not said, and what comes is still looked at.
                Err(_) => {
                    self.reader.terms = None;
                    break;
                }
            }
        }
    }

    /// Looks at what is there.
    fn read(&mut self) {
        if !self.is_ended {
            self.read_within(Duration::from_millis(1));
        }
    }

    /// Whether something came.
    fn read_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).expect("a timeout can be set");
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) => {
                self.is_ended = true;
                let is_whole = self.reader.is_between_packets() || self.is_half_closed;
                assert!(is_whole, "the broker closes in the middle of a packet, after {:02x?}", self.sent);
                true
            }
            Ok(count) => {
                let seen = self.reader.read(&bytes[..count]);
                let seen = seen.unwrap_or_else(|wrong| panic!("{wrong}, after {:02x?}", self.sent));
                let room = SEEN_MAX.saturating_sub(self.script.seen.len());
                self.script.seen.extend(seen.into_iter().filter(|seen| !matches!(seen, Seen::Other)).take(room));
                true
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => false,
                // Reset: what was on its way is gone.
                _ => {
                    self.is_ended = true;
                    true
                }
            },
        }
    }

    fn shut_write_and_leave(mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.is_half_closed = true;
        self.await_end();
    }

    fn disconnect_and_leave(mut self, dice: &mut Dice) {
        self.unsent = Liar::new(None).write(self.script.disconnect(dice), dice);
        self.flush(dice);
        if self.reader.terms.is_some() {
            self.await_end(); // Behind lies it may be part of anything.
        }
    }

    /// The broker closes, and all that comes before is valid.
    fn await_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ended {
            self.read_within(Duration::from_millis(100));
            assert!(Instant::now() < deadline, "the connection stays open, after {:02x?}", self.sent);
        }
    }
}
