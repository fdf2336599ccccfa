//! Several ways in at one door.

use dunlin::packet::Connect;
use serde_json::json;

use crate::answers::{Server, json as answer};
use crate::signer::{SECRET, claims, hs256};
use crate::support::Broker;
use crate::support::client::{Client, V5, connect};

/// alice, whose password is `secret`.
const USERS: &str =
    "alice:$7$101$DuWeybMpKrc8VEhK$e1KZWXbbtdvJmZxo+SMxZVKHRaCotz9zbbGZeGjv5o1m2XNmS/Wmn4lI2lfG4LMI9TH/Rn2X5YUfN7V0qQjbQg==\n";

fn server() -> Server {
    Server::start(|asked| {
        let result = match asked.body["username"].as_str() {
            Some("guest") => "allow",
            Some("evil") => "deny",
            _ => "ignore",
        };
        answer(json!({"result": result}))
    })
}

fn broker(server: &Server, auth: &str, listeners: &str) -> Broker {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("users"), USERS).unwrap();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    let config = format!(
        "[auth]\npassword_file = \"@DIR@/users\"\n{auth}\n[auth.jwt]\nsecret_file = \"@DIR@/secret\"\n[auth.http]\nauthenticate_url = \"{}\"\n\
         [[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n{listeners}",
        server.url("/")
    );
    Broker::with_config_in(folder, &config)
}

fn told(address: std::net::SocketAddr, user: Option<&str>, password: Option<&str>) -> u8 {
    let connect = Connect { username: user, password: password.map(str::as_bytes), ..connect(V5) };
    Client::dial(address, V5).try_log_in(connect)
}

#[test]
fn each_way_in_lets_its_own_in_and_leaves_others_to_the_next() {
    let server = server();
    let broker = broker(&server, "", "");
    let told = |user, password| told(broker.address(), user, password);
    let token = hs256(&claims("device"));
    assert_eq!(told(Some("x"), Some(&token)), 0);
    assert_eq!(told(Some("alice"), Some("secret")), 0);
    assert_eq!(told(Some("alice"), Some("wrong")), 0x86, "whoever knows the user decides");
    assert_eq!(server.asked().len(), 0);
    assert_eq!(told(Some("guest"), Some("any")), 0);
    assert_eq!(told(Some("evil"), Some("any")), 0x86);
    assert_eq!(told(Some("nobody"), Some("any")), 0x86);
    assert_eq!(told(None, None), 0x87, "nobody comes in without a name unless it is said");
    assert_eq!(server.asked().len(), 4);
}

#[test]
fn a_listener_may_have_its_own_ways_in_and_their_order() {
    let server = server();
    let more = "[[listeners]]\nname = \"tokens\"\nurl = \"tcp://127.0.0.1:0\"\nmethods = [\"jwt\"]\n\
                [[listeners]]\nname = \"guests\"\nurl = \"tcp://127.0.0.1:0\"\nmethods = [\"http\", \"password\", \"anonymous\"]\n";
    let broker = broker(&server, "methods = [\"password\"]", more);
    let token = hs256(&claims("device"));
    let (tcp, tokens, guests) = (broker.address(), broker.listener("tokens"), broker.listener("guests"));
    for (address, user, password, code) in [
        (tcp, Some("alice"), Some("secret"), 0),
        (tcp, Some("x"), Some(&*token), 0x86),
        (tcp, Some("guest"), Some("any"), 0x86),
        (tokens, Some("alice"), Some("secret"), 0x86),
        (tokens, Some("x"), Some(&*token), 0),
        (guests, Some("alice"), Some("secret"), 0),
        (guests, Some("guest"), Some("any"), 0),
        (guests, Some("nobody"), Some("any"), 0x86), // not let in as nobody either
        (guests, Some("x"), Some(&*token), 0x86),
        (guests, None, None, 0),
    ] {
        assert_eq!(told(address, user, password), code, "{user:?} {password:?}");
    }
    assert_eq!(server.asked().len(), 5, "at that door it is asked first");
}

/// A way in that is taken away takes those with it that came by it, and no others.
#[test]
fn after_a_reload_those_go_whose_way_in_is_gone() {
    let server = server();
    let mut broker = broker(&server, "", "");
    let token = hs256(&claims("device"));
    let enter = |id: &'static str, user: &str, password: &str| {
        let connect = Connect { client_id: id, username: Some(user), password: Some(password.as_bytes()), ..connect(V5) };
        Client::connect_with(broker.address(), connect).0
    };
    let (mut device, mut alice, mut guest) =
        (enter("d", "x", &token), enter("a", "alice", "secret"), enter("g", "guest", "any"));
    let path = broker.folder.path().join("dunlin.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let without = config.replace("[auth]\n", "[auth]\nmethods = [\"password\", \"jwt\"]\n");
    std::fs::write(&path, without).unwrap();
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    guest.expect_disconnect(0x87);
    device.ping();
    alice.ping();
}
