use std::future::poll_fn;
use std::io::IoSlice;
use std::path::Path;
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, RuntimeFlavor};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::*;
use crate::broker::LogLimiter;
use crate::transport::limits::{ConnectionGate, GateLimits, Refused};
use crate::transport::stats::HandshakeStep;
use crate::transport::{Accepted, TlsConfig};

/// A running listener, and what came through it.
struct House {
    address: Option<SocketAddr>,
    context: Arc<ListenerContext>,
    gate: Arc<ConnectionGate>,
    /// And what kind of runtime it was handed on in.
    accepted: mpsc::UnboundedReceiver<(Accepted, RuntimeFlavor)>,
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
}

impl House {
    fn open(config: &ListenerConfig, limits: GateLimits, connect_timeout: Duration) -> Self {
        Self::open_with(config, limits, connect_timeout, Handle::current())
    }

    fn open_with(config: &ListenerConfig, limits: GateLimits, connect_timeout: Duration, handshakes: Handle) -> Self {
        let listener = Listener::bind(config).unwrap();
        let (address, context) = (listener.local_addr(), listener.context().clone());
        let gate = ConnectionGate::new(limits);
        let (sender, accepted) = mpsc::unbounded_channel();
        let on_accepted = Arc::new(move |accepted| drop(sender.send((accepted, Handle::current().runtime_flavor()))));
        let (stop, stopped) = watch::channel(false);
        let (logs, burst) = (Arc::new(LogLimiter::default()), Duration::from_secs(1));
        let reception = Reception { gate: gate.clone(), connect_timeout, burst, logs, handshakes, on_accepted };
        let running = tokio::spawn(listener.run(reception, stopped));
        Self { address, context, gate, accepted, stop, running }
    }

    fn at(url: &str) -> Self {
        Self::open(&ListenerConfig::new("test", url), GateLimits::default(), Duration::from_secs(10))
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address.unwrap()).await.unwrap()
    }

    async fn accept(&mut self) -> Accepted {
        let (accepted, flavor) = self.accepted.recv().await.unwrap();
        assert_eq!(flavor, RuntimeFlavor::CurrentThread, "that of the tests");
        accepted
    }
}

fn config(url: &str) -> ListenerConfig {
    ListenerConfig::new("test", url)
}

async fn read(accepted: &mut Accepted) -> Vec<u8> {
    let mut buffer = vec![0; 1024];
    let length = poll_fn(|cx| accepted.wire.poll_read(cx, &mut buffer)).await.unwrap();
    buffer.truncate(length);
    buffer
}

async fn write(accepted: &mut Accepted, bytes: &[u8]) {
    let written = poll_fn(|cx| accepted.wire.poll_write(cx, &[IoSlice::new(bytes)])).await.unwrap();
    assert_eq!(written, bytes.len());
    poll_fn(|cx| accepted.wire.poll_flush(cx)).await.unwrap();
}

/// The peer has closed, or reset, without a byte.
async fn expect_end(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest).await {
        Ok(_) => assert_eq!(rest, b""),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

fn certificate(folder: &Path) -> (TlsConfig, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = TlsConfig {
        certificate,
        key,
        more: Vec::new(),
        client_ca: None,
        client_certificates: Default::default(),
        crl: Vec::new(),
        identity: Default::default(),
        min_version: "1.2".into(),
    };
    (tls, made.cert.der().clone())
}

fn connector(root: CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let client = client.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    TlsConnector::from(Arc::new(client.with_no_client_auth()))
}

async fn speak_websocket<S: AsyncRead + AsyncWrite + Unpin>(house: &mut House, stream: S) {
    let mut request = "ws://localhost/mqtt".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "mqtt".parse().unwrap());
    let (mut client, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let mut accepted = house.accept().await;
    assert!(accepted.wire.direct().is_none());
    client.send(Message::binary(&b"ping"[..])).await.unwrap();
    assert_eq!(read(&mut accepted).await, b"ping");
    write(&mut accepted, b"pong").await;
    assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(&b"pong"[..]));
}

/// Bytes go both ways.
async fn talk(client: &mut (impl AsyncRead + AsyncWrite + Unpin), accepted: &mut Accepted) {
    client.write_all(b"ping").await.unwrap();
    assert_eq!(read(accepted).await, b"ping");
    write(accepted, b"pong").await;
    let mut answer = [0; 4];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"pong");
}

