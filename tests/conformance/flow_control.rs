//! 4.9: how many QoS 1 and 2 messages are on their way at once, in both directions.

use dunlin::packet::{Delivery, PacketId, ProtocolVersion, QoS};

use crate::steps::{
    begin, expect_puback, expect_pubcomp, expect_pubrec, expect_pubrel, id, leave, lose, next_id, pubrel, refuse_puback,
    refuse_pubrec, resume, send, taking,
};
use crate::support::client::{V5, V311, connect};
use crate::support::{Broker, Client};

/// A broker that takes three messages at a time from a client, and sends at most four.
fn narrow() -> Broker {
    Broker::with_config(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [limits]
        receive_maximum = 3
        max_inflight = 4
        "#,
    )
}

fn publish_many(broker: &Broker, count: usize, qos: QoS) {
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for number in 0..count {
        publisher.publish("a", &number.to_string(), qos);
    }
}

fn subscriber(broker: &Broker, receive_maximum: u16) -> Client {
    let mut client = begin(broker.address(), taking("s", receive_maximum));
    client.subscribe("a", QoS::ExactlyOnce);
    client
}

/// Takes messages until no more come; their identifiers.
fn take(client: &mut Client, expected: std::ops::Range<usize>) -> Vec<PacketId> {
    let ids = expected.map(|number| {
        let (payload, packet_id) = next_id(client);
        assert_eq!(payload, number.to_string());
        packet_id
    });
    let ids = ids.collect();
    client.expect_nothing();
    ids
}

/// `[MQTT-3.3.4-7]`, `[MQTT-4.9.0-2]`: no more than the client's Receive Maximum; each PUBACK lets one more through.
#[test]
fn no_more_than_receive_maximum_is_sent_and_puback_gives_back() {
    let broker = Broker::start();
    let mut client = subscriber(&broker, 2);
    publish_many(&broker, 6, QoS::AtLeastOnce);
    let ids = take(&mut client, 0..2);
    client.puback(ids[1]);
    let third = take(&mut client, 2..3);
    client.puback(ids[0]);
    client.puback(third[0]);
    take(&mut client, 3..5);
}

/// 4.9: of QoS 2 it is PUBCOMP that gives back, not PUBREC; a PUBREC with an error does.
#[test]
fn pubcomp_gives_back_and_so_does_a_pubrec_that_says_no() {
    let broker = Broker::start();
    let mut client = subscriber(&broker, 2);
    publish_many(&broker, 6, QoS::ExactlyOnce);
    let ids = take(&mut client, 0..2);
    client.pubrec(ids[0]);
    expect_pubrel(&mut client, ids[0]);
    client.expect_nothing();
    client.pubcomp(ids[0]);
    let next = take(&mut client, 2..3);
    refuse_pubrec(&mut client, ids[1]);
    let last = take(&mut client, 3..4);
    refuse_pubrec(&mut client, next[0]);
    refuse_pubrec(&mut client, last[0]);
    take(&mut client, 4..6);
}

/// 4.9: a PUBACK with an error gives back like any other.
#[test]
fn a_puback_that_says_no_gives_back() {
    let broker = Broker::start();
    let mut client = subscriber(&broker, 1);
    publish_many(&broker, 3, QoS::AtLeastOnce);
    for number in 0..3 {
        let ids = take(&mut client, number..number + 1);
        refuse_puback(&mut client, ids[0]);
    }
}

/// 4.9: the quota never grows above its initial value.
#[test]
fn acknowledgements_of_nothing_give_no_more_than_there_was() {
    let broker = Broker::start();
    let mut client = subscriber(&broker, 2);
    for number in 100..110 {
        client.puback(id(number));
        client.pubcomp(id(number));
    }
    publish_many(&broker, 4, QoS::AtLeastOnce);
    let ids = take(&mut client, 0..2);
    for _ in 0..3 {
        client.puback(ids[0]);
    }
    take(&mut client, 2..3);
}

/// `[MQTT-4.9.0-3]` and 4.9: with no quota left, everything but QoS 1 and 2 PUBLISH goes on.
#[test]
fn other_packets_flow_while_there_is_no_quota() {
    let broker = Broker::start();
    let mut client = subscriber(&broker, 1);
    client.subscribe("zero", QoS::AtMostOnce);
    publish_many(&broker, 1, QoS::ExactlyOnce);
    let ids = take(&mut client, 0..1);
    Client::connect(broker.address(), V5, "publisher").publish("zero", "x", QoS::AtMostOnce);
    client.expect_message("zero", "x");
    client.subscribe("more", QoS::AtLeastOnce);
    client.pubrec(ids[0]);
    expect_pubrel(&mut client, ids[0]);
    assert_eq!(client.publish("nobody", "x", QoS::ExactlyOnce), 0x10);
}

