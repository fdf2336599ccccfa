//! The HTTP server that says who clients are.

use dunlin::packet::{Connect, QoS};
use serde_json::json;

use crate::answers::{Server, json as answer};
use crate::support::client::{Client, V5, V311, connect};
use crate::support::{Broker, eventually};

fn broker(server: &Server, more: &str) -> Broker {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bearer"), "the key of the house\n").unwrap();
    let config = format!(
        "[auth.http]\nauthenticate_url = \"{}\"\nbearer_file = \"@DIR@/bearer\"\n{more}\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n",
        server.url("/authenticate")
    );
    Broker::with_config_in(folder, &config)
}

fn login(id: &'static str, password: &'static [u8]) -> Connect<'static> {
    Connect { client_id: id, username: Some("alice"), password: Some(password), ..connect(V5) }
}

#[test]
fn the_server_is_told_who_comes_and_its_answer_decides() {
    let server = Server::start(|asked| {
        let is_right = asked.body["password"] == "secret";
        answer(json!({"result": if is_right { "allow" } else { "deny" }}))
    });
    let mut broker = broker(&server, "");
    Client::connect_with(broker.address(), login("c", b"secret")).0.ping();
    assert_eq!(Client::refused(broker.address(), login("c", b"wrong")), 0x86);
    assert_eq!(Client::refused(broker.address(), connect(V5)), 0x87);
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].path, "/authenticate");
    assert_eq!(asked[0].authorization.as_deref(), Some("Bearer the key of the house"));
    let body = &asked[0].body;
    assert_eq!(body["client_id"], "c");
    assert_eq!(body["username"], "alice");
    assert_eq!(body["listener"], "tcp");
    assert_eq!(body["version"], "5.0");
    assert!(body["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(asked[2].body["username"], json!(null));
    assert_eq!(broker.metric("dunlin_auth_http_requests_total{result=\"answered\"}"), 3.0);
    let log = broker.log_lines().join("\n");
    assert!(!log.contains("secret") && !log.contains("key of the house"));
}

#[test]
fn a_password_that_is_no_text_arrives_whole() {
    let server = Server::start(|asked| {
        let is_right = asked.body["password_base64"] == "/wD+" && asked.body.get("password").is_none();
        answer(json!({"result": if is_right { "allow" } else { "deny" }}))
    });
    Client::connect_with(broker(&server, "").address(), login("c", b"\xff\x00\xfe")).0.ping();
}

#[test]
fn an_answer_may_bring_a_name_rights_and_an_end() {
    let server = Server::start(|_| {
        answer(json!({"result": "allow", "username": "device-7", "acl": {"all": ["%u/#"]}, "expires_in": 5, "more": 1}))
    });
    let mut broker = broker(&server, "");
    let mut client = Client::connect_with(broker.address(), login("c", b"x")).0;
    assert!(broker.wait_for_log("\"connected\"").contains("\"user\":\"device-7\""));
    assert_eq!(client.publish("device-7/x", "", QoS::AtLeastOnce), 0x10);
    assert_eq!(client.publish("alice/x", "", QoS::AtLeastOnce), 0x87);
    client.expect_disconnect(0xA0);
}

#[test]
fn without_an_answer_that_can_be_used_nobody_is_let_in() {
    let server = Server::start(|_| None);
    let broker = broker(&server, "timeout = \"300ms\"\nbreaker_failures = 1000\nmax_answer = \"1KiB\"");
    let address = broker.address();
    let told = |connect: Connect<'_>| Client::refused(address, connect);
    assert_eq!(told(login("c", b"x")), 0x88, "nothing is said in time");
    assert_eq!(told(Connect { version: V311, ..login("c", b"x") }), 0x88, "3 (Server unavailable) to an older client");
    for (status, body) in [
        (500, "{\"result\":\"allow\"}".to_owned()),
        (302, String::new()),
        (204, String::new()),
        (200, String::new()),
        (200, "allow".into()),
        (200, "{}".into()),
        (200, "{\"result\":\"yes\"}".into()),
        (200, "{\"result\":\"allow\",\"acl\":{\"all\":[\"a/#/b\"]}}".into()),
        (200, "{\"result\":\"allow\",\"username\":\"\"}".into()),
        (200, format!("{{\"result\":\"allow\",\"x\":\"{}\"}}", "x".repeat(2000))),
    ] {
        let shown = format!("{status} {body:.60}");
        server.answer(move |_| Some((status, body.clone())));
        assert_eq!(told(login("c", b"x")), 0x88, "{shown}");
    }
    assert_eq!(broker.metric("dunlin_authentications_total{result=\"unavailable\"}"), 12.0);
    server.answer(|_| answer(json!({"result": "allow"})));
    Client::connect_with(address, login("c", b"x")).0.ping();
}

#[test]
fn after_failures_in_a_row_the_server_is_left_alone_for_a_while() {
    let server = Server::start(|_| Some((500, String::new())));
    let broker = broker(&server, "breaker_failures = 3\nbreaker_pause = \"5s\"");
    for _ in 0..3 {
        assert_eq!(Client::refused(broker.address(), login("c", b"x")), 0x88);
    }
    server.answer(|_| answer(json!({"result": "allow"})));
    let refused = Client::refused(broker.address(), login("c", b"x"));
    if broker.metric("dunlin_auth_http_requests_total{result=\"paused\"}") == 0.0 {
        panic!("it was asked again at once: {refused}");
    }
    eventually("it is asked again", || Client::dial(broker.address(), V5).try_log_in(login("c", b"x")) == 0);
}

/// As frameworks answer a body that is too large for them, or a name that they do not like.
#[test]
fn questions_that_the_server_refuses_do_not_make_it_be_left_alone() {
    let server = Server::start(|asked| match asked.body["username"].as_str() {
        Some("odd") => Some((413, String::new())),
        Some("odder") => Some((422, String::new())),
        _ => answer(json!({"result": "allow"})),
    });
    let broker = broker(&server, "breaker_failures = 1\nbreaker_pause = \"1h\"");
    for name in ["odd", "odder"] {
        let odd = Connect { username: Some(name), ..login("c", b"x") };
        assert_eq!(Client::refused(broker.address(), odd), 0x88, "{name}");
        Client::connect_with(broker.address(), login("c", b"x")).0.ping();
    }
    assert_eq!(broker.metric("dunlin_auth_http_requests_total{result=\"failed\"}"), 2.0);
    server.answer(|_| Some((429, String::new())));
    assert_eq!(Client::refused(broker.address(), login("c", b"x")), 0x88);
    server.answer(|_| answer(json!({"result": "allow"})));
    assert_eq!(Client::refused(broker.address(), login("c", b"x")), 0x88, "one that has too much to do is left alone");
}

#[test]
fn rights_are_asked_about_while_logins_are_not_answered() {
    let server = Server::start(|_| answer(json!({"result": "allow"})));
    let more = format!("authorize_url = \"{}\"\nbreaker_failures = 1\nbreaker_pause = \"1h\"", server.url("/authorize"));
    let broker = broker(&server, &more);
    let mut client = Client::connect_with(broker.address(), login("c", b"x")).0;
    server.answer(
        |asked| if asked.path == "/authorize" { answer(json!({"result": "allow"})) } else { Some((500, String::new())) },
    );
    for _ in 0..2 {
        assert_eq!(Client::refused(broker.address(), login("d", b"x")), 0x88);
    }
    assert_eq!(broker.metric("dunlin_auth_http_requests_total{result=\"paused\"}"), 1.0);
    assert_eq!(client.publish("x", "", QoS::AtLeastOnce), 0x10);
}

#[test]
fn logins_over_the_bound_have_no_answer() {
    let server = Server::start(|_| None);
    let broker = broker(&server, "timeout = \"1s\"\nmax_requests = 1\nmax_waiting = 1\nbreaker_failures = 1000");
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = Client::dial(broker.address(), V5);
            client.send(&dunlin::packet::Packet::Connect(login("", b"x")));
            client
        })
        .collect();
    eventually("some are over the bound", || broker.metric("dunlin_limit_hits_total{limit=\"auth_http_max_waiting\"}") >= 6.0);
    assert!(broker.metric("dunlin_auth_http_requests_total{result=\"overloaded\"}") >= 6.0);
    drop(clients);
}

