//! `/queues`: what `dunlin queue` does, by HTTP.

use std::process::Command;

use dunlin::packet::{Packet, PublishAck, PublishReason, QoS};
use serde_json::{Value, json};

use crate::http::{Answer, Http};
use crate::support::client::V5;
use crate::support::{Broker, Client, eventually};

fn put(api: &Http, topic: &str, payload: &str) -> Answer {
    api.post("/publish", &json!({"topic": topic, "payload": payload, "qos": 1}))
}

/// The payloads of one part of a queue.
fn payloads(api: &Http, path: &str) -> Vec<String> {
    api.get(path).texts("payload")
}

fn depths(api: &Http, name: &str) -> (u64, u64) {
    let queue = api.get(&format!("/queues/{name}")).json();
    (queue["messages"]["depth"].as_u64().unwrap(), queue["dead_letters"]["depth"].as_u64().unwrap())
}

/// As `dunlin queue --json` says it.
fn by_command(broker: &Broker, args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_dunlin"))
        .args(["queue", "--json", "--data-dir"])
        .arg(broker.folder.path().join("data"))
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_queue_is_made_changed_and_taken_away_and_outlives_a_crash() {
    let (mut broker, api) = crate::open();
    let made = api.post("/queues", &json!({"name": "jobs", "bind": ["jobs/#"], "max_deliveries": 2, "ack_timeout": "10s"}));
    assert_eq!(made.status, 201);
    assert_eq!((made.json()["origin"].as_str(), made.json()["config"]["prefetch"].as_u64()), (Some("operator"), Some(16)));
    assert_eq!(api.post("/queues", &json!({"name": "jobs"})).code(), "CONFLICT");
    let changed = api.request("PATCH", "/queues/jobs", Some("{\"prefetch\": 4}"));
    assert_eq!((changed.status, &changed.json()["config"]["prefetch"]), (200, &json!(4)));
    assert_eq!(changed.json()["config"]["ack_timeout"], "10s", "what is not named stays");
    assert_eq!(api.post("/queues", &json!({"name": "gone"})).status, 201);
    assert_eq!(api.delete("/queues/gone").status, 204);
    assert_eq!(api.post("/queues/jobs/pause", &json!({})).status, 204);
    assert_eq!(put(&api, "jobs/1", "one").status, 200);

    broker.kill_and_restart();
    let api = Http::new(broker.admin.unwrap());
    assert_eq!(api.get("/queues").texts("name"), ["jobs"]);
    let jobs = api.get("/queues/jobs").json();
    assert_eq!((&jobs["config"]["prefetch"], &jobs["paused"]), (&json!(4), &json!(true)));
    assert_eq!(payloads(&api, "/queues/jobs/messages"), ["one"]);
    assert_eq!(by_command(&broker, &["show", "jobs"])["config"], jobs["config"], "both doors show the same");

    let mut worker = Client::connect(broker.address(), V5, "worker");
    worker.subscribe("$queue/jobs", QoS::AtLeastOnce);
    worker.expect_nothing();
    let consumers = &api.get("/queues/jobs").json()["consumers"];
    assert_eq!((&consumers[0]["clientid"], &consumers[0]["is_online"]), (&json!("worker"), &json!(true)));
    assert_eq!(api.post("/queues/jobs/resume", &json!({})).status, 204);
    let delivery = worker.expect_message("jobs/1", "one");
    worker.puback(delivery.packet_id().unwrap());
    eventually("it is settled", || depths(&api, "jobs") == (0, 0));
}

#[test]
fn dead_letters_are_shown_and_put_back_all_some_or_one() {
    let (broker, api) = crate::open();
    let queue = json!({"name": "jobs", "bind": ["jobs/#"], "max_messages": 4, "overflow": "dead-letter"});
    assert_eq!(api.post("/queues", &queue).status, 201);
    for payload in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        put(&api, "jobs/x", payload);
    }
    assert_eq!(payloads(&api, "/queues/jobs/dead_letters"), ["a", "b", "c", "d"]);
    let first = api.get("/queues/jobs/dead_letters").data()[0]["seq"].clone();
    let full = api.post("/queues/jobs/redrive", &json!({"seq": first}));
    assert_eq!((full.status, full.code().as_str()), (409, "CONFLICT"), "it is there, and the queue is full");
    assert_eq!(api.request("PATCH", "/queues/jobs", Some("{\"max_messages\": 100}")).status, 200);
    let letters = api.get("/queues/jobs/dead_letters").data();
    assert_eq!(letters[0]["dead"]["reason"], "queue-full");
    let one = format!("/queues/jobs/dead_letters/{}", letters[1]["seq"]);
    assert_eq!(api.get(&one).json()["payload"], "b");
    let redrive = |body: &Value| api.post("/queues/jobs/redrive", body);
    assert_eq!(redrive(&json!({"seq": letters[1]["seq"]})).json(), json!({"count": 1}));
    assert_eq!(redrive(&json!({"seq": letters[1]["seq"]})).code(), "NOT_FOUND");
    assert_eq!(redrive(&json!({"seq": 1, "count": 1})).code(), "BAD_REQUEST");
    assert_eq!(redrive(&json!({"count": 1})).json(), json!({"count": 1}));
    assert_eq!(payloads(&api, "/queues/jobs/dead_letters"), ["c", "d"]);
    assert_eq!(redrive(&json!({})).json(), json!({"count": 2}));
    assert_eq!(depths(&api, "jobs"), (8, 0));
    let first = api.get("/queues/jobs/messages?limit=1").data()[0]["seq"].clone();
    let path = format!("/queues/jobs/messages/{first}");
    assert_eq!((api.delete(&path).status, api.delete(&path).code().as_str()), (204, "NOT_FOUND"));
    assert_eq!(api.delete("/queues/jobs/messages").json(), json!({"count": 7}));
    assert_eq!(by_command(&broker, &["list"])["queues"][0]["messages"]["depth"], 0);
}

