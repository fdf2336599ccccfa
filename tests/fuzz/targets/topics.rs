//! The subscription index and the retained topics, held against the plain definition of a match (4.7).

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use arbitrary::Arbitrary;
use dunlin::packet::{TopicFilter, TopicName};
use dunlin::routing::{Availability, Index, Retainable, RetainedTree, Strategy, Subscriber, Subscription};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Level {
    A,
    B,
    Empty,
    Dollar,
    Long,
    Plus,
    Hash,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Subscribe(u8, bool, Vec<Level>),
    Unsubscribe(u8, bool, Vec<Level>),
    Publish(Vec<Level>),
    Retain(Vec<Level>),
    Forget(Vec<Level>),
    Find(Vec<Level>),
}

#[derive(Clone)]
struct Key(u64);

impl Subscriber for Key {
    fn key(&self) -> u64 {
        self.0
    }

    fn availability(&self) -> Availability {
        Availability::Ready
    }
}

fn text(levels: &[Level]) -> String {
    let name = |level: &Level| match level {
        Level::A => "a",
        Level::B => "b",
        Level::Empty => "",
        Level::Dollar => "$x",
        Level::Long => "a-level-that-is-longer",
        Level::Plus => "+",
        Level::Hash => "#",
    };
    levels.iter().take(12).map(name).collect::<Vec<_>>().join("/")
}

fn is_match(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false; // [MQTT-4.7.2-1]
    }
    let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    for (at, wanted) in filter.iter().enumerate() {
        match (*wanted, topic.get(at)) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == *level => {}
            _ => return false,
        }
    }
    filter.len() == topic.len()
}

/// A number that is retained.
#[derive(Debug, PartialEq)]
struct Kept(String, usize);

impl Retainable for Kept {
    fn topic(&self) -> TopicName<'_> {
        TopicName::new(&self.0).expect("it was a topic name when it was retained")
    }
}

fuzz_target!(|operations: Vec<Operation>| {
    let mut index = Index::new(Strategy::RoundRobin);
    let mut subscriptions: BTreeSet<(String, bool, u64)> = BTreeSet::new();
    let mut tree = RetainedTree::default();
    let mut retained: BTreeMap<String, usize> = BTreeMap::new();
    for (number, operation) in operations.into_iter().enumerate() {
        match operation {
            Operation::Subscribe(key, is_shared, levels) => {
                let (key, plain) = (u64::from(key % 12), text(&levels));
                let Ok(filter) = whole(&plain, is_shared) else { continue };
                let is_new = index.subscribe(&filter, Key(key), Subscription::default());
                assert_eq!(is_new, subscriptions.insert((plain, is_shared, key)));
            }
            Operation::Unsubscribe(key, is_shared, levels) => {
                let (key, plain) = (u64::from(key % 12), text(&levels));
                let Ok(filter) = whole(&plain, is_shared) else { continue };
                assert_eq!(index.unsubscribe(&filter, key), subscriptions.remove(&(plain, is_shared, key)));
            }
            Operation::Publish(levels) => {
                let name = text(&levels);
                let Ok(topic) = TopicName::new(&name) else { continue };
                check(&index, &subscriptions, topic);
            }
            Operation::Retain(levels) => {
                let name = text(&levels);
                if TopicName::new(&name).is_err() {
                    continue;
                }
                let old = retained.insert(name.clone(), number).map(|old| Kept(name.clone(), old));
                assert_eq!(tree.insert(Kept(name, number)), old);
            }
            Operation::Forget(levels) => {
                let name = text(&levels);
                let Ok(topic) = TopicName::new(&name) else { continue };
                assert_eq!(tree.remove(topic).map(|kept| kept.1), retained.remove(&name));
            }
            Operation::Find(levels) => {
                let plain = text(&levels);
                let Ok(filter) = whole(&plain, false) else { continue };
                let mut found = BTreeMap::new();
                tree.visit(&filter, |topic, Kept(_, number)| {
                    assert_eq!(found.insert(topic.as_str().to_owned(), *number), None);
                    ControlFlow::Continue(())
                });
                let expected = retained.iter().filter(|(name, _)| is_match(&plain, name));
                assert!(found.iter().eq(expected), "{plain} finds {found:?}");
            }
        }
        assert_eq!((index.len(), tree.len()), (subscriptions.len(), retained.len()));
    }
    for (plain, is_shared, key) in subscriptions {
        assert!(index.unsubscribe(&whole(&plain, is_shared).expect("it was one"), key));
    }
    assert!(index.is_empty());
});

fn whole(plain: &str, is_shared: bool) -> Result<TopicFilter, impl std::fmt::Debug> {
    let filter = if is_shared { TopicFilter::new(&format!("$share/group/{plain}")) } else { TopicFilter::new(plain) };
    match filter {
        Ok(filter) if is_shared && !matches!(filter.shared(), Some(Ok(_))) => Err("a broken share".to_owned()),
        other => other.map_err(|error| format!("{error:?}")),
    }
}

fn check(index: &Index<Key>, subscriptions: &BTreeSet<(String, bool, u64)>, topic: TopicName<'_>) {
    let matches = index.matches(topic);
    let mut keys: Vec<_> = matches.recipients.iter().map(|recipient| recipient.subscriber.key()).collect();
    keys.sort_unstable();
    let matching = subscriptions.iter().filter(|(plain, ..)| is_match(plain, topic.as_str()));
    let expected: BTreeSet<_> = matching.clone().filter(|(_, is_shared, _)| !is_shared).map(|(_, _, key)| *key).collect();
    assert!(keys.iter().eq(&expected), "{topic} reaches {keys:?}");
    let mut groups: Vec<_> = matches.groups.iter().map(|group| (group.filter().as_str().to_owned(), group.len())).collect();
    groups.sort_unstable();
    let mut members: BTreeMap<String, usize> = BTreeMap::new();
    matching.filter(|(_, is_shared, _)| *is_shared).for_each(|(plain, ..)| *members.entry(plain.clone()).or_default() += 1);
    assert!(groups.into_iter().eq(members), "groups of {topic}");
}
