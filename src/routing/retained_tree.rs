use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::collections::btree_set::Range;
use std::ops::{Bound, ControlFlow};

use super::skip_scan::{self, Step, step};
use crate::packet::{TopicFilter, TopicName};

/// What a tree keeps: it knows its topic, so that the tree need not.
pub trait Retainable {
    fn topic(&self) -> TopicName<'_>;

    /// The topic as it is compared with others.
    fn topic_bytes(&self) -> &[u8] {
        self.topic().as_str().as_bytes()
    }
}

/// One value for each topic, found by filter: what this filter wants.
///
/// A B-tree of values in the order of their topics' bytes. All topics below one branch stand together in it, so a filter is answered by
/// going through the branches that can match and seeking past the others. The order is fixed, so a long answer can be given in pieces:
/// the last topic of one piece is where the next one goes on, whatever was added or removed in between.
pub struct RetainedTree<M> {
    topics: BTreeSet<Leaf<M>>,
}

/// A value in the place of its topic.
struct Leaf<M>(M);

impl<M: Retainable> Borrow<[u8]> for Leaf<M> {
    fn borrow(&self) -> &[u8] {
        self.0.topic_bytes()
    }
}

impl<M: Retainable> Ord for Leaf<M> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.topic_bytes().cmp(other.0.topic_bytes())
    }
}

impl<M: Retainable> PartialOrd for Leaf<M> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<M: Retainable> PartialEq for Leaf<M> {
    fn eq(&self, other: &Self) -> bool {
        self.0.topic_bytes() == other.0.topic_bytes()
    }
}

impl<M: Retainable> Eq for Leaf<M> {}

/// Topics that are passed one by one before seeking: up to here, it is cheaper.
const NEAR: usize = 4;

impl<M: Retainable> RetainedTree<M> {
    pub const fn new() -> Self {
        Self { topics: BTreeSet::new() }
    }

    pub fn len(&self) -> usize {
        self.topics.len()
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Sets the value of its topic; the one that was there before.
    pub fn insert(&mut self, value: M) -> Option<M> {
        self.topics.replace(Leaf(value)).map(|leaf| leaf.0)
    }

    pub fn remove(&mut self, topic: TopicName<'_>) -> Option<M> {
        self.topics.take(topic.as_str().as_bytes()).map(|leaf| leaf.0)
    }

    /// Keeps the topics for which `keep` says so; looks at all of them.
    pub fn retain(&mut self, mut keep: impl FnMut(&M) -> bool) {
        self.topics.retain(|leaf| keep(&leaf.0));
    }

    pub fn get(&self, topic: TopicName<'_>) -> Option<&M> {
        self.topics.get(topic.as_str().as_bytes()).map(|leaf| &leaf.0)
    }

    /// Calls `found` with each topic that matches, in the order of their bytes, until it breaks. A `$share` filter is taken by its
    /// letters: shared subscriptions get no retained messages (4.8.2).
    pub fn visit(&self, filter: &TopicFilter, found: impl FnMut(TopicName<'_>, &M) -> ControlFlow<()>) {
        self.scan(filter, None, usize::MAX, found);
    }

    /// One piece of [`RetainedTree::visit`]: looks at no more than `limit` topics, whether they match or not, beginning with the topic
    /// `from` (or where it would stand), `None` for the first piece. Returns where the next piece begins, or `None` when that was all.
    /// A topic on which `found` breaks counts as not taken: the next piece begins with it.
    pub fn scan(
        &self,
        filter: &TopicFilter,
        from: Option<&str>,
        limit: usize,
        mut found: impl FnMut(TopicName<'_>, &M) -> ControlFlow<()>,
    ) -> Option<Box<str>> {
        let filter = filter.as_str();
        let first = skip_scan::first(filter);
        let mut topics = self.starting_at(from.map_or(first, |from| from.max(first)));
        let mut target = String::new();
        for _ in 0..limit {
            let value = &topics.next()?.0;
            let topic = value.topic();
            match step(filter, topic.as_str(), &mut target) {
                Step::Match if found(topic, value).is_break() => return Some(topic.as_str().into()),
                Step::Match | Step::Next => {}
                Step::Seek => self.seek(&mut topics, &target),
                Step::Done => return None,
            }
        }
        topics.next().map(|leaf| leaf.0.topic().as_str().into())
    }

    /// Calls `found` with no more than `limit` topics, whatever they are called, from `from` on. Returns where the next page begins.
    pub fn page(
        &self,
        from: Option<&str>,
        limit: usize,
        mut found: impl FnMut(TopicName<'_>, &M) -> ControlFlow<()>,
    ) -> Option<Box<str>> {
        let mut topics = self.starting_at(from.unwrap_or_default());
        for Leaf(value) in topics.by_ref().take(limit) {
            let topic = value.topic();
            if found(topic, value).is_break() {
                return Some(topic.as_str().into());
            }
        }
        topics.next().map(|leaf| leaf.0.topic().as_str().into())
    }

    fn starting_at(&self, topic: &str) -> Range<'_, Leaf<M>> {
        self.topics.range::<[u8], _>((Bound::Included(topic.as_bytes()), Bound::Unbounded))
    }

    /// Goes on to the first topic that is not before `target`: by steps if it is near, else down the tree.
    fn seek<'a>(&'a self, topics: &mut Range<'a, Leaf<M>>, target: &str) {
        for _ in 0..NEAR {
            let mut ahead = topics.clone();
            if ahead.next().is_none_or(|leaf| leaf.0.topic_bytes() >= target.as_bytes()) {
                return;
            }
            *topics = ahead;
        }
        *topics = self.starting_at(target);
    }
}

impl<M: Retainable> Default for RetainedTree<M> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<T> Retainable for (String, T) {
        fn topic(&self) -> TopicName<'_> {
            TopicName::new(&self.0).unwrap()
        }
    }