#[tokio::test]
async fn tcp_is_handed_on_at_once_with_its_peer() {
    let mut house = House::at("tcp://127.0.0.1:0");
    let mut client = house.connect().await;
    let mut accepted = house.accept().await;
    assert_eq!(accepted.peer.address, Some(client.local_addr().unwrap()));
    assert_eq!((accepted.peer.transport, accepted.peer.listener.name.as_str()), ("tcp", "test"));
    assert!(accepted.peer.listener.is_loopback && accepted.wire.direct().is_some());
    assert!(accepted.deadline > Instant::now());
    talk(&mut client, &mut accepted).await;
}

#[tokio::test]
async fn ipv6_is_served_beside_ipv4_on_the_same_port() {
    let four = House::at("tcp://0.0.0.0:0");
    let port = four.address.unwrap().port();
    let Ok(six) = Listener::bind(&config(&format!("tcp://[::]:{port}"))) else {
        return assert!(std::net::TcpListener::bind("[::1]:0").is_err(), "this machine has IPv6");
    };
    assert!(six.local_addr().unwrap().is_ipv6() && !six.context().is_loopback);
}

#[tokio::test]
async fn a_unix_socket_has_no_address_and_its_file_goes_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mqtt.sock");
    let mut house = House::at(&format!("unix://{}", path.display()));
    let mut client = UnixStream::connect(&path).await.unwrap();
    let mut accepted = house.accept().await;
    assert_eq!((accepted.peer.address, accepted.peer.transport), (None, "unix"));
    client.write_all(b"ping").await.unwrap();
    assert_eq!(read(&mut accepted).await, b"ping");
    house.stop.send_replace(true);
    house.running.await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn websocket_is_served_over_tcp_and_over_tls() {
    let mut house = House::at("ws://127.0.0.1:0");
    let stream = house.connect().await;
    speak_websocket(&mut house, stream).await;

    let folder = tempfile::tempdir().unwrap();
    let (tls, root) = certificate(folder.path());
    let secure = ListenerConfig { tls: Some(tls), ..config("wss://127.0.0.1:0/mqtt") };
    let mut house = House::open(&secure, GateLimits::default(), Duration::from_secs(10));
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector(root).connect(name, house.connect().await).await.unwrap();
    speak_websocket(&mut house, stream).await;
}

/// The handshake may be done by another runtime: what it leaves behind is none of that one's.
#[tokio::test]
async fn a_tls_handshake_is_done_by_the_patient_runtime_and_the_connection_outlives_it() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, root) = certificate(folder.path());
    let secure = ListenerConfig { tls: Some(tls), ..config("tls://127.0.0.1:0") };
    let patient = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let (limits, patience) = (GateLimits::default(), Duration::from_secs(10));
    let mut house = House::open_with(&secure, limits, patience, patient.handle().clone());
    let name = ServerName::try_from("localhost").unwrap();
    let connector = connector(root);
    let mut client = connector.connect(name.clone(), house.connect().await).await.unwrap();
    let mut accepted = house.accept().await;
    patient.shutdown_background();
    talk(&mut client, &mut accepted).await;
    assert!(connector.connect(name, house.connect().await).await.is_err(), "nobody is left who shakes hands");
}

#[tokio::test]
async fn the_proxys_client_is_the_peer_and_what_follows_the_header_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, root) = certificate(folder.path());
    let behind = ListenerConfig { proxy_protocol: true, tls: Some(tls), ..config("tls://127.0.0.1:0") };
    let mut house = House::open(&behind, GateLimits::default(), Duration::from_secs(10));
    let mut stream = house.connect().await;
    stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 8883\r\n").await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = connector(root).connect(name, stream).await.unwrap();
    client.write_all(b"ping").await.unwrap();
    let mut accepted = house.accept().await;
    assert_eq!(accepted.peer.address, Some("192.0.2.7:56324".parse().unwrap()));
    assert_eq!(read(&mut accepted).await, b"ping");

    let plain = ListenerConfig { proxy_protocol: true, ..config("tcp://127.0.0.1:0") };
    let mut house = House::open(&plain, GateLimits::default(), Duration::from_secs(10));
    let mut client = house.connect().await;
    client.write_all(b"PROXY UNKNOWN\r\nping").await.unwrap();
    let mut accepted = house.accept().await;
    assert_eq!(accepted.peer.address, Some(client.local_addr().unwrap()));
    assert_eq!(read(&mut accepted).await, b"ping");
}

