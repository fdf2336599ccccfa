//! What goes wrong is told, and the exit code says it.

use crate::program::{at, bench, command, run};
use crate::support::Broker;

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
    let child = crate::program::start(&format!("p2p -c 2 --duration 20s --patience 500ms -p {port}"));
    crate::support::eventually("they are connected", || {
        broker.metric("dunlin_connections{listener=\"tcp\",version=\"5.0\"}") == 4.0
    });
    drop(broker);
    let told = run(child.wait_with_output().expect("it ends"));
    assert_ne!(told.code, 0);
    assert!(told.out.contains("4 connections broke"), "{}\n{}", told.out, told.errors);
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
