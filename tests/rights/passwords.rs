use std::io::Write;
use std::process::{Command, Stdio};

use dunlin::packet::Connect;

use crate::house::{EVERYTHING, House, login};
use crate::support::client::{Client, V5, connect};
use crate::support::{Broker, eventually};

/// What `mosquitto_passwd` 2.0 has written with `-H sha512-pbkdf2` and `-H sha512`.
#[test]
fn mosquittos_hashes_are_read_as_they_are() {
    let house = House::build(EVERYTHING);
    for user in ["alice", "bob"] {
        assert_eq!(house.refused(login(user)), 0);
        assert_eq!(house.refused(Connect { password: Some(b"Secret"), ..login(user) }), 0x86);
    }
}

/// Only where the program is there.
#[test]
fn a_file_of_this_machines_mosquitto_passwd_is_read_as_it_is() {
    let mut house = House::build(EVERYTHING);
    let file = house.file("written");
    std::fs::write(&file, "").unwrap();
    for (user, hash) in [("dave", "sha512"), ("erin", "sha512-pbkdf2")] {
        let run = Command::new("mosquitto_passwd").args(["-H", hash, "-b"]).arg(&file).args([user, "pässword"]).output();
        match run {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(error) => return eprintln!("mosquitto_passwd is not here: {error}"),
        }
    }
    let text = std::fs::read_to_string(&file).unwrap();
    house.change("users", &text);
    for user in ["dave", "erin"] {
        assert_eq!(house.refused(Connect { password: Some("pässword".as_bytes()), ..login(user) }), 0);
        assert_eq!(house.refused(login(user)), 0x86);
    }
}