/// 3.1.2.11.3: the Receive Maximum belongs to the connection; a resumed session goes by the new one, also where more is open.
#[test]
fn each_connection_has_its_own_receive_maximum() {
    let mut broker = Broker::start();
    let client = {
        let mut client = subscriber(&broker, 5);
        publish_many(&broker, 8, QoS::AtLeastOnce);
        take(&mut client, 0..5);
        client
    };
    lose(&mut broker, client, "s");
    let mut client = resume(broker.address(), taking("s", 2));
    let ids = take(&mut client, 0..2);
    client.puback(ids[0]);
    let ids = take(&mut client, 2..3);
    client.puback(ids[0]);
    take(&mut client, 3..4);
}

/// `[MQTT-3.3.4-7]`: an exchange that is resumed at PUBREL is still one of those that the client has open, so its PUBCOMP lets one
/// message through where the window was full, and not one more.
#[test]
fn a_resumed_pubrel_counts_until_its_pubcomp() {
    let mut broker = Broker::start();
    let mut client = subscriber(&broker, 2);
    publish_many(&broker, 5, QoS::ExactlyOnce);
    let ids = take(&mut client, 0..2);
    for packet_id in &ids {
        client.pubrec(*packet_id);
        expect_pubrel(&mut client, *packet_id);
    }
    lose(&mut broker, client, "s");
    let mut client = resume(broker.address(), taking("s", 2));
    for packet_id in &ids {
        expect_pubrel(&mut client, *packet_id);
    }
    client.expect_nothing();
    client.pubcomp(ids[0]);
    take(&mut client, 2..3);
    client.pubcomp(ids[1]);
    take(&mut client, 3..4);
}

/// Our own bound on what is on its way holds where the client has none, or a larger one; older clients have none.
#[test]
fn our_own_window_holds_where_it_is_the_smaller_one() {
    let broker = narrow();
    for version in [V311, V5] {
        let mut client = Client::connect(broker.address(), version, "s");
        client.subscribe("a", QoS::AtLeastOnce);
        publish_many(&broker, 6, QoS::AtLeastOnce);
        let ids = take(&mut client, 0..4);
        client.puback(ids[0]);
        take(&mut client, 4..5);
        leave(client);
    }
}

/// `[MQTT-3.2.2-…]` 3.2.2.3.3: the client is told how many we take; `[MQTT-3.3.4-9]`, `[MQTT-4.9.0-1]`: one more is 0x93.
#[test]
fn one_message_more_than_our_receive_maximum_ends_the_connection() {
    let broker = narrow();
    let (mut client, told) = Client::connack(broker.address(), connect(V5), |properties| properties.receive_maximum);
    assert_eq!(told, 3);
    for number in 1..=3 {
        send(&mut client, "a", "x", Delivery::ExactlyOnce(id(number)), false);
        expect_pubrec(&mut client, id(number));
    }
    // QoS 0 has no part in it.
    send(&mut client, "a", "x", Delivery::AtMostOnce, false);
    client.expect_nothing();
    send(&mut client, "a", "x", Delivery::AtLeastOnce(id(4)), false);
    client.expect_disconnect(0x93);
}

/// 4.9: PUBACK, PUBCOMP and a PUBREC with an error make room for the client's next message.
#[test]
fn acknowledgements_make_room_for_the_clients_next_message() {
    let broker = narrow();
    let mut client = Client::connect(broker.address(), V5, "c");
    for round in 0..5 {
        let ids = [1, 2, 3].map(|number| id(number + round * 3));
        for packet_id in ids {
            send(&mut client, "a", "x", Delivery::ExactlyOnce(packet_id), false);
            expect_pubrec(&mut client, packet_id);
        }
        for packet_id in ids {
            pubrel(&mut client, packet_id);
            expect_pubcomp(&mut client, packet_id);
        }
    }
    for number in 1..=10 {
        send(&mut client, "a", "x", Delivery::AtLeastOnce(id(number)), false);
        expect_puback(&mut client, id(number));
    }
}

/// 3.1.1 knows no Receive Maximum: such a client is read from no faster than it is answered, and loses nothing.
#[test]
fn an_older_client_may_send_as_much_as_it_likes() {
    let broker = narrow();
    let version: ProtocolVersion = V311;
    let mut client = Client::connect(broker.address(), version, "c");
    for number in 1..=50 {
        send(&mut client, "a", "x", Delivery::ExactlyOnce(id(number)), false);
    }
    for number in 1..=50 {
        expect_pubrec(&mut client, id(number));
    }
}
