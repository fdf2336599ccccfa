//! Several doors at once, and what differs between them.

use std::os::unix::net::UnixStream;

use dunlin::packet::{Connect, ProtocolVersion, QoS};

use crate::authority::{Authority, folder};
use crate::support::client::{Client, V5, V31, V311, connect};
use crate::support::{Broker, eventually};

fn two_doors(first: &str, second: &str) -> String {
    format!(
        "[[listeners]]\nname = \"first\"\nurl = \"tcp://127.0.0.1:0\"\n{first}\n\
         [[listeners]]\nname = \"second\"\nurl = \"tcp://127.0.0.1:0\"\n{second}\n"
    )
}

#[test]
fn a_message_goes_from_any_door_to_all_the_others() {
    let folder = folder();
    let authority = Authority::with_server(folder.path());
    let path = folder.path().join("mqtt.sock");
    let config = "[[listeners]]\nname = \"unix\"\nurl = \"unix://@DIR@/mqtt.sock\"\n[[listeners]]\nname = \"tls\"\n\
                  url = \"tls://127.0.0.1:0\"\n[listeners.tls]\ncertificate = \"@DIR@/server.pem\"\nkey = \"@DIR@/server-key.pem\"\n";
    let broker = Broker::with_config_in(folder, &format!("{}{config}", two_doors("", "")));
    let mut local = Client::over(UnixStream::connect(path).unwrap(), V5);
    local.log_in(Connect { client_id: "unix", ..connect(V5) });
    let mut clients = [
        Client::connect(broker.listener("first"), V31, "first"),
        Client::connect(broker.listener("second"), V311, "second"),
        authority.caller(None).connect(broker.listener("tls"), V5, "tls"),
        local,
    ];
    for client in &mut clients {
        client.subscribe("all", QoS::AtLeastOnce);
    }
    for from in 0..clients.len() {
        clients[from].publish("all", "x", QoS::AtMostOnce);
        for client in &mut clients {
            client.expect_message("all", "x");
        }
    }
    for (listener, version) in [("first", "3.1"), ("second", "3.1.1"), ("tls", "5.0"), ("unix", "5.0")] {
        let series = format!("dunlin_connections{{listener=\"{listener}\",version=\"{version}\"}}");
        assert_eq!(broker.metric(&series), 1.0, "{series}");
    }
}

/// `[MQTT-3.1.2-2]`, `[MQTT3-3.1.2-2]`: told in the client's own language, then closed.
#[test]
fn a_door_lets_in_the_versions_that_it_names() {
    let all = [V31, V311, V5];
    for (names, allowed) in
        [("\"3.1\"", [V31].as_slice()), ("\"3.1.1\"", &[V311]), ("\"5.0\"", &[V5]), ("\"3.1\", \"5.0\"", &[V31, V5])]
    {
        let broker = Broker::with_config(&two_doors(&format!("versions = [{names}]"), ""));
        for version in all {
            let mut client = Client::dial(broker.listener("first"), version);
            let code = client.try_log_in(Connect { client_id: "a", ..connect(version) });
            let is_allowed = allowed.contains(&version);
            assert_eq!(code, if is_allowed { 0 } else { 0x84 }, "{version} where {names} is let in");
            if !is_allowed {
                client.expect_close();
            }
            assert_eq!(Client::refused(broker.listener("second"), Connect { client_id: "b", ..connect(version) }), 0);
        }
    }
}

/// The CONNACK that an older client gets has the two bytes of its version, 0x01 for "unacceptable protocol version".
#[test]
fn an_older_client_is_told_1_by_a_door_for_5_0() {
    let broker = Broker::with_config(&two_doors("versions = [\"5.0\"]", ""));
    let mut socket = std::net::TcpStream::connect(broker.listener("first")).unwrap();
    std::io::Write::write_all(&mut socket, b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a").unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut socket, &mut answer).unwrap();
    assert_eq!(answer, [0x20, 2, 0, 1]);
}

#[test]
fn max_connections_holds_for_its_own_door_and_gives_places_back() {
    let broker = Broker::with_config(&two_doors("max_connections = 1", ""));
    let first = Client::connect(broker.listener("first"), V5, "one");
    for version in [V5, V311] {
        let code = Client::refused(broker.listener("first"), Connect { client_id: "two", ..connect(version) });
        // 3.1.1 has only "server unavailable".
        assert_eq!(code, if version == V5 { 0x89 } else { 0x88 });
    }
    Client::connect(broker.listener("second"), V5, "other").ping();
    assert_eq!(broker.metric("dunlin_limit_hits_total{limit=\"listener_max_connections\"}"), 2.0);
    first.cut();
    eventually("the place is free again", || {
        Client::refused(broker.listener("first"), Connect { client_id: "three", ..connect(V5) }) == 0
    });
}

#[test]
fn limits_of_a_door_are_told_and_held() {
    let broker = Broker::with_config(&two_doors("max_packet_size = \"100B\"\nmax_keep_alive = \"20s\"", ""));
    let (mut client, told) =
        Client::connack(broker.listener("first"), Connect { client_id: "a", ..connect(V5) }, |properties| {
            (properties.maximum_packet_size, properties.server_keep_alive)
        });
    assert_eq!(told, (Some(100), Some(20)));
    client.publish("a", &"x".repeat(200), QoS::AtMostOnce);
    client.expect_disconnect(0x95);
    let (mut client, told) =
        Client::connack(broker.listener("second"), Connect { client_id: "a", ..connect(V5) }, |properties| {
            (properties.maximum_packet_size, properties.server_keep_alive)
        });
    assert_eq!(told, (Some(1 << 20), None));
    client.publish("a", &"x".repeat(200), QoS::AtMostOnce);
    client.ping();
}

#[test]
fn a_door_has_its_own_users_and_rights() {
    let folder = folder();
    std::fs::write(folder.path().join("acl"), "topic read public/#\n").unwrap();
    let users = "alice:$7$101$7fUAOaaYeCbgiK2t$tBIsiuNcP1nkO71H6RaxfzmqUR1cdBz11eg5LNlg5J0U5kmQQlIhAyVDCAVlcNePM/oo5o1yGMCB2zHUTydVqg==\n";
    std::fs::write(folder.path().join("users"), users).unwrap();
    let config = two_doors("acl_file = \"@DIR@/acl\"", "password_file = \"@DIR@/users\"");
    let broker = Broker::with_config_in(folder, &config);
    let mut first = Client::connect(broker.listener("first"), V5, "a");
    assert_eq!(first.publish("public/x", "", QoS::AtLeastOnce), 0x87);
    assert_eq!(Client::refused(broker.listener("second"), connect(V5)), 0x87, "a password file, so no anonymous clients");
    let wrong = Connect { username: Some("alice"), password: Some(b"no"), ..connect(V5) };
    assert_eq!(Client::refused(broker.listener("second"), wrong), 0x86);
}

#[test]
fn sighup_changes_the_limits_of_a_door_for_those_who_come_after() {
    let mut broker = Broker::with_config(&two_doors("max_packet_size = \"100B\"", ""));
    let size = |broker: &Broker, version: ProtocolVersion| {
        Client::connack(broker.listener("first"), connect(version), |properties| properties.maximum_packet_size).1
    };
    assert_eq!(size(&broker, V5), Some(100));
    let path = broker.folder.path().join("dunlin.toml");
    std::fs::write(&path, two_doors("max_packet_size = \"200B\"", "")).unwrap();
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    assert_eq!(size(&broker, V5), Some(200));
}
