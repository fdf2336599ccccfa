use dunlin::packet::{Auth, AuthReason, Connect, ConnectProperties, Packet, ProtocolVersion, QoS};
use serde_json::json;

use crate::signer::{RSA_PUBLIC, claims, claims_with, hs256, hs256_with, now, rs256, token};
use crate::support::Broker;
use crate::support::client::{Client, V5, V31, V311, connect};

const CONFIG: &str = r#"
[auth.jwt]
secret_file = "@DIR@/secret"
public_keys = ["@DIR@/public.pem"]
leeway = "0s"
[[listeners]]
name = "tcp"
url = "tcp://127.0.0.1:0"
"#;

/// A broker that takes tokens of both keys.
fn broker(more: &str) -> Broker {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), format!("{}\n", crate::signer::SECRET)).unwrap();
    std::fs::write(folder.path().join("public.pem"), RSA_PUBLIC).unwrap();
    std::fs::write(folder.path().join("acl"), "user alice\ntopic of-file\ntopic deny denied/#\n").unwrap();
    Broker::with_config_in(folder, &format!("{more}\n{CONFIG}"))
}

/// A CONNECT with a token as its password.
fn login<'a>(id: &'a str, token: &'a str, version: ProtocolVersion) -> Connect<'a> {
    Connect { client_id: id, username: Some("whoever"), password: Some(token.as_bytes()), ..connect(version) }
}

fn enter(broker: &Broker, id: &str, token: &str) -> Client {
    Client::connect_with(broker.address(), login(id, token, V5)).0
}

fn refused(broker: &Broker, token: &str) -> u8 {
    Client::refused(broker.address(), login("c", token, V5))
}

#[test]
fn a_token_lets_its_user_in_in_every_version() {
    let mut broker = broker("");
    for (number, version) in [V31, V311, V5].into_iter().enumerate() {
        for token in [hs256(&claims("alice")), rs256(&claims("alice"))] {
            Client::connect_with(broker.address(), login(&format!("c{number}"), &token, version)).0.ping();
        }
    }
    let line = broker.wait_for_log("\"connected\"");
    assert!(line.contains("\"user\":\"alice\""), "the name is the token's: {line}");
    assert_eq!(broker.metric("dunlin_authentications_total{result=\"success\"}"), 6.0);
}

#[test]
fn what_is_no_token_of_ours_lets_nobody_in() {
    let mut broker = broker("");
    let unsigned = token(&json!({"alg": "none"}), &claims("alice"), |_| Vec::new());
    let forged = hs256_with(RSA_PUBLIC.as_bytes(), &claims("alice"));
    let stranger = hs256_with(b"another secret of more than 32 bytes, too", &claims("alice"));
    let expired = hs256(&json!({"sub": "alice", "exp": now() - 1}));
    let nameless = hs256(&json!({"exp": now() + 60}));
    let endless = hs256(&json!({"sub": "alice"}));
    for bad in [&unsigned, &forged, &stranger, &expired, &nameless, &endless, "password", "a.b.c"] {
        assert_eq!(refused(&broker, bad), 0x86, "{bad}");
    }
    assert_eq!(Client::refused(broker.address(), connect(V5)), 0x87, "nobody comes in without one");
    assert_eq!(broker.metric("dunlin_authentications_total{result=\"bad_credentials\"}"), 8.0);
    let log = broker.log_lines().join("\n");
    assert!([&unsigned, &forged, &stranger].iter().all(|token| !log.contains(token.as_str())), "tokens are not in the log");
}

#[test]
fn claims_that_are_required_decide() {
    let more =
        "[[auth.jwt.claims]]\nname = \"aud\"\nvalue = \"mqtt\"\n[[auth.jwt.claims]]\nname = \"device\"\nvalue = \"%c\"\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), crate::signer::SECRET).unwrap();
    let config =
        CONFIG.replace("public_keys = [\"@DIR@/public.pem\"]\n", "").replace("[[listeners]]", &format!("{more}[[listeners]]"));
    let broker = Broker::with_config_in(folder, &config);
    let of = |aud: &str, device: &str| hs256(&claims_with("alice", json!({"aud": [aud], "device": device})));
    enter(&broker, "c", &of("mqtt", "c")).ping();
    assert_eq!(refused(&broker, &of("web", "c")), 0x86);
    assert_eq!(refused(&broker, &of("mqtt", "d")), 0x86);
    assert_eq!(refused(&broker, &hs256(&claims("alice"))), 0x86);
}

