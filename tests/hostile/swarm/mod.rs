//! Attackers that share client identifiers and topics say anything in any order, and lie about the lengths of what they say. What
//! the broker answers is valid and what honest ones may expect, healthy clients notice nothing, and nothing is left of it all.
//!
//! `DUNLIN_SWARM_SEEDS=1000..5000` runs other seeds than the few of every test run. A seed decides what attackers do, but not what they
//! find to answer and which of them is faster.

mod attacker;
mod draft;
mod script;
mod strict;

use std::ops::Range;
use std::thread;

use crate::support::dice::Dice;
use attacker::{Target, attack};
use dunlin::packet::{Connect, Packet, Subscribe, SubscriptionOptions, TopicFilter, Unsubscribe, UserProperties};

use crate::siege::{Siege, dial};
use crate::support::client::{V5, connect};
use crate::support::{Client, eventually};

const ATTACKERS: usize = 3;
/// Of each attacker with each seed.
const CONNECTIONS: usize = 15;

/// Attackers come back as fast as they can, and nothing of a session is left for long.
const WIDE: &str = r#"
[protection]
takeovers = 0
[limits]
max_session_expiry = "1s"
[work_queues]
auto_create = "nobody"
[[queues]]
name = "swarm"
bind = ["s/b"]
ack_timeout = "1s"
"#;
/// The same, and limits that are reached all the time.
const NARROW: &str = r#"
[protection]
takeovers = 0
[limits]
max_session_expiry = "1s"
max_packet_size = "4KiB"
receive_maximum = 3
max_inflight = 3
max_queued_messages = 5
queue_policy = "drop-oldest"
max_write_buffer = "8KiB"
max_subscriptions = 4
max_topic_levels = 3
max_retained_messages = 3
topic_alias_maximum = 2
max_topic_aliases_out = 1
max_user_properties = 2
[work_queues]
auto_create = "nobody"
max_delayed_messages = 2
[[queues]]
name = "swarm"
bind = ["s/b"]
ack = "explicit"
ack_timeout = "1s"
max_messages = 5
overflow = "drop-oldest"
"#;

/// Tells which seeds it may have been, if there is something to tell.
struct Seeds(Range<u64>);

impl Drop for Seeds {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("again with DUNLIN_SWARM_SEEDS={}..{}", self.0.start, self.0.end);
        }
    }
}

#[test]
fn a_swarm_that_says_anything_harms_nobody() {
    swarm(WIDE, 0..30);
}

#[test]
fn a_swarm_that_says_anything_is_held_to_narrow_limits() {
    swarm(NARROW, 1000..1030);
}

fn swarm(config: &str, seeds: Range<u64>) {
    let asked = std::env::var("DUNLIN_SWARM_SEEDS").ok();
    let asked = asked.as_deref().map(|text| text.split_once("..").expect("FIRST..LAST"));
    let seeds = asked.map_or(seeds, |(first, last)| first.parse().unwrap()..last.parse().unwrap());
    let mut siege = Siege::lay(config);
    for seed in seeds.clone() {
        let _seed = Seeds(seed..seed + 1);
        let (tcp, unix) = (siege.address(), siege.door());
        thread::scope(|scope| {
            for attacker in 0..ATTACKERS {
                let dice = Dice::new(seed, &format!("attacker {attacker}"));
                let target = Target { tcp, unix: &unix };
                scope.spawn(move || attack(&target, CONNECTIONS, dice));
            }
        });
        siege.assert_unharmed();
    }
    let _seeds = Seeds(seeds);
    eventually("sessions expire", || siege.metric(r#"dunlin_sessions{state="offline"}"#) == 0.0);
    eventually("only the healthy pair is there", || siege.metric(r#"dunlin_sessions{state="online"}"#) == 2.0);
    // The pair's, and what the queue is bound to.
    eventually("only those subscriptions are there that were", || siege.metric("dunlin_subscriptions") == 2.0);
    eventually("no member of a group is left", || siege.metric("dunlin_shared_subscriptions") == 0.0);
    clear(&siege);
    let mut broker = siege.lift();
    broker.kill_and_restart();
    assert!(broker.get("/readyz").0.contains(" 200 "), "what was stored meanwhile can be read");
}

/// Takes away what the attackers have left to those who come later.
fn clear(siege: &Siege) {
    let mut cleaner = dial(&siege.door());
    cleaner.log_in(Connect { client_id: "cleaner", ..connect(V5) });
    eventually("what was retained is cleared", || {
        let topics = retained(&mut cleaner);
        topics.iter().for_each(|topic| cleaner.retain(topic, ""));
        topics.is_empty()
    });
}

/// The topics of what is retained.
fn retained(client: &mut Client) -> Vec<String> {
    client.reuse_packet_ids();
    let filters = vec![(TopicFilter::new("#").unwrap(), SubscriptionOptions::default())];
    let (packet_id, user_properties) = (client.packet_id(), UserProperties::default());
    client.send(&Packet::Subscribe(Subscribe { packet_id, subscription_identifier: None, user_properties, filters }));
    let filters = vec![TopicFilter::new("#").unwrap()];
    let (packet_id, user_properties) = (client.packet_id(), UserProperties::default());
    client.send(&Packet::Unsubscribe(Unsubscribe { packet_id, user_properties, filters }));
    let mut topics = Vec::new();
    let mut has_more = true;
    while has_more {
        // The pair's messages come too.
        client.expect("anything", |packet| {
            match packet {
                Packet::Publish(publish) if publish.retain => topics.push(publish.topic.expect("no alias").to_string()),
                Packet::UnsubAck(_) => has_more = false,
                _ => {}
            }
            Some(())
        });
    }
    topics
}
