//! The bounds of `[work_queues]`, at the bound and one over.

use dunlin::packet::QoS;

use crate::house::{broker, enter, subscribe, tell};
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
