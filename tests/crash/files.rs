//! The data directory as a whole: one process at a time, no version from the future, nothing left open to all.

use std::fs;
use std::path::PathBuf;

use crate::failures::{CONFIG, waited, waiting};
use crate::house::{House, dunlin, text};
use crate::support::Client;
use crate::support::client::V5;
use dunlin::packet::QoS;

/// Segments of a data directory, the oldest first.
pub fn segments(house: &House) -> Vec<PathBuf> {
    files(house, "segment-")
}

pub fn files(house: &House, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(house.data()).expect("the data directory is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
    files.sort();
    files
}

#[test]
fn a_data_directory_that_is_in_use_is_refused() {
    let house = House::new(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    let Err(ended) = house.try_start(&[]) else { panic!("two brokers on one data directory") };
    assert_eq!(ended.code, Some(74), "{}", ended.told);
    assert!(ended.told.contains(&text(house.data())), "{}", ended.told);
    assert!(ended.told.contains("another process"), "{}", ended.told);
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    assert_eq!(publisher.publish("a/b", "unharmed", QoS::AtLeastOnce), 0);
    broker.kill();
    assert_eq!(waited(&house.start(), "s"), ["unharmed"]);
}

/// src/storage/FORMAT.md: where the version stands in the header of a segment and of a checkpoint.
const VERSION_AT: usize = 8;

#[test]
fn a_data_directory_of_a_newer_format_is_refused() {
    let house = House::new(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    broker.stop();
    for path in segments(&house).into_iter().chain(files(&house, "checkpoint-")) {
        let before = fs::read(&path).unwrap();
        let mut newer = before.clone();
        newer[VERSION_AT] += 1;
        fs::write(&path, &newer).unwrap();
        let Err(ended) = house.try_start(&[]) else { panic!("{} of the next version is read", path.display()) };
        assert_eq!(ended.code, Some(74), "{}", ended.told);
        assert!(ended.told.contains("newer version"), "it says why: {}", ended.told);
        assert!(ended.told.contains(&*path.file_name().unwrap().to_string_lossy()), "and where: {}", ended.told);
        let inspected = dunlin(&["inspect", &text(house.data())]);
        assert_ne!(inspected.code, Some(0), "{}", inspected.said);
        assert_eq!(fs::read(&path).unwrap(), newer, "and leaves it as it is");
        fs::write(&path, before).unwrap();
    }
    assert!(waited(&house.start(), "s").is_empty());
}

/// A socket may have a path of some hundred bytes only, a data directory a longer one.
#[test]
fn a_data_directory_may_have_a_long_path() {
    let short = House::new(CONFIG);
    let house = short.moved_to(short.folder().join("long".repeat(40)).join("data"));
    let broker = house.start();
    waiting(&broker, "s");
    let backup = house.folder().join("backup");
    let made = dunlin(&["backup", &text(&backup), "--data-dir", &text(house.data())]);
    assert_eq!(made.code, Some(0), "{}", made.told);
    assert!(made.said.contains("1 sessions"), "{}", made.said);
}

/// Queues are other people's letters.
#[test]
fn the_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    for path in ["segment-", "checkpoint-", "control"].iter().flat_map(|prefix| files(&house, prefix)) {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}

#[test]
fn what_is_in_it_can_be_looked_at() {
    let house = House::new(CONFIG);
    let broker = house.start();
    waiting(&broker, "waiting session");
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    for _ in 0..3 {
        publisher.publish("a/b", "x", QoS::AtLeastOnce);
    }
    publisher.retain("retained/topic", "kept");
    broker.kill();
    let plain = dunlin(&["inspect", &text(house.data())]);
    assert_eq!(plain.code, Some(0), "{}", plain.told);
    assert!(plain.said.contains("waiting session"), "{}", plain.said);
    let json = dunlin(&["inspect", &text(house.data()), "--json"]);
    assert_eq!(json.code, Some(0), "{}", json.told);
    let value: serde_json::Value = serde_json::from_str(&json.said).expect("JSON");
    assert!(value.is_object() && json.said.contains("waiting session"), "{}", json.said);
    let broker = house.start();
    assert_eq!(waited(&broker, "waiting session").len(), 3, "and looking has changed nothing");
}
