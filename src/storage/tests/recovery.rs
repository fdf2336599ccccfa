use super::*;
use crate::storage::fake::{Call, Random, Trouble};
use crate::storage::segment::segment_name;

const BATCHES: u64 = 6;

/// A journal with one session and one message in each of its batches, all synced.
fn filled(segment_size: u64) -> FakeBackend {
    let backend = FakeBackend::new();
    let mut opened = open_with(&backend, &config(segment_size), None).unwrap();
    let journal = opened.committer.journal().clone();
    tell_session(&journal, 1);
    for sequence in 0..BATCHES {
        let item = body_for(1, sequence);
        let mut transaction = Transaction::default();
        transaction.push(item);
        transaction.wait(sequence, Level::Sync);
        journal.submit(&mut transaction);
        opened.committer.commit(&mut |_| ()).unwrap();
    }
    backend
}

pub(super) fn tell_session(journal: &Journal<u64>, session: u64) {
    journal.tell(Item::Record(Record::Session { session, header: Box::new(header()) }));
}

pub(super) fn header() -> SessionHeader {
    SessionHeader {
        mount_point: None,
        client_id: "c".into(),
        username: None,
        listener: "l".into(),
        expiry_interval: 100,
        state: OnlineState::Online,
        will: None,
        next_sequence: 0,
        first_unsent: 0,
        revision: 0,
    }
}

fn body_for(session: u64, sequence: u64) -> Item {
    let body = Body::new(message("t", format!("message {sequence} {}", "x".repeat(40)).as_bytes(), QoS::AtLeastOnce));
    body.add(Recipient { session, sequence, qos: QoS::AtLeastOnce, retain: false, notes: None }).unwrap()
}

fn waiting(backend: &FakeBackend, recover: Option<Recover>) -> Result<Vec<u64>, StorageError> {
    let opened = open_with(backend, &config(1 << 16), recover)?;
    Ok(opened.state.sessions.get(&1).map(|session| session.entries.keys().copied().collect()).unwrap_or_default())
}

/// Where each batch ends.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut scan = scan::Scan::new(bytes, segment::HEADER);
    let mut ends = Vec::new();
    while let Ok(Some((told, _))) = scan.next() {
        if matches!(told, record::Told::Commit { .. }) {
            ends.push(scan.offset());
        }
    }
    ends
}

fn damage_of<T: std::fmt::Debug>(result: Result<T, StorageError>) -> Damage {
    match result {
        Err(StorageError::Damaged(damage)) => damage,
        other => panic!("{other:?} is not damaged"),
    }
}

#[test]
fn an_empty_folder_becomes_a_journal() {
    let backend = FakeBackend::new();
    assert_eq!(waiting(&backend, None).unwrap(), Vec::<u64>::new());
    assert_eq!(backend.list().unwrap(), [segment_name(1)]);
}

#[test]
fn a_tail_cut_anywhere_leaves_whole_batches() {
    let whole = filled(1 << 16).bytes(&segment_name(1));
    let ends = ends(&whole);
    for length in segment::HEADER..*ends.last().unwrap() {
        for zeros in [0, 700] {
            let backend = FakeBackend::new();
            backend.put(&segment_name(1), [&whole[..length], &vec![0; zeros][..]].concat());
            let batches = ends.iter().filter(|end| **end <= length).count() as u64;
            assert_eq!(waiting(&backend, None).unwrap(), (0..batches).collect::<Vec<_>>(), "cut at {length}");
            assert_eq!(waiting(&backend, None).unwrap().len() as u64, batches, "the second time");
        }
    }
}

#[test]
fn a_byte_that_changed_in_a_synced_batch_is_told_with_its_place() {
    let whole = filled(1 << 16);
    let ends = ends(&whole.bytes(&segment_name(1)));
    for offset in segment::HEADER..ends[ends.len() - 2] {
        let backend = whole.kill();
        backend.flip(&segment_name(1), offset, 3);
        let damage = damage_of(waiting(&backend, None));
        assert_eq!(damage.file, segment_name(1));
        assert!(damage.offset <= offset as u64 && offset as u64 - damage.offset < 200, "{damage:?} for {offset}");
    }
}

/// A sector that came back as zeros looked like the end of the journal, and all behind it was dropped without a word.
#[test]
fn zeros_in_the_middle_are_no_end() {
    let backend = filled(1 << 16);
    let ends = ends(&backend.bytes(&segment_name(1)));
    backend.garble(&segment_name(1), |bytes| bytes[ends[1]..ends[3]].fill(0));
    assert_eq!(damage_of(waiting(&backend, None)).offset, ends[1] as u64);
}

