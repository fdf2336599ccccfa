//! Work queues, and who may use them where a token or a server decides that.

use dunlin::packet::{Connect, QoS, SubscriptionOptions};
use serde_json::json;

use crate::answers::{Answer, Asked, Server, json as answer};
use crate::signer::{claims_with, hs256};
use crate::support::client::{Client, V5, connect};
use crate::support::{Broker, eventually};

const QUEUE: &str = "[[queues]]\nname = \"jobs\"\nbind = [\"jobs/#\"]\n[work_queues]\nauto_create = \"anybody\"\n";

/// Lets everybody do all that does not name a secret.
fn no_secrets(asked: &Asked) -> Answer {
    let is_secret = asked.body["topic"].as_str().unwrap().contains("secret");
    answer(json!({"result": if is_secret { "deny" } else { "allow" }}))
}

fn asking(server: &Server, listener: &str) -> Broker {
    let url = server.url("/authorize");
    Broker::with_config(&format!(
        "[auth.http]\nauthorize_url = \"{url}\"\nbreaker_failures = 1000\n\
         [[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n{listener}\n{QUEUE}"
    ))
}

/// What the server was asked since the last time, as `action topic`, in any order.
fn asked_since(server: &Server, before: &mut usize) -> Vec<String> {
    let asked = server.asked();
    let text = |asked: &Asked| format!("{} {}", asked.body["action"].as_str().unwrap(), asked.body["topic"].as_str().unwrap());
    let mut since: Vec<String> = asked[*before..].iter().map(text).collect();
    *before = asked.len();
    since.sort_unstable();
    since
}

fn subscribe(client: &mut Client, filter: &str) -> u8 {
    client.subscribe_with(filter, SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() }, None)[0]
}

#[test]
fn a_server_is_asked_about_the_queue_and_about_the_topic() {
    let server = Server::start(no_secrets);
    let broker = asking(&server, "");
    let mut before = 0;
    let mut worker = Client::connect(broker.address(), V5, "worker");
    for (filter, code, questions) in [
        ("$queue/jobs", 1, &["subscribe $queue/jobs"][..]),
        ("$dlq/jobs", 1, &["subscribe $dlq/jobs"]),
        ("$queue/secret", 0x87, &["subscribe $queue/secret"]),
        ("$queue/new/secret/#", 0x87, &["subscribe $queue/new", "subscribe secret/#"]),
        ("$queue/new/open/#", 1, &["subscribe $queue/new", "subscribe open/#"]),
        ("$share/g/$queue/jobs", 0x8F, &[]),
    ] {
        assert_eq!(subscribe(&mut worker, filter), code, "{filter}");
        assert_eq!(asked_since(&server, &mut before), questions, "{filter}");
    }
    let mut sender = Client::connect(broker.address(), V5, "sender");
    for (topic, code, questions) in [
        ("$queue/jobs/$put/a", 0, &["publish $queue/jobs/$put/a", "publish a"][..]),
        ("$delayed/0/$queue/jobs/$put/a", 0, &[]), // the same two, whose answers are kept
        ("$queue/jobs/$put/secret", 0x87, &["publish $queue/jobs/$put/secret", "publish secret"]),
        ("$dedup/1/jobs/b", 0, &["publish jobs/b"]),
        ("$delayed/60/secret/b", 0x87, &["publish secret/b"]),
        ("$queue/jobs/$ack/AAAAAAAAAAEAAaqqqqqq", 0x90, &[]), // a lease is no right
        ("$queue/jobs/a", 0x90, &[]),
    ] {
        assert_eq!(sender.publish(topic, topic, QoS::AtLeastOnce), code, "{topic}");
        assert_eq!(asked_since(&server, &mut before), questions, "{topic}");
    }
    for (topic, payload) in [("a", "$queue/jobs/$put/a"), ("a", "$delayed/0/$queue/jobs/$put/a"), ("jobs/b", "$dedup/1/jobs/b")]
    {
        let delivery = worker.expect_message(topic, payload);
        worker.puback(delivery.packet_id().unwrap());
    }
    server.answer(|_| Some((500, String::new())));
    assert_eq!(sender.publish("$queue/jobs/$put/c", "", QoS::AtLeastOnce), 0x80);
    assert_eq!(subscribe(&mut sender, "$queue/jobs"), 0x80);
}

