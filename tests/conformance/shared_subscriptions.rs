//! 4.8.2: one subscription, several sessions, each message to one of them; and the strategies of `[shared_subscriptions]`.

use std::collections::HashMap;

use dunlin::packet::{ProtocolVersion, QoS, RetainHandling, SubscriptionOptions};

use crate::steps::{
    begin, expect_pubrel, expiring, keeping, leave, lose, next_id, next_message, refuse_puback, refuse_pubrec, resume, taking,
};
use crate::support::client::{V5, V31, V311};
use crate::support::{Broker, Client};

fn with_strategy(strategy: &str) -> Broker {
    Broker::with_config(&format!(
        r#"
        [[listeners]]
        name = "tcp"
        url = "tcp://127.0.0.1:0"
        [shared_subscriptions]
        strategy = "{strategy}"
        "#
    ))
}

fn publisher(broker: &Broker) -> Client {
    Client::connect(broker.address(), V5, "publisher")
}

/// Clients that have joined `filter` with QoS 1.
fn members(broker: &Broker, filter: &str, count: usize) -> Vec<Client> {
    let member = |number| {
        let mut client = Client::connect(broker.address(), V5, &format!("member{number}"));
        client.subscribe(filter, QoS::AtLeastOnce);
        client
    };
    (0..count).map(member).collect()
}

/// All that has come for this client; acknowledged.
fn received(client: &mut Client) -> Vec<String> {
    let mut payloads = Vec::new();
    client.send(&dunlin::packet::Packet::PingReq);
    loop {
        let message = client.expect("a message or PINGRESP", |packet| match packet {
            dunlin::packet::Packet::Publish(publish) => {
                Some(Some((String::from_utf8_lossy(publish.payload).into_owned(), publish.delivery)))
            }
            dunlin::packet::Packet::PingResp => Some(None),
            _ => None,
        });
        let Some((payload, delivery)) = message else { return payloads };
        if let Some(packet_id) = delivery.packet_id() {
            client.puback(packet_id);
        }
        payloads.push(payload);
    }
}

fn counts(members: &mut [Client]) -> Vec<usize> {
    members.iter_mut().map(|member| received(member).len()).collect()
}

/// 4.8.2: to one member of each group, and to those who subscribed by themselves.
#[test]
fn a_message_goes_to_one_member_of_each_group_and_to_all_others() {
    let broker = Broker::start();
    let mut first = members(&broker, "$share/first/t/+", 3);
    let mut second = Client::connect(broker.address(), V5, "second");
    second.subscribe("$share/second/t/+", QoS::AtLeastOnce);
    let mut other_filter = Client::connect(broker.address(), V5, "other");
    other_filter.subscribe("$share/first/t/#", QoS::AtLeastOnce);
    let mut alone = Client::connect(broker.address(), V5, "alone");
    alone.subscribe("t/+", QoS::AtLeastOnce);
    let mut publisher = publisher(&broker);
    for _ in 0..30 {
        assert_eq!(publisher.publish("t/x", "x", QoS::AtLeastOnce), 0);
    }
    assert_eq!(counts(&mut first).iter().sum::<usize>(), 30);
    assert_eq!(counts(&mut [second, other_filter, alone]), [30, 30, 30]);
}

/// Older clients can be members too: the filter is all it takes.
#[test]
fn members_of_all_versions_share() {
    let broker = Broker::start();
    let join = |version: ProtocolVersion, name| {
        let mut client = Client::connect(broker.address(), version, name);
        client.subscribe("$share/g/t", QoS::AtLeastOnce);
        client
    };
    let mut all = [join(V31, "a"), join(V311, "b"), join(V5, "c")];
    let mut publisher = publisher(&broker);
    for _ in 0..9 {
        publisher.publish("t", "x", QoS::AtLeastOnce);
    }
    assert_eq!(counts(&mut all), [3, 3, 3]);
}

