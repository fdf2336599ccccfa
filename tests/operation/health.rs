use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::Broker;

#[test]
fn health_readiness_and_what_there_is_else() {
    let broker = Broker::start();
    for (path, status, body) in [("/healthz", "200", "ok\n"), ("/readyz", "200", "ready\n")] {
        let (line, text) = broker.get(path);
        assert!(line.contains(status), "{line}");
        assert_eq!(text, body);
    }
    let (line, index) = broker.get("/");
    assert!(line.contains("200") && index.contains("/metrics") && index.contains("/readyz"));
    let (line, body) = broker.get("/nowhere");
    assert!(line.contains("404") && body.contains("\"code\":\"NOT_FOUND\""), "{line} {body}");
}

#[test]
fn what_is_no_http_is_refused_and_harms_nobody() {
    let broker = Broker::start();
    for request in [&b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0"[..], b"GET\r\n\r\n", b"POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = TcpStream::connect(broker.admin.unwrap()).unwrap();
        stream.write_all(request).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
    }
    assert!(broker.get("/healthz").0.contains("200"));
}
