use dunlin::packet::{Connect, QoS};

use crate::authority::{Authority, folder};
use crate::support::client::{Client, V5, V311, connect};
use crate::support::{Broker, eventually};

fn start(limits: &str) -> Broker {
    let listener =
        "[[listeners]]\nname = \"proxied\"\nurl = \"tcp://127.0.0.1:0\"\nproxy_protocol = true\nallow_anonymous = true";
    Broker::with_config(&format!("{listener}\n[limits]\n{limits}"))
}

/// Version 2, TCP over IPv4, with one TLV behind the addresses that means nothing to us.
fn v2(source: [u8; 4], port: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10".to_vec();
    header.extend_from_slice(&source);
    header.extend_from_slice(&[127, 0, 0, 1]);
    header.extend_from_slice(&port.to_be_bytes());
    header.extend_from_slice(&1883_u16.to_be_bytes());
    header.extend_from_slice(b"\xea\0\x01x");
    header
}

fn through(broker: &Broker, header: &[u8], id: &str) -> Client {
    let mut client = Client::dial(broker.address(), V5);
    client.send_bytes(header);
    client.log_in(Connect { client_id: id, ..connect(V5) });
    client
}

/// Nothing of MQTT is said before the header is right.
fn is_refused(broker: &Broker, bytes: &[u8]) -> bool {
    let mut client = Client::dial(broker.address(), V311);
    client.send_bytes(bytes);
    client.send_bytes(b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0");
    client.expect_close().is_none()
}

#[test]
fn the_address_that_the_proxy_tells_is_the_clients() {
    let mut broker = start("");
    for (header, peer) in [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 50123 1883\r\n".to_vec(), "192.0.2.7:50123"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 50124 1883\r\n".to_vec(), "[2001:db8::7]:50124"),
        (v2([198, 51, 100, 9], 50125), "198.51.100.9:50125"),
    ] {
        let mut client = through(&broker, &header, "a");
        client.ping();
        let line = broker.wait_for_log("\"connected\"");
        assert!(line.contains(&format!("\"peer\":\"{peer}\"")), "{line}");
        client.cut();
        let line = broker.wait_for_log("\"disconnected\"");
        assert!(line.contains(&format!("\"peer\":\"{peer}\"")), "{line}");
    }
}

/// A health check of the proxy, and a proxy that does not know: the connection's own address stands.
#[test]
fn a_header_without_an_address_lets_the_connection_in() {
    let mut broker = start("");
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        through(&broker, header, "a").ping();
        let line = broker.wait_for_log("\"connected\"");
        assert!(line.contains("\"peer\":\"127.0.0.1:"), "{line}");
    }
}

#[test]
fn header_and_connect_may_come_in_one_segment_or_byte_by_byte() {
    let broker = start("");
    let connect = b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0";
    for header in [b"PROXY TCP4 192.0.2.7 192.0.2.1 50123 1883\r\n".to_vec(), v2([192, 0, 2, 7], 1)] {
        let whole = [&header[..], connect].concat();
        for size in [whole.len(), 1] {
            let mut client = Client::dial(broker.address(), V311);
            whole.chunks(size).for_each(|chunk| client.send_bytes(chunk));
            client.expect("CONNACK", |packet| matches!(packet, dunlin::packet::Packet::ConnAck(_)).then_some(()));
        }
    }
}

#[test]
fn connections_are_counted_for_the_clients_address_not_the_proxys() {
    let broker = start("max_connections_per_address = 1");
    let _first = through(&broker, &v2([192, 0, 2, 1], 1), "a");
    assert!(is_refused(&broker, &v2([192, 0, 2, 1], 2)));
    let _second = through(&broker, &v2([192, 0, 2, 2], 3), "b");
    let hits = "dunlin_limit_hits_total{limit=\"max_connections_per_address\"}";
    eventually("the limit is counted", || broker.metric(hits) == 1.0);
}

#[test]
fn a_missing_or_malformed_header_is_refused_and_counted() {
    let mut broker = start("");
    for bytes in [
        &b""[..],
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP4 192.0.2.777 192.0.2.1 50123 1883\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c123456789012",
    ] {
        assert!(is_refused(&broker, bytes), "{bytes:?}");
        let line = broker.wait_for_log("handshake failed");
        assert!(line.contains("\"listener\":\"proxied\""), "{line}");
    }
    eventually("the failures are counted", || broker.metric("dunlin_handshake_failures_total{listener=\"proxied\"}") == 4.0);
}

#[test]
fn tls_begins_after_the_header() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let config = "[[listeners]]\nname = \"tls\"\nurl = \"tls://127.0.0.1:0\"\nproxy_protocol = true\nallow_anonymous = true\n[listeners.tls]\n\
                  certificate = \"@DIR@/server.pem\"\nkey = \"@DIR@/server-key.pem\"";
    let mut broker = Broker::with_config_in(folder, config);
    let stream = authority.caller(None).dial_after(broker.address(), "localhost", &v2([192, 0, 2, 7], 50123)).unwrap();
    let mut client = Client::over(stream, V5);
    client.log_in(connect(V5));
    client.subscribe("a", QoS::AtMostOnce);
    let line = broker.wait_for_log("\"connected\"");
    assert!(line.contains("\"peer\":\"192.0.2.7:50123\""), "{line}");
}
