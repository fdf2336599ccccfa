use std::fs;

use dunlin::packet::{Connect, QoS};

use crate::support::client::{Client, V5, connect};
use crate::support::{Broker, eventually};

const LISTENER: &str = "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";

fn change(broker: &mut Broker, config: &str) {
    fs::write(broker.folder.path().join("dunlin.toml"), config).unwrap();
    broker.signal("-HUP");
}

#[test]
fn what_cannot_be_changed_while_running_is_logged_by_its_key() {
    let mut broker = Broker::with_config(LISTENER);
    let config = "[server]\nworker_threads = 3\n[log]\nformat = \"json\"\n[sys]\nnode = \"other\"\n[limits]\nconnect_timeout = \"3s\"\n\
                  [auth]\nmax_password_checks = 7\n[shared_subscriptions]\nstrategy = \"random\"\n[[listeners]]\nname = \"tcp\"\n\
                  url = \"tcp://127.0.0.1:1\"\nmount_point = \"x/\"\n";
    change(&mut broker, config);
    broker.wait_for_log("config reloaded");
    let lines = broker.log_lines();
    for key in ["server", "listeners", "auth.max_password_checks", "limits.connect_timeout", "shared_subscriptions", "sys"] {
        let told = lines.iter().any(|line| line.contains("next start") && line.contains(&format!("\"key\":\"{key}\"")));
        assert!(told, "{key}");
    }
    for key in ["data_dir", "admin", "log.format"] {
        assert!(!lines.iter().any(|line| line.contains(&format!("\"key\":\"{key}\""))), "{key} has not changed");
    }
    Client::connect(broker.address(), V5, "a").ping();
}

/// Every line of a listener's table is either taken over or told.
#[test]
fn changes_of_a_listener_that_are_not_taken_over_are_all_told() {
    for change_of in ["versions = [\"5.0\"]", "mount_point = \"m/\"", "proxy_protocol = true", "max_connections = 3"] {
        let mut broker = Broker::with_config(LISTENER);
        change(&mut broker, &format!("{LISTENER}{change_of}\n"));
        broker.wait_for_log("config reloaded");
        assert!(broker.log_lines().iter().any(|line| line.contains("\"key\":\"listeners\"")), "{change_of}");
    }
}

#[test]
fn the_log_level_and_limits_hold_from_the_reload_on() {
    let mut broker = Broker::with_config(LISTENER);
    Client::connect(broker.address(), V5, "before").ping();
    broker.wait_for_log("\"client\":\"before\"");
    change(&mut broker, &format!("[log]\nlevel = \"error\"\n[limits]\nmax_packet_size = \"77B\"\n{LISTENER}"));
    let size = |broker: &Broker| Client::connack(broker.address(), connect(V5), |told| told.maximum_packet_size).1;
    eventually("the new limit is told", || size(&broker) == Some(77));
    Client::connect(broker.address(), V5, "quiet").ping();
    change(&mut broker, &format!("[log]\nlevel = \"info\"\n[limits]\nmax_packet_size = \"88B\"\n{LISTENER}"));
    eventually("the next limit is told", || size(&broker) == Some(88));
    Client::connect(broker.address(), V5, "loud").ping();
    broker.wait_for_log("\"client\":\"loud\"");
    assert!(!broker.log_lines().iter().any(|line| line.contains("\"client\":\"quiet\"")));
}

/// Also for a session that is there, and away.
#[test]
fn what_waits_for_sessions_is_bounded_anew() {
    let config = |max: u32| format!("{LISTENER}[limits]\nmax_queued_messages = {max}\n");
    let mut broker = Broker::with_config(&config(100));
    let mut keeping = Connect { client_id: "away", clean_start: false, ..connect(V5) };
    keeping.properties.session_expiry_interval = 3600;
    let mut away = Client::connect_with(broker.address(), keeping).0;
    away.subscribe("t", QoS::AtLeastOnce);
    away.cut();
    broker.wait_for_log("\"disconnected\"");
    change(&mut broker, &config(3));
    broker.wait_for_log("config reloaded");
    let mut client = Client::connect(broker.address(), V5, "c");
    for number in 0..10 {
        client.publish("t", &number.to_string(), QoS::AtLeastOnce);
    }
    assert_eq!(broker.metric("dunlin_messages_dropped_total{reason=\"queue_full\"}"), 7.0);
}