#[test]
fn the_rights_in_a_token_are_its_client_s_and_no_others() {
    let broker = broker("[auth]\nacl_file = \"@DIR@/acl\"");
    let acl = json!({"pub": ["out/%c/#", "denied/x"], "sub": ["in/%u", "denied/#"], "deny": ["out/+/secret"]});
    let mut client = enter(&broker, "c", &hs256(&claims_with("alice", json!({"acl": acl}))));
    for (topic, code) in [
        ("out/c/x", 0x10),
        ("out/d/x", 0x87),
        ("out/c/secret", 0x87),
        ("in/alice", 0x87),
        ("of-file", 0x87),  // what the file grants its user is not added
        ("denied/x", 0x87), // what it denies stays denied
    ] {
        assert_eq!(client.publish(topic, "", QoS::AtLeastOnce), code, "{topic}");
    }
    for (filter, code) in [("in/alice", 1), ("in/bob", 0x87), ("#", 1), ("denied/#", 0x87), ("of-file", 0x87)] {
        let options = dunlin::packet::SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
        assert_eq!(client.subscribe_with(filter, options, None), [code], "{filter}");
    }
    // `#` brings what is permitted; who has no rights in the token has those of the file.
    let mut alice = enter(&broker, "a", &hs256(&claims("alice")));
    assert_ne!(alice.publish("of-file", "x", QoS::AtLeastOnce), 0x87);
    assert_eq!(alice.publish("in/alice", "x", QoS::AtLeastOnce), 0x87);
    client.expect_nothing();
}

#[test]
fn a_will_that_the_token_does_not_grant_refuses_the_login() {
    let broker = broker("");
    let signed = hs256(&claims_with("alice", json!({"acl": {"pub": ["wills/%c"]}})));
    let will = |topic| dunlin::packet::Will {
        topic: dunlin::packet::TopicName::new(topic).unwrap(),
        payload: b"bye",
        qos: QoS::AtLeastOnce,
        retain: true,
        delay_interval: 0,
        message_expiry_interval: None,
        properties: Default::default(),
    };
    let with = |topic| Connect { will: Some(will(topic)), ..login("c", &signed, V5) };
    assert_eq!(Client::refused(broker.address(), with("wills/d")), 0x87);
    Client::connect_with(broker.address(), with("wills/c")).0.ping();
}

/// 0xA0 (Maximum connect time) for 5.0; an older client has no DISCONNECT to read.
#[test]
fn a_connection_ends_with_its_token() {
    let broker = broker("");
    let short = || hs256(&json!({"sub": "alice", "exp": now() + 3}));
    let mut client = enter(&broker, "c", &short());
    let mut old = Client::connect_with(broker.address(), login("old", &short(), V311)).0;
    client.expect_disconnect(0xA0);
    assert_eq!(old.expect_close(), None);
    assert_eq!(broker.metric("dunlin_disconnects_sent_total{reason=\"maximum_connect_time\"}"), 2.0);
}

fn by_auth<'a>(id: &'a str, token: &'a str) -> Connect<'a> {
    let properties = ConnectProperties {
        authentication_method: Some("JWT"),
        authentication_data: Some(token.as_bytes()),
        ..ConnectProperties::default()
    };
    Connect { client_id: id, properties, ..connect(V5) }
}

fn renew(client: &mut Client, token: &str) {
    client.send(&Packet::Auth(Auth {
        reason: AuthReason::ReAuthenticate,
        authentication_method: Some("JWT"),
        authentication_data: Some(token.as_bytes()),
        reason_string: None,
        user_properties: Default::default(),
    }));
}