/// `[MQTT-4.8.2-1]`, `[MQTT-4.8.2-2]`: a name of at least one character, without wildcards and slashes, and a filter.
#[test]
fn broken_share_filters_are_refused() {
    let broker = Broker::start();
    for filter in ["$share/g", "$share/g/", "$share//t", "$share/g+/t", "$share/#/t", "$share/a#b/t", "$share/+/t"] {
        for version in [V311, V5] {
            let mut client = Client::connect(broker.address(), version, "c");
            // Where `$share` means nothing special, a wildcard beside other characters is still no filter.
            if version == V311 && dunlin::packet::TopicFilter::new(filter).is_ok() {
                assert_eq!(client.subscribe_with(filter, SubscriptionOptions::default(), None), [0x80], "{filter}");
                continue;
            }
            let properties: &[u8] = if version == V5 { &[0] } else { &[] };
            let mut packet = vec![0x82, (5 + properties.len() + filter.len()) as u8, 0, 1];
            packet.extend_from_slice(properties);
            packet.extend_from_slice(&[0, filter.len() as u8]);
            packet.extend_from_slice(filter.as_bytes());
            packet.push(0);
            client.send_bytes(&packet);
            client.expect_disconnect(0x8F);
        }
    }
}

/// `[MQTT-3.8.3-4]`.
#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let broker = Broker::start();
    let mut client = Client::connect(broker.address(), V5, "c");
    client.send_bytes(b"\x82\x10\0\x01\0\0\x0a$share/g/t\x04");
    client.expect_disconnect(0x82);
}

/// A client that publishes can be the one that gets it.
#[test]
fn a_member_may_get_its_own_message() {
    let broker = Broker::start();
    let mut client = members(&broker, "$share/g/t", 1).remove(0);
    client.publish("t", "mine", QoS::AtLeastOnce);
    client.expect_message("t", "mine");
}

/// `[MQTT-4.8.2-3]`: the QoS that was granted to the member that is chosen.
#[test]
fn each_member_gets_messages_with_its_own_qos() {
    let broker = Broker::start();
    let mut publisher = publisher(&broker);
    let mut clients: Vec<Client> = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]
        .into_iter()
        .map(|qos| {
            let mut client = Client::connect(broker.address(), V5, &format!("c{}", qos as u8));
            client.subscribe("$share/g/t", qos);
            client
        })
        .collect();
    for _ in 0..3 {
        publisher.publish("t", "x", QoS::ExactlyOnce);
    }
    let mut seen: Vec<u8> = Vec::new();
    for client in &mut clients {
        seen.push(client.expect_message("t", "x").qos() as u8);
        client.expect_nothing();
    }
    assert_eq!(seen, [0, 1, 2]);
}

/// 3.8.4, 4.8.2: no retained messages when the subscription is made; what is published later comes like any other.
#[test]
fn retained_messages_are_not_sent_to_a_new_member() {
    let broker = Broker::start();
    let mut publisher = publisher(&broker);
    publisher.retain("t", "old");
    let mut client = Client::connect(broker.address(), V5, "c");
    for retain_handling in [RetainHandling::Send, RetainHandling::SendIfNew] {
        let options = SubscriptionOptions { qos: QoS::AtLeastOnce, retain_handling, ..Default::default() };
        assert_eq!(client.subscribe_with("$share/g/t", options, None), [1]);
        client.expect_nothing();
    }
    publisher.retain("t", "new");
    client.expect_publish(|publish| assert_eq!((publish.payload, publish.retain), (&b"new"[..], false)));
}

/// `[MQTT-4.7.2-1]` within a group, and topics with a `$` when they are named.
#[test]
fn wildcards_of_a_group_match_like_others() {
    let broker = Broker::start();
    let mut all = members(&broker, "$share/all/#", 1).remove(0);
    let mut named = Client::connect(broker.address(), V5, "named");
    named.subscribe("$share/named/$other/+", QoS::AtLeastOnce);
    let mut publisher = publisher(&broker);
    publisher.publish("$other/x", "hidden", QoS::AtLeastOnce);
    publisher.publish("plain", "seen", QoS::AtLeastOnce);
    assert_eq!(received(&mut all), ["seen"]);
    assert_eq!(received(&mut named), ["hidden"]);
}

/// `[MQTT-3.8.4-3]`, `[MQTT-3.10.4-1]`: subscribing again replaces; unsubscribing takes the whole filter.
#[test]
fn members_join_once_and_leave_by_the_whole_filter() {
    let broker = Broker::start();
    let mut two = members(&broker, "$share/g/t", 2);
    let mut publisher = publisher(&broker);
    two[0].subscribe("$share/g/t", QoS::AtMostOnce);
    for _ in 0..4 {
        publisher.publish("t", "x", QoS::AtLeastOnce);
    }
    for _ in 0..2 {
        assert_eq!(two[0].expect_message("t", "x").qos(), QoS::AtMostOnce);
    }
    assert_eq!(counts(&mut two), [0, 2]);
    assert_eq!(two[0].unsubscribe("t"), [0x11]);
    assert_eq!(two[0].unsubscribe("$share/h/t"), [0x11]);
    assert_eq!(two[0].unsubscribe("$share/g/t"), [0]);
    for _ in 0..2 {
        publisher.publish("t", "x", QoS::AtLeastOnce);
    }
    assert_eq!(counts(&mut two), [0, 2]);
    assert_eq!(two[1].unsubscribe("$share/g/t"), [0]);
    assert_eq!(publisher.publish("t", "x", QoS::AtLeastOnce), 0x10);
}