#[tokio::test]
async fn the_cap_of_one_address_behind_a_proxy_is_that_of_its_client() {
    let behind = ListenerConfig { proxy_protocol: true, ..config("tcp://127.0.0.1:0") };
    let limits = GateLimits { per_address: 1, ..GateLimits::default() };
    let mut house = House::open(&behind, limits, Duration::from_secs(10));
    let mut held = Vec::new();
    for (last, is_let_in) in [(1, true), (2, true), (1, false)] {
        let mut client = house.connect().await;
        client.write_all(format!("PROXY TCP4 192.0.2.{last} 192.0.2.9 1 2\r\n").as_bytes()).await.unwrap();
        if is_let_in {
            held.push((house.accept().await, client));
        } else {
            expect_end(&mut client).await;
        }
    }
    assert_eq!(house.context.stats.refusals(Refused::Address), 1);
}

#[tokio::test]
async fn each_failed_handshake_closes_its_connection_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Some(certificate(folder.path()).0);
    let connect = b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0";
    for (config, step) in [
        (ListenerConfig { proxy_protocol: true, ..config("tcp://127.0.0.1:0") }, HandshakeStep::ProxyProtocol),
        (ListenerConfig { tls, ..config("tls://127.0.0.1:0") }, HandshakeStep::Tls),
        (config("ws://127.0.0.1:0"), HandshakeStep::WebSocket),
    ] {
        let house = House::open(&config, GateLimits::default(), Duration::from_secs(10));
        let mut client = house.connect().await;
        client.write_all(connect).await.unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"\x20"), "an alert or HTTP, or nothing");
        assert_eq!(house.context.stats.handshake_failures(step), 1, "{step:?}");
        assert_eq!(house.gate.pending(), 0);
    }
}

#[tokio::test]
async fn a_silent_client_is_dropped_when_its_time_is_over_in_any_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Some(certificate(folder.path()).0);
    for config in [
        ListenerConfig { proxy_protocol: true, ..config("tcp://127.0.0.1:0") },
        ListenerConfig { tls, ..config("tls://127.0.0.1:0") },
        config("ws://127.0.0.1:0"),
    ] {
        let house = House::open(&config, GateLimits::default(), Duration::from_millis(50));
        let mut client = house.connect().await;
        expect_end(&mut client).await;
        assert_eq!(house.context.stats.handshake_failures(HandshakeStep::Timeout), 1, "{}", config.url);
    }
}

#[tokio::test]
async fn connections_before_connect_have_their_own_cap() {
    let limits = GateLimits { pending: 2, ..GateLimits::default() };
    let mut house = House::open(&config("tcp://127.0.0.1:0"), limits, Duration::from_secs(10));
    let (_first, _second) = (house.connect().await, house.connect().await);
    let (mut admitted, _pending) = (house.accept().await, house.accept().await);
    expect_end(&mut house.connect().await).await;
    assert_eq!(house.context.stats.refusals(Refused::Pending), 1);
    admitted.permit.admit().unwrap();
    let _fourth = house.connect().await;
    house.accept().await;
}

#[tokio::test]
async fn stopping_closes_the_door_and_drops_handshakes_at_once() {
    let mut house = House::at("ws://127.0.0.1:0");
    let mut waiting = house.connect().await;
    while house.gate.pending() == 0 {
        tokio::task::yield_now().await;
    }
    house.stop.send_replace(true);
    (&mut house.running).await.unwrap();
    expect_end(&mut waiting).await;
    assert!(TcpStream::connect(house.address.unwrap()).await.is_err());
    assert!(house.accepted.recv().await.is_none());
}

#[tokio::test]
async fn a_door_that_cannot_be_opened_names_listener_url_and_cause() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", taken.local_addr().unwrap());
    let shown = |config: &ListenerConfig| Listener::bind(config).err().unwrap().to_string();
    assert!(shown(&config(&url)).starts_with(&format!("listener \"test\" ({url}): Address already in use")));
    assert!(shown(&config("mqtt://x")).starts_with("listener \"test\" (mqtt://x): the scheme"));
    assert_eq!(
        shown(&config("tls://127.0.0.1:0")),
        "listener \"test\" (tls://127.0.0.1:0): tls:// needs a certificate: add [listeners.tls]"
    );
    let versions = ListenerConfig { versions: vec!["4".into()], ..config("tcp://127.0.0.1:0") };
    assert!(shown(&versions).ends_with("versions: \"4\" is none of \"3.1\", \"3.1.1\", \"5.0\""));
}
