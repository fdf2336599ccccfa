//! The client's side of WebSocket: one request, then binary frames around the bytes of MQTT.
//!
//! The mask of our frames is zero, which the protocol allows and which costs nothing here; the broker has the same work with it
//! as with any other.

use std::io::{self, ErrorKind};

/// Bytes that may wait to be sent before no more are taken.
const OUT_MAX: usize = 1 << 20;

/// The longest answer to the request.
const ANSWER_MAX: usize = 16 * 1024;

const CLOSE: u8 = 8;
const PING: u8 = 9;

#[derive(Debug)]
pub(super) struct WebSocket {
    /// The broker's answer to the request until it is whole; `None` once the connection is open.
    answer: Option<Vec<u8>>,
    /// What is to be sent, and how much of it has been.
    out: Vec<u8>,
    sent: usize,
    /// Frames that wait for the connection to open.
    held: Vec<u8>,
    /// The beginning of a frame's header.
    header: Vec<u8>,
    opcode: u8,
    /// Bytes of the frame's payload that are still to come.
    left: u64,
    /// Payload of a ping.
    ping: Vec<u8>,
    /// The last frame has come.
    is_closed: bool,
}

impl WebSocket {
    pub(super) fn new(host: &str, path: &str) -> Self {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: ZHVubGluIGJlbmNoIGtleQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        Self {
            answer: Some(Vec::new()),
            out: request.into_bytes(),
            sent: 0,
            held: Vec::new(),
            header: Vec::new(),
            opcode: 0,
            left: 0,
            ping: Vec::new(),
            is_closed: false,
        }
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Puts bytes into a frame that is sent by the next `send`; how many it took.
    pub(super) fn wrap(&mut self, bytes: &[u8]) -> usize {
        let out = if self.answer.is_some() { &mut self.held } else { &mut self.out };
        if out.len() > OUT_MAX {
            return 0;
        }
        frame(out, 2, bytes);
        bytes.len()
    }

    pub(super) fn send(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        while self.sent < self.out.len() {
            self.sent += match write(&self.out[self.sent..])? {
                0 => return Err(ErrorKind::WouldBlock.into()),
                count => count,
            };
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Leaves only the payload of binary frames in the buffer, at its beginning, and tells how much that is. 0 is the end;
    /// if it is only nothing yet, the error is `WouldBlock`.
    pub(super) fn unwrap(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut at = self.read_answer(buffer)?;
        let mut kept = 0;
        while at < buffer.len() {
            if self.left == 0 {
                self.header.push(buffer[at]);
                at += 1;
                self.read_header();
            } else {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len() - at);
                self.left -= count as u64;
                if self.opcode == PING {
                    self.ping.extend_from_slice(&buffer[at..at + count]);
                } else if self.opcode < CLOSE {
                    buffer.copy_within(at..at + count, kept);
                    kept += count;
                }
                at += count;
            }
            if self.left == 0 && self.header.is_empty() && self.end_frame() {
                self.is_closed = true;
                return Ok(kept);
            }
        }
        if kept == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(kept) }
    }

    /// Where the frames begin in the buffer.
    fn read_answer(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let Some(answer) = &mut self.answer else { return Ok(0) };
        let before = answer.len();
        answer.extend_from_slice(buffer);
        let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            let is_too_long = answer.len() > ANSWER_MAX;
            return if is_too_long { Err(refused(answer)) } else { Err(ErrorKind::WouldBlock.into()) };
        };
        if !answer.starts_with(b"HTTP/1.1 101") {
            return Err(refused(answer));
        }
        self.answer = None;
        self.out.append(&mut self.held);
        Ok(end + 4 - before)
    }

    /// Understands the header once it is whole.
    fn read_header(&mut self) {
        let [first, second, length @ ..] = &self.header[..] else { return };
        let wanted = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if length.len() < wanted {
            return;
        }
        self.opcode = first & 15;
        self.left = if wanted == 0 {
            u64::from(second & 0x7f)
        } else {
            length.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
        };
        self.header.clear();
    }

    /// What follows from a whole frame; true for the last one.
    fn end_frame(&mut self) -> bool {
        if self.opcode == PING {
            let payload = std::mem::take(&mut self.ping);
            frame(&mut self.out, 10, &payload);
            self.opcode = 0;
        }
        self.opcode == CLOSE
    }
}

fn frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..126 => out.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

fn refused(answer: &[u8]) -> io::Error {
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    io::Error::other(format!("the broker refused WebSocket: {}", String::from_utf8_lossy(&line[..line.len().min(100)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> WebSocket {
        let mut websocket = WebSocket::new("h", "/mqtt");
        websocket.send(|bytes| Ok(bytes.len())).unwrap();
        let mut answer = *b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        assert_eq!(websocket.unwrap(&mut answer).unwrap_err().kind(), ErrorKind::WouldBlock);
        websocket
    }

    fn sent(websocket: &mut WebSocket) -> Vec<u8> {
        let mut all = Vec::new();
        let write = |bytes: &[u8]| {
            all.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        websocket.send(write).unwrap();
        all
    }

    #[test]
    fn what_is_written_before_the_answer_waits_for_it() {
        let mut websocket = WebSocket::new("h", "/mqtt");
        assert_eq!(websocket.wrap(b"abc"), 3);
        assert!(sent(&mut websocket).starts_with(b"GET /mqtt HTTP/1.1\r\n"));
        assert_eq!(websocket.unwrap(&mut b"HTTP/1.1 101 S".to_vec()).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(sent(&mut websocket).is_empty());
        let mut rest = b"witching\r\n\r\n\x82\x02hi".to_vec();
        assert_eq!(websocket.unwrap(&mut rest).unwrap(), 2);
        assert!(rest.starts_with(b"hi"));
        assert_eq!(sent(&mut websocket), b"\x82\x83\0\0\0\0abc");
    }

    #[test]
    fn frames_are_put_together_from_any_pieces() {
        let payload: Vec<u8> = (0..300).map(|index| index as u8).collect();
        let mut bytes = b"\x82\x7e\x01\x2c".to_vec();
        bytes.extend(&payload);
        bytes.extend(b"\x89\x02??\x82\x00\x82\x01!");
        for size in [1, 2, 3, 7, 1000] {
            let mut websocket = open();
            let mut got = Vec::new();
            for piece in bytes.chunks(size) {
                let mut piece = piece.to_vec();
                let count = websocket.unwrap(&mut piece).unwrap_or(0);
                got.extend_from_slice(&piece[..count]);
            }
            assert_eq!(got, [&payload[..], b"!"].concat());
            assert_eq!(sent(&mut websocket), b"\x8a\x82\0\0\0\0??");
        }
    }

    #[test]
    fn close_is_the_end_and_a_refusal_says_why() {
        assert_eq!(open().unwrap(&mut b"\x88\x00".to_vec()).unwrap(), 0);
        let mut websocket = open();
        assert_eq!(websocket.unwrap(&mut b"\x82\x01!\x88\x00".to_vec()).unwrap(), 1);
        assert!(websocket.is_closed(), "also behind data");
        let error = WebSocket::new("h", "/").unwrap(&mut b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "the broker refused WebSocket: HTTP/1.1 404 Not Found");
    }
}