/// 3.8.2.1.2, `[MQTT-3.3.4-3]`: the identifier that the chosen member gave its own subscription.
#[test]
fn a_message_carries_the_identifier_of_the_member_that_gets_it() {
    let broker = Broker::start();
    let mut publisher = publisher(&broker);
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    for number in 1..=2 {
        let mut client = Client::connect(broker.address(), V5, "c");
        client.subscribe_with("$share/g/t", options, Some(number));
        publisher.publish("t", "x", QoS::AtLeastOnce);
        client.expect_publish(|publish| assert_eq!(publish.properties.subscription_identifiers.as_slice(), [number]));
        // One's own subscription of the same topic is another delivery.
        client.subscribe_with("t", options, Some(77));
        publisher.publish("t", "y", QoS::AtLeastOnce);
        let mut identifiers: Vec<u32> =
            (0..2).map(|_| client.expect_publish(|publish| publish.properties.subscription_identifiers[0])).collect();
        identifiers.sort_unstable();
        assert_eq!(identifiers, [number, 77]);
        leave(client);
    }
}

/// [MQTT-3.3.1-12], [MQTT-3.3.1-13]: the options of the member that gets it count, not those of the one that had it.
#[test]
fn a_message_that_is_handed_on_has_the_retain_flag_that_its_new_member_wants() {
    let mut broker = Broker::start();
    for retain_as_published in [false, true] {
        let wants =
            |retain_as_published| SubscriptionOptions { qos: QoS::AtLeastOnce, retain_as_published, ..Default::default() };
        let mut leaving = Client::connect(broker.address(), V5, "leaving");
        leaving.subscribe_with("$share/g/t", wants(!retain_as_published), None);
        publisher(&broker).retain("t", "x");
        assert_eq!(leaving.expect_publish(|publish| publish.retain), !retain_as_published);
        let mut staying = Client::connect(broker.address(), V5, "staying");
        staying.subscribe_with("$share/g/t", wants(retain_as_published), None);
        lose(&mut broker, leaving, "leaving");
        assert_eq!(staying.expect_publish(|publish| publish.retain), retain_as_published);
        leave(staying);
    }
}

/// 4.8.2: QoS 1 messages that a member has not acknowledged when it goes away go to another one; so do those that waited for it.
#[test]
fn unacknowledged_qos_1_messages_of_a_member_that_leaves_go_to_others() {
    let mut broker = Broker::start();
    for expiry in [0, 3600] {
        let mut leaving = begin(broker.address(), {
            let mut connect = expiring("leaving", true, expiry);
            connect.properties.receive_maximum = 2;
            connect
        });
        leaving.subscribe("$share/g/t", QoS::AtLeastOnce);
        let mut publisher = publisher(&broker);
        for number in 0..4 {
            publisher.publish("t", &number.to_string(), QoS::AtLeastOnce);
        }
        let (_, acknowledged) = next_id(&mut leaving);
        leaving.puback(acknowledged);
        next_id(&mut leaving);
        next_id(&mut leaving);
        leaving.ping();
        let mut staying = Client::connect(broker.address(), V5, "staying");
        staying.subscribe("$share/g/t", QoS::AtLeastOnce);
        lose(&mut broker, leaving, "leaving");
        assert_eq!(received(&mut staying), ["1", "2", "3"]);
        let mut back = Client::connect_with(broker.address(), expiring("leaving", false, 0)).0;
        back.expect_nothing();
        leave(back);
        leave(staying);
    }
}

