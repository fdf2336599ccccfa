//! Messages do not go round in circles.

use crate::mosquitto::Mosquitto;
use crate::support::{Broker, eventually};
use crate::topics::{Reader, Side, broker, is_up, publish_lines};

const BOTH: &str = "[[bridges.topics]]\nfilter = 'x/#'\ndirection = 'both'\n";

#[test]
fn what_went_over_does_not_come_back() {
    let mosquitto = Mosquitto::start();
    for version in ["5.0", "3.1.1"] {
        let ours = broker(mosquitto.address, version, BOTH);
        is_up(&ours, true);
        let here = Reader::start(ours.address(), "x/#", 1);
        let there = Reader::start(mosquitto.address, "x/#", 1);
        publish_lines(ours.address(), "x/here", 1, 20);
        publish_lines(mosquitto.address, "x/there", 1, 20);
        eventually("all have come on both sides", || here.distinct() == 40 && there.distinct() == 40);
        // One more each way: what had come back would have come before it.
        publish_lines(ours.address(), "x/end", 1, 1);
        publish_lines(mosquitto.address, "x/end2", 1, 1);
        eventually("the last has come", || here.distinct() == 42 && there.distinct() == 42);
        assert_eq!((here.count(), there.count()), (42, 42), "{version}");
    }
}

#[test]
fn two_brokers_with_a_bridge_to_each_other_stop_after_one_round() {
    // One of ours in the middle, so that both bridges are ours; each is a client of the other's broker.
    let first = broker("127.0.0.1:1".parse().unwrap(), "5.0", BOTH);
    let second = broker(first.address(), "5.0", &BOTH.replace("filter", "local_prefix = ''\nfilter"));
    is_up(&second, true);
    let path = first.folder.path().join("dunlin.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let changed = config
        .replace("tcp://127.0.0.1:1'", &format!("tcp://{}'", second.address()))
        .replace("version =", "client_id = 'first'\nversion =");
    std::fs::write(&path, changed).unwrap();
    first.signal("-HUP");
    is_up(&first, true);
    let reader = Reader::start(second.address(), "x/#", 1);
    Side(first.address()).publish(&["-t", "x/1", "-q", "1", "-m", "once"]);
    eventually("it has come", || reader.count() >= 1);
    let dropped = || {
        first.metric("dunlin_bridge_messages_dropped_total{bridge=\"other\",reason=\"loop\"}")
            + second.metric("dunlin_bridge_messages_dropped_total{bridge=\"other\",reason=\"loop\"}")
    };
    eventually("the circle is broken", || dropped() >= 1.0);
    Side(first.address()).publish(&["-t", "x/end", "-q", "1", "-m", "end"]);
    eventually("the last has come", || reader.topics().contains_key("x/end"));
    assert!(reader.topics()["x/1"] <= 3, "{:?}", reader.topics());
}

#[test]
fn a_chain_of_brokers_whose_bridges_are_called_the_same_passes_messages_on_to_its_end() {
    let topic = "[[bridges.topics]]\nfilter = 'x/#'\ndirection = 'out'\n";
    let last = Broker::start();
    let middle = broker(last.address(), "5.0", topic);
    let first = broker(middle.address(), "5.0", topic);
    is_up(&middle, true);
    is_up(&first, true);
    let reader = Reader::start(last.address(), "x/#", 1);
    publish_lines(first.address(), "x/1", 1, 20);
    eventually("all have come", || reader.distinct() == 20);
}
