//! What MQTT 5.0 added, seen through mosquitto_pub, mosquitto_sub and mosquitto_rr.

use dunlin::packet::QoS;

use crate::program::{Program, messages, mosquitto, publish, subscribe};
use crate::support::client::V5;
use crate::support::{Broker, Client};

const V: [&str; 2] = ["-V", "mqttv5"];

#[test]
fn properties_travel_with_the_message() {
    let broker = Broker::start();
    let format = "%t|%C|%R|%D|%F|%P|%S|%p";
    let subscriber = subscribe(
        broker.address(),
        &["-V", "mqttv5", "-t", "a/#", "-C", "1", "-F", format, "-D", "subscribe", "subscription-identifier", "268435455"],
    );
    let mut arguments = vec!["-V", "mqttv5", "-t", "a/b", "-m", "text"];
    arguments.extend(["-D", "publish", "content-type", "text/plain"]);
    arguments.extend(["-D", "publish", "response-topic", "answers/1"]);
    arguments.extend(["-D", "publish", "correlation-data", "c0ffee"]);
    arguments.extend(["-D", "publish", "payload-format-indicator", "1"]);
    arguments.extend(["-D", "publish", "user-property", "colour", "blue"]);
    arguments.extend(["-D", "publish", "user-property", "colour", "red"]);
    publish(broker.address(), &arguments);
    let wanted = "a/b|text/plain|answers/1|c0ffee|1|colour:blue colour:red|268435455|text";
    assert_eq!(messages(subscriber.succeed()), [wanted]);
}

#[test]
fn the_expiry_interval_of_a_retained_message_is_counted_down() {
    let broker = Broker::start();
    let expiry = ["-t", "a", "-r", "-m", "x", "-D", "publish", "message-expiry-interval", "3600"];
    publish(broker.address(), &[&V[..], &expiry].concat());
    let read = [&V[..], &["-t", "a", "-C", "1", "-F", "%E"]].concat();
    let lines = Program::start(&mut mosquitto("mosquitto_sub", broker.address(), &read)).succeed();
    let left: u32 = lines[0].parse().expect("seconds");
    assert!((3500..=3600).contains(&left), "{left} seconds are left");
}

#[test]
fn a_topic_alias_stands_for_the_topic_of_later_messages() {
    let broker = Broker::start();
    let subscriber = subscribe(broker.address(), &["-t", "a/long/topic", "-C", "3", "-F", "%t %p"]);
    let repeated = ["-t", "a/long/topic", "-m", "x", "--repeat", "3", "-q", "1", "-D", "publish", "topic-alias", "3"];
    publish(broker.address(), &[&V[..], &repeated].concat());
    assert_eq!(messages(subscriber.succeed()), ["a/long/topic x"; 3]);
}

#[test]
fn a_request_finds_its_response() {
    let broker = Broker::start();
    let mut responder = Client::connect(broker.address(), V5, "responder");
    responder.subscribe("requests", QoS::AtMostOnce);
    let request = [&V[..], &["-t", "requests", "-e", "answers/me", "-m", "how much", "-F", "%t %p"]].concat();
    let requester = Program::start(&mut mosquitto("mosquitto_rr", broker.address(), &request));
    let topic = responder.expect_publish(|publish| {
        assert_eq!(publish.payload, b"how much");
        publish.properties.response_topic.expect("a response topic").to_string()
    });
    responder.publish(&topic, "42", QoS::AtMostOnce);
    assert_eq!(requester.succeed(), ["answers/me 42"]);
}

#[test]
fn the_retained_flag_stays_where_the_subscriber_asks_for_it() {
    let broker = Broker::start();
    let kept = [&V[..], &["-t", "a", "-C", "1", "-F", "%r", "--retain-as-published"]].concat();
    let kept = subscribe(broker.address(), &kept);
    let cleared = subscribe(broker.address(), &[&V[..], &["-t", "a", "-C", "1", "-F", "%r"]].concat());
    publish(broker.address(), &[&V[..], &["-t", "a", "-r", "-m", "x"]].concat());
    assert_eq!(messages(kept.succeed()), ["1"]);
    assert_eq!(messages(cleared.succeed()), ["0"]);
}

#[test]
fn a_session_ends_with_its_expiry_interval() {
    let broker = Broker::start();
    let keeper = ["-V", "mqttv5", "-i", "keeper", "-t", "a", "-q", "1"];
    let leave = |expiry: &str| {
        let arguments = [&keeper[..], &["-c", "-x", expiry, "-E"]].concat();
        Program::start(&mut mosquitto("mosquitto_sub", broker.address(), &arguments)).succeed();
    };
    leave("0");
    publish(broker.address(), &["-t", "a", "-q", "1", "-m", "lost"]);
    leave("600");
    publish(broker.address(), &["-t", "a", "-q", "1", "-m", "kept"]);
    let back = [&keeper[..], &["-c", "-C", "1", "-F", "%p"]].concat();
    assert_eq!(Program::start(&mut mosquitto("mosquitto_sub", broker.address(), &back)).succeed(), ["kept"]);
}