/// `[MQTT-4.8.2-4]`: an exchange of QoS 2 that was begun goes on with the same member when it comes back.
#[test]
fn a_qos_2_message_stays_with_the_member_that_it_was_sent_to() {
    let mut broker = Broker::start();
    let mut leaving = begin(broker.address(), keeping(V5, "leaving"));
    leaving.subscribe("$share/g/t", QoS::ExactlyOnce);
    let mut publisher = publisher(&broker);
    publisher.publish("t", "before pubrec", QoS::ExactlyOnce);
    publisher.publish("t", "after pubrec", QoS::ExactlyOnce);
    let (_, before) = next_id(&mut leaving);
    let (_, after) = next_id(&mut leaving);
    leaving.pubrec(after);
    expect_pubrel(&mut leaving, after);
    let mut staying = Client::connect(broker.address(), V5, "staying");
    staying.subscribe("$share/g/t", QoS::ExactlyOnce);
    lose(&mut broker, leaving, "leaving");
    staying.expect_nothing();

    let mut back = resume(broker.address(), keeping(V5, "leaving"));
    expect_pubrel(&mut back, after);
    let (payload, delivery, dup) = next_message(&mut back);
    assert_eq!((payload.as_str(), delivery.packet_id(), dup), ("before pubrec", Some(before), true));
}

/// `[MQTT-4.8.2-5]`: if its session ends before it comes back, nobody else gets the message.
#[test]
fn a_qos_2_message_under_way_ends_with_its_session() {
    let mut broker = Broker::start();
    for (expiry, clean_start) in [(0, false), (3600, true)] {
        let mut leaving = begin(broker.address(), expiring("leaving", true, expiry));
        leaving.subscribe("$share/g/t", QoS::ExactlyOnce);
        publisher(&broker).publish("t", "x", QoS::ExactlyOnce);
        next_id(&mut leaving);
        let mut staying = Client::connect(broker.address(), V5, "staying");
        staying.subscribe("$share/g/t", QoS::ExactlyOnce);
        lose(&mut broker, leaving, "leaving");
        let mut new = begin(broker.address(), expiring("leaving", clean_start, 0));
        staying.expect_nothing();
        new.expect_nothing();
        leave(new);
        leave(staying);
    }
}

/// `[MQTT-4.8.2-6]`: a message that a member has refused is discarded, and goes to no other.
#[test]
fn a_message_that_a_member_refuses_goes_to_nobody() {
    let broker = Broker::start();
    let mut first = begin(broker.address(), keeping(V5, "first"));
    first.subscribe("$share/g/t", QoS::ExactlyOnce);
    let mut publisher = publisher(&broker);
    publisher.publish("t", "one", QoS::AtLeastOnce);
    publisher.publish("t", "two", QoS::ExactlyOnce);
    let mut second = Client::connect(broker.address(), V5, "second");
    second.subscribe("$share/g/t", QoS::ExactlyOnce);
    let (_, one) = next_id(&mut first);
    let (_, two) = next_id(&mut first);
    refuse_puback(&mut first, one);
    refuse_pubrec(&mut first, two);
    first.expect_nothing();
    leave(first);
    second.expect_nothing();
    resume(broker.address(), keeping(V5, "first")).expect_nothing();
}

/// 4.8.2: while no member is online, messages wait with the sessions that there are.
#[test]
fn messages_wait_where_nobody_is_online() {
    let broker = Broker::start();
    for name in ["a", "b"] {
        let mut client = begin(broker.address(), keeping(V5, name));
        client.subscribe("$share/g/t", QoS::AtLeastOnce);
        leave(client);
    }
    let mut publisher = publisher(&broker);
    for number in 0..6 {
        assert_eq!(publisher.publish("t", &number.to_string(), QoS::AtLeastOnce), 0);
    }
    let mut all: Vec<String> = Vec::new();
    for name in ["a", "b"] {
        all.extend(received(&mut resume(broker.address(), keeping(V5, name))));
    }
    all.sort_unstable();
    assert_eq!(all, ["0", "1", "2", "3", "4", "5"]);
}

/// A member that is offline gets nothing as long as another one is there.
#[test]
fn members_that_are_offline_are_passed_over() {
    let broker = Broker::start();
    let mut away = begin(broker.address(), keeping(V5, "away"));
    away.subscribe("$share/g/t", QoS::AtLeastOnce);
    leave(away);
    let mut there = members(&broker, "$share/g/t", 1).remove(0);
    let mut publisher = publisher(&broker);
    for _ in 0..10 {
        publisher.publish("t", "x", QoS::AtLeastOnce);
    }
    assert_eq!(received(&mut there).len(), 10);
    resume(broker.address(), keeping(V5, "away")).expect_nothing();
}

