//! What is written last may be there in part, or not as it was: a beginning is kept. What is broken before that is told, and nothing
//! is guessed.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use dunlin::packet::{Delivery, QoS};

use crate::failures::{waited, waiting};
use crate::files::{files, segments};
use crate::house::{House, dunlin, text};
use crate::steps::{expect_puback, id, send};
use crate::support::Client;
use crate::support::client::V5;

/// Segments small enough to be copied hundreds of times.
const CONFIG: &str = "[durability]\nsegment_size = \"64KiB\"\n";

/// How far back from the end of what is written the file is cut.
const BACK: u64 = 320;

/// A data directory with messages for the session "s", the last of them in one batch, after a kill.
fn killed(count: usize) -> (House, Vec<String>) {
    let house = House::new(CONFIG);
    let broker = house.start();
    waiting(&broker, "s");
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    let sent: Vec<String> = (0..count).map(|number| format!("message number {number:04}!")).collect();
    let (single, batch) = sent.split_at(count - 5);
    for payload in single {
        assert_eq!(publisher.publish("a/b", payload, QoS::AtLeastOnce), 0);
    }
    for (number, payload) in (1000..).zip(batch) {
        send(&mut publisher, "a/b", payload, Delivery::AtLeastOnce(id(number)), false);
    }
    for number in 1000..1005 {
        expect_puback(&mut publisher, id(number));
    }
    if count > MANY {
        await_checkpoint(&house);
    }
    broker.kill();
    (house, sent)
}

/// So many messages fill several segments.
const MANY: usize = 1000;

/// Waits until there is a checkpoint behind the oldest segment: it is made beside the commits, when enough has been written.
fn await_checkpoint(house: &House) {
    let number = |path: &Path| path.file_stem()?.to_str()?.split_once('-')?.1.parse::<u64>().ok();
    let oldest = number(&segments(house)[0]);
    let started = Instant::now();
    while !files(house, "checkpoint-").iter().any(|path| number(path) > oldest) {
        assert!(started.elapsed() < Duration::from_secs(30), "no checkpoint: {:?}", files(house, ""));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The file that was written last, and where what is written in it ends: what was set aside for more is zero.
fn end(house: &House) -> (std::path::PathBuf, u64) {
    let written = |path: &Path| fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
    let mut newest = segments(house);
    newest.retain(|path| fs::read(path).unwrap()[24..].iter().any(|byte| *byte != 0) || segments(house).len() == 1);
    let path = newest.pop().expect("a segment");
    let end = written(&path);
    (path, end)
}

fn assert_is_beginning(came: &[String], sent: &[String], what: &str) {
    assert!(came.len() <= sent.len() && came == &sent[..came.len()], "{what}: not a beginning of what was sent: {came:?}");
}

/// How the end of the file may look after the power is gone.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// The file ends here.
    Cut,
    /// What was set aside is there, and not written from here on.
    Zeros,
    /// Something else stands from here on, up to the end of what was written.
    Garbage,
}

fn damage(path: &Path, offset: u64, end: u64, damage: Damage) {
    let file = File::options().write(true).open(path).unwrap();
    use std::os::unix::fs::FileExt;
    match damage {
        Damage::Cut => file.set_len(offset).unwrap(),
        Damage::Zeros => file.write_all_at(&vec![0; (end - offset) as usize], offset).unwrap(),
        Damage::Garbage => {
            let garbage: Vec<u8> = (offset..end).map(|at| (crate::support::dice::mix(at) & 0xFF) as u8).collect();
            file.write_all_at(&garbage, offset).unwrap();
        }
    }
}

/// At every offset of the last records `dunlin inspect` reads it, and at some of them the broker itself gives what it has.
#[test]
fn a_torn_end_is_cut_off_wherever_it_is_torn() {
    let (house, sent) = killed(30);
    let (path, end) = end(&house);
    let name = path.file_name().unwrap().to_owned();
    for kind in [Damage::Cut, Damage::Zeros, Damage::Garbage] {
        let mut longest = 0;
        let step = if matches!(kind, Damage::Cut) { 1 } else { 4 };
        for offset in (end.saturating_sub(BACK)..=end).rev().step_by(step).collect::<Vec<_>>().into_iter().rev() {
            let copy = house.copy();
            damage(&copy.data().join(&name), offset, end, kind);
            let what = format!("{kind:?} at {offset} of {end}");
            let inspected = dunlin(&["inspect", &text(copy.data()), "--json"]);
            assert_eq!(inspected.code, Some(0), "{what}: {}", inspected.told);
            if (end - offset) % 16 != 0 {
                continue;
            }
            let broker = copy.start();
            let came = waited(&broker, "s");
            assert_is_beginning(&came, &sent, &what);
            assert!(came.len() >= longest, "{what}: the more is there, the more is found: {longest}, then {}", came.len());
            longest = came.len();
            // It goes on from there.
            waiting_more(&broker);
        }
        assert_eq!(longest, sent.len(), "{kind:?}: with all of the file there is all");
    }
}

fn waiting_more(broker: &crate::house::Broker) {
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    assert_eq!(publisher.publish("a/b", "later", QoS::AtLeastOnce), 0);
    assert_eq!(waited(broker, "s"), ["later"]);
}

/// What was cut off stays so: the next start finds nothing to cut, and new records in its place.
#[test]
fn after_a_torn_end_it_is_written_on_and_killed_again() {
    let (house, sent) = killed(30);
    let (path, end) = end(&house);
    damage(&path, end - 100, end, Damage::Garbage);
    let broker = house.start();
    let mut publisher = Client::connect(broker.address(), V5, "publisher");
    assert_eq!(publisher.publish("a/b", "later", QoS::AtLeastOnce), 0);
    broker.kill();
    house.start().kill();
    let mut came = waited(&house.start(), "s");
    assert_eq!(came.pop().as_deref(), Some("later"));
    assert_is_beginning(&came, &sent, "before it");
    assert!(came.len() >= sent.len() - 10);
}

/// Flips one bit in the middle of this text, wherever it stands in the data directory; the file and the place of the text.
fn flip(house: &House, needle: &str) -> (std::path::PathBuf, usize) {
    for path in segments(house) {
        let mut bytes = fs::read(&path).unwrap();
        let place = bytes.windows(needle.len()).position(|window| window == needle.as_bytes());
        if let Some(place) = place {
            bytes[place + needle.len() / 2] ^= 4;
            fs::write(&path, bytes).unwrap();
            return (path, place);
        }
    }
    panic!("{needle:?} is not found as it is in any segment");
}

fn assert_names_the_place(told: &str, path: &Path, place: usize) {
    assert!(told.contains(&*path.file_name().unwrap().to_string_lossy()), "it names the file: {told}");
    let numbers = told.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse::<usize>().ok());
    let is_near = |offset: usize| (place.saturating_sub(70_000)..=place).contains(&offset);
    assert!(numbers.filter(|number| *number > 0).any(is_near), "it names the offset, near {place}: {told}");
}

