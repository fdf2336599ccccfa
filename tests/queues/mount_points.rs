//! Tenants, each with queues of its own.

use dunlin::packet::QoS;

use crate::house::{drain, payloads, refuse, subscribe, take, tell};
use crate::support::client::{V5, V311};
use crate::support::{Broker, Client};

const DOORS: &str = r#"
[work_queues]
auto_create = "anybody"
[[listeners]]
name = "a"
url = "tcp://127.0.0.1:0"
mount_point = "tenant/a/"
[[listeners]]
name = "b"
url = "tcp://127.0.0.1:0"
mount_point = "tenant/b/"
[[listeners]]
name = "whole"
url = "tcp://127.0.0.1:0"
[[queues]]
name = "jobs"
bind = ["tenant/+/jobs/#"]
"#;

#[test]
fn two_tenants_have_a_queue_of_the_same_name() {
    let mut broker = Broker::with_config(DOORS);
    let enter = |broker: &Broker, door: &str, id: &str| Client::connect(broker.listener(door), V5, id);
    for tenant in ["a", "b"] {
        let mut maker = enter(&broker, tenant, "maker");
        assert_eq!(subscribe(&mut maker, "$queue/jobs", QoS::AtLeastOnce, &[]).reason, 0x8F, "the config's is not theirs");
        assert_eq!(subscribe(&mut maker, "$queue/jobs/jobs/#", QoS::AtLeastOnce, &[]).reason, 1);
        crate::house::leave(maker);
    }
    for tenant in ["a", "b"] {
        let mut publisher = enter(&broker, tenant, "publisher");
        assert_eq!(tell(&mut publisher, "jobs/1", tenant, &[]).reason, 0);
        assert_eq!(tell(&mut publisher, "$queue/jobs/$put/other", &format!("{tenant} put"), &[]).reason, 0);
        assert_eq!(tell(&mut publisher, "$delayed/0/jobs/2", &format!("{tenant} later"), &[]).reason, 0);
    }
    broker.kill_and_restart();
    for tenant in ["a", "b"] {
        let mut worker = enter(&broker, tenant, "worker");
        worker.subscribe("$queue/jobs", QoS::AtLeastOnce);
        let got = drain(&mut worker);
        assert_eq!(payloads(&got), [tenant, &format!("{tenant} put"), &format!("{tenant} later")]);
        let topics: Vec<&str> = got.iter().map(|got| &*got.topic).collect();
        assert_eq!(topics, ["jobs/1", "other", "jobs/2"], "as the tenant knows them");
        // A tag is of its own queue.
        let mut other = enter(&broker, if tenant == "a" { "b" } else { "a" }, "worker");
        assert_eq!(tell(&mut other, &format!("$queue/jobs/$ack/{}", got[0].tag()), "", &[]).reason, 0x90);
        refuse(&mut worker, &got[0], 0x99);
        let mut dead = enter(&broker, tenant, "dead");
        dead.subscribe("$dlq/jobs", QoS::AtLeastOnce);
        let letter = take(&mut dead);
        assert_eq!((letter.topic.as_str(), letter.payload.as_str()), ("jobs/1", tenant));
    }
    let mut whole = enter(&broker, "whole", "worker");
    whole.subscribe("$queue/jobs", QoS::AtLeastOnce);
    let got = drain(&mut whole);
    let mut topics: Vec<&str> = got.iter().map(|got| &*got.topic).collect();
    topics.sort_unstable();
    assert_eq!(topics, ["tenant/a/jobs/1", "tenant/a/jobs/2", "tenant/b/jobs/1", "tenant/b/jobs/2"]);
}

#[test]
fn the_lease_form_has_the_tenants_topic() {
    let broker = Broker::with_config(DOORS);
    let mut worker = Client::connect(broker.listener("a"), V311, "worker");
    worker.subscribe("$queue/mine/x/#", QoS::AtLeastOnce);
    worker.unsubscribe("$queue/mine/x/#");
    worker.subscribe("$queue/mine/$lease/#", QoS::AtLeastOnce);
    let mut publisher = Client::connect(broker.listener("a"), V311, "publisher");
    publisher.publish("x/y", "1", QoS::AtLeastOnce);
    let got = take(&mut worker);
    let rest = got.topic.strip_prefix("$queue/mine/$lease/").unwrap();
    assert_eq!(rest.split_once('/').unwrap().1, "x/y");
}
