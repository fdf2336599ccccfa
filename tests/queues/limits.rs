//! The bounds of `[work_queues]`, at the bound and one over.

use dunlin::packet::QoS;

use crate::house::{broker, consumer, enter, fill, jobs_table, subscribe, tell, work_until};
use crate::support::eventually;

#[test]
fn max_queues_refuses_one_more() {
    let broker = broker("[work_queues]\nauto_create = \"anybody\"\nmax_queues = 2\n");
    let mut client = enter(&broker, "client");
    for (name, reason) in [("a", 1), ("b", 1), ("c", 0x97), ("a", 1)] {
        let told = subscribe(&mut client, &format!("$queue/{name}/{name}/#"), QoS::AtLeastOnce, &[]);
        assert_eq!((told.reason, told.text.is_some()), (reason, reason > 2), "{name}");
    }
    let mut publisher = enter(&broker, "publisher");
    assert_eq!(tell(&mut publisher, "c/1", "x", &[]).reason, 0x10, "it was not made");
    let hits = || broker.metric(r#"dunlin_limit_hits_total{limit="max_queues"}"#);
    eventually("the limit is counted", || hits() == 1.0);
}

#[test]
fn consumers_are_subscriptions_like_others() {
    let broker = broker("[limits]\nmax_subscriptions = 1\n[[queues]]\nname = \"jobs\"\n[[queues]]\nname = \"more\"\n");
    let mut client = enter(&broker, "client");
    client.subscribe("$queue/jobs", QoS::AtLeastOnce);
    assert_eq!(subscribe(&mut client, "$queue/more", QoS::AtLeastOnce, &[]).reason, 0x97);
    assert_eq!(subscribe(&mut client, "$queue/jobs", QoS::AtLeastOnce, &[]).reason, 1);
    assert_eq!(broker.metric(r#"dunlin_limit_hits_total{limit="max_subscriptions"}"#), 1.0);
}

#[test]
fn max_recent_bounds_what_is_in_memory_until_it_is_handed_out() {
    // Topic, payload, and what is around them: so much each.
    let weight = "jobs/a".len() + 100 + 256;
    let payloads: Vec<_> = ('a'..='f').map(|letter| letter.to_string().repeat(100)).collect();
    let payloads: Vec<_> = payloads.iter().map(String::as_str).collect();
    for (max_recent, kept) in [(0, 0), (4 * weight, 4), (6 * weight - 1, 5), (6 * weight, 6)] {
        let broker = broker(&format!("[durability]\nmax_recent = {max_recent}\n{}", jobs_table("")));
        let read_back = || broker.metric("dunlin_storage_bodies_read_total");
        let mut publisher = enter(&broker, "publisher");
        fill(&mut publisher, "jobs/a", &payloads);
        let recent = || broker.metric("dunlin_storage_recent_bytes");
        eventually("what is in memory is counted", || recent() == (kept * weight) as f64);
        let mut worker = consumer(&broker, "worker", "$queue/jobs");
        assert_eq!(work_until(&mut worker, payloads[5]), payloads);
        assert_eq!(read_back(), (6 - kept) as f64, "of {max_recent} bytes");
        eventually("it is in memory no more", || recent() == 0.0);
    }
}
