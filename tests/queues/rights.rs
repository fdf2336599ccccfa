//! Who may use which queue.

use dunlin::packet::QoS;

use crate::house::{ack, broker, consumer, drain, enter, payloads, subscribe, take, tell};
use crate::rights_house::House;

const CONFIG: &str = r#"
[auth]
password_file = "@DIR@/users"
acl_file = "@DIR@/acl"
[[listeners]]
name = "tcp"
url = "tcp://127.0.0.1:0"
[[queues]]
name = "jobs"
bind = ["jobs/#"]
backoff = ["10ms"]
"#;

/// alice publishes work and nothing else; bob works; carol does both by `$put`.
const ACL: &str = "\
user alice
topic write jobs/#
topic write $queue/secret/#
user bob
topic read $queue/jobs
topic read $queue/new
topic read public/#
user carol
topic write jobs/#
topic write $queue/jobs/#
topic read $dlq/jobs
";

#[test]
fn a_consumer_needs_the_right_to_the_queue_and_not_to_its_topics() {
    let house = House::furnished(CONFIG, ACL);
    let mut alice = house.enter("alice", "a");
    for filter in ["$queue/jobs", "$queue/jobs/$lease/#", "$dlq/jobs"] {
        let told = subscribe(&mut alice, filter, QoS::AtLeastOnce, &[]);
        assert_eq!((told.reason, told.text.is_some()), (0x87, true), "{filter}");
    }
    let mut bob = house.enter("bob", "b");
    assert_eq!(subscribe(&mut bob, "$queue/jobs", QoS::AtLeastOnce, &[]).reason, 1);
    assert_eq!(subscribe(&mut bob, "$dlq/jobs", QoS::AtLeastOnce, &[]).reason, 0x87);
    assert_eq!(tell(&mut alice, "jobs/a", "x", &[]).reason, 0, "who feeds a queue needs the right to the topic only");
    let got = take(&mut bob);
    assert_eq!((got.topic.as_str(), got.payload.as_str()), ("jobs/a", "x"));
    // Settling needs nothing but the lease.
    assert_eq!(tell(&mut bob, &format!("$queue/jobs/$reject/{}", got.tag()), "", &[]).reason, 0);
    let mut carol = house.enter("carol", "c");
    assert_eq!(subscribe(&mut carol, "$dlq/jobs", QoS::AtLeastOnce, &[]).reason, 1);
    assert_eq!(take(&mut carol).payload, "x");
}

#[test]
fn put_needs_the_right_to_the_queue_and_to_the_topic() {
    let house = House::furnished(CONFIG, ACL);
    let mut bob = house.enter("bob", "b");
    bob.subscribe("$queue/jobs", QoS::AtLeastOnce);
    for (user, topic, reason) in [
        ("alice", "$queue/jobs/$put/jobs/a", 0x87),
        ("bob", "$queue/jobs/$put/jobs/a", 0x87),
        ("carol", "$queue/jobs/$put/jobs/a", 0),
        ("carol", "$queue/jobs/$put/other", 0x87),
        ("bob", "jobs/a", 0x87),
        ("bob", "$delayed/0/jobs/a", 0x87),
        ("bob", "$delayed/1/jobs/a", 0x87),
        ("bob", "$dedup/1/jobs/a", 0x87),
        ("carol", "$delayed/1/other", 0x87),
        ("carol", "$dedup/1/$queue/jobs/$put/jobs/a", 0),
        ("carol", "$delayed/0/$queue/jobs/$put/other", 0x87),
        ("alice", "$delayed/0/$queue/jobs/$put/jobs/a", 0x87),
    ] {
        let mut client = house.enter(user, &format!("{user}-too"));
        assert_eq!(tell(&mut client, topic, topic, &[]).reason, reason, "{user} {topic}");
        assert_eq!(drain(&mut bob).len(), usize::from(reason == 0), "{user} {topic}");
    }
}

#[test]
fn who_makes_a_queue_needs_the_right_to_what_it_binds() {
    let house = House::furnished(CONFIG, ACL);
    let mut bob = house.enter("bob", "b");
    assert_eq!(subscribe(&mut bob, "$queue/new/secret/#", QoS::AtLeastOnce, &[]).reason, 0x87);
    assert_eq!(subscribe(&mut bob, "$queue/new", QoS::AtLeastOnce, &[]).reason, 0x8F, "it was not made");
    assert_eq!(subscribe(&mut bob, "$queue/other/public/#", QoS::AtLeastOnce, &[]).reason, 0x87, "no right to that name");
    assert_eq!(subscribe(&mut bob, "$queue/new/public/#", QoS::AtLeastOnce, &[]).reason, 1);
    assert_eq!(subscribe(&mut bob, "$queue/new", QoS::AtLeastOnce, &[]).reason, 1);
    // What is there is not bound to more by subscribing.
    let told = subscribe(&mut bob, "$queue/new/public/a", QoS::AtLeastOnce, &[]);
    assert_eq!((told.reason, told.text.is_some()), (0x83, true));
}

