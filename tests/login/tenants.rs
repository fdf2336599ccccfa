//! Mount points by user: nobody gets across, whatever the packet.

use dunlin::packet::{Connect, Packet, QoS, SubscriptionOptions, TopicName, Will};
use serde_json::json;

use crate::answers::{Server, json as answer};
use crate::signer::{SECRET, claims_with, hs256};
use crate::support::client::{Client, V5, V311, connect};
use crate::support::{Broker, eventually};

/// Everybody is let in under the name that they say, at a door for tenants and at one that sees all.
struct House {
    broker: Broker,
    _server: Server,
}

impl House {
    fn build() -> Self {
        let server = Server::start(|_| answer(json!({"result": "allow"})));
        let config = format!(
            "[sys]\ninterval = \"1s\"\n[auth.http]\nauthenticate_url = \"{}\"\nlogin_cache_ttl = \"1h\"\n\
             [[listeners]]\nname = \"tenants\"\nurl = \"tcp://127.0.0.1:0\"\nmount_point = \"tenants/%u/\"\n\
             [[listeners]]\nname = \"whole\"\nurl = \"tcp://127.0.0.1:0\"\n",
            server.url("/")
        );
        Self { broker: Broker::with_config(&config), _server: server }
    }

    fn login<'a>(user: &'a str, id: &'a str) -> Connect<'a> {
        Connect { client_id: id, username: Some(user), password: Some(b"x"), ..connect(V5) }
    }

    fn enter(&self, user: &str, id: &str) -> Client {
        Client::connect_with(self.broker.address(), Self::login(user, id)).0
    }

    /// Somebody who sees the topics of all.
    fn overseer(&self) -> Client {
        let mut client = Client::connect_with(self.broker.listener("whole"), Self::login("root", "root")).0;
        client.subscribe("#", QoS::AtLeastOnce);
        client
    }
}

const ATTEMPTS: [&str; 7] = ["x", "tenants/b/x", "/tenants/b/x", "../b/x", "b/x", "tenants//x", "$SYS/broker/x"];

#[test]
fn what_one_publishes_reaches_nobody_else() {
    let house = House::build();
    let (mut a, mut b, mut root) = (house.enter("a", "1"), house.enter("b", "2"), house.overseer());
    for filter in ["#", "+/#", "/#", "tenants/b/#", "tenants/a/#"] {
        b.subscribe(filter, QoS::AtLeastOnce);
    }
    for topic in ATTEMPTS {
        a.publish(topic, "of a", QoS::AtLeastOnce);
        root.expect_message(&format!("tenants/a/{topic}"), "of a");
    }
    b.expect_nothing();
    let mut a3 = Client::connect_with(house.broker.address(), Connect { version: V311, ..House::login("a", "3") }).0;
    a3.publish("tenants/b/x", "of a", QoS::AtMostOnce);
    a3.ping();
    b.expect_nothing();
}

#[test]
fn no_filter_reaches_out_of_a_tenant() {
    let house = House::build();
    let (mut a, mut b) = (house.enter("a", "1"), house.enter("b", "2"));
    let filters = [
        "#",
        "+",
        "+/+",
        "+/#",
        "tenants/#",
        "tenants/b/#",
        "tenants/+/x",
        "/#",
        "../#",
        "$share/g/#",
        "$share/g/tenants/b/#",
        "$SYS/#",
        "$SYS/broker/uptime",
        "$share/g/$SYS/#",
    ];
    for filter in filters {
        a.subscribe(filter, QoS::AtLeastOnce);
    }
    let mut root = house.overseer();
    root.subscribe("$SYS/broker/uptime", QoS::AtLeastOnce);
    b.publish("x", "of b", QoS::AtLeastOnce);
    b.retain("y", "of b");
    let mut other = Client::connect_with(house.broker.listener("whole"), House::login("root", "other")).0;
    other.publish("tenants/b/x", "of root", QoS::AtLeastOnce);
    other.publish("x", "of root", QoS::AtLeastOnce);
    // The figures of the broker are told, and not to a tenant.
    let mut topic = || root.expect_publish(|publish| publish.topic.map(|topic| topic.as_str().to_owned()));
    while topic().as_deref() != Some("$SYS/broker/uptime") {}
    a.expect_nothing();
}

