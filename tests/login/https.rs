//! Servers that are asked over TLS: a server whose certificate does not hold is told nothing, and has nothing to say.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use dunlin::packet::{Connect, Packet, QoS};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answers::{Answer, Asked, Server, json as answer};
use crate::authority::{Authority, Pem, write};
use crate::jwks::follow_a_rotation;
use crate::signer::{SetKey, claims};
use crate::support::client::{Client, V5, V311, connect};
use crate::support::{Broker, eventually};

const DOORS: &str = r#"
[[listeners]]
name = "asked"
url = "tcp://127.0.0.1:0"
[[listeners]]
name = "open"
url = "tcp://127.0.0.1:0"
methods = ["anonymous"]
"#;

/// A folder with `ca.pem` and what is sent as Authorization, and the authority.
fn folder() -> (TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::with_server(folder.path());
    write(folder.path(), "bearer", "the key of the house");
    (folder, authority)
}

/// A certificate that holds for the servers of these tests.
fn good(authority: &Authority) -> Pem {
    authority.issue("server", &["127.0.0.1", "localhost"], 7)
}

/// Certificates that do not hold for 127.0.0.1 under `authority`, each with what the log says of it.
fn bad(authority: &Authority) -> [(Pem, &'static str); 4] {
    [
        (good(&Authority::named("somebody")), "UnknownIssuer"),
        (good(&Authority::new()), "BadSignature"), // an authority that calls itself like ours
        (authority.issue("127.0.0.1", &["localhost", "127.0.0.2"], 8), "not valid for name"),
        (authority.issue_until("server", &["127.0.0.1"], 9, (2024, 1, 1)), "expired"),
    ]
}

fn hook(folder: TempDir, url: &str, more: &str) -> Broker {
    let config = format!(
        "[auth.http]\nauthenticate_url = \"{url}\"\nbearer_file = \"@DIR@/bearer\"\nca_file = \"@DIR@/ca.pem\"\n{more}\n{DOORS}"
    );
    Broker::with_config_in(folder, &config)
}

fn tokens(folder: TempDir, url: &str, more: &str) -> Broker {
    let config = format!("[auth.jwt]\njwks_url = \"{url}\"\nca_file = \"@DIR@/ca.pem\"\n{more}\n{DOORS}");
    Broker::with_config_in(folder, &config)
}

fn allow(_: &Asked) -> Answer {
    answer(json!({"result": "allow"}))
}

fn with_password(password: &str) -> Connect<'_> {
    Connect { client_id: "c", username: Some("alice"), password: Some(password.as_bytes()), ..connect(V5) }
}

fn login(broker: &Broker, password: &str) -> u8 {
    Client::refused(broker.listener("asked"), with_password(password))
}

fn set(keys: &[&SetKey]) -> Value {
    json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()})
}

/// Clients that need nobody's answer go on meanwhile.
fn others_go_on(broker: &Broker) {
    let mut other = Client::connect(broker.listener("open"), V5, "other");
    other.subscribe("x", QoS::AtLeastOnce);
    assert_eq!(other.publish("x", "y", QoS::AtLeastOnce), 0);
    other.expect_message("x", "y");
}

/// Takes connections and never says a word.
fn silent() -> (SocketAddr, Arc<Mutex<Vec<TcpStream>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let held: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let taken = held.clone();
    thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(|stream| taken.lock().unwrap().push(stream)));
    (address, held)
}

