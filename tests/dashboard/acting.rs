//! What an operator does: asked first, then done, and seen from the other side.

use dunlin::packet::QoS;

use crate::house::{CONFIG, furnish, look};
use crate::support::client::V5;
use crate::support::{Broker, Client};

#[test]
fn clients_are_disconnected_banned_and_let_in_again() {
    let broker = Broker::with_config(CONFIG);
    let mut furniture = furnish(&broker);
    look(&broker, "clients", &[]);
    furniture.app.expect_disconnect(0x98);
    // The ban was taken away in the end.
    let _again = Client::connect(broker.listener("tcp"), V5, "app-1");
}

#[test]
fn a_client_is_not_taken_for_one_of_a_tenant_with_its_name() {
    let tenant = "[[listeners]]\nname = 'tenant'\nurl = 'tcp://127.0.0.1:0'\nmount_point = 'tenant/'\n";
    let broker = Broker::with_config(&format!("{CONFIG}{tenant}"));
    let _plain = Client::connect(broker.listener("tcp"), V5, "same");
    let mut other = Client::connect(broker.listener("tenant"), V5, "same");
    look(&broker, "tenants", &[]);
    other.ping();
}

#[test]
fn dead_letters_go_back_and_queues_are_paused_and_purged() {
    let broker = Broker::with_config(CONFIG);
    let _furniture = furnish(&broker);
    look(&broker, "queue", &[]);
    // Nothing is left but what came after the purge.
    let mut worker = Client::connect(broker.listener("tcp"), V5, "worker-2");
    worker.publish("orders/last", "after the purge", QoS::AtLeastOnce);
    worker.subscribe("$queue/orders", QoS::AtLeastOnce);
    worker.expect_message("orders/last", "after the purge");
}

#[test]
fn a_retained_message_is_deleted() {
    let broker = Broker::with_config(CONFIG);
    let _furniture = furnish(&broker);
    look(&broker, "retained", &[]);
    let mut late = Client::connect(broker.listener("tcp"), V5, "late");
    late.subscribe("site/#", QoS::AtMostOnce);
    late.expect_message("site/7/temperature", "{\"celsius\": 21.5}");
    late.expect_nothing();
}

#[test]
fn the_process_is_looked_after() {
    let broker = Broker::with_config(CONFIG);
    look(&broker, "process", &[]);
}
