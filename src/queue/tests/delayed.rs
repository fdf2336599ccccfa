use super::*;
use crate::storage::PublishingClient;

const BOUNDS: DelayedBounds = DelayedBounds { messages_max: 3, bytes_max: 100 };

fn due(delayed: &mut DelayedMessages<u32, Owner>, now: UnixMillis) -> Vec<u32> {
    std::iter::from_fn(|| delayed.poll_due(now)).map(|due| due.body).collect()
}

fn owner(user: &str) -> Option<Owner> {
    let client = PublishingClient { client_id: "c".into(), username: Some(user.into()), listener: "tcp".into() };
    Some(Owner { client, tenant: Some("t/".into()) })
}

#[test]
fn whose_they_are_is_written_down() {
    let mut delayed = DelayedMessages::new(BOUNDS, START);
    for body in 0..3 {
        delayed.schedule(body, 10, START, owner("alice")).unwrap();
    }
    let mut restored = DelayedMessages::new(BOUNDS, START);
    while let Some(change) = delayed.poll_change() {
        let mut bytes = Vec::new();
        change.write(&mut bytes);
        for length in 0..bytes.len() {
            assert_eq!(DelayedChange::read(&bytes[..length], Some(0)), None::<DelayedChange<u32, Owner>>);
        }
        let read = DelayedChange::read(&bytes, change.body().copied()).unwrap();
        assert_eq!(read, change);
        restored.apply(read);
    }
    let first = restored.poll_due(START).unwrap();
    assert_eq!((first.body, first.size, &first.owner), (0, 10, &owner("alice")));
    let second = restored.poll_due(START).unwrap();
    restored.put_back(second, START);
    let mut owned = 0;
    restored.show(0, 100, |one| owned += usize::from(matches!(one, DelayedChange::Scheduled { owner: Some(_), .. })));
    assert_eq!(owned, 2);
}

#[test]
fn they_come_when_due_and_once() {
    let mut delayed = DelayedMessages::new(BOUNDS, START);
    let after = |seconds| START.plus(Duration::from_secs(seconds));
    delayed.schedule(2, 10, after(20), None).unwrap();
    delayed.schedule(1, 10, after(10), None).unwrap();
    let third = delayed.schedule(3, 10, after(10), None).unwrap();
    assert_eq!(delayed.schedule(4, 10, after(1), None), Err(DelayedFull::Messages));
    assert_eq!(delayed.cancel(third), Some(3));
    assert_eq!(delayed.cancel(third), None);
    assert_eq!(delayed.schedule(4, 81, after(1), None), Err(DelayedFull::Bytes));
    assert!(delayed.poll_timeout().unwrap() <= after(10));
    assert!(due(&mut delayed, after(9)).is_empty());
    assert_eq!(due(&mut delayed, after(10)), [1]);
    assert_eq!(due(&mut delayed, after(100)), [2]);
    assert_eq!((delayed.len(), delayed.bytes(), delayed.poll_timeout()), (0, 0, None));
}

#[test]
fn they_survive_a_restart_at_any_change() {
    let after = |seconds| START.plus(Duration::from_secs(seconds));
    let bounds = DelayedBounds { messages_max: 100, ..BOUNDS };
    let mut delayed = DelayedMessages::new(bounds, START);
    for body in 0..6 {
        delayed.schedule(body, 1, after(u64::from(body)), None).unwrap();
    }
    assert_eq!(due(&mut delayed, after(2)), [0, 1, 2]);
    let journal: Vec<_> = std::iter::from_fn(|| delayed.poll_change()).collect();
    for written in 0..=journal.len() {
        let mut restored = DelayedMessages::new(bounds, after(2));
        journal[..written].iter().for_each(|change| restored.apply(change.clone()));
        // One `Reserved`, six `Scheduled`, three `Released`.
        let expected: Vec<_> = (written.saturating_sub(7) as u32..6.min(written.saturating_sub(1)) as u32).collect();
        assert_eq!(due(&mut restored, after(100)), expected, "{written} written");
        assert!(restored.schedule(9, 1, after(200), None).unwrap() >= written.saturating_sub(1) as u64);
    }
}

#[test]
fn they_are_shown_in_pieces_while_others_come_and_go() {
    for seed in 0..20 {
        let mut random = random::Random::new(seed);
        let mut below = |bound: u64| random.next() % bound;
        let bounds = DelayedBounds { messages_max: 10_000, bytes_max: 1 << 30 };
        let (mut delayed, mut now) = (DelayedMessages::new(bounds, START), START);
        let mut some = |delayed: &mut DelayedMessages<u32, Owner>, now: UnixMillis| {
            (0..below(40)).for_each(|_| _ = delayed.schedule(0, 1, UnixMillis(now.0 + below(40_000)), None).unwrap());
        };
        (0..100).for_each(|_| some(&mut delayed, now));
        let mut journal: Vec<_> = std::iter::from_fn(|| delayed.poll_change()).collect();
        let (begun, mut shown, mut next) = (journal.len() / 2, Vec::new(), Some(0));
        while let Some(from) = next {
            next = delayed.show(from, 50, |change| shown.push(change));
            some(&mut delayed, now);
            now = now.plus(Duration::from_millis(200));
            due(&mut delayed, now);
            journal.extend(std::iter::from_fn(|| delayed.poll_change()));
        }
        let numbers = |changes: &mut dyn Iterator<Item = &DelayedChange<u32, Owner>>| {
            let mut waiting = std::collections::BTreeSet::new();
            for change in changes {
                match change {
                    DelayedChange::Scheduled { number, .. } => _ = waiting.insert(*number),
                    DelayedChange::Released { number } => _ = waiting.remove(number),
                    DelayedChange::Reserved { .. } => {}
                }
            }
            waiting
        };
        let live = numbers(&mut journal.iter());
        assert_eq!(live.len(), delayed.len());
        assert_eq!(numbers(&mut shown.iter().chain(&journal[begun..])), live, "seed {seed}");
    }
}

#[test]
fn a_million_are_fine() {
    let bounds = DelayedBounds { messages_max: 1 << 20, bytes_max: 1 << 30 };
    let mut delayed = DelayedMessages::<_, Owner>::new(bounds, START);
    let count = if cfg!(debug_assertions) { 50_000_u32 } else { 1_000_000 };
    for body in 0..count {
        delayed.schedule(body, 1, UnixMillis(START.0 + u64::from(body) * 7_919 % 100_000_000), None).unwrap();
        delayed.poll_change();
    }
    let mut last = 0;
    let mut seen = 0_u32;
    while let Some(wake) = delayed.poll_timeout() {
        while let Some(Due { body, .. }) = delayed.poll_due(wake) {
            let at = u64::from(body) * 7_919 % 100_000_000;
            assert!(START.0 + at <= wake.0.max(START.0) && at / 10 + 1 >= last);
            (last, seen) = (at / 10, seen + 1);
        }
    }
    assert_eq!(seen, count);
}

#[test]
fn a_number_that_leaves_no_room_for_the_next_is_not_read() {
    for (number, is_one) in [((1 << 63) - 1, true), (1 << 63, false), (u64::MAX, false)] {
        for change in [
            DelayedChange::Scheduled { number, at: START, size: 1, body: 7, owner: None },
            DelayedChange::Scheduled { number, at: START, size: 1, body: 7, owner: owner("alice") },
            DelayedChange::Released { number },
            DelayedChange::Reserved { until: number },
        ] {
            let mut bytes = Vec::new();
            change.write(&mut bytes);
            assert_eq!(DelayedChange::read(&bytes, Some(7)).is_some(), is_one, "{change:?}");
        }
    }
}