#[test]
fn a_flipped_bit_before_the_end_is_refused_with_its_place() {
    // In the segment that is written, in a batch with others behind it; and in one that was closed long ago.
    for count in [40, 2500] {
        let (house, sent) = killed(count);
        if count > MANY {
            assert!(segments(&house).len() > 2, "there is more than one segment: {:?}", segments(&house));
        }
        let broken = sent[20].clone();
        let (path, place) = flip(&house, &broken);
        let before = fs::read(&path).unwrap();
        let Err(ended) = house.try_start(&[]) else { panic!("started over a broken record") };
        assert_eq!(ended.code, Some(74), "{}", ended.told);
        assert_names_the_place(&ended.told, &path, place);
        assert!(ended.told.contains("--recover"), "it says what can be done: {}", ended.told);
        assert_eq!(fs::read(&path).unwrap(), before, "and leaves all as it is");

        let cut = house.copy();
        let came = waited(&cut.start_with(&["--recover", "truncate"]), "s");
        if count < MANY {
            assert_is_beginning(&came, &sent, "truncated");
            assert_eq!(came.len(), 20);
        } else {
            // Behind a checkpoint there is no journal to end, and only what lay there is given up.
            assert_is_rest(&came, &sent, &broken);
        }
        cut.start();

        let skipped = house.copy();
        let came = waited(&skipped.start_with(&["--recover", "skip"]), "s");
        assert!(!came.contains(&broken), "what is broken is not handed out");
        let mut rest = sent.iter();
        assert!(
            came.iter().all(|payload| rest.any(|sent| sent == payload)),
            "in order, with nothing strange between: {came:?}"
        );
        assert!(came.len() >= sent.len() - 5 && came.last() == sent.last(), "only what is broken is given up: {}", came.len());
        skipped.start();
    }
}

/// All that was sent but what is broken, and perhaps what was written together with it.
fn assert_is_rest(came: &[String], sent: &[String], broken: &String) {
    assert!(!came.contains(broken), "what is broken is not handed out");
    let mut rest = sent.iter();
    assert!(came.iter().all(|payload| rest.any(|sent| sent == payload)), "in order, with nothing strange between: {came:?}");
    assert!(came.len() >= sent.len() - 5 && came.last() == sent.last(), "only what is broken is given up: {}", came.len());
}

/// A file that is missing in the middle, or is cut there, is no torn end.
#[test]
fn a_segment_that_is_missing_or_cut_in_the_middle_is_refused() {
    let (house, _) = killed(2500);
    let all = segments(&house);
    assert!(all.len() > 2, "{all:?}");
    let middle = all[all.len() / 2].file_name().unwrap().to_owned();
    for is_missing in [true, false] {
        let copy = house.copy();
        let path = copy.data().join(&middle);
        if is_missing {
            fs::remove_file(&path).unwrap();
        } else {
            let length = path.metadata().unwrap().len();
            damage(&path, length / 2, length, Damage::Cut);
        }
        let Err(ended) = copy.try_start(&[]) else { panic!("started without {middle:?}, missing: {is_missing}") };
        assert_eq!(ended.code, Some(74), "{}", ended.told);
        assert!(ended.told.contains("segment-"), "{}", ended.told);
    }
}