/// 4.12.1: a new token comes before the old one ends.
#[test]
fn a_new_token_by_auth_takes_the_place_of_the_old_one() {
    let broker = broker("");
    let with = |acl: &str, seconds: u64| hs256(&json!({"sub": "alice", "exp": now() + seconds, "acl": {"all": [acl]}}));
    let mut client = Client::connect_with(broker.address(), by_auth("c", &with("old/#", 6))).0;
    client.subscribe("old/#", QoS::AtLeastOnce);
    assert_eq!(client.publish("new/x", "", QoS::AtLeastOnce), 0x87);
    renew(&mut client, &with("new/#", 3600));
    client.expect("AUTH with success", |packet| match packet {
        Packet::Auth(auth) => (auth.reason == AuthReason::Success).then_some(()),
        _ => None,
    });
    assert_eq!(client.publish("new/x", "", QoS::AtLeastOnce), 0x10);
    assert_eq!(client.publish("old/x", "", QoS::AtLeastOnce), 0x87);
    assert_eq!(client.unsubscribe("old/#"), [0x11], "what the new one does not grant is gone");
    // The old end passes; a second client shows when.
    enter(&broker, "clock", &with("x", 6)).expect_disconnect(0xA0);
    client.ping();
    renew(&mut client, &hs256(&claims("bob")));
    client.expect_disconnect(0x87);
}

#[test]
fn a_token_by_auth_is_checked_like_any_other() {
    let broker = broker("");
    assert_eq!(Client::refused(broker.address(), by_auth("c", "a.b.c")), 0x87);
    assert_eq!(Client::refused(broker.address(), by_auth("c", &hs256(&json!({"sub": "a", "exp": now() - 1})))), 0x87);
    assert_eq!(broker.metric("dunlin_authentications_total{result=\"exchange_failed\"}"), 2.0);
}

/// The session outlives the connection; its rights are those of the token that comes back.
#[test]
fn a_session_has_the_rights_of_its_newest_token() {
    let broker = broker("");
    let with = |acl: &str| hs256(&claims_with("alice", json!({"acl": {"all": [acl]}})));
    let lasting = |token: &str| {
        let mut login = Connect { clean_start: false, ..login("c", token, V5) };
        login.properties.session_expiry_interval = 3600;
        Client::connect_with(broker.address(), login)
    };
    let (mut client, _) = lasting(&with("a/#"));
    client.subscribe("a/#", QoS::AtLeastOnce);
    client.send(&Packet::Disconnect(dunlin::packet::Disconnect::new(dunlin::packet::DisconnectReason::NormalDisconnection)));
    client.expect_close();
    let mut other = enter(&broker, "o", &hs256(&claims("bob")));
    other.publish("a/secret", "x", QoS::AtLeastOnce);
    let (mut client, present) = lasting(&with("b/#"));
    assert!(present);
    client.expect_nothing();
    assert_eq!(client.unsubscribe("a/#"), [0x11]);
}

/// What a token had granted is not known after a restart, so all that matches waits, and what the next token does not grant is not sent.
#[test]
fn after_a_restart_nothing_is_sent_that_the_next_token_does_not_grant() {
    let mut house = broker("");
    let with = |acl: &str| hs256(&claims_with("alice", json!({"acl": {"all": [acl]}})));
    let (all, less) = (with("#"), with("open/#"));
    let lasting = |broker: &Broker, token: &str| {
        let mut login = Connect { clean_start: false, ..login("c", token, V5) };
        login.properties.session_expiry_interval = 3600;
        Client::connect_with(broker.address(), login)
    };
    let (mut client, _) = lasting(&house, &all);
    client.subscribe("open/#", QoS::AtLeastOnce);
    client.subscribe("secret/#", QoS::AtLeastOnce);
    client.cut();
    house.signal("-TERM");
    house.wait();
    let folder = std::mem::replace(&mut house.folder, tempfile::tempdir().unwrap());
    let again = Broker::with_config_in(folder, CONFIG);
    let mut other = enter(&again, "o", &hs256(&claims("bob")));
    other.publish("secret/x", "x", QoS::AtLeastOnce);
    other.publish("open/x", "x", QoS::AtLeastOnce);
    let (mut client, present) = lasting(&again, &less);
    assert!(present);
    client.expect_message("open/x", "x");
    client.expect_nothing();
}
