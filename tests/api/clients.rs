use dunlin::packet::{Connect, ConnectProperties, QoS};
use serde_json::json;

use crate::http::Http;
use crate::support::client::{V5, V311, connect};
use crate::support::{Broker, Client, eventually};

#[test]
fn a_client_is_shown_with_its_connection_and_session() {
    let broker = crate::with_user();
    let api = Http::new(broker.admin.unwrap());
    let password = Some(&b"evad"[..]);
    let connect = Connect { client_id: "a/b c", username: Some("dave"), password, keep_alive: 77, ..connect(V5) };
    let (mut client, _) = Client::connect_with(broker.address(), connect);
    client.subscribe("t/#", QoS::ExactlyOnce);
    let shown = api.get("/clients/a%2Fb%20c").json();
    let expected = [
        ("clientid", json!("a/b c")),
        ("username", json!("dave")),
        ("connected", json!(true)),
        ("ip_address", json!("127.0.0.1")),
        ("port", json!(client.address().port())),
        ("proto_ver", json!(5)),
        ("keepalive", json!(77)),
        ("listener", json!("tcp")),
        ("durable", json!(false)),
        ("subscriptions_cnt", json!(1)),
        ("mqueue_len", json!(0)),
        ("disconnected_at", json!(null)),
    ];
    for (field, value) in expected {
        assert_eq!(shown[field], value, "{field}");
    }
    let subscriptions = api.get("/clients/a%2Fb%20c/subscriptions").data();
    assert_eq!((subscriptions[0]["topic"].as_str(), subscriptions[0]["qos"].as_u64()), (Some("t/#"), Some(2)));
    assert_eq!(api.get("/clients/nobody").code(), "CLIENTID_NOT_FOUND");
}

#[test]
fn disconnecting_leaves_the_session_and_discarding_does_not() {
    let (broker, api) = crate::open();
    let kept = || Connect {
        client_id: "c",
        clean_start: false,
        properties: ConnectProperties { session_expiry_interval: 3600, ..ConnectProperties::default() },
        ..connect(V5)
    };
    let (mut client, _) = Client::connect_with(broker.address(), kept());
    client.subscribe("t", QoS::AtLeastOnce);
    assert_eq!(api.delete("/clients/c").status, 204);
    client.expect_disconnect(0x98);
    eventually("it is away", || api.get("/clients/c").json()["connected"] == false);
    let shown = api.get("/clients/c").json();
    assert_eq!((shown["last_reason_code"].as_u64(), shown["last_ended_by"].as_str()), (Some(0x98), Some("server")));
    assert_eq!(api.delete("/clients/c").code(), "NOT_CONNECTED");

    let (mut client, was_there) = Client::connect_with(broker.address(), kept());
    assert!(was_there);
    assert_eq!(api.delete("/sessions/c").status, 204);
    client.expect_disconnect(0x98);
    assert_eq!(api.get("/sessions/c").status, 404);
    assert!(!Client::connect_with(broker.address(), kept()).1);
    assert_eq!(api.get("/subscriptions").data().len(), 0);
}

#[test]
fn older_clients_are_cut_without_a_word() {
    let (broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V311, "old");
    assert_eq!(api.delete("/clients/old").status, 204);
    assert_eq!(client.expect_close(), None);
    eventually("its session is gone", || api.get("/clients/old").status == 404);
}

