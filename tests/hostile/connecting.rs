//! Connections: silent ones, many of them, more than there are descriptors, and two under one identifier.

use std::process::Command;
use std::time::Duration;

use dunlin::packet::{Connect, Packet, QoS};

use crate::siege::{Siege, dial};
use crate::support::client::{Client, V5, connect};
use crate::support::eventually;

/// mosquitto CVE-2023-0809, CVE-2017-7651; EMQX CVE-2021-33175; RabbitMQ CVE-2021-22116; VerneMQ CVE-2021-33176: a stranger announces
/// 256 MB and stalls.
#[test]
fn strangers_that_announce_much_and_stall_take_no_memory_and_are_cut() {
    let siege = Siege::lay("[limits]\nconnect_timeout = \"2s\"\n");
    let mut strangers: Vec<Client> = (0..300)
        .map(|number| {
            let mut stranger = siege.dial();
            let first = if number % 2 == 0 { 0x10 } else { 0x30 };
            stranger.send_bytes(&[&[first, 0xFF, 0xFF, 0xFF, 0x7F][..], b"\x00\x04MQTT\x05\x02\x00\x00", &[0; 1000]].concat());
            stranger
        })
        .collect();
    siege.assert_memory_below(8 << 20);
    for stranger in &mut strangers {
        stranger.rest();
    }
    siege.lift();
}

/// SlowITe (CVE-2020-13849): connected, silent, and a keep alive that the attacker has chosen.
#[test]
fn a_keep_alive_of_the_attackers_choice_holds_no_place_for_longer_than_ours() {
    let siege = Siege::lay("[limits]\nmax_keep_alive = \"3s\"\n");
    let mut silent: Vec<Client> = [0, u16::MAX]
        .into_iter()
        .cycle()
        .take(100)
        .map(|keep_alive| {
            let mut client = siege.dial();
            client.log_in(Connect { keep_alive, ..connect(V5) });
            client
        })
        .collect();
    for client in &mut silent {
        client.expect_disconnect(0x8D);
    }
    siege.lift();
}

/// 20,000 connects and disconnects, half of them without a goodbye.
#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let siege = Siege::lay("");
    for number in 0..20_000 {
        let mut client = siege.dial();
        client.log_in(connect(V5));
        if number % 10 < 2 {
            client.subscribe("coming/and/going", QoS::AtLeastOnce);
        }
        if number % 2 == 0 {
            client.send_bytes(&[0xE0, 0]);
        }
    }
    eventually("they are gone", || siege.metric(r#"dunlin_sessions{state="online"}"#) == 2.0);
    eventually("nothing is kept of them", || siege.metric(r#"dunlin_sessions{state="offline"}"#) == 0.0);
    eventually("their subscriptions are gone", || siege.metric("dunlin_subscriptions") == 1.0); // counted once a second
    siege.lift();
}

/// At the limit of descriptors those who are in are served, nothing spins, and when there is room others come in.
#[test]
fn without_descriptors_those_who_are_in_are_served_and_nothing_spins() {
    let mut siege = Siege::lay("");
    let limit = siege.broker.descriptors() + 10;
    let status = Command::new("prlimit")
        .args([format!("--pid={}", siege.broker.pid()), format!("--nofile={limit}:{limit}")])
        .status()
        .expect("prlimit of util-linux runs");
    assert!(status.success());
    let mut many: Vec<Client> = (0..30).map(|_| siege.dial()).collect();
    let answered = many.iter_mut().filter_map(|client| {
        client.send(&Packet::Connect(connect(V5)));
        client.is_answered().then_some(())
    });
    let answered = answered.count();
    assert!(answered < 20, "{answered} have got a descriptor");
    std::thread::sleep(Duration::from_secs(3));
    // Each try is one line of log, or one that was held back and is told with the next.
    let tries: u64 =
        siege.broker.log_lines().iter().filter(|line| line.contains("cannot accept")).map(|line| tries_of(line)).sum();
    assert!((1..100).contains(&tries), "{tries} tries to accept in three seconds");
    many.clear();
    eventually("there is room again", || {
        let mut client = siege.dial();
        client.send(&Packet::Connect(connect(V5)));
        client.is_answered()
    });
    siege.lift();
}

fn tries_of(line: &str) -> u64 {
    let suppressed = line.split_once("\"suppressed\":").map_or("", |(_, rest)| rest);
    let digits: String = suppressed.chars().take_while(char::is_ascii_digit).collect();
    1 + digits.parse().unwrap_or(0)
}

/// NanoMQ CVE-2026-22040, CVE-2025-59946: one client identifier is taken over in a storm while it subscribes and publishes.
#[test]
fn a_storm_of_take_overs_with_traffic_leaves_one_session() {
    let siege = Siege::lay("[protection]\ntakeovers = 0\n");
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let door = siege.door();
            scope.spawn(move || {
                for round in 0..200_u32 {
                    let mut client = dial(&door);
                    let mut connect = Connect { client_id: "storm", clean_start: (round + thread) % 3 == 0, ..connect(V5) };
                    connect.properties.session_expiry_interval = 60 * (round % 2);
                    client.send(&Packet::Connect(connect));
                    client.send_bytes(b"\x82\x0a\x00\x01\x00\x00\x04st/#\x01");
                    client.send_bytes(b"\x34\x0a\x00\x04st/a\x00\x02\x00x");
                    client.send_bytes(b"\x32\x0a\x00\x04st/a\x00\x03\x00x");
                    if round % 4 == 0 {
                        client.is_answered();
                    }
                }
            });
        }
    });
    // In this order: one that came later would take over the session of the last.
    eventually("all of the storm has come", || siege.metric(r#"dunlin_connections_total{listener="unix"}"#) == 802.0);
    eventually("has said who it is", || siege.metric(r#"dunlin_connections_pending{listener="unix"}"#) == 0.0);
    eventually("and is gone", || siege.metric(r#"dunlin_connections{listener="unix",version="5.0"}"#) == 1.0);
    let mut last = siege.dial();
    last.log_in(Connect { client_id: "storm", ..connect(V5) });
    last.subscribe("st/#", QoS::AtLeastOnce);
    last.publish("st/a", "mine", QoS::AtMostOnce);
    last.expect_message("st/a", "mine");
    eventually("one session is left of it", || siege.metric(r#"dunlin_sessions{state="online"}"#) == 3.0);
    drop(last);
    eventually("and ends", || siege.metric(r#"dunlin_sessions{state="offline"}"#) == 0.0);
    siege.lift();
}

/// Two devices with one identifier: after some rounds the newcomer is told to stay away, and the one that is in stays.
#[test]
fn two_clients_that_push_each_other_out_are_calmed() {
    let mut siege = Siege::lay("[protection]\ntakeovers = 3\ntakeover_window = \"1h\"\n");
    let one = Connect { client_id: "twin", ..connect(V5) };
    let mut inside = Client::connect_with(siege.address(), one).0;
    for _ in 0..3 {
        let newcomer = Client::connect_with(siege.address(), one).0;
        inside.expect_disconnect(0x8E);
        inside = newcomer;
    }
    for _ in 0..5 {
        assert_eq!(Client::refused(siege.address(), one), 0x9F);
    }
    let line = siege.broker.wait_for_log("push each other out");
    assert!(line.contains(&inside.address().to_string()), "{line}");
    inside.ping();
    let other = Client::connect(siege.address(), V5, "other");
    drop((inside, other));
    siege.lift();
}