#[test]
fn retained_messages_are_each_tenant_s_own() {
    let house = House::build();
    let (mut a, mut b) = (house.enter("a", "1"), house.enter("b", "2"));
    a.retain("state", "of a");
    b.retain("state", "of b");
    a.retain("tenants/b/state", "forged");
    // An empty one forgets nothing of another's.
    a.retain("tenants/b/state", "");
    let mut again = house.enter("b", "3");
    again.subscribe("#", QoS::AtLeastOnce);
    again.expect_message("state", "of b");
    again.expect_nothing();
}

#[test]
fn a_will_stays_within_its_tenant() {
    let house = House::build();
    let (mut b, mut root) = (house.enter("b", "2"), house.overseer());
    b.subscribe("#", QoS::AtLeastOnce);
    let will = Will {
        topic: TopicName::new("tenants/b/x").unwrap(),
        payload: b"bye",
        qos: QoS::AtLeastOnce,
        retain: true,
        delay_interval: 0,
        message_expiry_interval: None,
        properties: Default::default(),
    };
    Client::connect_with(house.broker.address(), Connect { will: Some(will), ..House::login("a", "1") }).0.cut();
    root.expect_message("tenants/a/tenants/b/x", "bye");
    b.expect_nothing();
    let mut late = house.enter("b", "3");
    late.subscribe("#", QoS::AtLeastOnce);
    late.expect_nothing();
}

#[test]
fn a_shared_group_of_one_name_is_another_group_for_each() {
    let house = House::build();
    let (mut a, mut b) = (house.enter("a", "1"), house.enter("b", "2"));
    a.subscribe("$share/workers/jobs", QoS::AtLeastOnce);
    b.subscribe("$share/workers/jobs", QoS::AtLeastOnce);
    let mut sender = house.enter("b", "3");
    for number in 0..6 {
        sender.publish("jobs", &number.to_string(), QoS::AtLeastOnce);
    }
    for number in 0..6 {
        b.expect_message("jobs", &number.to_string());
    }
    a.expect_nothing();
}

/// A response topic is for the one who answers: it leads to the answerer's own tenant.
#[test]
fn a_response_topic_leads_nowhere_else() {
    let house = House::build();
    let (mut a, mut b, mut root) = (house.enter("a", "1"), house.enter("b", "2"), house.overseer());
    b.subscribe("#", QoS::AtLeastOnce);
    a.subscribe("requests", QoS::AtLeastOnce);
    a.publish_with("requests", "?", QoS::AtLeastOnce, |packet| packet.properties.response_topic = Some("tenants/b/answers"));
    root.expect_message("tenants/a/requests", "?");
    let answer_to = a.expect_publish(|publish| publish.properties.response_topic.map(String::from));
    assert_eq!(answer_to.as_deref(), Some("tenants/b/answers"), "as it was sent");
    a.publish("tenants/b/answers", "!", QoS::AtLeastOnce);
    root.expect_message("tenants/a/tenants/b/answers", "!");
    b.expect_nothing();
    let properties = dunlin::packet::ConnectProperties { request_response_information: true, ..Default::default() };
    let login = Connect { properties, ..House::login("b", "asks") };
    let (_client, told) = Client::connack(house.broker.address(), login, |told| told.response_information.map(String::from));
    assert_eq!(told.as_deref(), Some("response/asks/"), "without the mount point, as the client has to use it");
}

#[test]
fn a_client_identifier_is_each_tenant_s_own() {
    let house = House::build();
    let lasting = |user: &'static str| {
        let mut login = Connect { clean_start: false, ..House::login(user, "same") };
        login.properties.session_expiry_interval = 3600;
        Client::connect_with(house.broker.address(), login)
    };
    let (mut a, _) = lasting("a");
    a.subscribe("x", QoS::AtLeastOnce);
    let (mut b, present) = lasting("b");
    assert!(!present, "b takes nothing over");
    a.ping();
    b.publish("x", "of b", QoS::AtLeastOnce);
    assert_eq!(b.unsubscribe("x"), [0x11]);
    a.expect_nothing();
    a.cut();
    eventually("a is away", || house.broker.metric("dunlin_sessions{state=\"offline\"}") == 1.0);
    let mut sender = house.enter("a", "sender");
    sender.publish("x", "of a", QoS::AtLeastOnce);
    let (_again, present) = lasting("b");
    assert!(present, "b's own");
    let (mut a, present) = lasting("a");
    assert!(present);
    a.expect_message("x", "of a");
}

