//! The console and the live trace: MQTT and events in both directions.

use dunlin::packet::QoS;

use crate::house::{CONFIG, browse, look};
use crate::program::Program;
use crate::support::client::V5;
use crate::support::{Broker, Client};

#[test]
fn the_console_publishes_and_receives() {
    let broker = Broker::with_config(CONFIG);
    let mut other = Client::connect(broker.listener("tcp"), V5, "other");
    other.subscribe("from/console", QoS::AtLeastOnce);
    let Some(mut command) = browse(&broker, "console", &[]) else { return };
    let mut page = Program::start(&mut command);
    page.expect_line("subscribed");
    other.publish("to/console", "<b>hello</b>", QoS::AtLeastOnce);
    page.succeed();
    for payload in ["at most once", "at least once"] {
        let delivery = other.expect_message("from/console", payload);
        if let Some(id) = delivery.packet_id() {
            other.puback(id);
        }
    }
    other.expect_message("from/console", "kept");
}

#[test]
fn a_broker_without_a_websocket_listener_is_told_how_to_get_one() {
    look(&Broker::start(), "no_websocket", &[]);
}

#[test]
fn a_trace_shows_what_happens() {
    let broker = Broker::with_config(CONFIG);
    let mut other = Client::connect(broker.listener("tcp"), V5, "traced");
    let Some(mut command) = browse(&broker, "trace", &[]) else { return };
    let mut page = Program::start(&mut command);
    page.expect_line("following");
    other.publish("traced/topic", "what it says", QoS::AtLeastOnce);
    page.succeed();
}
