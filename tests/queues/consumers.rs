//! Who consumes: clients of every version and QoS, their windows, and those that cannot take what comes.

use dunlin::packet::{Connect, Packet, QoS, Release, ReleaseReason};

use crate::house::{
    Got, ack, assert_empty, broker, consumer, drain, enter, enter_kept, fill, jobs, payloads, refuse, subscribe, take,
};
use crate::house::{leave, settle_down, until, work_until};
use crate::support::client::{V5, V31, V311, connect};
use crate::support::{Broker, Client};

#[test]
fn each_message_goes_to_one_of_the_consumers_whatever_their_version() {
    let broker = jobs("");
    for version in [V31, V311, V5] {
        let mut crew: Vec<Client> = ["ada", "bob"]
            .into_iter()
            .map(|id| {
                let mut client = Client::connect(broker.address(), version, id);
                client.subscribe("$queue/jobs", QoS::AtLeastOnce);
                client
            })
            .collect();
        let mut publisher = Client::connect(broker.address(), version, "publisher");
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        fill(&mut publisher, "jobs/paint", &names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut done = Vec::new();
        for worker in &mut crew {
            let mine = drain(worker);
            assert_eq!(mine.len(), 5, "the work is shared");
            for got in mine {
                assert_eq!((got.topic.as_str(), got.qos, got.dup, got.retain), ("jobs/paint", QoS::AtLeastOnce, false, false));
                ack(worker, &got);
                done.push(got.payload);
            }
            assert_eq!(drain(worker), []);
        }
        done.sort();
        assert_eq!(done, names);
        crew.into_iter().for_each(leave);
        assert_empty(&broker, "$queue/jobs", "jobs/paint");
    }
}

#[test]
fn work_waits_for_a_consumer_in_its_order() {
    let broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    fill(&mut publisher, "jobs/a", &["1", "2"]);
    assert_eq!(publisher.publish("jobs/b", "3", QoS::ExactlyOnce), 0);
    publisher.publish("jobs/c", "4", QoS::AtMostOnce);
    drain(&mut publisher);
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    assert_eq!(work_until(&mut worker, "4"), ["1", "2", "3", "4"], "whatever QoS they came with");
}

#[test]
fn a_delivery_tells_a_5_0_client_all_about_itself() {
    let broker = jobs("key = \"property:q-key\"");
    let mut publisher = enter(&broker, "publisher");
    let about = [("q-key", "k"), ("colour", "red")];
    crate::house::tell_with(&mut publisher, "jobs/a", "x", &about, |packet| {
        packet.properties.content_type = Some("text/plain");
        packet.properties.message_expiry_interval = Some(1000);
    });
    let mut worker = enter(&broker, "worker");
    let options = dunlin::packet::SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    assert_eq!(worker.subscribe_with("$queue/jobs", options, Some(77)), [1]);
    let got = take(&mut worker);
    assert_eq!((got.topic.as_str(), got.payload.as_str(), got.identifiers.as_slice()), ("jobs/a", "x", &[77][..]));
    assert_eq!(got.content_type.as_deref(), Some("text/plain"));
    assert!(got.expiry.is_some_and(|left| (900..=1000).contains(&left)), "{got:?}");
    assert_eq!((got.property("q-key"), got.property("colour")), (Some("k"), Some("red")), "as its publisher gave them");
    assert_eq!(got.attempt(), 1);
    assert_eq!(got.tag().len(), 20);
    assert!(got.property("q-id").is_some_and(|id| id.starts_with("jobs:")), "{got:?}");
    let millis = |name| got.property(name).unwrap().parse::<u64>().unwrap();
    assert!(millis("q-deadline") - millis("q-enqueued-at") >= 30_000, "half a minute by default");
    assert_eq!(got.property("q-dead-reason"), None);
}

#[test]
fn with_qos_0_a_message_is_settled_when_it_is_handed_out() {
    let broker = jobs("");
    for version in [V311, V5] {
        let mut worker = Client::connect(broker.address(), version, "worker");
        worker.subscribe("$queue/jobs", QoS::AtMostOnce);
        let mut publisher = enter(&broker, "publisher");
        fill(&mut publisher, "jobs/a", &["1", "2"]);
        let got = drain(&mut worker);
        assert_eq!(payloads(&got), ["1", "2"]);
        assert!(got.iter().all(|got| got.qos == QoS::AtMostOnce && got.property("q-tag").is_none()), "{got:?}");
        worker.cut();
        assert_empty(&broker, "$queue/jobs", "jobs/a");
    }
}

/// Its lease waited for the disk, was over by then, because it had been settled, and so the message went to nobody.
#[test]
fn with_qos_0_a_message_that_has_failed_elsewhere_is_handed_out_too() {
    let broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    let mut first = consumer(&broker, "first", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["x"]);
    let got = take(&mut first);
    let mut second = enter(&broker, "second");
    second.subscribe("$queue/jobs", QoS::AtMostOnce);
    refuse(&mut first, &got, 0x80);
    let again = take(&mut second);
    assert_eq!((again.payload.as_str(), again.attempt(), again.qos), ("x", 2, QoS::AtMostOnce));
}

#[test]
fn with_qos_2_a_message_is_settled_by_the_end_of_the_exchange() {
    let broker = jobs("");
    let mut worker = enter(&broker, "worker");
    worker.subscribe("$queue/jobs", QoS::ExactlyOnce);
    let mut publisher = enter(&broker, "publisher");
    fill(&mut publisher, "jobs/a", &["done", "refused", "half"]);
    let got = drain(&mut worker);
    assert_eq!(payloads(&got), ["done", "refused", "half"]);
    assert!(got.iter().all(|got| got.qos == QoS::ExactlyOnce));
    for one in [&got[0], &got[2]] {
        worker.pubrec(one.id.unwrap());
        worker.expect_packet(&Packet::PubRel(Release::new(one.id.unwrap(), ReleaseReason::Success)));
    }
    worker.pubcomp(got[0].id.unwrap());
    refuse(&mut worker, &got[1], 0x80);
    let again = take(&mut worker);
    assert_eq!((again.payload.as_str(), again.attempt(), again.dup), ("refused", 2, false));
    worker.cut();
    let mut next = consumer(&broker, "next", "$queue/jobs");
    let mut rest = [take(&mut next).payload, take(&mut next).payload];
    rest.sort();
    assert_eq!(rest, ["half", "refused"], "an exchange without its end has settled nothing");
    assert_eq!(drain(&mut next), []);
}

#[test]
fn a_session_that_is_stored_is_granted_qos_1() {
    let broker = jobs("");
    let mut worker = enter_kept(&broker, "worker").0;
    assert_eq!(subscribe(&mut worker, "$queue/jobs", QoS::ExactlyOnce, &[]).reason, 1);
}

#[test]
fn the_window_is_what_the_client_names_or_the_queue() {
    let broker = jobs("prefetch = 2\nmax_deliveries = 0");
    let mut publisher = enter(&broker, "publisher");
    let many: Vec<String> = (0..8).map(|number| number.to_string()).collect();
    fill(&mut publisher, "jobs/a", &many.iter().map(String::as_str).collect::<Vec<_>>());
    let window = |mut client: Client, properties: &[(&str, &str)]| {
        assert_eq!(subscribe(&mut client, "$queue/jobs", QoS::AtLeastOnce, properties).reason, 1);
        take(&mut client);
        settle_down(&broker);
        let count = 1 + drain(&mut client).len();
        leave(client);
        count
    };
    // Each ends its connection, and the work is there for the next.
    assert_eq!(window(Client::connect(broker.address(), V311, "old"), &[]), 2, "3.1.1 names none");
    let receiver = |maximum| {
        let mut packet = Connect { client_id: "new", ..connect(V5) };
        packet.properties.receive_maximum = maximum;
        Client::connect_with(broker.address(), packet).0
    };
    let settled = || until("all are back", || (idle(&broker) == 8).then_some(()));
    settled();
    assert_eq!(window(receiver(3), &[]), 3, "Receive Maximum");
    settled();
    assert_eq!(window(receiver(3), &[("q-prefetch", "1")]), 1, "what it wishes for");
    settled();
    assert_eq!(window(receiver(3), &[("q-prefetch", "5")]), 3, "never more than Receive Maximum");
    settled();
    assert_eq!(window(enter(&broker, "plain"), &[("q-prefetch", "5")]), 5);
}

/// How many messages a consumer with room for all gets.
fn idle(broker: &Broker) -> usize {
    let mut all = enter(broker, "idle");
    assert_eq!(subscribe(&mut all, "$queue/jobs", QoS::AtLeastOnce, &[("q-prefetch", "100")]).reason, 1);
    settle_down(broker);
    let count = drain(&mut all).len();
    leave(all);
    count
}

#[test]
fn a_window_opens_by_one_with_each_acknowledgement() {
    let broker = jobs("prefetch = 2");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let mut publisher = enter(&broker, "publisher");
    fill(&mut publisher, "jobs/a", &["1", "2", "3", "4"]);
    let first = drain(&mut worker);
    assert_eq!(payloads(&first), ["1", "2"]);
    ack(&mut worker, &first[0]);
    let third = take(&mut worker);
    assert_eq!(third.payload, "3");
    assert_eq!(drain(&mut worker), []);
}

#[test]
fn an_unsubscribed_consumer_finishes_what_it_has() {
    let broker = jobs("");
    let mut publisher = enter(&broker, "publisher");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &["done", "failed", "left"]);
    let got = [take(&mut worker), take(&mut worker), take(&mut worker)];
    assert_eq!(worker.unsubscribe("$queue/jobs"), [0]);
    let mut next = consumer(&broker, "next", "$queue/jobs");
    ack(&mut worker, &got[0]);
    fill(&mut publisher, "jobs/a", &["new"]);
    assert_eq!(payloads(&drain(&mut next)), ["new"], "what the other has is nobody else's");
    assert_eq!(drain(&mut worker), []);
    refuse(&mut worker, &got[1], 0x80);
    let again = take(&mut next);
    assert_eq!((again.payload.as_str(), again.attempt()), ("failed", 2));
    assert_eq!(worker.unsubscribe("$queue/jobs"), [0x11]);
    leave(worker);
    let again = take(&mut next);
    assert_eq!((again.payload.as_str(), again.attempt()), ("left", 2), "it ended with the session");
    assert_eq!(drain(&mut next), []);
}