/// They are taken out some at a time.
#[test]
fn a_purge_takes_out_many() {
    let (broker, api) = crate::open();
    assert_eq!(api.post("/queues", &json!({"name": "jobs", "bind": ["jobs/#"]})).status, 201);
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    (0..2500).for_each(|_| _ = publisher.publish("jobs/x", "x", QoS::AtMostOnce));
    eventually("they are in", || depths(&api, "jobs") == (2500, 0));
    assert_eq!(api.delete("/queues/jobs/messages").json(), json!({"count": 2500}));
    assert_eq!(depths(&api, "jobs"), (0, 0));
}

#[test]
fn messages_come_in_pages_by_cursor_and_large_ones_in_shorter_pages() {
    let (_broker, api) = crate::open();
    assert_eq!(api.post("/queues", &json!({"name": "jobs"})).status, 201);
    for n in 0..7 {
        assert_eq!(put(&api, "$queue/jobs/$put/t", &n.to_string()).status, 200);
    }
    let walk = |limit: usize| {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = api.get(&format!("/queues/jobs/messages?limit={limit}{cursor}"));
            assert!(answer.data().len() <= limit);
            all.extend(answer.texts("payload").into_iter().map(|payload| payload.chars().next().unwrap_or('-')));
            match answer.json()["meta"]["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all.into_iter().collect::<String>(),
            }
        }
    };
    assert_eq!((walk(3), walk(7), walk(100)), ("0123456".into(), "0123456".into(), "0123456".into()));
    for n in 7..10 {
        let payload = n.to_string().repeat(900_000);
        (0..2).for_each(|_| assert_eq!(put(&api, "$queue/jobs/$put/t", &payload).status, 200));
    }
    let page = api.get("/queues/jobs/messages?limit=100");
    assert!(page.json()["meta"]["hasnext"] == true && page.body.len() < (5 << 20), "{}", page.body.len());
    assert_eq!(walk(100), "0123456778899");
    for wrong in ["page=2", "cursor=YQ", "limit=1001"] {
        assert_eq!(api.get(&format!("/queues/jobs/messages?{wrong}")).code(), "BAD_REQUEST", "{wrong}");
    }
}

#[test]
fn a_key_that_stands_still_is_let_go_on() {
    let (broker, api) = crate::open();
    let queue = json!({"name": "jobs", "key": "topic", "on_dead": "block", "max_messages": 1, "overflow": "dead-letter"});
    assert_eq!(api.post("/queues", &queue).status, 201);
    put(&api, "$queue/jobs/$put/k", "dies");
    put(&api, "$queue/jobs/$put/k", "waits");
    let status = || api.get("/queues/jobs/messages").texts("status");
    let is_blocked = status() == ["blocked"];
    let unblocked = api.post("/queues/jobs/unblock", &json!({}));
    assert_eq!((unblocked.status, unblocked.json()["count"] == 1), (200, is_blocked));
    assert_eq!(status(), ["ready"]);
    drop(broker);
}

