use dunlin::packet::{Connect, QoS, SubscriptionOptions};

use crate::house::{House, login};
use crate::support::client::{Client, V5, connect};

const PATTERNS: &str = "pattern readwrite device/%c/#\npattern readwrite home/%u/#\n";

const ALLOWED: &str = "allow_anonymous = true";

fn house() -> House {
    House::furnished(
        &format!(
            "[auth]\n{ALLOWED}\npassword_file = \"@DIR@/users\"\nacl_file = \"@DIR@/acl\"\n[[listeners]]\nname = \"tcp\"\n\
             url = \"tcp://127.0.0.1:0\"\n"
        ),
        PATTERNS,
    )
}

#[test]
fn patterns_grant_each_client_its_own() {
    let house = house();
    let mut alice = house.enter("alice", "a1");
    for (topic, code) in
        [("device/a1/x", 0x10), ("home/alice/x", 0x10), ("device/a2/x", 0x87), ("home/bob/x", 0x87), ("device/a1x/x", 0x87)]
    {
        assert_eq!(alice.publish(topic, "", QoS::AtLeastOnce), code, "{topic}");
    }
}

/// CVE-2017-7650, and relatives: the identifier is the client's own choice.
#[test]
fn a_hostile_client_identifier_widens_no_pattern() {
    let house = house();
    for id in ["#", "+", "a/b", "victim/#", "../victim", "%u", "%c", "victim/", "/victim", "$SYS", "victim\u{7f}"] {
        let (mut client, _) = Client::connect_with(house.broker.address(), Connect { client_id: id, ..connect(V5) });
        for topic in ["device/victim/x", "device/a/b/x", "device/x", "home/alice/x", "home/x", "device/../victim/x"] {
            assert_eq!(client.publish(topic, "", QoS::AtLeastOnce), 0x87, "{id:?} publishes to {topic}");
        }
        let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
        for filter in ["device/victim/#", "home/alice/#", "home/+/x"] {
            assert_eq!(client.subscribe_with(filter, options, None), [0x87], "{id:?} subscribes to {filter}");
        }
    }
}

/// What such a client may subscribe to brings nothing of others.
#[test]
fn a_wildcard_as_identifier_does_not_read_everything() {
    let house = house();
    let mut victim = house.enter("alice", "victim");
    for id in ["#", "+"] {
        let (mut client, _) = Client::connect_with(house.broker.address(), Connect { client_id: id, ..connect(V5) });
        let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
        for filter in ["#", "device/#", "device/+/x"] {
            client.subscribe_with(filter, options, None);
        }
        victim.publish("device/victim/x", "private", QoS::AtLeastOnce);
        client.expect_nothing();
    }
}

/// A name that nobody has proven fills no `%u`.
#[test]
fn an_anonymous_client_has_no_user_name() {
    let house = House::furnished(
        "[auth]\nacl_file = \"@DIR@/acl\"\n[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n",
        "user alice\ntopic #\npattern readwrite home/%u/#\n",
    );
    let (mut client, _) = Client::connect_with(house.broker.address(), Connect { client_id: "a", ..login("alice") });
    for topic in ["home/alice/x", "home//x", "x"] {
        assert_eq!(client.publish(topic, "", QoS::AtLeastOnce), 0x87, "{topic}");
    }
}