#[test]
fn a_message_too_large_for_a_consumer_goes_to_another_or_dies() {
    let broker = jobs("max_deliveries = 3");
    let mut packet = Connect { client_id: "small", ..connect(V5) };
    packet.properties.maximum_packet_size = Some(300);
    let mut small = Client::connect_with(broker.address(), packet).0;
    small.subscribe("$queue/jobs", QoS::AtLeastOnce);
    let mut publisher = enter(&broker, "publisher");
    let large = "x".repeat(300);
    fill(&mut publisher, "jobs/a", &[&large]);
    let mut dead = consumer(&broker, "dead", "$dlq/jobs");
    let letter = take(&mut dead);
    assert_eq!((letter.payload.as_str(), letter.property("q-dead-reason")), (&*large, Some("max-deliveries")));
    assert_eq!(letter.property("q-dead-last-code"), Some("149"), "0x95, packet too large");
    ack(&mut dead, &letter);
    assert_eq!(drain(&mut small), []);
    // The small ones flow, and beside a consumer that is large enough the large ones too.
    fill(&mut publisher, "jobs/a", &["fits"]);
    let got = take(&mut small);
    assert_eq!(got.payload, "fits");
    ack(&mut small, &got);
    let mut tall = consumer(&broker, "tall", "$queue/jobs");
    fill(&mut publisher, "jobs/a", &[&large]);
    let got = take(&mut tall);
    assert_eq!(got.payload, large);
    ack(&mut tall, &got);
    assert_eq!(drain(&mut dead), []);
}

