//! A broker that does wrong: it answers each packet as it is told, and hangs up when it is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

pub const CONNECT: u8 = 1;
pub const PUBLISH: u8 = 3;
pub const DISCONNECT: u8 = 14;

/// CONNACK of 3.1.1.
pub const WELCOME: [u8; 4] = [0x20, 2, 0, 0];

/// What it answers to a packet.
pub enum Answer {
    Say(Vec<u8>),
    /// The last words.
    HangUp(Vec<u8>),
}

/// `answer` is told the kind of each packet and its body. It listens until the test's process ends.
pub fn serve(answer: fn(u8, &[u8]) -> Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a client comes");
            thread::spawn(move || talk(stream, answer));
        }
    });
    address
}

fn talk(mut stream: TcpStream, answer: fn(u8, &[u8]) -> Answer) {
    while let Some((kind, body)) = read(&mut stream) {
        match answer(kind, &body) {
            Answer::Say(bytes) if stream.write_all(&bytes).is_ok() => {}
            Answer::Say(_) => return,
            Answer::HangUp(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
        }
    }
}

/// `None` at the end.
fn read(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = || {
        let mut bytes = [0];
        stream.read_exact(&mut bytes).ok()?;
        Some(bytes[0])
    };
    let first = byte()?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let digit = byte()?;
        length |= usize::from(digit & 0x7f) << shift;
        shift += 7;
        if digit & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first >> 4, body))
}

/// Packet Identifier of a PUBLISH of QoS 1 or 2.
pub fn packet_id(body: &[u8]) -> [u8; 2] {
    let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
    [body[2 + topic], body[3 + topic]]
}
