//! Clients without a user name, on a door that others than this machine can reach. The tests themselves stay on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use dunlin::packet::Connect;

use crate::house::login;
use crate::support::Broker;
use crate::support::client::{Client, V5, V311, connect};

const EVERYWHERE: &str = "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://0.0.0.0:0\"\n";

fn loopback(broker: &Broker) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, broker.address().port()).into()
}

#[test]
fn anonymous_clients_are_refused_where_others_than_this_machine_can_connect() {
    let mut broker = Broker::with_config(EVERYWHERE);
    for version in [V311, V5] {
        assert_eq!(Client::refused(loopback(&broker), Connect { client_id: "a", ..connect(version) }), 0x87);
        let named = Connect { client_id: "a", version, ..login("alice") };
        assert_eq!(Client::refused(loopback(&broker), named), 0x86, "a name that nothing can prove is none");
    }
    let warned = broker.log_lines().iter().any(|line| line.contains("nobody can log in at tcp://0.0.0.0"));
    assert!(warned);
}

#[test]
fn anonymous_clients_are_let_in_where_the_config_says_so() {
    for config in [
        format!("[auth]\nallow_anonymous = true\n{EVERYWHERE}"),
        format!("{EVERYWHERE}allow_anonymous = true\n"),
        format!("[auth]\nallow_anonymous = false\n{EVERYWHERE}allow_anonymous = true\n"),
    ] {
        let broker = Broker::with_config(&config);
        Client::connect(loopback(&broker), V5, "a").ping();
    }
    let broker = Broker::with_args(&["--listen", "tcp://0.0.0.0:0", "--allow-anonymous"]);
    Client::connect(loopback(&broker), V311, "a").ping();
}

#[test]
fn on_loopback_anonymous_clients_are_let_in_unless_the_config_says_no() {
    let listener = "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";
    assert_eq!(Client::refused(Broker::with_config(listener).address(), connect(V5)), 0);
    let closed = Broker::with_config(&format!("[auth]\nallow_anonymous = false\n{listener}"));
    assert_eq!(Client::refused(closed.address(), connect(V5)), 0x87);
}