#[test]
fn fewer_connections_may_be_allowed_while_running() {
    let mut broker = Broker::with_config(LISTENER);
    let mut first = Client::connect(broker.address(), V5, "first");
    change(&mut broker, &format!("[limits]\nmax_connections = 1\n{LISTENER}"));
    broker.wait_for_log("config reloaded");
    assert_eq!(Client::refused(broker.address(), connect(V5)), 0x89);
    first.ping();
}

#[test]
fn a_config_with_an_error_changes_nothing_and_is_told_whole() {
    let mut broker = Broker::with_config(LISTENER);
    let mut client = Client::connect(broker.address(), V5, "a");
    change(&mut broker, &format!("[limits]\nmax_packet_size = \"77B\"\nmax_inflght = 1\nmax_subscriptions = 0\n{LISTENER}"));
    let line = broker.wait_for_log("all stays as it was");
    assert!(line.contains("max_inflght") && line.contains("max_subscriptions"), "{line}");
    client.subscribe("a", QoS::AtMostOnce);
    let size = Client::connack(broker.address(), connect(V5), |told| told.maximum_packet_size).1;
    assert_eq!(size, Some(1 << 20));
}

/// Neither do the limits beside it hold.
#[test]
fn a_mistake_in_a_file_that_the_config_names_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("acl"), "topic open/#\n").unwrap();
    let config = |limits: &str| format!("{limits}[auth]\nacl_file = \"acl\"\n{LISTENER}");
    let mut broker = Broker::with_config_in(folder, &config(""));
    let mut client = Client::connect(broker.address(), V5, "a");
    fs::write(broker.folder.path().join("acl"), "topics closed/#\n").unwrap();
    change(&mut broker, &config("[limits]\nmax_packet_size = \"77B\"\n"));
    let line = broker.wait_for_log("all stays as it was");
    assert!(line.contains("acl:1"), "{line}");
    let size = Client::connack(broker.address(), connect(V5), |told| told.maximum_packet_size).1;
    assert_eq!(size, Some(1 << 20));
    assert_eq!(client.publish("open/x", "", QoS::AtLeastOnce), 0x10);
    assert_eq!(client.publish("closed/x", "", QoS::AtLeastOnce), 0x87);
}

#[test]
fn what_needs_a_start_is_told_at_each_reload_until_it_is_taken_back() {
    let mut broker = Broker::with_config(LISTENER);
    let mut told = |config: &str| {
        let before = broker.log_lines().len();
        change(&mut broker, config);
        broker.wait_for_log("config reloaded");
        broker.log_lines()[before..].iter().filter(|line| line.contains("next start")).count()
    };
    let changed = format!("[server]\nworker_threads = 3\n{LISTENER}mount_point = \"m/\"\n");
    assert_eq!(told(&changed), 2);
    assert_eq!(told(&changed), 2, "it still does");
    assert_eq!(told(LISTENER), 0, "it was taken back");
}

/// Who takes a listener out of the file hears that its door is open, and whose rights are taken away there is denied them. What becomes of
/// `[auth]` is about other doors.
#[test]
fn a_listener_that_is_named_no_more_is_told_at_each_reload_and_its_files_are_still_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("acl"), "topic open/#\n").unwrap();
    let config = |name: &str, auth: &str| format!("{auth}[[listeners]]\nname = \"{name}\"\nurl = \"tcp://127.0.0.1:0\"\n");
    let auth = "[auth]\nacl_file = \"acl\"\n";
    let mut broker = Broker::with_config_in(folder, &config("tcp", auth));
    let mut client = Client::connect(broker.address(), V5, "a");
    for (acl, auth, code) in [("topic open/#\n", auth, 0x10), ("topic other/#\n", auth, 0x87), ("topic other/#\n", "", 0x87)] {
        fs::write(broker.folder.path().join("acl"), acl).unwrap();
        change(&mut broker, &config("renamed", auth));
        let line = broker.wait_for_log("does not name this listener any more");
        assert!(line.contains("\"listener\":\"tcp\""), "{line}");
        broker.wait_for_log("config reloaded");
        assert_eq!(client.publish("open/x", "", QoS::AtLeastOnce), code, "{acl}{auth}");
    }
}