fn passwd(house: &House, arguments: &[&str], password: &[u8]) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dunlin"))
        .arg("passwd")
        .arg(house.file("users"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(password).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn dunlin_passwd_adds_changes_and_deletes_users_of_a_running_broker() {
    let mut house = House::build(EVERYTHING);
    let reload = |house: &mut House| {
        house.broker.signal("-HUP");
        house.broker.wait_for_log("config reloaded");
    };
    passwd(&house, &["dave"], b"first\n");
    assert!(std::fs::read_to_string(house.file("users")).unwrap().contains("dave:$argon2id$"));
    reload(&mut house);
    assert_eq!(house.refused(Connect { password: Some(b"first"), ..login("dave") }), 0);
    passwd(&house, &["dave"], b"second");
    reload(&mut house);
    assert_eq!(house.refused(Connect { password: Some(b"first"), ..login("dave") }), 0x86);
    assert_eq!(house.refused(Connect { password: Some(b"second"), ..login("dave") }), 0);
    passwd(&house, &["--delete", "dave"], b"");
    reload(&mut house);
    assert_eq!(house.refused(Connect { password: Some(b"second"), ..login("dave") }), 0x86);
    assert_eq!(house.refused(login("alice")), 0);
}

/// One check takes many seconds: with this many iterations no test waits for its end.
const SLOW: &str = "slow:$7$10000000$DuWeybMpKrc8VEhK$e1KZWXbbtdvJmZxo+SMxZVKHRaCotz9zbbGZeGjv5o1m2XNmS/Wmn4lI2lfG4LMI9TH/Rn2X5YUfN7V0qQjbQg==\n";

fn slow_house(more: &str) -> Broker {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("users"), SLOW).unwrap();
    let config = format!(
        "[auth]\nallow_anonymous = true\npassword_file = \"@DIR@/users\"\nmax_password_checks = 1\n\
         max_waiting_password_checks = 2\n{more}\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n"
    );
    Broker::with_config_in(folder, &config)
}

fn slow_login(broker: &Broker, id: &str) -> Client {
    let mut client = Client::dial(broker.address(), V5);
    client.send(&dunlin::packet::Packet::Connect(Connect { client_id: id, ..login("slow") }));
    client
}

#[test]
fn password_checks_are_capped_and_hold_up_nobody_else() {
    let broker = slow_house("");
    let mut other = Client::connect(broker.address(), V5, "other");
    other.subscribe("a", dunlin::packet::QoS::AtMostOnce);
    // One is checked, two wait.
    let _checked: Vec<Client> = (0..3).map(|number| slow_login(&broker, &format!("slow{number}"))).collect();
    eventually("all three have arrived", || broker.metric("dunlin_packets_received_total{type=\"connect\"}") == 4.0);
    for number in 0..3 {
        let login = Connect { client_id: "more", ..login("slow") };
        assert_eq!(Client::refused(broker.address(), login), 0x89, "login {number} is over the cap");
    }
    assert_eq!(broker.metric("dunlin_authentications_total{result=\"overloaded\"}"), 3.0);
    other.publish("a", "quick", dunlin::packet::QoS::AtMostOnce);
    other.expect_message("a", "quick");
    // Who needs no check comes in.
    Client::connect_with(broker.address(), connect(V5)).0.ping();
}

/// Waiting logins whose clients have gone give their places back, even while the one that is being checked goes on.
#[test]
fn a_login_that_hangs_up_while_it_waits_gives_its_place_back() {
    let broker = slow_house("");
    let _checked = slow_login(&broker, "checked");
    let waiting: Vec<Client> = (0..2).map(|number| slow_login(&broker, &format!("waiting{number}"))).collect();
    eventually("all three have arrived", || broker.metric("dunlin_packets_received_total{type=\"connect\"}") == 3.0);
    assert_eq!(Client::refused(broker.address(), login("slow")), 0x89);
    waiting.into_iter().for_each(Client::cut);
    eventually("a place is free", || {
        let mut client = slow_login(&broker, "next");
        !client.is_answered()
    });
}

/// A login that takes longer than `connect_timeout` is cut.
#[test]
fn the_time_to_connect_includes_the_password_check() {
    let broker = slow_house("[limits]\nconnect_timeout = \"300ms\"");
    let mut client = slow_login(&broker, "slow");
    assert_eq!(client.expect_close(), None);
    eventually("it is counted", || broker.metric("dunlin_limit_hits_total{limit=\"connect_timeout\"}") == 1.0);
}

#[test]
fn the_broker_stops_while_passwords_are_checked() {
    let mut broker = slow_house("");
    let _checked = slow_login(&broker, "slow");
    eventually("it has arrived", || broker.metric("dunlin_packets_received_total{type=\"connect\"}") == 1.0);
    broker.signal("-TERM");
    assert_eq!(broker.wait().code(), Some(0));
}

/// The check takes most of a second, time enough to read the files anew, and no more than others can wait for on a busy machine.
#[test]
fn a_user_that_is_removed_while_its_password_is_checked_is_not_let_in() {
    let slow = "slow:$7$600000$DuWeybMpKrc8VEhK$j442i2YcSBm6cUxTrDi0TwShAfj842xF7U0KYZjJafSGhWsvVxuTCw02vjUhLYFTJn+BedPIRL9czvqHomeLgw==\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("users"), slow).unwrap();
    let config = "[limits]\nconnect_timeout = \"1h\"\n[auth]\npassword_file = \"@DIR@/users\"\n[[listeners]]\nname = \"tcp\"\n\
                  url = \"tcp://127.0.0.1:0\"\n";
    let mut broker = Broker::with_config_in(folder, config);
    let mut removed = slow_login(&broker, "a");
    let packets = "dunlin_packets_received_total{type=\"connect\"}";
    eventually("the login has arrived", || broker.metric(packets) == 1.0);
    std::fs::write(broker.folder.path().join("users"), crate::house::USERS).unwrap();
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    let told = removed.expect("CONNACK", |packet| match packet {
        dunlin::packet::Packet::ConnAck(ack) => Some(ack.reason as u8),
        _ => None,
    });
    assert_eq!(told, 0x86);
}
