//! Messages of one key: one at a time, in their order, whoever works on them and whatever fails.

use std::collections::{BTreeMap, HashMap};

use dunlin::packet::QoS;

use crate::house::{Got, ack, broker, consumer, drain, enter, fill, jobs, payloads, refuse, subscribe, take, tell};
use crate::support::Client;
use crate::support::client::V311;
use crate::support::dice::Dice;

/// Some workers, and what each has in its hands.
#[derive(Default)]
struct Crew {
    hired: u32,
    workers: Vec<(Client, Vec<Got>)>,
    /// The payloads of each key in the order in which they were done.
    done: BTreeMap<String, Vec<u32>>,
}

impl Crew {
    fn hire(&mut self, broker: &crate::support::Broker) {
        self.hired += 1;
        let mut client = enter(broker, &format!("worker{}", self.hired));
        assert_eq!(subscribe(&mut client, "$queue/jobs", QoS::AtLeastOnce, &[("q-prefetch", "3")]).reason, 1);
        self.workers.push((client, Vec::new()));
    }

    /// One goes without a word, and what it had is undone.
    fn lose_one(&mut self) {
        let (mut client, _) = self.workers.remove(0);
        drain(&mut client); // what it has acknowledged has been read
        client.cut();
    }

    /// Takes what has come, and looks that nobody has what another has.
    fn look(&mut self) {
        for (client, hands) in &mut self.workers {
            hands.extend(drain(client));
        }
        let mut holders = HashMap::new();
        for (number, (_, hands)) in self.workers.iter().enumerate() {
            for got in hands {
                let key = key_of(got);
                let before = holders.insert(key.clone(), number);
                assert_eq!(before, None, "two messages of {key} at once");
            }
        }
    }

    fn finish(&mut self, worker: usize, at: usize, code: u8) {
        let (client, hands) = &mut self.workers[worker];
        let got = hands.swap_remove(at);
        if code == 0 {
            ack(client, &got);
            let number = got.payload.parse().unwrap();
            self.done.entry(key_of(&got)).or_default().push(number);
        } else {
            refuse(client, &got, code);
        }
    }
}

fn key_of(got: &Got) -> String {
    got.property("q-key").expect("a message of a keyed queue says its key").to_owned()
}

#[test]
fn never_two_of_a_key_at_once_and_each_key_in_its_order() {
    let broker = jobs("key = \"property:q-key\"\nmax_deliveries = 0\nbackoff = [\"1ms\"]");
    let (keys, each) = (7, 12);
    let mut crew = Crew::default();
    (0..4).for_each(|_| crew.hire(&broker));
    let mut publisher = enter(&broker, "publisher");
    for number in 0..each {
        for key in 0..keys {
            let key = key.to_string();
            assert_eq!(tell(&mut publisher, "jobs/a", &number.to_string(), &[("q-key", &key)]).reason, 0);
        }
    }
    let mut dice = Dice::new(41, "crew");
    let mut failures = 0;
    while crew.done.values().map(Vec::len).sum::<usize>() < (keys * each) as usize {
        crew.look();
        for worker in 0..crew.workers.len() {
            while !crew.workers[worker].1.is_empty() && !dice.once_in(3) {
                let at = dice.below(crew.workers[worker].1.len());
                let code = dice.one_of(&[0, 0, 0, 0x80, 0x97, 0x83]);
                failures += u32::from(code != 0);
                crew.finish(worker, at, code);
            }
        }
        if dice.once_in(20) {
            crew.lose_one();
            crew.hire(&broker);
        }
    }
    assert!(failures > 10);
    for (key, done) in &crew.done {
        assert_eq!(*done, (0..each).collect::<Vec<_>>(), "{key}");
    }
}

#[test]
fn a_failed_message_keeps_its_place_before_later_ones_of_its_key() {
    let broker = jobs("key = \"topic\"");
    let mut publisher = enter(&broker, "publisher");
    let mut crew = [consumer(&broker, "ada", "$queue/jobs"), consumer(&broker, "bob", "$queue/jobs")];
    for (topic, payload) in [("jobs/a", "a1"), ("jobs/a", "a2"), ("jobs/b", "b1"), ("jobs/b", "b2")] {
        fill(&mut publisher, topic, &[payload]);
    }
    let mut order = Vec::new();
    while order.len() < 5 {
        for worker in &mut crew {
            for got in drain(worker) {
                let is_first = got.payload == "a1" && got.attempt() == 1;
                order.push(format!("{}{}", got.payload, if is_first { "!" } else { "" }));
                if is_first { refuse(worker, &got, 0x80) } else { ack(worker, &got) }
            }
        }
    }
    let of = |key: &str| order.iter().filter(|name| name.starts_with(key)).cloned().collect::<Vec<_>>();
    assert_eq!((of("a"), of("b")), (vec!["a1!".into(), "a1".into(), "a2".into()], vec!["b1".into(), "b2".into()]));
}