#[test]
fn an_answer_may_count_for_the_next_login() {
    let server = Server::start(|_| answer(json!({"result": "allow"})));
    let broker = broker(&server, "login_cache_ttl = \"1h\"\nmax_cached_logins = 1");
    let enter = |id, password| Client::connect_with(broker.address(), login(id, password)).0.ping();
    enter("c", b"x");
    server.answer(|_| answer(json!({"result": "deny"})));
    enter("c", b"x");
    assert_eq!(Client::refused(broker.address(), login("c", b"y")), 0x86, "another password is another question");
    assert_eq!(server.asked().len(), 2);
    assert_eq!(broker.metric("dunlin_auth_http_requests_total{result=\"cached\"}"), 1.0);
    assert_eq!(broker.metric("dunlin_limit_hits_total{limit=\"auth_http_max_cached_logins\"}"), 1.0);
}

#[test]
fn who_hangs_up_while_it_is_asked_leaves_nothing_behind() {
    let server = Server::start(|_| None);
    let broker = broker(&server, "timeout = \"1h\"\nmax_requests = 4\nmax_waiting = 0\nbreaker_failures = 1000");
    for _ in 0..10 {
        let before = server.asked().len();
        let mut client = Client::dial(broker.address(), V5);
        client.send(&dunlin::packet::Packet::Connect(login("", b"x")));
        eventually("it is asked", || server.asked().len() > before);
        client.cut();
        eventually("nobody is left", || broker.metric("dunlin_connections_pending{listener=\"tcp\"}") == 0.0);
    }
    assert_eq!(broker.metric("dunlin_auth_http_requests_total{result=\"overloaded\"}"), 0.0);
}