#[test]
fn unsubscribing_ends_nothing_of_another() {
    let house = House::build();
    let (mut a, mut b) = (house.enter("a", "1"), house.enter("b", "2"));
    b.subscribe("x", QoS::AtLeastOnce);
    for filter in ["x", "tenants/b/x"] {
        assert_eq!(a.unsubscribe(filter), [0x11]);
    }
    b.publish("x", "still", QoS::AtLeastOnce);
    b.expect_message("x", "still");
}

/// A topic alias stands for a topic of its own connection.
#[test]
fn an_alias_does_not_lead_out() {
    let house = House::build();
    let (mut a, mut b, mut root) = (house.enter("a", "1"), house.enter("b", "2"), house.overseer());
    b.subscribe("#", QoS::AtLeastOnce);
    for topic in ["tenants/b/x", ""] {
        a.publish_with("tenants/b/x", "by alias", QoS::AtLeastOnce, |packet| {
            packet.properties.topic_alias = Some(1);
            if topic.is_empty() {
                packet.topic = None;
            }
        });
        root.expect_message("tenants/a/tenants/b/x", "by alias");
    }
    b.expect_nothing();
}

#[test]
fn who_has_no_place_is_not_let_in() {
    let house = House::build();
    for user in ["a/b", "+", "#", "b/#", ""] {
        assert_eq!(Client::refused(house.broker.address(), House::login(user, "c")), 0x87, "{user:?}");
    }
    assert_eq!(Client::refused(house.broker.address(), connect(V5)), 0x87, "nobody has no name to be a place");
}

/// The mount point of a session is stored with it.
#[test]
fn a_tenant_s_session_is_its_own_after_a_restart() {
    let mut house = House::build();
    let lasting = |broker: &Broker, user: &'static str| {
        let mut login = Connect { clean_start: false, ..House::login(user, "same") };
        login.properties.session_expiry_interval = 3600;
        Client::connect_with(broker.address(), login)
    };
    let (mut a, _) = lasting(&house.broker, "a");
    a.subscribe("x", QoS::AtLeastOnce);
    a.retain("state", "of a");
    a.cut();
    house.broker.signal("-TERM");
    house.broker.wait();
    let folder = std::mem::replace(&mut house.broker.folder, tempfile::tempdir().unwrap());
    let config = std::fs::read_to_string(folder.path().join("dunlin.toml")).unwrap();
    let again = Broker::with_config_in(folder, &config);
    let (mut b, present) = lasting(&again, "b");
    assert!(!present);
    b.subscribe("#", QoS::AtLeastOnce);
    let mut sender = Client::connect_with(again.address(), House::login("a", "sender")).0;
    sender.publish("x", "of a", QoS::AtLeastOnce);
    b.expect_nothing();
    let (mut a, present) = lasting(&again, "a");
    assert!(present);
    a.expect_message("x", "of a");
    a.subscribe("state", QoS::AtLeastOnce);
    a.expect_message("state", "of a");
}

#[test]
fn a_tenant_may_be_named_by_a_claim() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    let config = "[auth.jwt]\nsecret_file = \"@DIR@/secret\"\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n\
                  mount_point = \"%{claim.tenant}/\"\n";
    let broker = Broker::with_config_in(folder, config);
    let token = |tenant: &str, acl: &str| hs256(&claims_with("user", json!({"tenant": tenant, "acl": {"all": [acl]}})));
    let login = |id: &'static str, token: &str| {
        let connect = Connect { client_id: id, username: Some("u"), password: Some(token.as_bytes()), ..connect(V5) };
        let mut client = Client::dial(broker.address(), V5);
        let told = client.try_log_in(connect);
        (client, told)
    };
    let (mut acme, told) = login("1", &token("acme", "x/#"));
    assert_eq!(told, 0);
    let (mut other, _) = login("2", &token("other", "#"));
    other.subscribe("#", QoS::AtLeastOnce);
    acme.subscribe("x/#", QoS::AtLeastOnce);
    assert_eq!(acme.publish("x/y", "seen", QoS::AtLeastOnce), 0);
    acme.expect_message("x/y", "seen");
    assert_eq!(acme.publish("acme/x/y", "", QoS::AtLeastOnce), 0x87, "rights are about topics as the client sees them");
    other.expect_nothing();
    for (tenant, code) in [("a/b", 0x87), ("$SYS", 0x87), ("", 0x87)] {
        assert_eq!(login("3", &token(tenant, "#")).1, code, "{tenant:?}");
    }
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    assert_eq!(acme.subscribe_with("y/#", options, None), [0x87]);
    acme.send(&Packet::PingReq);
    acme.ping();
}