#[test]
fn the_key_is_what_the_queue_says() {
    let tables = [
        ("key = \"topic\"", "jobs/a/1"),
        ("key = \"topic-level:2\"", "a"),
        ("key = \"property:q-key\"", "mine"),
        ("key = \"property:truck\"", "red"),
        ("key = \"client-id\"", "publisher"),
    ];
    for (key, expected) in tables {
        let broker = jobs(key);
        let mut publisher = enter(&broker, "publisher");
        let about = [("q-key", "mine"), ("truck", "red")];
        let plain = if key.contains("property") { &about[..] } else { &[] };
        for payload in ["1", "2"] {
            assert_eq!(tell(&mut publisher, "jobs/a/1", payload, plain).reason, 0);
        }
        let mut worker = consumer(&broker, "worker", "$queue/jobs");
        let got = drain(&mut worker);
        assert_eq!(payloads(&got), ["1"], "{key}: one at a time");
        let name = if key.contains("truck") { "truck" } else { "q-key" };
        assert_eq!(got[0].property(name), Some(expected), "{key}");
        ack(&mut worker, &got[0]);
        assert_eq!(take(&mut worker).payload, "2");
    }
}

#[test]
fn the_key_of_a_client_is_kept_over_a_crash() {
    let mut broker = jobs("key = \"client-id\"");
    for (client, payload) in [("ada", "1"), ("bob", "2"), ("ada", "3")] {
        fill(&mut enter(&broker, client), "jobs/a", &[payload]);
    }
    broker.kill_and_restart();
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let got = drain(&mut worker);
    assert_eq!(payloads(&got), ["1", "2"]);
    assert_eq!(got.iter().map(key_of).collect::<Vec<_>>(), ["ada", "bob"]);
}

#[test]
fn emqx_clients_name_the_key_their_way() {
    let broker = jobs("key = \"property:q-key\"");
    let mut publisher = enter(&broker, "publisher");
    for (name, payload) in [("mq-key", "1"), ("q-key", "2"), ("other", "3")] {
        assert_eq!(tell(&mut publisher, "jobs/a", payload, &[(name, "k")]).reason, 0);
    }
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let mut got: Vec<_> = drain(&mut worker).into_iter().map(|got| got.payload).collect();
    got.sort();
    assert_eq!(got, ["1", "3"], "without a key nothing waits");
}

#[test]
fn one_busy_key_does_not_starve_the_others() {
    let broker = jobs("key = \"topic\"\nprefetch = 4");
    let mut publisher = Client::connect(broker.address(), V311, "publisher");
    let names: Vec<String> = (0..50).map(|number| format!("hot{number}")).collect();
    fill(&mut publisher, "jobs/hot", &names.iter().map(String::as_str).collect::<Vec<_>>());
    fill(&mut publisher, "jobs/cold", &["cold"]);
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    assert_eq!(payloads(&drain(&mut worker)), ["hot0", "cold"]);
}

#[test]
fn without_keys_the_order_is_that_of_enqueueing() {
    let broker = broker("[[queues]]\nname = \"jobs\"\nbind = [\"jobs/#\"]\nprefetch = 100\nstrategy = \"round-robin\"\n");
    let mut publisher = enter(&broker, "publisher");
    let mut crew = [consumer(&broker, "ada", "$queue/jobs"), consumer(&broker, "bob", "$queue/jobs")];
    let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    fill(&mut publisher, "jobs/a", &names.iter().map(String::as_str).collect::<Vec<_>>());
    for (number, worker) in crew.iter_mut().enumerate() {
        let got = drain(worker);
        let expected: Vec<&str> = names.iter().skip(number).step_by(2).map(String::as_str).collect();
        let got = payloads(&got);
        let other: Vec<&str> = names.iter().skip(1 - number).step_by(2).map(String::as_str).collect();
        assert!(got == expected || got == other, "each in turn: {got:?}");
    }
}
