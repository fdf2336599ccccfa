//! Each scenario, in both versions where they differ.

use crate::program::{bench, run, start};
use crate::support::{Broker, eventually};

#[test]
fn pairs_get_each_message_once_with_every_qos_and_version() {
    let broker = Broker::start();
    for version in ["4", "5"] {
        for qos in [0, 1, 2] {
            let run = bench(&broker, &format!("p2p -c 3 -L 300 -V {version} -q {qos}"));
            run.assert_good();
            assert_eq!((run.count("sent"), run.count("delivered")), (300, 300));
            assert_eq!(run.count("acknowledged"), if qos == 0 { 0 } else { 300 });
            assert_eq!(run.json["latency_us"]["count"], 300);
            assert_eq!(run.json["ack_latency_us"]["count"].as_u64().unwrap_or(0), run.count("acknowledged"));
            assert_eq!(run.json["connect_latency_us"]["count"], 6);
            assert_eq!(run.phase("publish")["count"], 300);
        }
    }
}

#[test]
fn all_get_everything_in_fans() {
    let broker = Broker::start();
    let run = bench(&broker, "fanin -c 20 --subscribers 2 -L 400 -q 1");
    assert_eq!(run.assert_good().count("delivered"), 800);
    let run = bench(&broker, "fanout -c 30 --publishers 2 -L 50 --threads 2");
    assert_eq!(run.assert_good().count("delivered"), 1500);
}

#[test]
fn a_duration_measures_after_the_warm_up_and_delivers_all_all_the_same() {
    let broker = Broker::start();
    let run = bench(&broker, "p2p -c 2 --warmup 100ms --duration 300ms -q 1 --persistent");
    run.assert_good();
    let measured = run.phase("publish")["count"].as_u64().expect("a count");
    assert!(measured > 0 && measured < run.count("sent"), "{}", run.out);
    assert!(run.json["latency_us"]["count"].as_u64().expect("a count") < run.count("sent"));
}

#[test]
fn an_open_loop_sends_as_many_as_it_should() {
    let broker = Broker::start();
    let run = bench(&broker, "p2p -c 4 --rate 2000 -L 500 -q 1");
    assert_eq!(run.assert_good().count("sent"), 500);
    assert_eq!(run.json["setup"]["pace"], "2000/s");
    let run = bench(&broker, "p2p -c 4 -I 5 -L 100 -V 4");
    assert_eq!(run.assert_good().count("sent"), 100);
    let run = bench(&broker, "p2p -c 1 -I 1000 -L 3 --patience 300ms");
    assert_eq!(run.assert_good().count("sent"), 3, "patience is not for what is not due yet");
}

#[test]
fn connections_are_counted_and_let_go() {
    let broker = Broker::start();
    let run = bench(&broker, "conn -c 50 --duration 100ms");
    assert_eq!(run.code, 0, "{}", run.errors);
    assert_eq!((&run.phase("connect")["count"], &run.phase("idle")["count"]), (&50.into(), &50.into()));
    assert_eq!(run.json["connect_latency_us"]["count"], 50);
    assert!(run.phase("idle")["broker"]["resident_after"].as_u64().expect("memory") > 1_000_000);
}

#[test]
fn members_of_a_shared_subscription_share() {
    let broker = Broker::start();
    for version in ["4", "5"] {
        let run = bench(&broker, &format!("shared -c 5 --members 3 -L 500 -q 1 -V {version} --threads 2"));
        assert_eq!(run.assert_good().count("delivered"), 500);
    }
}

#[test]
fn consumers_subscribe_as_they_are_told() {
    let broker = Broker::start();
    let run = bench(&broker, "queue -c 2 --consumers 2 -L 100 --name work --filter $share/{name}/{topics}");
    assert_eq!(run.assert_good().count("acknowledged"), 100);
}

#[test]
fn consumers_of_a_queue_find_a_backlog_and_each_message_comes_once() {
    let broker = Broker::with_config(
        "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n[work_queues]\nauto_create = \"anybody\"\n",
    );
    let run = bench(&broker, "queue -c 3 --consumers 2 --backlog 50 --keys 10 -L 100");
    assert_eq!(run.assert_good().count("delivered"), 150);
    assert_eq!(run.phase("fill")["count"], 50);
    let run = bench(&broker, "queue -c 3 --consumers 2 --backlog 50 -L 100 --persistent");
    assert_eq!(run.assert_good().count("delivered"), 150, "consumers whose sessions were kept");
    let run = bench(&broker, "queue -c 2 --backlog 40 --warmup 100ms --duration 300ms");
    run.assert_good();
    let measured = run.phase("publish")["count"].as_u64().expect("a count");
    assert!(measured > 0 && measured + 40 <= run.count("sent"), "{}", run.out);
}