#[test]
fn truncate_gives_up_what_came_later_and_skip_only_what_cannot_be_read() {
    for (recover, left) in [(Recover::Truncate, vec![0, 1]), (Recover::Skip, vec![0, 1, 3, 4, 5])] {
        let backend = filled(1 << 16);
        let ends = ends(&backend.bytes(&segment_name(1)));
        backend.flip(&segment_name(1), ends[1] + 20, 0);
        assert_eq!(waiting(&backend, Some(recover)).unwrap(), left, "{recover:?}");
        assert_eq!(waiting(&backend, None).unwrap(), left, "{recover:?} is wanted once");
    }
}

#[test]
fn a_missing_segment_is_told_and_can_be_given_up() {
    let whole = filled(100);
    let names: Vec<_> = whole.list().unwrap();
    assert!(names.len() > 4, "{names:?}");
    for missing in [1, 3] {
        let backend = whole.kill();
        backend.remove(&segment_name(missing)).unwrap();
        assert_eq!(damage_of(waiting(&backend, None)).file, segment_name(missing));
        for recover in [Recover::Truncate, Recover::Skip] {
            let backend = backend.kill();
            let left = waiting(&backend, Some(recover)).unwrap();
            assert!(left.len() < BATCHES as usize);
            assert_eq!(waiting(&backend, None).unwrap(), left, "{recover:?} is wanted once");
        }
    }
}

#[test]
fn a_newer_format_is_refused() {
    let backend = filled(1 << 16);
    backend.garble(&segment_name(1), |bytes| bytes[8] = 9);
    assert!(matches!(waiting(&backend, None), Err(StorageError::Newer { found: 9, known: 1, .. })));
}

#[test]
fn a_segment_that_never_got_its_header_is_taken_away() {
    for bytes in [vec![], vec![0; 4096], b"dunlin-j\x01".to_vec()] {
        let backend = filled(1 << 16);
        backend.put(&segment_name(2), bytes);
        assert_eq!(waiting(&backend, None).unwrap().len() as u64, BATCHES);
    }
}

#[test]
fn recovery_that_fails_at_any_call_can_be_tried_again() {
    for call in 1..12 {
        for seed in 0..20 {
            let mut random = Random(seed);
            let backend = filled(1 << 16).crash(&mut random);
            backend.fail(Call::Change, call, Trouble::Broken, true);
            drop(open_with(&backend, &config(1 << 16), None));
            let left = backend.crash(&mut random);
            assert_eq!(waiting(&left, None).unwrap().len() as u64, BATCHES, "call {call}, seed {seed}");
        }
    }
}

/// The new session's record was behind the message in the same batch, or in the next one, and the message was dropped.
#[test]
fn a_message_may_be_told_before_the_session_that_it_waits_for() {
    let backend = FakeBackend::new();
    let mut opened = open_with(&backend, &config(1 << 16), None).unwrap();
    let journal = opened.committer.journal().clone();
    journal.tell(body_for(1, 0));
    opened.committer.commit(&mut |_| ()).unwrap();
    tell_session(&journal, 1);
    opened.committer.commit(&mut |_| ()).unwrap();
    assert_eq!(waiting(&backend, None).unwrap(), [0]);
}

/// A tear within a body looked like damage if its client had published what looks like the end of a later batch.
#[test]
fn a_torn_body_is_torn_whatever_a_client_has_put_in_it() {
    let backend = filled(1 << 16);
    let mut opened = open_with(&backend, &config(1 << 16), None).unwrap();
    let journal = opened.committer.journal().clone();
    let mut commit = |item| {
        let mut transaction = Transaction::default();
        transaction.push(item);
        transaction.wait(0, Level::Sync);
        journal.submit(&mut transaction);
        opened.committer.commit(&mut |_| ()).unwrap();
    };
    let mut payload = Vec::new();
    for start in [u32::MAX, 25, 200, 5000] {
        (0..100).for_each(|_| record::put_commit(&mut payload, start, true));
    }
    let body = Body::new(message("t", &payload, QoS::AtLeastOnce));
    let recipient = Recipient { session: 1, sequence: BATCHES, qos: QoS::AtLeastOnce, retain: false, notes: None };
    commit(body.add(recipient).unwrap());
    let whole = segment::HEADER + payload.len();
    for length in [whole - 1000, whole] {
        let torn = backend.kill();
        torn.garble(&segment_name(2), |bytes| bytes[length..].fill(0));
        assert_eq!(waiting(&torn, None).unwrap().len() as u64, BATCHES, "torn at {length}");
    }
    // Damaged, with another batch behind it, the body is passed over, and nothing of what is in it is a record.
    commit(body_for(1, BATCHES + 1));
    for offset in [segment::HEADER, segment::HEADER + 100] {
        let damaged = backend.kill();
        damaged.flip(&segment_name(2), offset, 0);
        assert!(waiting(&damaged, None).is_err());
        let left = waiting(&damaged, Some(Recover::Skip)).unwrap();
        assert_eq!(left, (0..BATCHES).chain([BATCHES + 1]).collect::<Vec<_>>(), "damaged at {offset}");
    }
}
