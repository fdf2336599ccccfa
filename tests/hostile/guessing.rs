//! Those who guess passwords, and what a login that fails may touch.

use std::thread;

use dunlin::packet::{Connect, QoS};

use crate::siege::Siege;
use crate::support::client::{Client, V5, V311, connect};
use crate::support::eventually;

const USERS: &str = "\
alice:$7$101$DuWeybMpKrc8VEhK$e1KZWXbbtdvJmZxo+SMxZVKHRaCotz9zbbGZeGjv5o1m2XNmS/Wmn4lI2lfG4LMI9TH/Rn2X5YUfN7V0qQjbQg==
bob:$6$I0j6Zbk/ozwvsWef$JWHqnMsNFq6nmRGk1PT7d29rYZj0d//m7fCJfuSngXU0LvfitiBZvtY8eQNc/mW36vS6oEGTAMm3YOM9H1oxzQ==
";

fn with_users(config: &str) -> Siege {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("users"), USERS).unwrap();
    Siege::lay_in(folder, &format!("[auth]\npassword_file = \"@DIR@/users\"\n{config}"))
}

fn login<'a>(client_id: &'a str, user: &'a str, password: &'a [u8]) -> Connect<'a> {
    Connect { client_id, username: Some(user), password: Some(password), ..connect(V5) }
}

/// NanoMQ #2333: a failed login never touches the session, nor the connection, of the client identifier that it names.
#[test]
fn a_thousand_failed_logins_touch_neither_connection_nor_session_of_the_victim() {
    let siege = with_users("");
    let mut lasting = login("victim", "alice", b"secret");
    lasting.clean_start = false;
    lasting.properties.session_expiry_interval = 600;
    let mut victim = Client::connect_with(siege.address(), lasting).0;
    victim.subscribe("private", QoS::AtLeastOnce);
    let mut sender = Client::connect_with(siege.address(), login("sender", "bob", b"secret")).0;
    let guess = |clean_start| {
        let address = siege.address();
        thread::scope(|scope| {
            for thread in 0..4_usize {
                scope.spawn(move || {
                    for round in 0..125_usize {
                        let user = ["alice", "bob", "nobody", ""][(round + thread) % 4];
                        let password: &[u8] = [&b"wrong"[..], b"", b"secret\0", b"Secret"][round % 4];
                        let version = if round % 2 == 0 { V5 } else { V311 };
                        let attempt = Connect { clean_start, version, ..login("victim", user, password) };
                        assert!(matches!(Client::refused(address, attempt), 0x86 | 0x87));
                    }
                });
            }
        });
    };
    guess(true);
    sender.publish("private", "to one who is online", QoS::AtLeastOnce);
    let id = victim.expect_message("private", "to one who is online").packet_id().unwrap();
    victim.puback(id);
    victim.ping();
    victim.cut();
    eventually("it is offline", || siege.metric(r#"dunlin_sessions{state="offline"}"#) == 1.0);
    guess(true);
    guess(false);
    sender.publish("private", "to one who is offline", QoS::AtLeastOnce);
    let (mut victim, present) = Client::connect_with(siege.address(), lasting);
    assert!(present);
    let id = victim.expect_message("private", "to one who is offline").packet_id().unwrap();
    victim.puback(id);
    // The one who goes with a session of no time takes it along.
    victim.send_bytes(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0]);
    victim.expect_close();
    drop(sender);
    siege.lift();
}

/// A source that guesses is locked out, also with the right password, and those who are in are not touched.
#[test]
fn an_address_that_guesses_is_banned_and_those_who_are_in_stay() {
    let siege = with_users("[protection]\nlogin_failures = 5\nban_time = \"1h\"\n");
    let mut inside = Client::connect_with(siege.address(), login("inside", "bob", b"secret")).0;
    let refused = |password: &'static [u8]| Client::refused(siege.address(), login("c", "alice", password));
    assert_eq!([0; 5].map(|_| refused(b"wrong")), [0x86; 5]);
    for _ in 0..200 {
        assert_eq!(refused(b"wrong"), 0x8A);
    }
    assert_eq!(refused(b"secret"), 0x8A);
    assert_eq!(siege.hits("login_failures"), 1.0);
    assert_eq!(siege.metric(r#"dunlin_authentications_total{result="bad_credentials"}"#), 5.0, "banned: nothing is hashed");
    inside.ping();
    drop(inside);
    siege.lift();
}