    fn tree_of(topics: impl IntoIterator<Item = String>) -> RetainedTree<(String, ())> {
        let mut tree = RetainedTree::new();
        for topic in topics {
            tree.insert((topic, ()));
        }
        tree
    }

    /// The matching topics, and how many pieces of ten looks it took to find them.
    fn look(tree: &RetainedTree<(String, ())>, filter: &str) -> (Vec<String>, usize) {
        let filter = TopicFilter::new(filter).unwrap();
        let (mut found, mut pieces, mut from) = (Vec::new(), 0, None);
        loop {
            pieces += 1;
            from = tree.scan(&filter, from.as_deref(), 10, |topic, _| {
                found.push(topic.to_string());
                ControlFlow::Continue(())
            });
            if from.is_none() {
                return (found, pieces);
            }
        }
    }

    #[test]
    fn dollar_topics_are_not_reached_by_wildcards_at_the_first_level() {
        let tree = tree_of(["$SYS/a", "a", "!/a"].map(str::to_owned));
        assert_eq!(look(&tree, "#").0, ["!/a", "a"]);
        assert_eq!(look(&tree, "+/a").0, ["!/a"]);
        assert_eq!(look(&tree, "$SYS/#").0, ["$SYS/a"]);
    }

    #[test]
    fn a_branch_that_cannot_match_is_not_walked() {
        // A hundred sites with a thousand topics each; three looks for each site: before, at and after.
        let tree = tree_of((0..100_000).map(|n| format!("{}/meter/{}", n / 1000, n % 1000)));
        let (found, pieces) = look(&tree, "+/meter/7");
        assert_eq!(found.len(), 100);
        assert!(pieces <= 31, "{pieces}");
        assert_eq!(look(&tree, "5/meter/12").1, 1);
        let (found, pieces) = look(&tree, "+/valve/#");
        assert!(found.is_empty() && pieces <= 31, "{pieces}");
        assert_eq!(look(&tree, "7/+/12").0, ["7/meter/12"]);
    }

    #[test]
    fn a_piece_goes_on_where_the_last_one_ended_though_topics_went_in_between() {
        let mut tree = tree_of((0..20).map(|n| format!("t/{n:02}")));
        let filter = TopicFilter::new("t/+").unwrap();
        let next = tree.scan(&filter, None, 5, |_, _| ControlFlow::Continue(())).unwrap();
        assert_eq!(&*next, "t/05");
        tree.remove(TopicName::new("t/05").unwrap());
        let mut rest = Vec::new();
        let end = tree.scan(&filter, Some(&next), 100, |topic, _| {
            rest.push(topic.to_string());
            ControlFlow::Continue(())
        });
        assert_eq!((rest.len(), rest[0].as_str(), end), (14, "t/06", None));
    }

    #[test]
    fn a_topic_that_was_not_taken_begins_the_next_piece() {
        let tree = tree_of(["a", "b"].map(str::to_owned));
        let next = tree.scan(&TopicFilter::new("#").unwrap(), None, 10, |topic, _| match topic.as_str() {
            "b" => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert_eq!(next.as_deref(), Some("b"));
    }
}
