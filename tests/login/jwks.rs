use serde_json::{Value, json};

use crate::answers::{Server, json as answer};
use crate::signer::{SetKey, claims};
use crate::support::client::{Client, V5, connect};
use crate::support::{Broker, eventually};
use dunlin::packet::Connect;

fn config(url: &str, more: &str) -> String {
    format!("[auth.jwt]\njwks_url = \"{url}\"\n{more}\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n")
}

fn set(keys: &[&SetKey]) -> Value {
    json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()})
}

fn login(broker: &Broker, token: &str) -> u8 {
    let connect = Connect { username: Some("u"), password: Some(token.as_bytes()), ..connect(V5) };
    Client::dial(broker.address(), V5).try_log_in(connect)
}

#[test]
fn the_keys_are_there_for_the_first_client_and_follow_their_rotation() {
    let key = SetKey::new("one");
    let first = set(&[&key]);
    let server = Server::start(move |_| answer(first.clone()));
    let broker = Broker::with_config(&config(&server.url("/keys"), "refresh = \"1s\""));
    follow_a_rotation(&broker, &server, &key);
    assert!(server.asked().iter().all(|asked| asked.path == "/keys"));
}

/// The broker takes tokens of the key that the server has, and after a change those of the new one only.
pub fn follow_a_rotation(broker: &Broker, server: &Server, old: &SetKey) {
    let new = SetKey::new("two");
    assert_eq!(login(broker, &old.sign(&claims("alice"))), 0);
    assert_eq!(login(broker, &new.sign(&claims("alice"))), 0x86);
    let second = set(&[&new]);
    server.answer(move |_| answer(second.clone()));
    eventually("the new key counts", || login(broker, &new.sign(&claims("alice"))) == 0);
    assert_eq!(login(broker, &old.sign(&claims("alice"))), 0x86, "the old one does not any more");
    assert!(broker.metric("dunlin_auth_jwks_fetches_total{result=\"success\"}") >= 2.0);
}

/// It starts all the same, and says that it cannot tell rather than that the token is bad.
#[test]
fn without_keys_tokens_are_refused_until_they_come() {
    let key = SetKey::new("one");
    let server = Server::start(|_| Some((500, "{}".into())));
    let broker = Broker::with_config(&config(&server.url("/"), "refresh = \"1s\""));
    assert_eq!(login(&broker, &key.sign(&claims("alice"))), 0x88);
    for bad in ["no json", "{\"keys\": []}"] {
        server.answer(move |_| Some((200, bad.into())));
        let before = server.asked().len();
        eventually("it is asked again", || server.asked().len() > before + 1);
        assert_eq!(login(&broker, &key.sign(&claims("alice"))), 0x88, "{bad}");
    }
    let keys = set(&[&key]);
    server.answer(move |_| answer(keys.clone()));
    eventually("the keys are there", || login(&broker, &key.sign(&claims("alice"))) == 0);
    assert!(broker.metric("dunlin_auth_jwks_fetches_total{result=\"failure\"}") >= 3.0);
}

#[test]
fn an_answer_over_the_bound_is_none() {
    let key = SetKey::new("one");
    let mut keys = set(&[&key]);
    keys["padding"] = json!("x".repeat(2000));
    let server = Server::start(move |_| answer(keys.clone()));
    let broker = Broker::with_config(&config(&server.url("/"), "max_jwks_size = \"1KiB\""));
    assert_eq!(login(&broker, &key.sign(&claims("alice"))), 0x88);
}

#[test]
fn keys_count_while_the_server_is_away_but_not_for_ever() {
    let key = SetKey::new("one");
    let keys = set(&[&key]);
    let server = Server::start(move |_| answer(keys.clone()));
    let broker = Broker::with_config(&config(&server.url("/"), "refresh = \"1s\"\nmax_stale = \"8s\""));
    server.answer(|_| Some((503, String::new())));
    let before = server.asked().len();
    eventually("it is asked in vain", || server.asked().len() > before);
    assert_eq!(login(&broker, &key.sign(&claims("alice"))), 0);
    eventually("the keys are too old", || login(&broker, &key.sign(&claims("alice"))) == 0x88);
}

#[test]
fn a_reload_keeps_the_keys_that_are_there() {
    let key = SetKey::new("one");
    let keys = set(&[&key]);
    let server = Server::start(move |_| answer(keys.clone()));
    let mut broker = Broker::with_config(&config(&server.url("/"), ""));
    server.answer(|_| Some((503, String::new())));
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    assert_eq!(login(&broker, &key.sign(&claims("alice"))), 0);
}
