use dunlin::packet::{Connect, ConnectProperties, QoS};
use serde_json::json;

use crate::http::Http;
use crate::support::client::{V5, connect};
use crate::support::{Broker, Client};

#[test]
fn a_message_reaches_its_subscribers_with_its_properties() {
    let (broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V5, "c");
    client.subscribe("t/+", QoS::ExactlyOnce);
    let message = json!({
        "topic": "t/1", "payload": "aGVsbG8A", "payload_encoding": "base64", "qos": 0,
        "properties": {"content_type": "x/y", "response_topic": "r", "correlation_data": "AQ==", "user_properties": {"k": "v"}},
    });
    let answer = api.post("/publish", &message);
    assert_eq!((answer.status, answer.json()), (200, json!({"reason_code": 0, "message": "success", "matched": 1})));
    client.expect_publish(|publish| {
        assert_eq!(publish.payload, b"hello\0");
        let properties = &publish.properties;
        assert_eq!((properties.content_type, properties.response_topic), (Some("x/y"), Some("r")));
        assert_eq!(properties.correlation_data, Some(&b"\x01"[..]));
        assert_eq!(properties.user_properties.iter().collect::<Vec<_>>(), [("k", "v")]);
    });
    let nobody = api.post("/publish", &json!({"topic": "u", "payload": ""}));
    assert_eq!((nobody.status, nobody.json()["reason_code"].as_u64()), (202, Some(16)));
}

#[test]
fn what_no_client_may_send_nobody_may() {
    let broker = Broker::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [limits]
        max_packet_size = "2KiB"
        max_topic_levels = 3
        max_user_properties = 1
        "#,
    );
    let api = Http::new(broker.admin.unwrap());
    let refused = |body: serde_json::Value| {
        let answer = api.post("/publish", &body);
        (answer.status, answer.json()["message"].as_str().unwrap().split(':').next().unwrap().to_owned())
    };
    for (body, field) in [
        (json!({"topic": "a/#", "payload": ""}), "topic"),
        (json!({"topic": "", "payload": ""}), "topic"),
        (json!({"topic": "$SYS/broker/x", "payload": ""}), "topic"),
        (json!({"topic": "1/2/3/4", "payload": ""}), "topic"),
        (json!({"topic": "t", "payload": "", "qos": 3}), "qos"),
        (json!({"topic": "t", "payload": "?", "payload_encoding": "base64"}), "payload"),
        (json!({"topic": "t", "payload": "", "properties": {"response_topic": "a/+"}}), "properties"),
        (json!({"topic": "t", "payload": "", "properties": {"user_properties": {"a": "1", "b": "2"}}}), "properties"),
        (
            json!({"topic": "t", "payload": "", "properties": {"payload_format_indicator": 2}}),
            "properties.payload_format_indicator",
        ),
        (json!({"topic": "t", "payload": "", "properties": {"colour": "red"}}), "properties.colour"),
        (json!({"topic": "t"}), "missing field `payload`"),
    ] {
        let (status, place) = refused(body.clone());
        assert_eq!(status, 400, "{body}");
        assert!(place.starts_with(field), "{body}: {place}");
    }
    assert_eq!(refused(json!({"topic": "t", "payload": "x".repeat(3000)})), (413, "payload".into()));
    assert_eq!(api.post("/publish", &json!({"topic": "t", "payload": "x".repeat(2000)})).status, 202);
    let bulk = json!([{"topic": "ok", "payload": "", "retain": true}, {"topic": "+", "payload": ""}]);
    let answer = api.post("/publish/bulk", &bulk);
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("[1].topic"), "{}", answer.body);
    let many: Vec<_> = (0..1001).map(|_| json!({"topic": "t", "payload": ""})).collect();
    assert_eq!(api.post("/publish/bulk", &json!(many)).code(), "BAD_REQUEST");
}

#[test]
fn a_bulk_keeps_its_order() {
    let (broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V5, "c");
    client.subscribe("t", QoS::AtMostOnce);
    let bulk: Vec<_> = (0..200).map(|n| json!({"topic": "t", "payload": n.to_string()})).collect();
    assert_eq!(api.post("/publish/bulk", &json!(bulk)).json().as_array().unwrap().len(), 200);
    for n in 0..200 {
        client.expect_message("t", &n.to_string());
    }
}

/// An answer promises what PUBACK promises.
#[test]
fn what_was_answered_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";
    let mut broker = Broker::with_config_in(folder, config);
    let api = Http::new(broker.admin.unwrap());
    let kept = || Connect {
        client_id: "c",
        clean_start: false,
        properties: ConnectProperties { session_expiry_interval: 3600, ..ConnectProperties::default() },
        ..connect(V5)
    };
    let (mut client, _) = Client::connect_with(broker.address(), kept());
    client.subscribe("t", QoS::AtLeastOnce);
    client.cut();
    assert_eq!(api.post("/publish", &json!({"topic": "t", "payload": "one", "qos": 1})).status, 200);
    assert_eq!(api.post("/publish", &json!({"topic": "r", "payload": "kept", "retain": true})).status, 202);
    assert_eq!(api.post("/publish", &json!({"topic": "gone", "payload": "kept", "retain": true})).status, 202);
    assert_eq!(api.delete("/retained/gone").status, 204);
    assert_eq!(api.post("/banned", &json!({"as": "clientid", "who": "bad"})).status, 201);

    broker.kill_and_restart();
    let api = Http::new(broker.admin.unwrap());
    let (mut client, was_there) = Client::connect_with(broker.address(), kept());
    assert!(was_there);
    client.expect_message("t", "one");
    assert_eq!(api.get("/retained/r").json()["payload"], "a2VwdA==");
    assert_eq!(api.get("/retained/gone").status, 404);
    assert_eq!(Client::refused(broker.address(), Connect { client_id: "bad", ..connect(V5) }), 0x8A);
}
