//! Pages, cursors and filters.

use dunlin::packet::QoS;
use serde_json::json;

use crate::http::Http;
use crate::support::client::{V5, V311};
use crate::support::{Broker, Client, eventually};

/// The whole list, by cursor.
fn walk(api: &Http, path: &str, limit: usize, field: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = api.get(&format!("{path}limit={limit}{cursor}"));
        let texts = answer.texts(field);
        assert!(texts.len() <= limit);
        all.extend(texts);
        match answer.json()["meta"]["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[test]
fn clients_come_in_pages_and_by_cursor() {
    let (broker, api) = crate::open();
    let clients: Vec<_> = (0..25).map(|n| Client::connect(broker.address(), V5, &format!("c{n:02}"))).collect();
    let expected: Vec<String> = (0..25).map(|n| format!("c{n:02}")).collect();
    assert_eq!(walk(&api, "/clients?", 10, "clientid"), expected);
    let third = api.get("/clients?page=3&limit=10");
    assert_eq!(third.json()["meta"], json!({"page": 3, "limit": 10, "count": 25, "hasnext": false}));
    assert_eq!(third.texts("clientid"), expected[20..]);
    assert!(api.get("/clients?page=4&limit=10").data().is_empty());
    // One that went in between is missing, and nothing else.
    let first = api.get("/clients?limit=10").json();
    assert_eq!(api.delete("/sessions/c10").status, 204);
    let rest = api.get(&format!("/clients?limit=100&cursor={}", first["meta"]["cursor"].as_str().unwrap()));
    assert_eq!(rest.texts("clientid"), expected[11..]);
    drop(clients);
}

/// What a client stands by may not depend on when it is asked for.
#[test]
fn a_cursor_goes_on_where_it_was_however_late_it_is_used() {
    let (broker, api) = crate::open();
    let _clients: Vec<_> = (0..6).map(|n| Client::connect(broker.address(), V5, &format!("c{n}"))).collect();
    let mut expected: Vec<String> = (0..6).map(|n| format!("c{n}")).collect();
    assert_eq!(walk(&api, "/clients?sort=connected_at&", 1, "clientid"), expected);
    expected.reverse();
    assert_eq!(walk(&api, "/clients?sort=connected_at&order=desc&", 1, "clientid"), expected);
}

#[test]
fn topics_as_long_as_may_be_stop_no_list() {
    let (broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V5, "keeper");
    let long = "x".repeat(60_000);
    let topics: Vec<String> = (0..5).map(|n| format!("{long}{n}")).chain(["y".into()]).collect();
    topics.iter().for_each(|topic| client.retain(topic, "x"));
    assert_eq!(walk(&api, "/retained?", 2, "topic"), topics);
    assert_eq!(walk(&api, "/retained_levels?", 1, "level").iter().filter(|level| *level != "$SYS").count(), 6);
    let topic = format!("/retained/{}", topics[0]);
    assert_eq!(api.get(&topic).json()["from_clientid"], "keeper");
    assert_eq!((api.delete(&topic).status, api.get(&topic).status), (204, 404));
}

#[test]
fn clients_are_found_by_what_they_are() {
    let (broker, api) = crate::open();
    let mut busy = Client::connect(broker.address(), V5, "sensor-1");
    let _old = Client::connect(broker.address(), V311, "sensor-2");
    let _app = Client::connect(broker.address(), V5, "app");
    busy.subscribe("a", QoS::AtMostOnce);
    let found = |query: &str| api.get(&format!("/clients?{query}")).texts("clientid");
    assert_eq!(found("like_clientid=sensor"), ["sensor-1", "sensor-2"]);
    assert_eq!(found("proto_ver=4"), ["sensor-2"]);
    assert_eq!(found("clientid=app&conn_state=connected&ip_address=127.0.0.1&listener=tcp"), ["app"]);
    assert!(
        found("conn_state=disconnected").is_empty()
            && found("ip_address=192.0.2.1").is_empty()
            && found("username=x").is_empty()
    );
    assert_eq!(found("sort=subscriptions_cnt&order=desc")[0], "sensor-1");
    assert_eq!(found("sort=connected_at"), ["sensor-1", "sensor-2", "app"]);
    assert_eq!(found("sort=connected_at&order=desc"), ["app", "sensor-2", "sensor-1"]);
    for wrong in ["sort=age", "order=desc", "conn_state=maybe", "ip_address=here", "proto_ver=five", "limit=-1"] {
        assert_eq!(api.get(&format!("/clients?{wrong}")).code(), "BAD_REQUEST", "{wrong}");
    }
}

#[test]
fn subscriptions_and_topics_are_found() {
    let (broker, api) = crate::open();
    let mut one = Client::connect(broker.address(), V5, "one");
    let mut two = Client::connect(broker.address(), V5, "two");
    for filter in ["a/+", "a/b", "$share/g/a/#"] {
        one.subscribe(filter, QoS::AtLeastOnce);
    }
    two.subscribe("a/b", QoS::AtMostOnce);
    let found = |query: &str| api.get(&format!("/subscriptions?{query}")).texts("topic");
    assert_eq!(found(""), ["$share/g/a/#", "a/+", "a/b", "a/b"]);
    assert_eq!(found("match_topic=a/c"), ["$share/g/a/#", "a/+"]);
    assert_eq!(found("topic=a/b&clientid=two&qos=0"), ["a/b"]);
    assert_eq!(found("share_group=g"), ["$share/g/a/#"]);
    assert_eq!(walk(&api, "/subscriptions?", 1, "clientid"), ["one", "one", "one", "two"]);
    assert_eq!(walk(&api, "/topics?", 2, "topic"), ["$share/g/a/#", "a/+", "a/b"]);
    let topics = api.get("/topics?topic=a/b").data();
    assert_eq!(topics[0]["subscribers"], 2);
    assert_eq!(api.get("/subscriptions?match_topic=a/%23").code(), "BAD_REQUEST");
}

#[test]
fn retained_messages_are_listed_shown_and_forgotten() {
    let broker = Broker::with_config("[sys]\ninterval = \"1s\"\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n");
    let api = Http::new(broker.admin.unwrap());
    let mut client = Client::connect(broker.address(), V5, "keeper");
    for n in 0..7 {
        client.retain(&format!("a/{n}"), "hello");
    }
    client.retain("b", "x");
    client.ping();
    assert_eq!(walk(&api, "/retained?", 3, "topic"), ["a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "a/6", "b"]);
    assert_eq!(walk(&api, "/retained?topic=a/%23&", 3, "topic").len(), 7);
    eventually("$SYS is there for who asks for it", || !api.get("/retained?topic=$SYS/%23").data().is_empty());
    assert_eq!(walk(&api, "/retained?", 3, "topic").len(), 8, "and for nobody else");
    assert_eq!(api.delete("/retained/$SYS%2Fbroker%2Fversion").code(), "BAD_REQUEST");
    assert_eq!(
        api.get("/retained?topic=a/%23&page=2&limit=5").json()["meta"],
        json!({"page": 2, "limit": 5, "count": 7, "hasnext": false})
    );
    let shown = api.get("/retained/a%2F3").json();
    assert_eq!((shown["payload"].as_str(), shown["from_clientid"].as_str()), (Some("aGVsbG8="), Some("keeper")));
    assert_eq!(api.delete("/retained/a%2F3").status, 204);
    assert_eq!(api.delete("/retained/a%2F3").code(), "NOT_FOUND");
    assert_eq!(api.get("/retained/a%2F3").status, 404);
    client.subscribe("a/+", QoS::AtMostOnce);
    for n in [0, 1, 2, 4, 5, 6] {
        client.expect_message(&format!("a/{n}"), "hello");
    }
    client.expect_nothing();
    assert_eq!(api.get("/retained?topic=a/%23/b").code(), "BAD_REQUEST");
}

#[test]
fn the_tree_of_retained_topics_comes_level_by_level() {
    let (broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V5, "one");
    for topic in ["site", "site/7/meter", "site/7/valve", "site/8", "/odd/"] {
        client.retain(topic, "x");
    }
    let levels = |query: &str| {
        let answer = api.get(&format!("/retained_levels{query}"));
        let data = answer.data();
        data.iter()
            .filter(|level| level["level"] != "$SYS")
            .map(|level| {
                assert!(level["topic"].as_str().unwrap().ends_with(level["level"].as_str().unwrap()));
                (level["level"].as_str().unwrap().to_owned(), level["has_message"] == true, level["below"].as_u64().unwrap())
            })
            .collect::<Vec<_>>()
    };
    let level = |name: &str, has_message, below| (name.to_owned(), has_message, below);
    assert_eq!(levels(""), [level("", false, 1), level("site", true, 3)]);
    assert_eq!(levels("?under=site"), [level("7", false, 2), level("8", true, 0)]);
    assert_eq!(levels("?under=site&limit=1"), [level("7", false, 2)]);
    assert_eq!(levels("?under=site/7"), [level("meter", true, 0), level("valve", true, 0)]);
    assert_eq!((levels("?under="), levels("?under=/odd")), (vec![level("odd", false, 1)], vec![level("", true, 0)]));
    assert_eq!(levels("?under=none"), []);
    assert_eq!(walk(&api, "/retained_levels?under=site&", 1, "level"), ["7", "8"]);
    assert_eq!((api.get("/retained_levels?under=site/%2B").status, api.get("/retained_levels?under=%00").status), (400, 400));
}

#[test]
fn the_overview_has_the_figures_and_who_asks() {
    let (broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V5, "one");
    client.publish("t", "x", QoS::AtLeastOnce);
    let first = api.get("/overview").json();
    assert_eq!(first["caller"], json!({"name": "local", "role": "admin"}));
    assert_eq!((&first["stats"]["connections.count"], &first["metrics"]["messages.qos1.received"]), (&json!(1), &json!(1)));
    assert_eq!(first["status"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(first["histograms"]["storage_sync_seconds"]["buckets"].as_array().unwrap().len(), 15);
    assert!(api.get("/overview").json()["uptime_ms"].as_u64() >= first["uptime_ms"].as_u64());
}
