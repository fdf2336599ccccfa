//! Random operations, compared with the plain definition of a match.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::test_subscriber::Client;
use super::tests::{filter, index, topic, with_identifier};
use super::{MatchCache, Matches, RetainedTree, Subscriber};
use crate::packet::TopicFilter;

fn level(wildcards: bool) -> impl Strategy<Value = String> {
    let names = prop_oneof![Just("a"), Just("b"), Just(""), Just("$x"), Just("a-b"), Just("a0")];
    let level = if wildcards { prop_oneof![2 => names, 1 => Just("+")].boxed() } else { names.boxed() };
    level.prop_map(str::to_owned)
}

fn a_topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(false), 1..5).prop_map(|levels| levels.join("/")).prop_filter("empty", |text| !text.is_empty())
}

fn a_filter() -> impl Strategy<Value = String> {
    let shared = prop_oneof![4 => Just(""), 1 => Just("$share/g/"), 1 => Just("$share/h/")];
    (shared, prop::collection::vec(level(true), 0..4), any::<bool>())
        .prop_map(|(shared, mut levels, below)| {
            levels.extend(below.then(|| "#".to_owned()));
            (shared, levels.join("/"))
        })
        .prop_filter("empty", |(_, text)| !text.is_empty())
        .prop_map(|(shared, text)| format!("{shared}{text}"))
}

#[derive(Clone, Debug)]
enum Operation {
    Subscribe(u64, String, u32),
    Unsubscribe(u64, String),
    Publish(String),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        4 => (0..20u64, a_filter(), 1..9u32).prop_map(|(key, text, id)| Operation::Subscribe(key, text, id)),
        2 => (0..20u64, a_filter()).prop_map(|(key, text)| Operation::Unsubscribe(key, text)),
        3 => a_topic().prop_map(Operation::Publish),
    ];
    prop::collection::vec(operation, 1..120)
}

/// All subscriptions in a plain map: (filter, key) to identifier.
type Model = BTreeMap<(String, u64), u32>;

/// By key of the recipient, its sorted identifiers.
fn expected_recipients(model: &Model, name: &str) -> BTreeMap<u64, Vec<u32>> {
    let mut recipients: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for ((text, key), identifier) in model {
        if !text.starts_with("$share/") && filter(text).matches(topic(name)) {
            recipients.entry(*key).or_default().push(*identifier);
        }
    }
    recipients.values_mut().for_each(|identifiers| identifiers.sort_unstable());
    recipients
}

/// By whole filter, how many members its group has.
fn expected_groups(model: &Model, name: &str) -> BTreeMap<String, usize> {
    let mut groups = BTreeMap::new();
    for (text, _) in model.keys() {
        if filter(text).shared().is_some_and(|shared| shared.unwrap().filter.matches(topic(name))) {
            *groups.entry(text.clone()).or_default() += 1;
        }
    }
    groups
}

fn compare(matches: &Matches<Client>, model: &Model, name: &str) {
    let recipients = matches.recipients.iter().map(|recipient| {
        let mut identifiers = recipient.grant.identifiers.to_vec();
        identifiers.sort_unstable();
        (recipient.subscriber.key(), identifiers)
    });
    assert_eq!(recipients.collect::<BTreeMap<_, _>>(), expected_recipients(model, name), "{name}");
    let groups = matches.groups.iter().map(|group| (group.whole_filter().to_string(), group.len()));
    assert_eq!(groups.collect::<BTreeMap<_, _>>(), expected_groups(model, name), "{name}");
    assert_eq!(matches.recipients.len(), expected_recipients(model, name).len(), "each once");
}

proptest! {
    #[test]
    fn the_index_and_its_cache_agree_with_the_plain_definition(operations in operations()) {
        let (mut index, mut model) = (index(), Model::new());
        let mut cache = MatchCache::new(8, 4096);
        for operation in operations {
            match operation {
                Operation::Subscribe(key, text, identifier) => {
                    let new = index.subscribe(&filter(&text), Client::new(key), with_identifier(identifier));
                    prop_assert_eq!(new, model.insert((text, key), identifier).is_none());
                }
                Operation::Unsubscribe(key, text) => {
                    prop_assert_eq!(index.unsubscribe(&filter(&text), key), model.remove(&(text, key)).is_some());
                }
                Operation::Publish(name) => {
                    compare(&index.matches(topic(&name)), &model, &name);
                    for _ in 0..3 {
                        compare(&cache.lookup(index.generation(), topic(&name), || (index.generation(), index.matches(topic(&name)))), &model, &name);
                    }
                }
            }
            prop_assert_eq!(index.len(), model.len());
            prop_assert_eq!(index.shared_len(), model.keys().filter(|(text, _)| text.starts_with("$share/")).count());
        }
        for (text, key) in model.into_keys() {
            prop_assert!(index.unsubscribe(&filter(&text), key));
        }
        prop_assert_eq!(index.occupancy(), [0; 7]);
    }

    #[test]
    fn the_retained_tree_agrees_with_the_plain_definition_whole_and_in_pieces(
        writes in prop::collection::vec((a_topic(), any::<bool>()), 1..80),
        filters in prop::collection::vec(a_filter(), 1..20),
        limit in 1..10usize,
        taken_each_time in 1..5usize,
    ) {
        let (mut tree, mut model) = (RetainedTree::new(), BTreeMap::new());
        for (number, (name, keep)) in writes.into_iter().enumerate() {
            if keep {
                let old = model.insert(name.clone(), number).map(|old| (name.clone(), old));
                prop_assert_eq!(tree.insert((name, number)), old);
            } else {
                prop_assert_eq!(tree.remove(topic(&name)), model.remove_entry(&name));
            }
        }
        prop_assert_eq!(tree.len(), model.len());
        for text in filters.into_iter().map(|text| filter(&text)) {
            let expected: Vec<_> = model.iter().filter(|(name, _)| text.matches(topic(name))).map(|(name, n)| (name.clone(), *n)).collect();
            let mut visited = Vec::new();
            tree.visit(&text, |name, (_, number)| {
                visited.push((name.to_string(), *number));
                ControlFlow::Continue(())
            });
            prop_assert_eq!(&visited, &expected);
            prop_assert_eq!(in_pieces(&tree, &text, limit, taken_each_time), expected);
        }
    }
}

/// What a receiver sees who takes no more than `taken_each_time` topics of a piece.
fn in_pieces(
    tree: &RetainedTree<(String, usize)>,
    filter: &TopicFilter,
    limit: usize,
    taken_each_time: usize,
) -> Vec<(String, usize)> {
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let mut room = taken_each_time;
        from = tree.scan(filter, from.as_deref(), limit, |name, (_, number)| {
            if room == 0 {
                return ControlFlow::Break(());
            }
            room -= 1;
            all.push((name.to_string(), *number));
            ControlFlow::Continue(())
        });
        if from.is_none() {
            return all;
        }
    }
}