#[test]
fn what_waits_for_a_client_is_shown() {
    let (broker, api) = crate::open();
    let kept = Connect {
        client_id: "c",
        properties: ConnectProperties { session_expiry_interval: 3600, receive_maximum: 2, ..ConnectProperties::default() },
        ..connect(V5)
    };
    let (mut client, _) = Client::connect_with(broker.address(), kept);
    client.subscribe("t/#", QoS::AtLeastOnce);
    for n in 0..5 {
        let message = json!({"topic": format!("t/{n}"), "payload": "hello", "qos": 1});
        assert_eq!(api.post("/publish", &message).status, 200);
    }
    eventually("two are under way", || api.get("/clients/c/inflight").data().len() == 2);
    let shown = api.get("/clients/c").json();
    assert_eq!(
        (shown["mqueue_len"].as_u64(), shown["inflight_cnt"].as_u64(), shown["inflight_max"].as_u64()),
        (Some(3), Some(2), Some(2))
    );
    let waiting = api.get("/clients/c/queue?limit=2&page=2");
    assert_eq!(waiting.json()["meta"], json!({"page": 2, "limit": 2, "count": 3, "hasnext": false}));
    assert_eq!(waiting.data()[0]["position"], 2);
    let first = &api.get("/clients/c/queue?limit=1").data()[0];
    assert_eq!((first["state"].as_str(), first["qos"].as_u64()), (Some("waiting"), Some(1)));
    if first["on_disk"] == false {
        assert_eq!((first["topic"].as_str(), first["payload"].as_str()), (Some("t/2"), Some("aGVsbG8=")));
    }
    assert_eq!(api.get("/clients/c/queue?cursor=YQ").code(), "BAD_REQUEST");
}

#[test]
fn clients_of_a_mount_point_are_told_apart() {
    let broker = Broker::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [[listeners]]
        name = "tenant"
        url = "tcp://127.0.0.1:0"
        mount_point = "tenant/"
        [[listeners]]
        name = "own"
        url = "tcp://127.0.0.1:0"
        mount_point = "of/%c/"
        "#,
    );
    let api = Http::new(broker.admin.unwrap());
    let _one = Client::connect(broker.listener("tcp"), V5, "same");
    let mut other = Client::connect(broker.listener("tenant"), V5, "same");
    let _only = Client::connect(broker.listener("tenant"), V5, "only");
    other.subscribe("t", QoS::AtMostOnce);
    assert_eq!(api.get("/clients/same").json()["listener"], "tcp");
    assert_eq!(api.get("/clients/same?mountpoint=tenant/").json()["listener"], "tenant");
    assert_eq!(api.get("/clients/only").json()["mountpoint"], "tenant/");
    assert_eq!(api.get("/clients/only?mountpoint=").status, 404);
    let _filled_in = Client::connect(broker.listener("own"), V5, "mine");
    assert_eq!(api.get("/clients/mine").json()["mountpoint"], "of/mine/");
    assert_eq!(api.get("/subscriptions").texts("topic"), ["tenant/t"]);
    assert_eq!(api.get("/clients?clientid=same").data().len(), 2);
    assert_eq!(api.get("/clients/nobody").code(), "CLIENTID_NOT_FOUND");
}

#[test]
fn who_is_loud_and_who_is_slow_is_listed() {
    let (broker, api) = crate::open();
    let mut loud = Client::connect(broker.address(), V5, "loud");
    let _silent = Client::connect(broker.address(), V5, "silent");
    let kept = Connect {
        client_id: "slow",
        properties: ConnectProperties { receive_maximum: 1, ..ConnectProperties::default() },
        ..connect(V5)
    };
    let (mut slow, _) = Client::connect_with(broker.address(), kept);
    slow.subscribe("t", QoS::AtLeastOnce);
    for _ in 0..5 {
        loud.publish("t", &"x".repeat(10_000), QoS::AtLeastOnce);
    }
    eventually("four messages wait", || {
        api.get("/slow_subscriptions").data().first().is_some_and(|first| first["mqueue_len"] == 4)
    });
    assert_eq!(api.get("/slow_subscriptions").texts("clientid"), ["slow"]);
    let talkers = api.get("/top_talkers").data();
    let loudest = talkers.iter().max_by_key(|talker| talker["recv_oct"].as_u64()).unwrap();
    assert!(loudest["clientid"] == "loud" && loudest["recv_oct"].as_u64().unwrap() > 50_000, "{talkers:?}");
    assert!(api.get("/clients/loud").json()["recv_oct"].as_u64().unwrap() > 50_000);
    assert_eq!(api.get("/top_talkers?cursor=YQ").code(), "BAD_REQUEST");
}
