//! How much may come in a second: who sends more is read from more slowly, loses nothing, and holds up nobody else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dunlin::packet::{Connect, Packet, QoS};

use crate::support::client::{V5, V311, connect, delivery, publish};
use crate::support::{Client, eventually};
use crate::{Bounded, id, leave};

fn rated(rates: &str) -> Bounded {
    Bounded::with_tables(&format!("[rates]\nburst = \"500ms\"\n{rates}"))
}

/// A client that sends so many messages at once and reads their acknowledgements when it likes.
fn flood(client: &mut Client, messages: u16, payload: &str) {
    for number in 1..=messages {
        client.send(&Packet::Publish(publish("flood", payload, delivery(QoS::AtLeastOnce, id(number)))));
    }
}

/// All are acknowledged, in order; nothing was refused.
fn all_acknowledged(client: &mut Client, messages: u16) {
    for number in 1..=messages {
        client.expect("PUBACK", |packet| match packet {
            Packet::PubAck(ack) if ack.packet_id == id(number) && !ack.reason.is_error() => Some(()),
            _ => None,
        });
    }
}

/// So much over a rate takes at least so long. That is a lower bound, which no slow machine breaks.
fn takes_at_least(least: Duration, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    assert!(start.elapsed() >= least, "{:?} is faster than the rate allows", start.elapsed());
}

/// Two clients share a rate of 40 messages and 4 KiB a second, of which half a second is there at once; a third has no part in it.
fn are_slowed_together(bounded: &mut Bounded, whose: &str, pair: [Client; 2], mut other: Client) {
    let [mut first, mut second] = pair;
    takes_at_least(Duration::from_millis(700), || {
        flood(&mut first, 25, "x");
        flood(&mut second, 25, "x");
        flood(&mut other, 10, "x");
        all_acknowledged(&mut other, 10);
        bounded.assert_bystander_unharmed();
        all_acknowledged(&mut first, 25);
        all_acknowledged(&mut second, 25);
    });
    assert!(bounded.hits(&format!("{whose}_message_rate")) > 0.0);
    flood(&mut first, 2, &"x".repeat(3000));
    all_acknowledged(&mut first, 2);
    assert!(bounded.hits(&format!("{whose}_byte_rate")) > 0.0);
}

#[test]
fn client_message_rate_slows_one_client_and_nobody_else() {
    let mut bounded = rated("client_message_rate = 40");
    for version in [V5, V311] {
        let before = bounded.hits("client_message_rate");
        let mut client = Client::connect(bounded.address(), version, "flood");
        // 20 are there at once, and 30 more take 750 ms.
        takes_at_least(Duration::from_millis(700), || {
            flood(&mut client, 50, "x");
            bounded.assert_bystander_unharmed();
            all_acknowledged(&mut client, 50);
        });
        client.ping();
        assert!(bounded.hits("client_message_rate") > before);
        leave(client);
    }
}

