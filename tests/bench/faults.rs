//! What goes wrong is told, and the exit code says it.

use crate::fake::{Answer, CONNECT, DISCONNECT, PUBLISH, WELCOME, packet_id, serve};
use crate::program::{at, bench, command, run, start};
use crate::support::client::V5;
use crate::support::{Broker, Client, eventually};

#[test]
fn what_a_full_queue_drops_is_lost() {
    let broker = Broker::with_config(
        "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n[limits]\nmax_queued_messages = 10\nqueue_policy = \"drop-new\"\n",
    );
    let run = bench(&broker, "offline -c 1 --sessions 1 -L 30 --patience 1s -V 4");
    assert_eq!(run.code, 3, "{}\n{}", run.out, run.errors);
    assert_eq!((run.count("delivered"), run.count("lost")), (10, 20), "{}", run.out);
    let fault = &run.json["faults"][0];
    assert_eq!((&fault["lost"], &fault["doubled"]), (&20.into(), &0.into()));
    assert!(run.out.contains("20 lost, 0 doubled, 0 reordered"), "{}", run.out);
}

#[test]
fn nobody_listening_is_told_with_the_address() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let run = at(&format!("p2p -c 1 -L 1 -p {}", free.port()));
    assert_eq!(run.code, 1);
    assert!(run.errors.contains(&format!("cannot connect to {free}: Connection refused")), "{}", run.errors);
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let broker =
        Broker::with_config("[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n[auth]\nallow_anonymous = false\n");
    for version in ["4", "5"] {
        let run = bench(&broker, &format!("p2p -c 1 -L 1 -V {version}"));
        assert_eq!(run.code, 1);
        assert!(run.errors.contains("the broker refused the connection: "), "{}", run.errors);
    }
}

#[test]
fn some_connections_too_many_are_told_and_the_others_measured() {
    let broker = Broker::with_config("[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\nmax_connections = 5\n");
    let run = bench(&broker, "conn -c 8");
    assert_eq!(run.code, 1, "{}", run.out);
    assert_eq!(run.phase("connect")["count"], 5, "{}", run.out);
    assert!(run.out.contains("3 of 8 connections did not come about"), "{}", run.out);
}

#[test]
fn a_broker_that_goes_away_is_told() {
    let broker = Broker::start();
    let port = broker.address().port();
    let child = start(&format!("p2p -c 2 --duration 20s --patience 500ms -p {port}"));
    eventually("they are connected", || broker.metric("dunlin_connections{listener=\"tcp\",version=\"5.0\"}") == 4.0);
    drop(broker);
    let told = run(child.wait_with_output().expect("it ends"));
    assert_ne!(told.code, 0);
    assert!(told.out.contains("4 connections broke"), "{}\n{}", told.out, told.errors);
}

#[test]
fn one_connection_that_breaks_costs_its_messages_and_not_the_report() {
    let broker = Broker::start();
    let address = broker.address();
    let line = format!("p2p -c 3 -q 1 --prefix x --persistent --duration 8s --patience 1s -p {}", address.port());
    let child = start(&line);
    eventually("they are connected", || broker.metric("dunlin_connections{listener=\"tcp\",version=\"5.0\"}") == 6.0);
    let _intruder = Client::connect(address, V5, "xs1");
    let told = run(child.wait_with_output().expect("it ends"));
    assert!(told.out.contains("publish ") && told.out.contains("1 connections broke"), "{}\n{}", told.out, told.errors);
    eventually("the sessions were ended all the same", || broker.metric("dunlin_sessions{state=\"offline\"}") == 0.0);
}

#[test]
fn a_broker_that_hangs_up_behind_its_answer_is_noticed() {
    let address = serve(|_, _| Answer::HangUp(WELCOME.into()));
    let run = at(&format!("conn -c 3 --duration 20s -V 4 -p {}", address.port()));
    assert_eq!(run.code, 1, "{}", run.out);
    assert!(run.out.contains("3 connections broke") && run.out.contains("the broker closed the connection"), "{}", run.out);
}