#[test]
fn retained_messages_are_replayed_and_cleared() {
    let broker = Broker::start();
    let run = bench(&broker, "retained -c 3 -L 100 --subscribers 4");
    assert_eq!(run.assert_good().count("delivered"), 400);
    assert_eq!((&run.phase("store")["count"], &run.phase("replay")["count"]), (&100.into(), &400.into()));
    assert_eq!(run.phase("clear")["count"], 100);
    let run = bench(&broker, "retained -c 1 -L 1 --subscribers 1");
    assert_eq!(run.assert_good().count("delivered"), 1, "nothing is left of the run before");
}

#[test]
fn offline_sessions_get_what_was_queued_when_they_come_back() {
    let broker = Broker::start();
    for line in [
        "offline -c 3 --sessions 7 -L 200 -V 5",
        "offline -c 7 --sessions 3 -L 200 -V 4 -q 2",
        "offline -c 2 --sessions 5 -L 40 --everyone --window 1",
    ] {
        let run = bench(&broker, line);
        assert_eq!(run.assert_good().count("delivered"), 200, "{line}");
        assert_eq!((&run.phase("enqueue")["count"], &run.phase("drain")["count"]), (&200.into(), &200.into()), "{line}");
    }
}

#[test]
fn each_message_matches_one_of_many_wildcards() {
    let broker = Broker::start();
    let run = bench(&broker, "wildcards -c 3 --subscriptions 1500 --publishers 2 -L 1000");
    assert_eq!(run.assert_good().count("delivered"), 1000);
    assert_eq!(run.phase("subscribe")["count"], 1500);
}

#[test]
fn publishers_and_subscribers_of_two_processes_find_each_other() {
    let broker = Broker::start();
    let port = broker.address().port();
    let subscribers = start(&format!("sub -c 2 -t two/+ -L 200 -q 1 -p {port}"));
    eventually("both subscriptions are there", || broker.metric("dunlin_subscriptions") == 2.0);
    let published = bench(&broker, "pub -c 2 -t two/%i -L 100 -q 1");
    assert_eq!((published.code, published.count("acknowledged")), (0, 100), "{}", published.errors);
    let received = run(subscribers.wait_with_output().expect("it ends"));
    assert_eq!(received.code, 0, "{}", received.errors);
    assert!(
        received.out.contains("200 delivered") && received.out.contains("0 lost, 0 doubled, 0 reordered"),
        "{}",
        received.out
    );
}

#[test]
fn members_who_share_a_subscription_of_their_own_miss_nothing() {
    let broker = Broker::start();
    let port = broker.address().port();
    let subscribers = start(&format!("sub -c 3 -t $share/g/shared/+ -L 90 -q 1 -p {port}"));
    eventually("all are members", || broker.metric("dunlin_subscriptions") == 3.0);
    assert_eq!(bench(&broker, "pub -c 1 -t shared/%i -L 90 -q 1").code, 0);
    let received = run(subscribers.wait_with_output().expect("it ends"));
    assert_eq!(received.code, 0, "{}\n{}", received.out, received.errors);
    assert!(received.out.contains("90 delivered") && received.out.contains("0 lost"), "{}", received.out);
}

#[test]
fn the_summary_and_the_progress_can_be_read_by_people() {
    let broker = Broker::start();
    let run = bench(&broker, "p2p -c 2 -q 1 --duration 2500ms --warmup 0s");
    let lines: Vec<_> = run.out.lines().collect();
    assert!(
        lines[0].starts_with("p2p: broker at 127.0.0.1:") && lines[0].ends_with("4 clients, QoS 1, 64 B, window 100"),
        "{}",
        run.out
    );
    for word in ["publish", "deliveries in", "acknowledged/s", "of CPU", "p99.9", "lost"] {
        assert!(run.out.contains(word), "{word}: {}", run.out);
    }
    let progress = run.errors.lines().find(|line| line.contains("publish")).expect("a line of progress in a pipe");
    assert!(progress.contains("delivered (") && !progress.contains('\r'), "{progress:?}");
    assert_eq!(bench(&broker, "p2p -L 10 --quiet").errors, "");
}
