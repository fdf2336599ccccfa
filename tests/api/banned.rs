use dunlin::packet::Connect;
use serde_json::json;

use crate::http::Http;
use crate::support::client::{V5, V311, connect};
use crate::support::{Broker, Client, eventually};

#[test]
fn who_is_banned_is_sent_away_and_kept_out() {
    let (broker, api) = crate::open();
    let mut client = Client::connect(broker.address(), V5, "c");
    let mut bystander = Client::connect(broker.address(), V5, "d");
    let made = api.post("/banned", &json!({"as": "clientid", "who": "c", "reason": "noise"}));
    assert_eq!((made.status, made.json()["by"].as_str()), (201, Some("local")));
    client.expect_disconnect(0x98);
    bystander.ping();
    let try_again = |version| Client::refused(broker.address(), Connect { client_id: "c", ..connect(version) });
    assert_eq!(try_again(V5), 0x8A);
    assert_eq!(try_again(V311), 0x87, "5 (Not authorized) in 3.1.1");
    assert_eq!(api.post("/banned", &json!({"as": "clientid", "who": "c"})).code(), "ALREADY_EXISTS");
    assert_eq!(api.get("/banned/clientid/c").json()["reason"], "noise");
    assert_eq!(api.delete("/banned/clientid/c").status, 204);
    assert_eq!(api.delete("/banned/clientid/c").code(), "NOT_FOUND");
    assert_eq!(try_again(V5), 0);
}

#[test]
fn users_and_addresses_are_banned_and_a_ban_ends_with_its_time() {
    let (broker, api) = crate::open();
    let refused = |user: &'static str| Client::refused(broker.address(), Connect { username: Some(user), ..connect(V5) });
    assert_eq!(api.post("/banned", &json!({"as": "username", "who": "eve", "seconds": 3600})).status, 201);
    assert_eq!((refused("eve"), refused("dave")), (0x8A, 0));
    assert_eq!(
        api.post("/banned", &json!({"as": "peerhost", "who": "::ffff:127.0.0.1", "seconds": 1})).json()["who"],
        "127.0.0.1"
    );
    assert_eq!(refused("dave"), 0x8A);
    eventually("the time passes", || refused("dave") == 0);
    assert_eq!(api.get("/banned").texts("who"), ["eve"]);
    assert_eq!(api.get("/banned?as=peerhost").data().len(), 0);
    for (body, place) in [
        (json!({"as": "peerhost", "who": "somewhere"}), "who"),
        (json!({"as": "peerhost", "who": ""}), "who"),
        (json!({"as": "clientid", "who": ""}), "who"),
        (json!({"as": "clientid", "who": "x", "until": "2001-01-01T00:00:00Z"}), "until"),
        (json!({"as": "clientid", "who": "x", "until": "soon"}), "until"),
        (json!({"as": "clientid", "who": "x", "until": "2999-01-01T00:00:00Z", "seconds": 1}), "until"),
        (json!({"as": "face", "who": "x"}), "as"),
    ] {
        let answer = api.post("/banned", &body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "BAD_REQUEST"), "{body}");
        assert!(answer.json()["message"].as_str().unwrap().starts_with(place), "{body}: {}", answer.body);
    }
}

#[test]
fn a_network_is_banned_and_let_in_again() {
    let (_broker, api) = crate::open();
    let made = api.post("/banned", &json!({"as": "peerhost", "who": "2001:db8::9/64"}));
    assert_eq!((made.status, made.json()["who"].as_str()), (201, Some("2001:db8::/64")));
    assert_eq!(api.delete("/banned/peerhost/2001:db8::%2F64").status, 204);
    assert_eq!(api.get("/banned").data().len(), 0);
}

/// A ban that was made by itself says whom it is for, and is lifted by the client identifier.
#[test]
fn a_client_identifier_that_connects_in_a_loop_is_banned_for_its_own() {
    let door = "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\nmount_point = \"t/\"\n";
    let broker = Broker::with_config(&format!("[protection]\nreconnects = 1\n{door}"));
    let api = Http::new(broker.admin.unwrap());
    Client::connect(broker.address(), V5, "c").expect_disconnect(0x98);
    let ban = api.get("/banned/clientid/c").json();
    assert_eq!((&ban["who"], &ban["of"]), (&json!("c"), &json!({"username": null, "mount_point": "t/"})));
    assert_eq!(api.delete("/banned/clientid/c").status, 204);
    assert_eq!(api.get("/banned").data().len(), 0);
}

#[test]
fn there_are_no_more_than_max_bans_and_that_is_counted() {
    let broker = Broker::with_config("[limits]\nmax_bans = 2\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n");
    let api = Http::new(broker.admin.unwrap());
    let ban = |who: &str| api.post("/banned", &json!({"as": "clientid", "who": who}));
    assert_eq!((ban("a").status, ban("b").status), (201, 201));
    assert_eq!((ban("c").status, ban("d").code().as_str()), (409, "QUOTA_EXCEEDED"));
    assert_eq!(broker.metric(r#"dunlin_limit_hits_total{limit="max_bans"}"#), 2.0);
    assert_eq!(api.delete("/banned/clientid/a").status, 204);
    assert_eq!(ban("c").status, 201);
}
