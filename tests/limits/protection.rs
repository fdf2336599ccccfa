//! Who is locked out for a while: those who guess, those who connect in a loop, those who push each other out.

use std::io::Write;
use std::net::TcpStream;

use dunlin::packet::Connect;
use tempfile::TempDir;

use crate::support::client::{V5, V311, connect};
use crate::support::{Client, eventually};
use crate::{Bounded, leave};

fn users() -> TempDir {
    const ALICE: &str = "\
alice:$6$I0j6Zbk/ozwvsWef$JWHqnMsNFq6nmRGk1PT7d29rYZj0d//m7fCJfuSngXU0LvfitiBZvtY8eQNc/mW36vS6oEGTAMm3YOM9H1oxzQ==
";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("users"), ALICE).unwrap();
    folder
}

const KNOWN: &str = r#"
    [auth]
    password_file = "@DIR@/users"
    allow_anonymous = true
    [[listeners]]
    name = "tcp"
    url = "tcp://127.0.0.1:0"
"#;

fn login(password: &'static [u8]) -> Connect<'static> {
    Connect { client_id: "alice", username: Some("alice"), password: Some(password), ..connect(V5) }
}

/// Alice and anonymous clients, with `[protection]`.
fn watched(protection: &str) -> Bounded {
    Bounded::with_config_in(users(), &format!("{KNOWN}[protection]\n{protection}\n"))
}

/// The same with a second listener.
fn watched_at(listener: &str, protection: &str) -> Bounded {
    let listener = format!("[[listeners]]\nurl = \"tcp://127.0.0.1:0\"\n{listener}\n");
    Bounded::with_config_in(users(), &format!("{KNOWN}{listener}[protection]\n{protection}\n"))
}

/// Tries to log in from elsewhere, as a proxy tells.
fn through_proxy(bounded: &Bounded, way: &str, password: &'static [u8]) -> u8 {
    let mut stream = TcpStream::connect(bounded.broker.listener("proxied")).unwrap();
    write!(stream, "PROXY {way} 4000 1883\r\n").unwrap();
    Client::over(stream, V5).try_log_in(login(password))
}

#[test]
fn login_failures_ban_an_address_for_a_while() {
    let mut bounded = watched("login_failures = 3\nban_time = \"1s\"");
    let refused = |bounded: &Bounded, password| Client::refused(bounded.address(), login(password));
    assert_eq!([0; 3].map(|_| refused(&bounded, b"wrong")), [0x86; 3]);
    bounded.assert_hits("login_failures", 1);
    assert_eq!(refused(&bounded, b"secret"), 0x8A);
    let old = Connect { version: V311, ..login(b"secret") };
    assert_eq!(Client::refused(bounded.address(), old), 0x87, "older clients are told 5");
    bounded.assert_bystander_unharmed();
    eventually("its time is over", || refused(&bounded, b"secret") == 0);
    bounded.assert_hits("login_failures", 1);
    bounded.broker.wait_for_log("failed logins");
}

#[test]
fn logins_that_succeed_are_no_failures() {
    let bounded = watched("login_failures = 3");
    for _ in 0..2 {
        assert_eq!(Client::refused(bounded.address(), login(b"wrong")), 0x86);
    }
    for _ in 0..10 {
        assert_eq!(Client::refused(bounded.address(), login(b"secret")), 0);
    }
    bounded.assert_hits("login_failures", 0);
}

/// A subscriber of the internet has a whole network: all of it is banned, whichever address it guesses from next.
#[test]
fn login_failures_from_a_network_of_ipv6_ban_the_network() {
    let bounded = watched_at("name = 'proxied'\nproxy_protocol = true", "login_failures = 3");
    let try_from = |address: &str, password| through_proxy(&bounded, &format!("TCP6 {address} 2001:db8:ffff::1"), password);
    assert_eq!(["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(|address| try_from(address, b"wrong")), [0x86; 3]);
    assert_eq!(["2001:db8::3", "2001:db8::4"].map(|address| try_from(address, b"secret")), [0x8A; 2]);
    assert_eq!(try_from("2001:db8:0:1::1", b"secret"), 0);
}

fn protected(protection: &str) -> Bounded {
    Bounded::with_tables(&format!("[protection]\n{protection}"))
}

fn try_as(bounded: &Bounded, client_id: &str) -> u8 {
    Client::refused(bounded.address(), Connect { client_id, ..connect(V5) })
}

#[test]
fn reconnects_ban_a_client_identifier_that_connects_in_a_loop() {
    let mut bounded = protected("reconnects = 4\nban_time = \"1s\"\ntakeovers = 0");
    assert_eq!([0; 3].map(|_| try_as(&bounded, "loop")), [0; 3]);
    bounded.client("loop").expect_disconnect(0x98);
    assert_eq!([0; 2].map(|_| try_as(&bounded, "loop")), [0x8A; 2]);
    bounded.assert_hits("reconnects", 1);
    for _ in 0..10 {
        // Each has an identifier of its own.
        leave(Client::connect(bounded.address(), V5, ""));
    }
    assert_eq!(try_as(&bounded, "other"), 0);
    bounded.assert_bystander_unharmed();
    eventually("its time is over", || try_as(&bounded, "loop") == 0);
}

/// Nobody has others banned: neither by trying to come in as they, nor by coming in under the same client identifier elsewhere.
#[test]
fn reconnects_of_others_under_a_client_identifier_do_not_count_for_its_user() {
    let mut bounded = watched_at("name = 'tenant'\nmount_point = 't/'", "reconnects = 4");
    let mut alice = Client::connect_with(bounded.address(), login(b"secret")).0;
    assert_eq!([0; 10].map(|_| try_as(&bounded, "alice")), [0x87; 10]);
    bounded.assert_hits("reconnects", 0);
    alice.ping();
    leave(alice);
    let looped = |address, login: Connect<'static>| [0; 6].map(|_| Client::refused(address, login));
    let anonymous = Connect { client_id: "alice", ..connect(V5) };
    assert_eq!(looped(bounded.address(), anonymous), [0, 0, 0, 0, 0x8A, 0x8A]);
    assert_eq!(looped(bounded.broker.listener("tenant"), login(b"secret")), [0, 0, 0, 0, 0x8A, 0x8A]);
    bounded.assert_hits("reconnects", 2);
    leave(Client::connect_with(bounded.address(), login(b"secret")).0);
    assert_eq!(Client::refused(bounded.broker.listener("tenant"), login(b"wrong")), 0x8A, "its password is not looked at");
    bounded.assert_bystander_unharmed();
}

#[test]
fn takeovers_are_refused_when_there_are_too_many_and_go_on_later() {
    let mut bounded = protected("takeovers = 2\ntakeover_window = \"2s\"");
    let mut inside = bounded.client("twin");
    for _ in 0..2 {
        let newcomer = bounded.client("twin");
        inside.expect_disconnect(0x8E);
        inside = newcomer;
    }
    assert_eq!(try_as(&bounded, "twin"), 0x9F);
    let old = Connect { client_id: "twin", ..connect(V311) };
    assert_eq!(Client::refused(bounded.address(), old), 0x88, "older clients are told 3");
    inside.ping();
    bounded.assert_hits("takeovers", 2);
    let line = bounded.broker.wait_for_log("push each other out");
    assert!(line.contains(&inside.address().to_string()), "{line}");
    bounded.assert_bystander_unharmed();
    eventually("the window is over", || try_as(&bounded, "twin") == 0);
    inside.expect_disconnect(0x8E);
}

#[test]
fn a_client_identifier_that_is_free_is_not_taken_over() {
    let bounded = protected("takeovers = 1");
    for _ in 0..10 {
        leave(bounded.client("comes and goes"));
    }
    bounded.assert_hits("takeovers", 0);
}

/// More addresses than are kept in mind: the memory is bounded, and it is told.
#[test]
fn max_watched_bounds_what_is_kept_in_mind() {
    let bounded = watched_at("name = 'proxied'\nproxy_protocol = true", "login_failures = 3\nmax_watched = 10");
    for last in 0..40 {
        assert_eq!(through_proxy(&bounded, &format!("TCP4 192.0.2.{last} 192.0.2.200"), b"wrong"), 0x86);
    }
    eventually("it is counted", || bounded.hits("max_watched") >= 20.0);
}

/// Bans that are made by themselves fill the list, and no more.
#[test]
fn max_bans_holds_for_bans_that_are_made_by_themselves() {
    let mut bounded = Bounded::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [limits]
        max_bans = 1
        [protection]
        reconnects = 2
        "#,
    );
    assert_eq!([0; 3].map(|_| try_as(&bounded, "first")), [0, 0, 0x8A]);
    bounded.assert_hits("max_bans", 0);
    assert_eq!([0; 3].map(|_| try_as(&bounded, "second")), [0; 3], "there is no room for a ban of it");
    bounded.assert_hits("max_bans", 1);
    bounded.assert_bystander_unharmed();
}