#[test]
fn a_listener_that_is_named_no_more_goes_on_sharing_its_rights() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "other"] {
        fs::write(folder.path().join(name), format!("topic {name}/#\n")).unwrap();
    }
    let config = |name: &str, acl: &str| {
        let listener = |name: &str| format!("[[listeners]]\nname = \"{name}\"\nurl = \"tcp://127.0.0.1:0\"\n");
        format!("[auth]\nacl_file = \"{acl}\"\n{}{}", listener(name), listener("second"))
    };
    let mut broker = Broker::with_config_in(folder, &config("first", "one"));
    change(&mut broker, &config("renamed", "other"));
    broker.wait_for_log("config reloaded");
    for name in ["first", "second"] {
        let mut client = Client::connect(broker.listener(name), V5, name);
        assert_eq!(client.publish("other/x", "", QoS::AtLeastOnce), 0x10, "{name}");
        assert_eq!(client.publish("one/x", "", QoS::AtLeastOnce), 0x87, "{name}");
    }
}

/// Whose they are to be cannot be told apart while running.
#[test]
fn listeners_that_share_their_rights_and_are_not_to_any_more_keep_them_and_are_told() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "other"] {
        fs::write(folder.path().join(name), format!("topic {name}/#\n")).unwrap();
    }
    let listener = |name: &str| format!("[[listeners]]\nname = \"{name}\"\nurl = \"tcp://127.0.0.1:0\"\n");
    let config = format!("[auth]\nacl_file = \"one\"\n{}{}", listener("first"), listener("second"));
    let mut broker = Broker::with_config_in(folder, &config);
    change(&mut broker, &format!("{config}acl_file = \"other\"\n"));
    let line = broker.wait_for_log("takes effect at the next start");
    assert!(line.contains("\"key\":\"listeners\""), "{line}");
    broker.wait_for_log("config reloaded");
    for name in ["first", "second"] {
        let mut client = Client::connect(broker.listener(name), V5, name);
        assert_eq!(client.publish("one/x", "", QoS::AtLeastOnce), 0x10, "{name}");
        assert_eq!(client.publish("other/x", "", QoS::AtLeastOnce), 0x87, "{name}");
    }
}

/// Nobody answers there, so nothing is allowed; without the server, everything would be.
#[test]
fn a_listener_that_is_named_no_more_does_not_lose_the_server_that_is_asked() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = |name: &str, auth: &str| {
        format!("{auth}[[listeners]]\nname = \"{name}\"\nurl = \"tcp://127.0.0.1:0\"\nallow_anonymous = true\n")
    };
    let auth = format!("[auth.http]\nauthorize_url = \"http://{free}/may\"\n");
    let mut broker = Broker::with_config(&config("tcp", &auth));
    let mut client = Client::connect(broker.address(), V5, "a");
    assert_eq!(client.publish("x", "", QoS::AtLeastOnce), 0x80);
    for _ in 0..2 {
        change(&mut broker, &config("renamed", ""));
        broker.wait_for_log("config reloaded");
        assert_eq!(client.publish("x", "", QoS::AtLeastOnce), 0x80);
    }
}

#[test]
fn a_broker_without_a_config_file_survives_sighup() {
    let mut broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "a");
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    client.ping();
    assert!(!broker.log_lines().iter().any(|line| line.contains("next start")));
}
