use dunlin::packet::QoS;

use crate::support::client::{V5, V31, V311};
use crate::support::{Broker, Client};

#[test]
fn clients_of_all_versions_talk_to_each_other_on_one_port() {
    let broker = Broker::start();
    for (from, to) in [(V31, V5), (V311, V31), (V5, V311)] {
        let mut publisher = Client::connect(broker.address(), from, "from");
        let mut subscriber = Client::connect(broker.address(), to, "to");
        subscriber.subscribe("a/+", QoS::ExactlyOnce);
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            publisher.publish("a/b", "x", qos);
            assert_eq!(subscriber.expect_message("a/b", "x").qos(), qos);
        }
    }
}