#[test]
fn a_key_goes_on_when_the_dead_letter_that_has_stopped_it_is_deleted() {
    let (broker, api) = crate::open();
    let queue = json!({"name": "jobs", "key": "topic", "on_dead": "block"});
    assert_eq!(api.post("/queues", &queue).status, 201);
    put(&api, "$queue/jobs/$put/k", "dies");
    put(&api, "$queue/jobs/$put/k", "waits");
    let mut worker = Client::connect(broker.address(), V5, "worker");
    worker.subscribe("$queue/jobs", QoS::AtLeastOnce);
    let id = worker.expect_publish(|publish| publish.delivery.packet_id().unwrap());
    worker.send(&Packet::PubAck(PublishAck::new(id, PublishReason::PayloadFormatInvalid)));
    let letters = || api.get("/queues/jobs/dead_letters").data();
    eventually("it is dead", || letters().len() == 1);
    worker.cut();
    let status = || api.get("/queues/jobs/messages").texts("status");
    assert_eq!(status(), ["blocked"]);
    assert_eq!(api.delete(&format!("/queues/jobs/dead_letters/{}", letters()[0]["seq"])).status, 204);
    assert_eq!(status(), ["ready"]);
}

#[test]
fn queues_of_the_file_and_wrong_settings_are_refused_with_the_reason() {
    let broker = Broker::with_config(
        "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n[[queues]]\nname = \"fixed\"\n[work_queues]\nmax_queues = 2\n",
    );
    let api = Http::new(broker.admin.unwrap());
    assert_eq!(api.request("PATCH", "/queues/fixed", Some("{\"prefetch\": 1}")).code(), "CONFLICT");
    assert_eq!(api.delete("/queues/fixed").code(), "CONFLICT");
    for (body, place) in [
        (json!({}), "name"),
        (json!({"name": 7}), "name"),
        (json!({"name": "a/b"}), "name"),
        (json!({"name": "a", "prefetch": "many"}), "prefetch"),
        (json!({"name": "a", "ack_timeout": "soon"}), "ack_timeout"),
        (json!({"name": "a", "bind": ["a/#/b"]}), "bind"),
        (json!({"name": "a", "prefetsch": 1}), "prefetsch"),
    ] {
        let answer = api.post("/queues", &body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"), "{body}");
        assert!(answer.json()["message"].as_str().unwrap().contains(place), "{body}: {}", answer.body);
    }
    assert_eq!(api.request("PATCH", "/queues/none", Some("{}")).code(), "NOT_FOUND");
    assert_eq!(api.post("/queues", &json!({"name": "second"})).status, 201);
    assert_eq!(api.request("PATCH", "/queues/second", Some("{\"name\": \"third\"}")).code(), "BAD_REQUEST");
    assert_eq!(api.post("/queues", &json!({"name": "third"})).code(), "QUOTA_EXCEEDED");
    assert_eq!(api.get("/queues?like_name=sec").texts("name"), ["second"]);
    assert_eq!(api.get("/queues?limit=1").json()["meta"]["hasnext"], true);
    assert_eq!(api.get("/queues/fixed?mountpoint=tenant/").code(), "NOT_FOUND");
}

#[test]
fn what_the_operator_publishes_may_be_delayed_put_and_not_settled() {
    let (broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V5, "c");
    client.subscribe("later", QoS::AtLeastOnce);
    assert_eq!(put(&api, "$delayed/3600/later", "not today").status, 200);
    assert_eq!(put(&api, "$delayed/1/later", "hello").status, 200);
    client.expect_message("later", "hello");
    for (topic, why) in [
        ("$queue/none/$put/t", "there is no queue of this name"),
        ("$queue/none/$ack/AAAA", "lease"),
        ("$delayed/x/t", "number of seconds"),
        ("$dlq/none", "dead letters"),
    ] {
        let answer = put(&api, topic, "x");
        assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"), "{topic}");
        assert!(answer.body.contains(why) || topic.contains("ack") || topic.contains("dlq"), "{topic}: {}", answer.body);
    }
}
