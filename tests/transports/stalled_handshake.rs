//! A peer that connects and says nothing, or too little, is cut at `connect_timeout`, whatever the door.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::authority::{Authority, folder};
use crate::support::client::{Client, V5};
use crate::support::{Broker, PATIENCE, eventually};

const DOORS: &str = r#"
[limits]
connect_timeout = "300ms"
[[listeners]]
name = "tcp"
url = "tcp://127.0.0.1:0"
[[listeners]]
name = "proxied"
url = "tcp://127.0.0.1:0"
proxy_protocol = true
[[listeners]]
name = "ws"
url = "ws://127.0.0.1:0/mqtt"
[[listeners]]
name = "tls"
url = "tls://127.0.0.1:0"
[listeners.tls]
certificate = "@DIR@/server.pem"
key = "@DIR@/server-key.pem"
[[listeners]]
name = "wss"
url = "wss://127.0.0.1:0/mqtt"
[listeners.tls]
certificate = "@DIR@/server.pem"
key = "@DIR@/server-key.pem"
"#;

#[test]
fn a_handshake_that_stalls_is_cut_at_connect_timeout() {
    let folder = folder();
    Authority::with_server(folder.path());
    let broker = Broker::with_config_in(folder, DOORS);
    let mut stalled = Vec::new();
    for (door, beginning) in [
        ("tcp", &b""[..]),
        ("tcp", b"\x10"),
        ("tcp", b"\x10\x0c\0\x04MQTT\x04"),
        ("proxied", b""),
        ("proxied", b"PROXY TCP4 192.0"),
        ("proxied", b"PROXY UNKNOWN\r\n\x10"),
        ("ws", b""),
        ("ws", b"GET /mqtt HTTP/1.1\r\nUpgrade: websocket\r\n"),
        ("tls", b""),
        ("tls", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
        ("wss", b"\x16"),
    ] {
        let mut socket = TcpStream::connect(broker.listener(door)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(beginning).unwrap();
        stalled.push((door, beginning, socket));
    }
    for (door, beginning, mut socket) in stalled {
        // The end of the stream, or a reset where bytes were left unread; not a timeout of our own.
        let end = socket.read(&mut [0; 64]);
        let is_cut = !matches!(&end, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(is_cut && !matches!(end, Ok(1..)), "{door} after {beginning:?}: {end:?}");
    }
    let hits = |limit: &str| broker.metric(&format!("dunlin_limit_hits_total{{limit=\"{limit}\"}}"));
    eventually("those that got past the handshakes are counted", || hits("connect_timeout") >= 4.0);
    eventually("the others too", || broker.metric("dunlin_handshake_failures_total{listener=\"tls\"}") == 2.0);
    Client::connect(broker.listener("tcp"), V5, "after").ping();
}

/// The time counts from accept: a byte now and then buys nothing.
#[test]
fn bytes_that_trickle_in_buy_no_time() {
    let broker = Broker::with_config(
        "[limits]\nconnect_timeout = \"400ms\"\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"",
    );
    let mut socket = TcpStream::connect(broker.address()).unwrap();
    // A CONNECT of 200 bytes, one byte each 20 ms: 4 s in all.
    let mut sent = 0;
    let packet = [&b"\x10\xc8\x01\0\x04MQTT\x04\x02\0\0\0\xbe"[..], &[b'x'; 190]].concat();
    for byte in packet {
        if socket.write_all(&[byte]).is_err() {
            break;
        }
        sent += 1;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(sent < 190, "cut before the packet was whole");
}