#[test]
fn patience_is_not_measured() {
    let address = serve(|kind, body| match kind {
        CONNECT => Answer::Say(WELCOME.into()),
        PUBLISH if packet_id(body) == [0, 10] => Answer::Say(Vec::new()),
        PUBLISH => Answer::Say([&[0x40, 2][..], &packet_id(body)].concat()),
        _ => Answer::HangUp(Vec::new()),
    });
    let run = at(&format!("pub -c 1 -L 10 -q 1 --window 20 --patience 3s -V 4 -p {}", address.port()));
    assert_eq!((run.code, run.count("acknowledged")), (1, 9), "{}", run.out);
    assert!(run.phase("publish")["seconds"].as_f64().expect("seconds") < 2.0, "{}", run.out);
}

#[test]
fn a_limit_that_is_not_reached_is_told() {
    let address = serve(|kind, _| match kind {
        CONNECT => Answer::Say(WELCOME.into()),
        DISCONNECT => Answer::HangUp(Vec::new()),
        _ => Answer::Say(Vec::new()),
    });
    let run = at(&format!("pub -c 1 -L 10 -q 1 --window 1 --patience 300ms -V 4 -p {}", address.port()));
    assert_eq!(run.code, 1, "{}", run.out);
    assert!(run.out.contains("1 of 10 messages were sent"), "{}", run.out);
}

#[test]
fn what_an_open_loop_could_not_send_is_told_and_its_times_count() {
    let address = serve(|kind, _| match kind {
        // 5.0, and one message at a time.
        CONNECT => Answer::Say(vec![0x20, 6, 0, 0, 3, 0x21, 0, 1]),
        DISCONNECT => Answer::HangUp(Vec::new()),
        _ => Answer::Say(Vec::new()),
    });
    let line = "pub -c 1 -q 1 --rate 100 --warmup 0s --duration 1s --patience 300ms -V 5";
    let run = at(&format!("{line} -p {}", address.port()));
    assert_eq!((run.code, run.count("sent")), (1, 1), "{}", run.out);
    assert!(run.out.contains("messages were due and could not be sent"), "{}", run.out);
    assert!(run.json["ack_latency_us"]["count"].as_u64().expect("a count") > 50, "{}", run.out);
}

#[test]
fn an_acknowledgement_of_another_qos_is_refused() {
    let address = serve(|kind, body| match kind {
        CONNECT => Answer::Say(WELCOME.into()),
        PUBLISH => Answer::Say([&[0x40, 2][..], &packet_id(body)].concat()),
        _ => Answer::HangUp(Vec::new()),
    });
    let run = at(&format!("pub -c 1 -L 1 -q 2 --patience 300ms -V 4 -p {}", address.port()));
    assert_eq!(run.code, 1, "{}", run.out);
    assert!(run.out.contains("the broker acknowledged what was not sent"), "{}", run.out);
}

#[test]
fn a_lower_qos_than_was_asked_for_is_told() {
    let broker = Broker::with_config(
        "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n[work_queues]\nauto_create = \"anybody\"\n",
    );
    // A stored session gets no QoS 2 from a work queue.
    let run = bench(&broker, "queue -c 1 -L 10 -q 2 --persistent");
    assert_eq!((run.code, run.count("delivered")), (1, 10), "{}", run.out);
    assert!(run.out.contains("the broker granted QoS 1 instead of 2"), "{}", run.out);
}

/// What `benches/pgo` puts the broker to work with is found out here, not after a build of ten minutes.
#[test]
fn the_scenarios_of_the_optimised_build_are_known() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/pgo");
    let script = std::fs::read_to_string(script).expect("it is there");
    let scenarios: Vec<_> = script.lines().filter(|line| line.contains(" -p $")).collect();
    assert!(scenarios.len() > 10, "{scenarios:?}");
    for line in scenarios {
        let line = line.replace("$((port + 1))", "1").replace("-p $port", "-p 1").replace("\\$", "$");
        let told = at(&line);
        assert_eq!(told.code, 1, "nobody listens there, and that is all: {line}: {}", told.errors);
    }
}

#[test]
fn wrong_usage_is_2_and_help_is_only_the_long_one() {
    assert_eq!(at("p2p -s 5").code, 2);
    assert_eq!(at("p2p --nonsense").code, 2);
    assert_eq!(at("p2p -h").code, 2, "-h is for the host");
    let help = run(command("p2p --help").output().expect("it runs"));
    assert_eq!(help.code, 0);
    for word in ["--host", "--window", "--pid", "--json", "--cafile"] {
        assert!(help.out.contains(word), "{word}");
    }
}
