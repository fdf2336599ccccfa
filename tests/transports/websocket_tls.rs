use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use dunlin::packet::{Connect, QoS};
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder, Message, WebSocket};

use crate::authority::{Authority, TlsStream, folder};
use crate::support::Broker;
use crate::support::client::{Client, Stream, V5, V31, V311, connect};

/// MQTT in binary messages. What one `write` gets is one message.
struct WebSocketStream {
    socket: WebSocket<TlsStream>,
    rest: Vec<u8>,
}

impl Read for WebSocketStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => self.rest = bytes.to_vec(),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) => return Err(error),
                Err(_) => return Ok(0),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

impl Write for WebSocketStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(Message::binary(bytes.to_vec())).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for WebSocketStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.get_ref().set_read_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.get_ref().shutdown(how)
    }
}

struct Page {
    broker: Broker,
    authority: Authority,
}

impl Page {
    fn start(extra: &str) -> Self {
        let folder = folder();
        let authority = Authority::with_server(folder.path());
        let config = format!(
            "[[listeners]]\nname = \"wss\"\nurl = \"wss://127.0.0.1:0/mqtt\"\n{extra}\n[listeners.tls]\n\
             certificate = \"@DIR@/server.pem\"\nkey = \"@DIR@/server-key.pem\"\n"
        );
        Self { broker: Broker::with_config_in(folder, &config), authority }
    }

    /// The WebSocket and the subprotocol that the server chose, or the HTTP status of its refusal.
    fn open(&self, path: &str, subprotocols: &[&str], origin: Option<&str>) -> Result<(WebSocketStream, String), u16> {
        let stream = self.authority.caller(None).dial(self.broker.address(), "localhost").expect("a handshake");
        let mut request = ClientRequestBuilder::new(format!("wss://localhost{path}").parse().expect("a URI"));
        for name in subprotocols {
            request = request.with_sub_protocol(*name);
        }
        if let Some(origin) = origin {
            request = request.with_header("Origin", origin);
        }
        match tungstenite::client(request, stream) {
            Ok((socket, response)) => {
                let chosen = response.headers()["sec-websocket-protocol"].to_str().expect("text").to_owned();
                Ok((WebSocketStream { socket, rest: Vec::new() }, chosen))
            }
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    fn mqtt(&self) -> WebSocketStream {
        self.open("/mqtt", &["mqtt"], None).unwrap_or_else(|status| panic!("HTTP {status}")).0
    }
}

#[test]
fn clients_of_all_versions_talk_over_wss() {
    let page = Page::start("");
    for (version, subprotocol) in [(V31, "mqttv3.1"), (V311, "mqtt"), (V5, "mqtt")] {
        let (stream, chosen) = page.open("/mqtt", &[subprotocol], None).unwrap_or_else(|status| panic!("HTTP {status}"));
        assert_eq!(chosen, subprotocol);
        let mut client = Client::over(stream, version);
        client.log_in(Connect { client_id: "page", ..connect(version) });
        client.subscribe("a", QoS::ExactlyOnce);
        client.publish("a", "hi", QoS::AtMostOnce);
        client.expect_message("a", "hi");
    }
}

/// `[MQTT-6.0.0-3]`, `[MQTT-6.0.0-4]`.
#[test]
fn the_first_subprotocol_that_is_known_is_chosen() {
    let page = Page::start("");
    let (_, chosen) = page.open("/mqtt", &["chat", "mqttv3.1", "mqtt"], None).unwrap_or_else(|status| panic!("HTTP {status}"));
    assert_eq!(chosen, "mqttv3.1");
    assert_eq!(page.open("/mqtt", &["chat"], None).err(), Some(400));
}

#[test]
fn another_path_and_a_foreign_origin_are_refused_by_http() {
    let page = Page::start("allowed_origins = [\"https://good.example\"]");
    assert_eq!(page.open("/", &["mqtt"], None).err(), Some(404));
    assert_eq!(page.open("/mqtt", &["mqtt"], Some("https://evil.example")).err(), Some(403));
    assert!(page.open("/mqtt", &["mqtt"], Some("https://good.example")).is_ok());
    assert!(page.open("/mqtt", &["mqtt"], None).is_ok(), "no browser");
}

/// `[MQTT-6.0.0-2]`.
#[test]
fn packets_need_not_be_aligned_with_messages() {
    let page = Page::start("");
    let mut client = Client::over(page.mqtt(), V311);
    for byte in b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a" {
        client.send_bytes(&[*byte]);
    }
    client.expect("CONNACK", |packet| matches!(packet, dunlin::packet::Packet::ConnAck(_)).then_some(()));
    client.send_bytes(b"\x82\x06\0\x07\0\x01a\0\x30\x04\0\x01ax\xc0\0");
    client.expect("SUBACK", |packet| matches!(packet, dunlin::packet::Packet::SubAck(_)).then_some(()));
    let mut answers = [client.expect("an answer", |packet| Some(format!("{packet:?}"))), String::new()];
    answers[1] = client.expect("an answer", |packet| Some(format!("{packet:?}")));
    assert!(answers.iter().any(|answer| answer.starts_with("Publish")), "{answers:?}");
    assert!(answers.iter().any(|answer| answer.starts_with("PingResp")), "{answers:?}");
}

/// `[MQTT-6.0.0-1]`.
#[test]
fn a_text_message_ends_the_connection() {
    let page = Page::start("");
    let mut stream = page.mqtt();
    stream.socket.send(Message::text("\u{10}")).expect("it can be sent");
    assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0);
}
