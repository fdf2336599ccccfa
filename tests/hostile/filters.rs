//! Topics and filters built to explode.

use std::time::{Duration, Instant};

use dunlin::packet::{Packet, QoS, Subscribe, SubscriptionOptions, TopicFilter, UserProperties};

use crate::siege::Siege;
use crate::support::client::Client;

fn subscribe_many(client: &mut Client, filters: &[String]) {
    for part in filters.chunks(1000) {
        let packet_id = client.packet_id();
        let options = SubscriptionOptions { qos: QoS::AtMostOnce, ..Default::default() };
        client.send(&Packet::Subscribe(Subscribe {
            packet_id,
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            filters: part.iter().map(|filter| (TopicFilter::new(filter).unwrap(), options)).collect(),
        }));
        client.expect("SUBACK", |packet| match packet {
            Packet::SubAck(ack) => {
                assert!(ack.reasons.iter().all(|reason| !reason.is_error()));
                Some(())
            }
            _ => None,
        });
    }
}

/// The time that a publish of the attacked topic takes; far more than it should even on a slow machine, far less than an explosion.
fn assert_quick(client: &mut Client, topic: &str) {
    let start = Instant::now();
    client.publish(topic, "x", QoS::AtLeastOnce);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?} for one publish", start.elapsed());
}

/// mosquitto #1412, VerneMQ CVE-2021-33176: 65,535 slashes, as topic and as filter.
#[test]
fn topics_of_slashes_alone_cost_no_stack_and_no_time() {
    let siege = Siege::lay("[limits]\nmax_topic_levels = 70000\nmax_packet_size = \"1MiB\"\n");
    let mut client = siege.connect("attacker");
    let slashes = "/".repeat(65_535);
    let pluses = format!("{}+", "+/".repeat(32_767));
    for filter in [&slashes, &pluses, &format!("{}#", "/".repeat(65_534)), &format!("{}#", "+/".repeat(32_767))] {
        client.subscribe(filter, QoS::AtMostOnce);
    }
    for topic in [slashes.clone(), "a/".repeat(32_767), "a/".repeat(30_000)] {
        let start = Instant::now();
        client.publish_with(&topic, "x", QoS::AtMostOnce, |packet| packet.retain = true);
        drain(&mut client);
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        client.publish_with(&topic, "", QoS::AtMostOnce, |packet| packet.retain = true);
        drain(&mut client);
    }
    client.send_bytes(&[0xE0, 0]);
    client.expect_close();
    siege.lift();
}

/// All that comes until PINGRESP.
fn drain(client: &mut Client) {
    client.send(&Packet::PingReq);
    while !client.expect("a message or PINGRESP", |packet| match packet {
        Packet::PingResp => Some(true),
        Packet::Publish(_) => Some(false),
        _ => None,
    }) {}
}

/// Every mixture of `+` and a name over 12 levels: 4,096 filters that all match one topic, and a topic that none matches at the last level.
#[test]
fn filters_that_branch_at_every_level_keep_a_publish_bounded() {
    let siege = Siege::lay("");
    let mut client = siege.connect("attacker");
    let filters: Vec<String> = (0..4096_u32)
        .map(|bits| (0..12).map(|level| if bits >> level & 1 == 1 { "+" } else { "a" }).collect::<Vec<_>>().join("/"))
        .collect();
    subscribe_many(&mut client, &filters);
    let topic = ["a"; 12].join("/");
    let mut publisher = siege.connect("publisher");
    assert_quick(&mut publisher, &topic);
    assert_quick(&mut publisher, &format!("{topic}/b"));
    for number in 0..200 {
        assert_quick(&mut publisher, &format!("{}/{number}", ["a"; 11].join("/")));
    }
    drain(&mut client);
    drop((client, publisher));
    siege.lift();
}

/// 100,000 filters of one client, and 100,000 of a hundred.
#[test]
fn a_hundred_thousand_filters_keep_a_publish_bounded() {
    let siege = Siege::lay("[limits]\nmax_subscriptions = 100000\n");
    let mut one = siege.connect("one");
    subscribe_many(&mut one, &(0..100_000).map(|number| format!("one/{number}/+/x")).collect::<Vec<_>>());
    let mut many: Vec<Client> = (0..100).map(|number| siege.connect(&format!("many{number}"))).collect();
    for (client, number) in many.iter_mut().zip(0..) {
        subscribe_many(client, &(0..1000).map(|filter| format!("+/{number}/{filter}/#")).collect::<Vec<_>>());
    }
    let mut publisher = siege.connect("publisher");
    for number in 0..200 {
        assert_quick(&mut publisher, &format!("one/{number}/{number}/x"));
        assert_quick(&mut publisher, &format!("a/{}/{number}/b/c", number % 100));
    }
    assert_eq!(siege.hits("max_subscriptions"), 0.0);
    drop((one, many, publisher));
    siege.lift();
}
