//! The example of the README, as it is told there: three workers, an order that no worker can do, and what becomes of it.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)] // written for more users than there are here
#[path = "../clients/program.rs"]
mod program;

use std::path::Path;
use std::process::Command;

use program::{Program, mosquitto, publish, script};
use support::{Broker, eventually};

fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples").join(name)
}

/// Lines of `mosquitto_sub` with these arguments.
fn read(broker: &Broker, arguments: &[&str]) -> Vec<String> {
    Program::start(&mut mosquitto("mosquitto_sub", broker.address(), arguments)).succeed()
}

#[test]
fn three_workers_one_poison_message() {
    let config = std::fs::read_to_string(example("orders.toml")).unwrap().replace("127.0.0.1:1883", "127.0.0.1:0");
    let broker = Broker::with_config(&config);
    let port = broker.address().port().to_string();

    // Orders come before there is a worker.
    let mut orders = mosquitto("mosquitto_pub", broker.address(), &["-q", "1", "-t", "orders/eu/17", "-l"]);
    Program::start_reading(&mut orders, &example("orders.txt")).succeed();

    let hire = |name: &str, more: &[&str]| {
        let mut worker = Program::start(script("../examples/worker.py").args([name, "--port", &port]).args(more));
        worker.expect_line("Success");
        worker
    };
    let crew = ["ada", "bob", "cyd"].map(|name| hire(name, &[]));

    // One customer's orders are done in their order; the one without a price dies, and the others go on.
    let invoices = read(&broker, &["-q", "1", "-t", "$queue/invoices", "-C", "4", "-F", "%t %p"]);
    let expected = [(1, 10), (2, 7), (4, 6), (5, 9)];
    let line = |(id, total)| format!(r#"invoices/eu/17 {{"order": {id}, "total": {total}}}"#);
    assert_eq!(invoices, expected.map(line));

    // It is seen, with its story, and stays where it is.
    let dead = dunlin(&broker, &["queue", "dead", "orders", "--json"]);
    for part in [r#"{\"id\": 3, \"amount\": 4}"#, "max-deliveries", "orders/eu/17"] {
        assert!(dead.contains(part), "{part} in {dead}");
    }
    let dead_letters = |count| {
        // Looked at once a second.
        eventually("the figure follows", || broker.metric(r#"dunlin_queue_dead_letters{queue="orders"}"#) == count);
    };
    dead_letters(1.0);

    // With workers that can do it, it is tried again as if it had never been.
    drop(crew);
    let _crew = ["ada", "bob", "cyd"].map(|name| hire(name, &["--price", "1"]));
    dunlin(&broker, &["queue", "redrive", "orders"]);
    let next_invoice = || read(&broker, &["-q", "1", "-t", "$queue/invoices", "-C", "1", "-F", "%t %p"]);
    assert_eq!(next_invoice(), [line((3, 4))]);

    // One that no worker can ever do is taken out, mended, and put back into this queue alone.
    publish(broker.address(), &["-q", "1", "-t", "orders/eu/17", "-m", r#"{"id": 6, "price": 2}"#]);
    let letters = read(&broker, &["-V", "5", "-q", "1", "-t", "$dlq/orders", "-C", "1", "-F", "%t %p %P"]);
    let letter = letters.first().unwrap();
    assert!(letter.starts_with(r#"orders/eu/17 {"id": 6, "price": 2} "#), "{letter}");
    for part in ["q-dead-reason:max-deliveries", "q-dead-queue:orders", "q-dead-attempts:3", "q-dead-last-client:"] {
        assert!(letter.contains(part), "{part} in {letter}");
    }
    let mended = r#"{"id": 6, "price": 2, "amount": 2}"#;
    publish(broker.address(), &["-q", "1", "-t", "$queue/orders/$put/orders/eu/17", "-m", mended]);
    assert_eq!(next_invoice(), [line((6, 4))]);
    dead_letters(0.0);
}

/// What `dunlin` says to these arguments, about this broker.
fn dunlin(broker: &Broker, arguments: &[&str]) -> String {
    let data = broker.folder.path().join("data");
    let output = Command::new(env!("CARGO_BIN_EXE_dunlin")).args(arguments).arg("--data-dir").arg(data).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
