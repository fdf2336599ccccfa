//! SIGHUP begins, changes and ends bridges.

use dunlin::packet::QoS;

use crate::mosquitto::Mosquitto;
use crate::support::client::V5;
use crate::support::{Broker, Client, eventually};
use crate::topics::{Reader, config, is_up, publish_lines};

#[test]
fn bridges_come_and_go_with_the_config() {
    let mosquitto = Mosquitto::start();
    let without = "[[listeners]]\nname = 'tcp'\nurl = 'tcp://127.0.0.1:0'\n";
    let mut broker = Broker::with_config(without);
    let path = broker.folder.path().join("dunlin.toml");
    let reload = |broker: &mut Broker, text: &str| {
        std::fs::write(&path, text).unwrap();
        broker.signal("-HUP");
        broker.wait_for_log("config reloaded");
    };
    let with = config(mosquitto.address, "5.0", "[[bridges.topics]]\nfilter = 'x/#'\n");
    reload(&mut broker, &with);
    is_up(&broker, true);
    let reader = Reader::start(mosquitto.address, "#", 1);
    publish_lines(broker.address(), "x/1", 1, 1);
    eventually("it goes over", || reader.count() == 1);
    let subscriptions = |broker: &Broker| broker.metric("dunlin_subscriptions");
    eventually("it is subscribed to what goes out", || subscriptions(&broker) == 1.0);

    reload(&mut broker, &with.replace("x/#", "y/#"));
    is_up(&broker, true);
    publish_lines(broker.address(), "x/1", 1, 1);
    publish_lines(broker.address(), "y/1", 1, 1);
    eventually("the new topic goes over", || reader.topics().contains_key("y/1"));
    assert_eq!(reader.count(), 2, "and the old one does not");
    eventually("the old subscription is gone", || subscriptions(&broker) == 1.0);

    reload(&mut broker, without);
    is_up(&broker, false);
    eventually("and its session is", || subscriptions(&broker) == 0.0);
    let mut late = Client::connect(broker.address(), V5, "late");
    late.subscribe("$SYS/broker/bridges/+/state", QoS::AtMostOnce);
    late.subscribe("$SYS/broker/connection/+/state", QoS::AtMostOnce);
    late.expect_nothing();
}