/// Round-robin and random prefer those with room in their window.
#[test]
fn a_member_whose_window_is_full_is_passed_over() {
    for strategy in ["round-robin", "random"] {
        let broker = with_strategy(strategy);
        let mut slow = begin(broker.address(), taking("slow", 1));
        slow.subscribe("$share/g/t", QoS::AtLeastOnce);
        let mut publisher = publisher(&broker);
        publisher.publish("t", "held", QoS::AtLeastOnce);
        let mut quick = members(&broker, "$share/g/t", 1).remove(0);
        for _ in 0..10 {
            publisher.publish("t", "x", QoS::AtLeastOnce);
        }
        assert_eq!(received(&mut quick).len(), 10, "{strategy}");
        slow.expect_message("t", "held");
        slow.expect_nothing();
    }
}

/// Publishes 60 messages, of six clients to ten topics; who got which, as (member, payload "client topic").
fn spread(broker: &Broker, members: &mut [Client]) -> Vec<(usize, String)> {
    for client in 0..6 {
        let mut publisher = Client::connect(broker.address(), V5, &format!("publisher{client}"));
        for topic in 0..10 {
            publisher.publish(&format!("t/{topic}"), &format!("{client} {topic}"), QoS::AtLeastOnce);
        }
    }
    let all = members.iter_mut().enumerate();
    all.flat_map(|(number, member)| received(member).into_iter().map(move |payload| (number, payload))).collect()
}

/// The members that got messages with the same word at `place` of their payload.
fn by_word(spread: &[(usize, String)], place: usize) -> HashMap<String, Vec<usize>> {
    let mut by_word: HashMap<String, Vec<usize>> = HashMap::new();
    for (member, payload) in spread {
        let word = payload.split(' ').nth(place).unwrap().to_owned();
        by_word.entry(word).or_default().push(*member);
    }
    for members in by_word.values_mut() {
        members.sort_unstable();
        members.dedup();
    }
    by_word
}

#[test]
fn round_robin_gives_each_member_its_turn() {
    let broker = with_strategy("round-robin");
    let mut members = members(&broker, "$share/g/t/#", 3);
    spread(&broker, &mut []);
    assert_eq!(counts(&mut members), [20, 20, 20]);
}

#[test]
fn random_gives_all_members_some() {
    let broker = with_strategy("random");
    let mut members = members(&broker, "$share/g/t/#", 3);
    for _ in 0..3 {
        spread(&broker, &mut []);
    }
    let counts = counts(&mut members);
    assert_eq!(counts.iter().sum::<usize>(), 180);
    // Less than 20 of 180 where 60 are expected: once in 10^13.
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
}

#[test]
fn sticky_stays_with_one_member_until_it_leaves() {
    let mut broker = with_strategy("sticky");
    let mut members = members(&broker, "$share/g/t/#", 3);
    spread(&broker, &mut []);
    let first = counts(&mut members);
    let favourite = first.iter().position(|count| *count == 60).expect("one member gets all");
    lose(&mut broker, members.remove(favourite), &format!("member{favourite}"));
    spread(&broker, &mut []);
    let mut second = counts(&mut members);
    second.sort_unstable();
    assert_eq!(second, [0, 60]);
}

#[test]
fn hash_client_keeps_a_publisher_with_one_member() {
    let broker = with_strategy("hash-client");
    let mut members = members(&broker, "$share/g/t/#", 3);
    let first = spread(&broker, &mut members);
    assert_eq!(first.len(), 60);
    assert!(by_word(&first, 0).values().all(|members| members.len() == 1), "{first:?}");
    let again = spread(&broker, &mut members);
    assert_eq!(by_word(&first, 0), by_word(&again, 0), "also for a publisher that comes back");
}

#[test]
fn hash_topic_keeps_a_topic_with_one_member() {
    let mut broker = with_strategy("hash-topic");
    let mut members = members(&broker, "$share/g/t/#", 3);
    let first = spread(&broker, &mut members);
    assert_eq!(first.len(), 60);
    let before = by_word(&first, 1);
    assert!(before.values().all(|members| members.len() == 1), "{first:?}");
    lose(&mut broker, members.pop().unwrap(), "member2");
    let after = by_word(&spread(&broker, &mut members), 1);
    for (topic, members) in before {
        assert!(members == [2] || members == after[&topic], "only the topics of the member that left move");
    }
}