/// The same, but the first connection is handed on to `server`.
fn silent_but_for_the_first(server: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<TcpStream>>>) {
    let (address, held) = silent();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = listener.local_addr().unwrap();
    thread::spawn(move || {
        let targets = std::iter::once(server).chain(std::iter::repeat(address));
        for (near, target) in listener.incoming().map_while(Result::ok).zip(targets) {
            let far = TcpStream::connect(target).unwrap();
            for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    (front, held)
}

/// Whether the other side has hung up.
fn is_over(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let (mut stream, mut rest) = (stream, [0; 4096]);
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn a_server_that_the_ca_file_vouches_for_is_asked() {
    let (folder, authority) = folder();
    let server = Server::start_tls(&good(&authority).issued, |asked| {
        answer(json!({"result": if asked.body["password"] == "secret" { "allow" } else { "deny" }}))
    });
    let mut broker = hook(folder, &server.url("/login"), "");
    assert_eq!(login(&broker, "secret"), 0);
    assert_eq!(login(&broker, "wrong"), 0x86);
    let asked = server.asked();
    assert_eq!(asked[0].authorization.as_deref(), Some("Bearer the key of the house"));
    assert_eq!(asked[0].path, "/login");
    assert_eq!(broker.metric("dunlin_auth_http_requests_total{result=\"answered\"}"), 2.0);
    let log = broker.log_lines().join("\n");
    assert!(!log.contains("secret") && !log.contains("key of the house"));
}

#[test]
fn a_server_is_known_by_the_host_name_of_its_url() {
    let (folder, authority) = folder();
    let server = Server::start_tls(&good(&authority).issued, allow);
    let url = format!("https://localhost:{}/", server.address.port());
    assert_eq!(login(&hook(folder, &url, ""), "secret"), 0);
}

#[test]
fn a_server_whose_certificate_does_not_hold_is_told_nothing_and_nobody_is_let_in() {
    let authority = Authority::new();
    for (certificate, cause) in bad(&authority) {
        let (folder, _) = folder();
        write(folder.path(), "ca.pem", &authority.pem());
        let server = Server::start_tls(&certificate.issued, allow);
        let mut broker = hook(folder, &server.url("/"), "breaker_failures = 1000");
        assert_eq!(login(&broker, "secret"), 0x88, "{cause}");
        let line = broker.wait_for_log("[auth.http] does not answer");
        assert!(line.contains(cause), "{cause}: {line}");
        let old = Connect { version: V311, ..with_password("secret") };
        assert_eq!(Client::refused(broker.listener("asked"), old), 0x88, "3 (Server unavailable) to an older client");
        assert_eq!(broker.metric("dunlin_auth_http_requests_total{result=\"failed\"}"), 2.0);
        assert_eq!(broker.metric("dunlin_authentications_total{result=\"unavailable\"}"), 2.0);
        assert!(server.asked().is_empty(), "neither password nor key was sent");
        assert!(server.connections() > 0);
        others_go_on(&broker);
        assert!(!broker.log_lines().join("\n").contains("secret"));
    }
}

/// Without `ca_file` the system's authorities count, and none of them has signed this.
#[test]
fn an_authority_that_only_the_file_knows_does_not_count_without_it() {
    let (folder, authority) = folder();
    let server = Server::start_tls(&good(&authority).issued, allow);
    let mut broker =
        Broker::with_config_in(folder, &format!("[auth.http]\nauthenticate_url = \"{}\"\n{DOORS}", server.url("/")));
    assert_eq!(login(&broker, "secret"), 0x88);
    assert!(broker.wait_for_log("[auth.http] does not answer").contains("UnknownIssuer"));
    assert!(server.asked().is_empty());
}

#[test]
fn certificates_that_do_not_hold_make_the_breaker_leave_the_server_alone() {
    let (folder, _) = folder();
    let server = Server::start_tls(&good(&Authority::named("somebody")).issued, allow);
    let mut broker = hook(folder, &server.url("/"), "breaker_failures = 3\nbreaker_pause = \"1h\"");
    for _ in 0..3 {
        assert_eq!(login(&broker, "secret"), 0x88);
    }
    assert!(broker.wait_for_log("nobody is asked for a while").contains("UnknownIssuer"));
    let before = server.connections();
    assert_eq!(login(&broker, "secret"), 0x88);
    assert_eq!(server.connections(), before, "nobody has called");
    assert_eq!(broker.metric("dunlin_auth_http_requests_total{result=\"failed\"}"), 3.0);
    assert_eq!(broker.metric("dunlin_auth_http_requests_total{result=\"paused\"}"), 1.0);
}

#[test]
fn rights_are_denied_where_the_certificate_does_not_hold() {
    let (folder, authority) = folder();
    let config = |url: &str| format!("[auth.http]\nauthorize_url = \"{url}\"\nca_file = \"@DIR@/ca.pem\"\n{DOORS}");
    let good = Server::start_tls(&good(&authority).issued, allow);
    let bad = Server::start_tls(&self::good(&Authority::new()).issued, allow);
    let mut broker = Broker::with_config_in(folder, &config(&bad.url("/")));
    let mut client = Client::connect(broker.listener("open"), V5, "c");
    assert_eq!(client.publish("x", "", QoS::AtLeastOnce), 0x80);
    assert_eq!(client.subscribe_with("x", Default::default(), None), [0x80]);
    assert!(bad.asked().is_empty());
    let path = broker.folder.path();
    let text = config(&good.url("/")).replace("@DIR@", &path.display().to_string());
    write(path, "dunlin.toml", &text);
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    assert_eq!(client.subscribe_with("x", Default::default(), None), [0]);
    assert_eq!(client.publish("x", "", QoS::AtLeastOnce), 0);
}

#[test]
fn keys_come_over_tls_and_follow_their_rotation() {
    let (folder, authority) = folder();
    let key = SetKey::new("one");
    let first = set(&[&key]);
    let server = Server::start_tls(&good(&authority).issued, move |_| answer(first.clone()));
    let broker = tokens(folder, &server.url("/keys"), "refresh = \"1s\"");
    follow_a_rotation(&broker, &server, &key);
}

/// It starts all the same, and says that it cannot tell rather than that the token is bad.
#[test]
fn keys_of_a_server_whose_certificate_does_not_hold_are_not_taken() {
    let (authority, key) = (Authority::new(), SetKey::new("one"));
    for (certificate, cause) in bad(&authority) {
        let (folder, _) = folder();
        write(folder.path(), "ca.pem", &authority.pem());
        let keys = set(&[&key]);
        let server = Server::start_tls(&certificate.issued, move |_| answer(keys.clone()));
        let mut broker = tokens(folder, &server.url("/"), "");
        assert_eq!(login(&broker, &key.sign(&claims("alice"))), 0x88, "{cause}");
        let lines = broker.log_lines().join("\n");
        assert!(lines.contains("the keys of tokens cannot be fetched") && lines.contains(cause), "{cause}: {lines}");
        assert!(broker.metric("dunlin_auth_jwks_fetches_total{result=\"failure\"}") >= 1.0);
        assert!(server.asked().is_empty());
        others_go_on(&broker);
    }
}

/// The time counts from the question, so a handshake that never comes is no more than an answer that never comes.
#[test]
fn a_hook_that_never_shakes_hands_is_given_up_and_leaves_nothing_behind() {
    let (folder, _) = folder();
    let (address, held) = silent();
    let mut broker = hook(folder, &format!("https://{address}/"), "timeout = \"300ms\"\nbreaker_failures = 4");
    others_go_on(&broker);
    for _ in 0..4 {
        assert_eq!(login(&broker, "secret"), 0x88);
    }
    assert!(broker.wait_for_log("nobody is asked for a while").contains("no answer within 300ms"));
    assert_eq!(held.lock().unwrap().len(), 4);
    assert_eq!(broker.metric("dunlin_auth_http_requests_total{result=\"failed\"}"), 4.0);
    eventually("the broker has hung up on all of them", || held.lock().unwrap().iter().all(is_over));
}

/// A question that begins to connect and is then answered over another connection leaves its handshake behind; that must end too.
#[test]
fn a_handshake_that_nobody_waits_for_any_more_is_given_up() {
    let (folder, authority) = folder();
    let (go, going) = channel::<()>();
    let server = Server::start_tls(&good(&authority).issued, move |asked| {
        if asked.body["client_id"] == "first" {
            going.recv().unwrap();
        }
        allow(asked)
    });
    let (address, held) = silent_but_for_the_first(server.address);
    let broker = hook(folder, &format!("https://{address}/"), "timeout = \"2s\"");
    let dial = |id| {
        let mut client = Client::dial(broker.listener("asked"), V5);
        client.send(&Packet::Connect(Connect { client_id: id, ..with_password("secret") }));
        client
    };
    let mut first = dial("first");
    eventually("it is asked about", || server.asked().len() == 1);
    let mut second = dial("second");
    eventually("a second connection is begun", || held.lock().unwrap().len() == 1);
    go.send(()).unwrap();
    assert!(first.has_connack() && second.has_connack(), "the first connection serves both");
    eventually("the second one is given up", || held.lock().unwrap().iter().all(is_over));
}

#[test]
fn others_go_on_while_a_hook_does_not_shake_hands() {
    let (folder, _) = folder();
    let (address, held) = silent();
    let broker = hook(folder, &format!("https://{address}/"), "timeout = \"1h\"");
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Client::dial(broker.listener("asked"), V5);
            client.send(&Packet::Connect(Connect { client_id: "", ..with_password("secret") }));
            client
        })
        .collect();
    eventually("all are asked about", || held.lock().unwrap().len() == waiting.len());
    others_go_on(&broker);
    drop(waiting);
    eventually("nobody waits any more", || broker.metric("dunlin_connections_pending{listener=\"asked\"}") == 0.0);
}

#[test]
fn keys_of_a_server_that_never_shakes_hands_hold_up_nobody_else() {
    let (folder, _) = folder();
    let (address, _held) = silent();
    let key = SetKey::new("one");
    let mut broker = tokens(folder, &format!("https://{address}/"), "timeout = \"300ms\"\nrefresh = \"1s\"");
    assert_eq!(login(&broker, &key.sign(&claims("alice"))), 0x88);
    assert!(broker.log_lines().join("\n").contains("no answer within 300ms"));
    others_go_on(&broker);
    eventually("it is asked again", || broker.metric("dunlin_auth_jwks_fetches_total{result=\"failure\"}") >= 2.0);
    others_go_on(&broker);
}

/// Following one would tell passwords, and the key of the house, to a server that nobody has named.
#[test]
fn redirects_are_not_followed() {
    let (folder, authority) = folder();
    let (plain, secure) = (Server::start(allow), Server::start_tls(&good(&authority).issued, allow));
    let server = Server::start_tls(&good(&authority).issued, |_| None);
    let mut broker = hook(folder, &server.url("/"), "breaker_failures = 1000");
    for status in [301, 302, 303, 307, 308] {
        for target in [plain.url("/login"), secure.url("/login"), server.url("/login"), "/login".into()] {
            let shown = format!("{status} to {target}");
            server.answer(move |asked| if asked.path == "/login" { allow(asked) } else { Some((status, target.clone())) });
            assert_eq!(login(&broker, "secret"), 0x88, "{shown}");
            assert!(broker.wait_for_log("[auth.http] does not answer").contains(&status.to_string()), "{shown}");
        }
    }
    assert!(server.asked().iter().all(|asked| asked.path == "/"));
    assert_eq!((plain.connections(), secure.connections()), (0, 0));
}

#[test]
fn keys_are_not_taken_from_where_a_redirect_points() {
    let (folder, authority) = folder();
    let key = SetKey::new("one");
    let keys = set(&[&key]);
    let other = Server::start_tls(&good(&authority).issued, move |_| answer(keys.clone()));
    let target = other.url("/");
    let server = Server::start_tls(&good(&authority).issued, move |_| Some((302, target.clone())));
    let broker = tokens(folder, &server.url("/"), "");
    assert_eq!(login(&broker, &key.sign(&claims("alice"))), 0x88);
    assert_eq!((server.asked().len(), other.connections()), (1, 0));
}