#[test]
fn client_byte_rate_counts_every_packet() {
    let mut bounded = rated(r#"client_byte_rate = "4KiB""#);
    let mut client = bounded.client("flood");
    takes_at_least(Duration::from_millis(700), || {
        flood(&mut client, 50, &"x".repeat(100));
        bounded.assert_bystander_unharmed();
        all_acknowledged(&mut client, 50);
    });
    assert!(bounded.hits("client_byte_rate") > 0.0);
    let before = bounded.hits("client_byte_rate");
    takes_at_least(Duration::from_millis(900), || {
        client.send_bytes(&[0xC0, 0].repeat(4096));
        for _ in 0..4096 {
            client.expect("PINGRESP", |packet| matches!(packet, Packet::PingResp).then_some(()));
        }
    });
    assert!(bounded.hits("client_byte_rate") > before);
    bounded.assert_bystander_unharmed();
}

/// A packet that costs more than there is leaves a debt that takes longer than the keep alive.
#[test]
fn a_client_that_is_not_read_from_is_not_silent() {
    let mut bounded = rated(r#"client_byte_rate = "1KiB""#);
    let connect = Connect { client_id: "big", keep_alive: 1, ..connect(V5) };
    let (mut client, _) = Client::connect_with(bounded.address(), connect);
    assert_eq!(client.publish("flood", &"x".repeat(4096), QoS::AtLeastOnce), 0x10);
    takes_at_least(Duration::from_millis(2500), || client.ping());
    bounded.assert_bystander_unharmed();
}

#[test]
fn user_rates_are_for_all_clients_of_a_user_together() {
    const USERS: &str = "\
alice:$6$I0j6Zbk/ozwvsWef$JWHqnMsNFq6nmRGk1PT7d29rYZj0d//m7fCJfuSngXU0LvfitiBZvtY8eQNc/mW36vS6oEGTAMm3YOM9H1oxzQ==
bob:$6$I0j6Zbk/ozwvsWef$JWHqnMsNFq6nmRGk1PT7d29rYZj0d//m7fCJfuSngXU0LvfitiBZvtY8eQNc/mW36vS6oEGTAMm3YOM9H1oxzQ==
";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("users"), USERS).unwrap();
    let mut bounded = Bounded::with_config_in(
        folder,
        r#"
        [auth]
        password_file = "@DIR@/users"
        allow_anonymous = true
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [rates]
        burst = "500ms"
        user_message_rate = 40
        user_byte_rate = "4KiB"
        "#,
    );
    let address = bounded.address();
    let login = |client_id, username| {
        let connect = Connect { client_id, username: Some(username), password: Some(b"secret"), ..connect(V5) };
        Client::connect_with(address, connect).0
    };
    let pair = [login("a1", "alice"), login("a2", "alice")];
    are_slowed_together(&mut bounded, "user", pair, login("b", "bob"));
}

#[test]
fn address_rates_are_for_all_clients_of_an_address_together() {
    let mut bounded = Bounded::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        proxy_protocol = false
        [[listeners]]
        name = "proxied"
        url = "tcp://127.0.0.1:0"
        proxy_protocol = true
        allow_anonymous = true
        [rates]
        burst = "500ms"
        address_message_rate = 40
        address_byte_rate = "4KiB"
        "#,
    );
    let proxied = bounded.broker.listener("proxied");
    let from = |source: &str, client_id| {
        let mut stream = TcpStream::connect(proxied).unwrap();
        write!(stream, "PROXY TCP4 {source} 192.0.2.200 4000 1883\r\n").unwrap();
        let mut client = Client::over(stream, V5);
        client.log_in(Connect { client_id, ..connect(V5) });
        client
    };
    let pair = [from("192.0.2.1", "a1"), from("192.0.2.1", "a2")];
    are_slowed_together(&mut bounded, "address", pair, from("192.0.2.2", "b"));
}

#[test]
fn listener_rates_are_for_all_clients_of_a_listener_together() {
    let mut bounded = Bounded::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [[listeners]]
        name = "slow"
        url = "tcp://127.0.0.1:0"
        message_rate = 40
        byte_rate = "4KiB"
        [rates]
        burst = "500ms"
        "#,
    );
    let slow = bounded.broker.listener("slow");
    let pair = ["a1", "a2"].map(|client_id| Client::connect(slow, V5, client_id));
    let other = bounded.client("b");
    are_slowed_together(&mut bounded, "listener", pair, other);
}

#[test]
fn address_connection_rate_closes_one_more_at_once() {
    let mut bounded = rated("address_connection_rate = 4");
    // Two in half a second are fine, and the bystander was one.
    let mut second = bounded.client("second");
    let closed = (0..10).filter(|_| {
        let mut stream = TcpStream::connect(bounded.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        matches!(stream.read(&mut [0]), Ok(0)) || stream.write(&[0x10]).is_err()
    });
    assert!(closed.count() > 0);
    second.ping();
    bounded.assert_bystander_unharmed();
    eventually("it is counted", || bounded.hits("address_connection_rate") > 0.0);
    eventually("the time has passed", || {
        std::thread::sleep(Duration::from_millis(500));
        let mut client = Client::dial(bounded.address(), V5);
        client.send(&Packet::Connect(Connect { client_id: "again", ..connect(V5) }));
        client.has_connack()
    });
}

#[test]
fn listener_connection_rate_lets_connections_wait_and_refuses_none() {
    let mut bounded = Bounded::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [[listeners]]
        name = "slow"
        url = "tcp://127.0.0.1:0"
        connection_rate = 10
        [rates]
        burst = "500ms"
        "#,
    );
    let slow = bounded.broker.listener("slow");
    takes_at_least(Duration::from_millis(900), || {
        let mut dialled: Vec<_> = (0..16).map(|_| Client::dial(slow, V5)).collect();
        bounded.assert_bystander_unharmed();
        for client in &mut dialled {
            assert!(!client.log_in(connect(V5)));
        }
    });
    eventually("it is counted", || bounded.hits("listener_connection_rate") > 0.0);
}

/// More addresses than are kept in mind: the memory is bounded, and it is told.
#[test]
fn max_tracked_bounds_what_is_kept_in_mind() {
    let bounded = Bounded::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [[listeners]]
        name = "proxied"
        url = "tcp://127.0.0.1:0"
        proxy_protocol = true
        allow_anonymous = true
        [rates]
        burst = "1m"
        address_connection_rate = 1
        max_tracked = 10
        "#,
    );
    for last in 0..40 {
        let mut stream = TcpStream::connect(bounded.broker.listener("proxied")).unwrap();
        write!(stream, "PROXY TCP4 192.0.2.{last} 192.0.2.200 4000 1883\r\n").unwrap();
        Client::over(stream, V5).log_in(connect(V5));
    }
    eventually("it is counted", || bounded.hits("max_tracked") >= 20.0);
}
