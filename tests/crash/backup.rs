//! `dunlin backup` of a running broker, `dunlin restore` into a new data directory.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use dunlin::packet::QoS;

use crate::failures::{CONFIG, waited, waiting};
use crate::house::{House, dunlin, text};
use crate::support::client::{V5, V311};
use crate::support::{Client, eventually};

#[test]
fn a_backup_has_all_that_was_acknowledged_before_it_began() {
    let house = House::new(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    let mut publisher = Client::connect(broker.address(), V311, "lamp");
    publisher.retain("r/1", "kept");
    publisher.retain("r/2", "not kept");
    publisher.retain("r/2", "");

    let acknowledged = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let address = broker.address();
    let backup = house.folder().join("backup");
    let before = thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Client::connect(address, V5, "publisher");
            let padding = "x".repeat(2000);
            while !is_over.load(Ordering::SeqCst) && acknowledged.load(Ordering::SeqCst) < 5000 {
                let number = acknowledged.load(Ordering::SeqCst);
                publisher.publish("a/b", &format!("{number} {padding}"), QoS::AtLeastOnce);
                acknowledged.store(number + 1, Ordering::SeqCst);
            }
        });
        eventually("some are published", || acknowledged.load(Ordering::SeqCst) > 700);
        let before = acknowledged.load(Ordering::SeqCst);
        let made = dunlin(&["backup", &text(&backup), "--data-dir", &text(house.data())]);
        is_over.store(true, Ordering::SeqCst);
        assert_eq!(made.code, Some(0), "{}", made.told);
        before
    });
    let after = acknowledged.load(Ordering::SeqCst);

    let restored = house.moved_to(house.folder().join("restored"));
    let done = dunlin(&["restore", &text(&backup), "--data-dir", &text(restored.data())]);
    assert_eq!(done.code, Some(0), "{}", done.told);
    let other = restored.start();
    let came: Vec<usize> =
        waited(&other, "s").iter().map(|payload| payload.split_once(' ').unwrap().0.parse().unwrap()).collect();
    assert_eq!(came, (0..came.len()).collect::<Vec<_>>(), "a beginning of what was published, in order");
    assert!(came.len() >= before && came.len() <= after + 1, "{} of {before} to {after}", came.len());
    let mut reader = Client::connect(other.address(), V5, "reader");
    reader.subscribe("r/#", QoS::AtMostOnce);
    reader.expect_message("r/1", "kept");
    reader.expect_nothing();

    assert_eq!(waited(&broker, "s").len(), after, "and the broker itself has noticed nothing");
}

#[test]
fn a_backup_does_not_go_over_what_is_there() {
    let house = House::new(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    let backup = house.folder().join("backup");
    let data = text(house.data());
    assert_eq!(dunlin(&["backup", &text(&backup), "--data-dir", &data]).code, Some(0));
    assert_ne!(dunlin(&["backup", &text(&backup), "--data-dir", &data]).code, Some(0), "the folder is not empty");
    let into_use = dunlin(&["restore", &text(&backup), "--data-dir", &data]);
    assert_ne!(into_use.code, Some(0), "a data directory in use");
    broker.kill();
    let into_old = dunlin(&["restore", &text(&backup), "--data-dir", &data]);
    assert_ne!(into_old.code, Some(0), "a data directory with something in it");
    assert!(waited(&house.start(), "s").is_empty());
}

#[test]
fn a_backup_of_what_is_not_there_is_an_error() {
    let house = House::new(CONFIG);
    let nowhere = text(&house.folder().join("nowhere"));
    let into = text(&house.folder().join("backup"));
    assert_ne!(dunlin(&["backup", &into, "--data-dir", &nowhere]).code, Some(0));
    assert_ne!(dunlin(&["restore", &nowhere, "--data-dir", &into]).code, Some(0));
    assert_ne!(dunlin(&["inspect", &nowhere]).code, Some(0));
}