#[test]
fn anonymous_clients_have_no_right_unless_the_file_gives_it() {
    for (acl, reason) in [("topic read jobs/#\n", 0x87), ("topic read $queue/jobs\n", 1)] {
        let config = CONFIG.replace("[[queues]]", "allow_anonymous = true\n[[queues]]");
        let house = House::furnished(&config, acl);
        let mut nobody = enter(&house.broker, "nobody");
        assert_eq!(subscribe(&mut nobody, "$queue/jobs", QoS::AtLeastOnce, &[]).reason, reason, "{acl}");
        assert_eq!(tell(&mut nobody, "$queue/jobs/$put/jobs/a", "x", &[]).reason, 0x87);
    }
}

#[test]
fn a_right_that_is_taken_away_ends_the_consumer_and_its_work_goes_to_others() {
    let mut house = House::furnished(CONFIG, &format!("{ACL}topic read $queue/jobs\n"));
    let mut bob = house.enter("bob", "b");
    bob.subscribe("$queue/jobs", QoS::AtLeastOnce);
    let mut alice = house.enter("alice", "a");
    assert_eq!(tell(&mut alice, "jobs/a", "x", &[]).reason, 0);
    let got = take(&mut bob);
    house.change("acl", &format!("{}topic read $queue/jobs\n", ACL.replace("topic read $queue/jobs\n", "")));
    let mut carol = house.enter("carol", "c");
    carol.subscribe("$queue/jobs", QoS::AtLeastOnce);
    assert_eq!(take(&mut carol).payload, "x");
    ack(&mut bob, &got);
    assert_eq!(tell(&mut alice, "jobs/a", "y", &[]).reason, 0);
    assert_eq!(payloads(&drain(&mut carol)), ["y"]);
    assert_eq!(drain(&mut bob), []);
}

#[test]
fn a_reload_takes_no_work_from_those_who_may_not_read_its_topics() {
    let mut house = House::furnished(CONFIG, ACL);
    let mut bob = house.enter("bob", "b");
    bob.subscribe("$queue/jobs", QoS::AtLeastOnce);
    let mut alice = house.enter("alice", "a");
    assert_eq!(tell(&mut alice, "jobs/a", "x", &[]).reason, 0);
    let got = take(&mut bob);
    house.change("acl", &format!("{ACL}# read again\n"));
    assert_eq!(tell(&mut alice, "jobs/a", "y", &[]).reason, 0);
    let next = take(&mut bob);
    assert_eq!((next.payload.as_str(), next.attempt()), ("y", 1));
    ack(&mut bob, &got);
    ack(&mut bob, &next);
    assert_eq!(drain(&mut bob), []);
    assert_eq!(house.metric(r#"dunlin_messages_dropped_total{reason="not_authorized"}"#), 0.0);
}

#[test]
fn queues_are_made_by_those_whom_the_config_lets() {
    for (policy, anonymous, known) in [("nobody", 0x87, 0x87), ("known", 0x87, 1), ("anybody", 1, 1)] {
        let config = format!(
            "{}\n[work_queues]\nauto_create = \"{policy}\"\n",
            CONFIG.replace("acl_file = \"@DIR@/acl\"\n", "").replace("[[queues]]", "allow_anonymous = true\n[[queues]]"),
        );
        let house = House::furnished(&config, "");
        let mut nobody = enter(&house.broker, "nobody");
        let told = subscribe(&mut nobody, "$queue/by-nobody/a/#", QoS::AtLeastOnce, &[]);
        assert_eq!((told.reason, told.text.is_some()), (anonymous, anonymous > 2), "{policy}");
        let mut bob = house.enter("bob", "b");
        assert_eq!(subscribe(&mut bob, "$queue/by-bob/b/#", QoS::AtLeastOnce, &[]).reason, known, "{policy}");
        let mut publisher = enter(&house.broker, "publisher");
        let expected = if known == 1 { 0 } else { 0x10 };
        assert_eq!(tell(&mut publisher, "b/1", "x", &[]).reason, expected, "{policy}");
    }
}

#[test]
fn a_queue_that_a_client_made_stays() {
    let mut broker = broker("[work_queues]\nauto_create = \"anybody\"\n");
    let mut maker = enter(&broker, "maker");
    assert_eq!(subscribe(&mut maker, "$queue/mine/a/#", QoS::AtLeastOnce, &[]).reason, 1);
    maker.cut();
    let mut publisher = enter(&broker, "publisher");
    assert_eq!(tell(&mut publisher, "a/1", "x", &[]).reason, 0);
    broker.kill_and_restart();
    let mut worker = consumer(&broker, "worker", "$queue/mine");
    assert_eq!(take(&mut worker).payload, "x");
    let mut publisher = enter(&broker, "publisher");
    assert_eq!(tell(&mut publisher, "a/2", "y", &[]).reason, 0);
    assert_eq!(take(&mut worker).payload, "y");
}