#[test]
fn after_a_reload_consumers_are_asked_about_again() {
    let server = Server::start(no_secrets);
    let mut broker = asking(&server, "mount_point = \"t/%c/\"");
    let mut before = 0;
    let mut client = Client::connect(broker.address(), V5, "c");
    assert_eq!(subscribe(&mut client, "$queue/mine/open/#"), 1);
    assert_eq!(asked_since(&server, &mut before), ["subscribe $queue/mine", "subscribe open/#"], "as the client sees them");
    client.publish("$queue/mine/$put/x", "1", QoS::AtMostOnce);
    client.expect_message("x", "1");
    assert_eq!(asked_since(&server, &mut before), ["publish $queue/mine/$put/x", "publish x"]);
    server.answer(|_| answer(json!({"result": "deny"})));
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
    eventually("the consumer is gone", || broker.metric("dunlin_queue_consumers{queue=\"mine\",mount_point=\"t/c/\"}") == 0.0);
    assert_eq!(asked_since(&server, &mut before), ["subscribe $queue/mine"]);
    assert_eq!(client.unsubscribe("$queue/mine/open/#"), [0x11]);
}

fn with_tokens(listener: &str) -> Broker {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), crate::signer::SECRET).unwrap();
    let config = format!(
        "[auth.jwt]\nsecret_file = \"@DIR@/secret\"\n\
         [[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n{listener}\n{QUEUE}"
    );
    Broker::with_config_in(folder, &config)
}

/// The same token does the same with and without a mount point: a tenant's queues are its own, and have no mount point before their names.
#[test]
fn a_token_names_queues_as_its_client_sees_them() {
    let acl = json!({
        "sub": ["$queue/mine", "$queue/other", "open/#"],
        "pub": ["$queue/mine/$put/+", "x"],
        "deny": ["$dlq/#"],
    });
    let token = hs256(&claims_with("ada", json!({"acl": acl})));
    for mount_point in ["", "mount_point = \"t/%u/\""] {
        let broker = with_tokens(mount_point);
        let login = Connect { client_id: "c", username: Some("any"), password: Some(token.as_bytes()), ..connect(V5) };
        let mut client = Client::connect_with(broker.address(), login).0;
        for (filter, code) in [
            ("$queue/mine/closed/#", 0x87),
            ("$queue/mine/open/#", 1),
            ("$queue/third/open/#", 0x87),
            ("$dlq/mine", 0x87),
            ("$queue/other", 0x8F), // there is none
        ] {
            assert_eq!(subscribe(&mut client, filter), code, "{mount_point} {filter}");
        }
        for (topic, code) in [
            ("$queue/mine/$put/y", 0x87), // the queue is granted, the topic is not
            ("x", 0x10),
            ("$delayed/60/open/x", 0x87),
        ] {
            assert_eq!(client.publish(topic, topic, QoS::AtLeastOnce), code, "{mount_point} {topic}");
        }
        for topic in ["$queue/mine/$put/x", "$dedup/1/$queue/mine/$put/x"] {
            client.publish(topic, topic, QoS::AtMostOnce);
            client.expect_message("x", topic);
        }
    }
}

/// A new token that grants less ends the consumer, and its work goes to others.
#[test]
fn who_comes_back_with_less_is_no_consumer_any_more() {
    let broker = with_tokens("");
    let enter = |id: &str, acl: &str| {
        let token = hs256(&claims_with("ada", json!({"acl": {"all": [acl, "jobs/#"]}})));
        let mut login = Connect {
            client_id: id,
            username: Some("any"),
            password: Some(token.as_bytes()),
            clean_start: false,
            ..connect(V5)
        };
        login.properties.session_expiry_interval = 3600;
        Client::connect_with(broker.address(), login)
    };
    let (mut first, _) = enter("first", "$queue/jobs");
    assert_eq!(subscribe(&mut first, "$queue/jobs"), 1);
    first.publish("jobs/a", "x", QoS::AtMostOnce);
    first.expect_message("jobs/a", "x");
    first.cut();
    let (mut first, is_there) = enter("first", "$queue/none");
    assert!(is_there);
    first.expect_message("jobs/a", "x"); // sent before, and never acknowledged [MQTT-4.4.0-1]
    let (mut second, _) = enter("second", "$queue/jobs");
    assert_eq!(subscribe(&mut second, "$queue/jobs"), 1);
    second.expect_message("jobs/a", "x");
    assert_eq!(first.unsubscribe("$queue/jobs"), [0x11]);
}
