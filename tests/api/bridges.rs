//! `/bridges`, with another of our brokers on the other side.

use serde_json::json;

use crate::http::Http;
use crate::support::client::V5;
use crate::support::{Broker, Client, eventually};

#[test]
fn a_bridge_is_shown_with_its_figures_and_without_its_secrets() {
    let other = Broker::start();
    let broker = Broker::with_config(&format!(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [[bridges]]
        name = "up"
        urls = ["tcp://{}"]
        username = "dave"
        password = "not-to-be-shown"
        [[bridges.topics]]
        filter = "t/#"
        qos = 1
        remote_prefix = "site/"
        "#,
        other.address()
    ));
    let api = Http::new(broker.admin.unwrap());
    eventually("it is connected", || api.get("/bridges/up").json()["connected"] == true);
    let mut publisher = Client::connect(broker.address(), V5, "p");
    publisher.publish("t/1", "x", dunlin::packet::QoS::AtLeastOnce);
    eventually("it has sent one", || api.get("/bridges/up").json()["sent_total"] == 1);
    let shown = &api.get("/bridges").data()[0];
    assert_eq!((shown["name"].as_str(), shown["mqueue_len"].as_u64()), (Some("up"), Some(0)));
    let topic = json!({"filter": "t/#", "direction": "out", "qos": 1, "local_prefix": "", "remote_prefix": "site/"});
    assert_eq!(shown["topics"], json!([topic]));
    for path in ["/bridges", "/bridges/up", "/config", "/clients"] {
        assert!(!api.get(path).body.contains("not-to-be-shown"), "{path}");
    }
    assert_eq!(api.get("/bridges/down").code(), "NOT_FOUND");
    drop(other);
    eventually("it is not", || api.get("/bridges/up").json()["connected"] == false);
}
