//! 4.6: in which order messages and acknowledgements leave.

use dunlin::packet::{Delivery, Packet, PacketId, QoS};

use crate::steps::{begin, expect_pubrel, id, keeping, leave, lose, next_id, next_message, pubrel, resume, send, taking};
use crate::support::client::{V5, V311};
use crate::support::{Broker, Client};

const MESSAGES: usize = 100;

/// `[MQTT-4.6.0-5]`, `[MQTT-4.6.0-6]`: messages of one client to one topic with one QoS arrive in the order in which they were sent.
#[test]
fn messages_of_one_topic_and_qos_keep_their_order() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut subscriber = Client::connect(broker.address(), version, "subscriber");
        subscriber.subscribe("t/#", QoS::ExactlyOnce);
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        for number in 0..MESSAGES as u16 {
            for (qos, delivery) in
                [Delivery::AtMostOnce, Delivery::AtLeastOnce(id(number * 2 + 1)), Delivery::ExactlyOnce(id(number * 2 + 2))]
                    .into_iter()
                    .enumerate()
            {
                send(&mut publisher, &format!("t/{qos}/{}", number % 3), &number.to_string(), delivery, false);
            }
        }
        let mut last = [[-1; 3]; 3];
        for _ in 0..MESSAGES * 3 {
            let (qos, of_three, number) = subscriber.expect_publish(|publish| {
                let number: i32 = std::str::from_utf8(publish.payload).unwrap().parse().unwrap();
                (publish.delivery.qos() as usize, number as usize % 3, number)
            });
            assert!(last[qos][of_three] < number, "{number} after {}", last[qos][of_three]);
            last[qos][of_three] = number;
        }
    }
}

/// `[MQTT-4.6.0-1]`, `[MQTT-4.6.0-6]`: first what is unacknowledged, in its order, then what has waited, in its order.
#[test]
fn the_order_holds_through_resumes() {
    let mut broker = Broker::start();
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        let mut subscriber = begin(broker.address(), taking("s", 4));
        subscriber.subscribe("t", qos);
        let mut published = 0;
        let mut finished = 0;
        for round in 0..6 {
            for _ in 0..5 {
                publisher.publish("t", &published.to_string(), qos);
                published += 1;
            }
            let sent: Vec<_> = (0..4).map(|_| next_id(&mut subscriber)).collect();
            for (place, (payload, _)) in sent.iter().enumerate() {
                assert_eq!(*payload, (finished + place).to_string(), "round {round}");
            }
            settle(&mut subscriber, sent[0].1, qos);
            finished += 1;
            let (payload, _) = next_id(&mut subscriber);
            assert_eq!(payload, (finished + 3).to_string(), "one was settled, so one more came");
            lose(&mut broker, subscriber, "s");
            publisher.publish("t", &published.to_string(), qos);
            published += 1;
            subscriber = resume(broker.address(), taking("s", 4));
        }
        let mut waiting: std::collections::VecDeque<_> = (0..4).map(|_| next_id(&mut subscriber)).collect();
        for number in finished..published {
            let (payload, packet_id) = waiting.pop_front().expect("another message");
            assert_eq!(payload, number.to_string());
            settle(&mut subscriber, packet_id, qos);
            if number + 4 < published {
                waiting.push_back(next_id(&mut subscriber));
            }
        }
        subscriber.expect_nothing();
        leave(subscriber);
        leave(begin(broker.address(), crate::steps::expiring("s", true, 0)));
    }
}

fn settle(subscriber: &mut Client, packet_id: PacketId, qos: QoS) {
    if qos == QoS::AtLeastOnce {
        return subscriber.puback(packet_id);
    }
    subscriber.pubrec(packet_id);
    expect_pubrel(subscriber, packet_id);
    subscriber.pubcomp(packet_id);
}

/// `[MQTT-4.6.0-2]`, `[MQTT-4.6.0-3]`, and PUBCOMP in the order of PUBREL: acknowledgements leave in the order of their packets.
#[test]
fn acknowledgements_leave_in_the_order_in_which_their_packets_came() {
    let broker = Broker::start();
    for version in [V311, V5] {
        let mut client = Client::connect(broker.address(), version, "c");
        client.subscribe("nobody/else", QoS::AtMostOnce);
        let order: Vec<PacketId> = (1..=90).rev().map(id).collect();
        for (number, packet_id) in order.iter().enumerate() {
            let delivery = if number % 3 == 0 { Delivery::ExactlyOnce(*packet_id) } else { Delivery::AtLeastOnce(*packet_id) };
            send(&mut client, if number % 2 == 0 { "a" } else { "b" }, "x", delivery, false);
        }
        for (number, packet_id) in order.iter().enumerate() {
            client.expect("the next acknowledgement", |packet| match packet {
                Packet::PubRec(ack) if number % 3 == 0 => (ack.packet_id == *packet_id).then_some(()),
                Packet::PubAck(ack) if number % 3 != 0 => (ack.packet_id == *packet_id).then_some(()),
                _ => None,
            });
        }
        let released: Vec<PacketId> = order.iter().copied().step_by(3).rev().collect();
        for packet_id in &released {
            pubrel(&mut client, *packet_id);
        }
        for packet_id in &released {
            crate::steps::expect_pubcomp(&mut client, *packet_id);
        }
    }
}

/// `[MQTT-4.6.0-4]`: PUBREL in the order in which PUBREC came, at once and on resume.
#[test]
fn pubrel_leaves_in_the_order_of_pubrec() {
    let mut broker = Broker::start();
    for version in [V311, V5] {
        let mut publisher = Client::connect(broker.address(), V5, "publisher");
        let mut client = begin(broker.address(), keeping(version, "c"));
        client.subscribe("a", QoS::ExactlyOnce);
        let mut ids = Vec::new();
        for number in 0..4 {
            publisher.publish("a", &number.to_string(), QoS::ExactlyOnce);
            ids.push(next_id(&mut client).1);
        }
        let order = [ids[2], ids[0], ids[3]];
        for packet_id in order {
            client.pubrec(packet_id);
        }
        for packet_id in order {
            expect_pubrel(&mut client, packet_id);
        }
        lose(&mut broker, client, "c");
        let mut client = resume(broker.address(), keeping(version, "c"));
        for packet_id in order {
            expect_pubrel(&mut client, packet_id);
        }
        assert_eq!(next_message(&mut client), ("1".into(), Delivery::ExactlyOnce(ids[1]), true));
        leave(client);
        leave(begin(broker.address(), crate::steps::expiring("c", true, 0)));
    }
}

/// Retained messages of a new subscription do not overtake one another's successors: the newer value of a topic comes last.
#[test]
fn a_retained_message_comes_before_what_is_published_after_the_subscription() {
    let broker = Broker::start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for round in 0..20 {
        publisher.retain("a", &format!("old {round}"));
        let mut subscriber = Client::connect(broker.address(), V5, "subscriber");
        subscriber.subscribe("a", QoS::AtLeastOnce);
        publisher.retain("a", &format!("new {round}"));
        subscriber.expect_message("a", &format!("old {round}"));
        subscriber.expect_message("a", &format!("new {round}"));
        subscriber.expect_nothing();
    }
}
