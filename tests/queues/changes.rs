//! Queues that are changed while there is work in them.

use dunlin::packet::QoS;

use crate::house::{
    LISTENER, ack, broker, consumer, drain, enter, enter_kept, fill, jobs_table, let_be_written, payloads, refuse, take, tell,
};
use crate::support::Broker;

/// Gives the broker another config and waits until it has read it.
fn reload(broker: &mut Broker, tables: &str) {
    std::fs::write(broker.folder.path().join("dunlin.toml"), format!("{LISTENER}{tables}")).unwrap();
    broker.signal("-HUP");
    broker.wait_for_log("config reloaded");
}

#[test]
fn settings_change_and_nothing_is_lost() {
    let mut broker = broker(&jobs_table("max_deliveries = 5\nprefetch = 1"));
    let mut publisher = enter(&broker, "publisher");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let mut dead = consumer(&broker, "dead", "$dlq/jobs");
    fill(&mut publisher, "jobs/a", &["1", "2", "3"]);
    let first = take(&mut worker);
    assert_eq!(payloads(&drain(&mut worker)), [""; 0]);
    reload(&mut broker, &jobs_table("max_deliveries = 1\nprefetch = 2\nmax_messages = 3"));
    assert_eq!(tell(&mut publisher, "jobs/a", "4", &[]).reason, 0x97, "the new bound");
    refuse(&mut worker, &first, 0x80);
    assert_eq!(take(&mut dead).payload, "1", "the new number of attempts");
    let two = [take(&mut worker), take(&mut worker)];
    assert_eq!(payloads(&two), ["2", "3"], "the new window");
    two.iter().for_each(|got| ack(&mut worker, got));
    assert_eq!(drain(&mut worker), []);
    // It holds after a crash too.
    crate::house::settle_down(&broker);
    broker.kill_and_restart();
    let mut publisher = enter(&broker, "publisher");
    fill(&mut publisher, "jobs/a", &["5", "6", "7"]);
    assert_eq!(tell(&mut publisher, "jobs/a", "8", &[]).reason, 0x97);
}

#[test]
fn a_queue_is_bound_to_other_topics() {
    let mut broker = broker("[[queues]]\nname = \"jobs\"\nbind = [\"a/#\", \"b/#\"]\n");
    let mut publisher = enter(&broker, "publisher");
    assert_eq!(tell(&mut publisher, "a/1", "1", &[]).reason, 0);
    assert_eq!(tell(&mut publisher, "c/1", "2", &[]).reason, 0x10);
    reload(&mut broker, "[[queues]]\nname = \"jobs\"\nbind = [\"b/#\", \"c/#\"]\n");
    assert_eq!(tell(&mut publisher, "a/1", "3", &[]).reason, 0x10);
    for (topic, payload) in [("b/1", "4"), ("c/1", "5")] {
        assert_eq!(tell(&mut publisher, topic, payload, &[]).reason, 0);
    }
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    assert_eq!(payloads(&drain(&mut worker)), ["1", "4", "5"]);
}

#[test]
fn queues_come_and_stay() {
    let mut broker = broker(&jobs_table(""));
    let mut publisher = enter(&broker, "publisher");
    fill(&mut publisher, "jobs/a", &["1"]);
    // Named no more, it stays with what is in it.
    reload(&mut broker, "[[queues]]\nname = \"more\"\nbind = [\"more/#\"]\n");
    fill(&mut publisher, "jobs/a", &["2"]);
    fill(&mut publisher, "more/a", &["3"]);
    broker.kill_and_restart();
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    assert_eq!(payloads(&drain(&mut worker)), ["1", "2"]);
    let mut other = consumer(&broker, "other", "$queue/more");
    assert_eq!(payloads(&drain(&mut other)), ["3"]);
}

#[test]
fn a_config_with_a_wrong_queue_changes_nothing() {
    let mut broker = broker(&jobs_table("max_deliveries = 1"));
    std::fs::write(broker.folder.path().join("dunlin.toml"), format!("{LISTENER}{}", jobs_table("max_deliverys = 2"))).unwrap();
    broker.signal("-HUP");
    let line = broker.wait_for_log("max_deliverys");
    assert!(line.contains("did you mean") && line.contains("max_deliveries"), "{line}");
    let mut publisher = enter(&broker, "publisher");
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let mut dead = consumer(&broker, "dead", "$dlq/jobs");
    fill(&mut publisher, "jobs/a", &["1"]);
    let got = take(&mut worker);
    refuse(&mut worker, &got, 0x80);
    assert_eq!(take(&mut dead).payload, "1");
}

#[test]
fn timers_go_on_over_a_crash() {
    let mut broker = broker(&jobs_table("ack_timeout = \"1s\"\nbackoff = [\"1s\"]\nmax_deliveries = 0"));
    let mut publisher = enter(&broker, "publisher");
    let mut kept = enter_kept(&broker, "kept").0;
    kept.subscribe("$queue/jobs", QoS::AtLeastOnce);
    fill(&mut publisher, "jobs/a", &["lease", "failed"]);
    assert_eq!(tell(&mut publisher, "jobs/a", "delayed", &[("q-delay", "1s")]).reason, 0);
    let got = [take(&mut kept), take(&mut kept)];
    refuse(&mut kept, &got[1], 0x80);
    drain(&mut kept);
    let_be_written(&broker);
    broker.kill_and_restart();
    let mut worker = consumer(&broker, "worker", "$queue/jobs");
    let mut all: Vec<_> = (0..3)
        .map(|_| {
            let got = take(&mut worker);
            ack(&mut worker, &got);
            (got.payload.clone(), got.attempt())
        })
        .collect();
    all.sort();
    assert_eq!(all, [("delayed".into(), 1), ("failed".into(), 2), ("lease".into(), 2)]);
    assert_eq!(drain(&mut worker), []);
}