#[test]
fn a_qos_0_consumer_that_reads_nothing_is_not_flooded() {
    let broker = jobs("");
    let mut deaf = enter(&broker, "deaf");
    deaf.subscribe("$queue/jobs", QoS::AtMostOnce);
    let mut publisher = enter(&broker, "publisher");
    let large = "x".repeat(512 * 1024);
    let total = 48;
    for number in 0..total {
        assert_eq!(publisher.publish("jobs/a", &format!("{number} {large}"), QoS::AtLeastOnce), 0);
    }
    let number = |got: Got| got.payload.split_once(' ').unwrap().0.parse::<u32>().unwrap();
    // The queue has kept most of it, for one who takes it.
    let mut quick = consumer(&broker, "quick", "$queue/jobs");
    let got = take(&mut quick);
    ack(&mut quick, &got);
    let mut all = vec![number(got)];
    let is_first_kept = all[0] < total / 2;
    assert!(is_first_kept, "{} messages were written for one who reads none", all[0]);
    while all.len() < total as usize {
        for client in [&mut quick, &mut deaf] {
            for got in drain(client) {
                if got.qos == QoS::AtLeastOnce {
                    ack(client, &got);
                }
                all.push(number(got));
            }
        }
    }
    all.sort_unstable();
    assert_eq!(all, (0..total).collect::<Vec<_>>(), "each once");
    assert_eq!(broker.metric(r#"dunlin_messages_dropped_total{reason="write_buffer_full"}"#), 0.0);
}

#[test]
fn two_queues_have_one_consumer() {
    let broker = broker(
        "[[queues]]\nname = \"jobs\"\nbind = [\"jobs/#\"]\n[[queues]]\nname = \"more\"\nbind = [\"jobs/#\", \"more/#\"]\n",
    );
    let mut worker = enter(&broker, "worker");
    worker.subscribe("$queue/jobs", QoS::AtLeastOnce);
    worker.subscribe("$queue/more", QoS::AtLeastOnce);
    let mut publisher = enter(&broker, "publisher");
    fill(&mut publisher, "jobs/a", &["x"]);
    let got = drain(&mut worker);
    let mut from: Vec<_> = got.iter().map(|got| got.property("q-id").unwrap().split_once(':').unwrap().0).collect();
    from.sort_unstable();
    assert_eq!(from, ["jobs", "more"], "one from each");
    assert_ne!(got[0].id, got[1].id);
}

/// What it has is not taken from it: else all would be done twice.
#[test]
fn a_consumer_that_wants_another_window_keeps_what_it_has() {
    let broker = jobs("max_deliveries = 1");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let mut publisher = enter(&broker, "publisher");
    fill(&mut publisher, "jobs/a", &["x", "y"]);
    let got = [take(&mut worker), take(&mut worker)];
    assert_eq!(subscribe(&mut worker, "$queue/jobs", QoS::AtLeastOnce, &[("q-prefetch", "1")]).reason, 1);
    fill(&mut publisher, "jobs/a", &["z", "later"]);
    assert_eq!(drain(&mut worker), [], "its window is full");
    got.iter().for_each(|got| ack(&mut worker, got));
    assert_eq!(payloads(&drain(&mut worker)), ["z"]);
    assert_eq!(drain(&mut consumer(&broker, "dead", "$dlq/jobs")), []);
}
