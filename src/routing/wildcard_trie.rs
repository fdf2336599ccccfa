use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use smallvec::SmallVec;

use super::arena::{Arena, Id};
use super::id_table::IdTable;
use super::levels::Levels;
use crate::packet::{TopicFilter, TopicName};

/// Filters with wildcards and one value for each, found level by level.
///
/// Nodes, values and level names lie in arenas; one table holds the edges of all nodes, so a node is 28 bytes and a filter costs what
/// sets it apart from the others. A filter and its branch are freed when its value is removed.
pub(super) struct WildcardTrie<T> {
    nodes: Arena<Node>,
    values: Arena<T>,
    levels: Levels,
    edges: IdTable,
    hasher: RandomState,
    root: Option<Id>,
}

/// One level of at least one filter.
struct Node {
    place: Place,
    /// The child for `+`.
    any: Option<Id>,
    /// The value of the filter that ends here.
    value: Option<Id>,
    /// The value of the filter that goes on with `#`, which has no node of its own.
    value_below: Option<Id>,
    /// How many children with a name there are.
    named_children: u32,
}

/// Where a node hangs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// Below this node, for `+`.
    Any(Id),
    /// Below a node, for a level with a name.
    Named(Edge),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Edge {
    parent: Id,
    level: Id,
}

/// The levels of a topic as the trie knows them, looked up when the walk first gets there.
struct TopicLevels<'a> {
    levels: &'a Levels,
    ahead: std::str::Split<'a, char>,
    /// `None`: no filter names it.
    known: SmallVec<[Option<Id>; 16]>,
}

impl<T: Default> WildcardTrie<T> {
    pub(super) fn new() -> Self {
        Self {
            nodes: Arena::new(),
            values: Arena::new(),
            levels: Levels::new(),
            edges: IdTable::new(),
            hasher: RandomState::default(),
            root: None,
        }
    }

    /// The value of a filter, made if it was not there.
    pub(super) fn entry(&mut self, filter: &TopicFilter) -> &mut T {
        let mut node = match self.root {
            Some(root) => root,
            None => *self.root.insert(self.nodes.insert(Node::new(Place::Root))),
        };
        let mut below = false;
        for level in filter.levels() {
            match level {
                "#" => below = true,
                "+" => node = self.any_child(node),
                name => node = self.named_child(node, name),
            }
        }
        let value = self.nodes.get_mut(node).slot(below);
        let value = *value.get_or_insert_with(|| self.values.insert(T::default()));
        self.values.get_mut(value)
    }

    pub(super) fn get_mut(&mut self, filter: &TopicFilter) -> Option<&mut T> {
        let (node, below) = self.find(filter)?;
        let value = (*self.nodes.get_mut(node).slot(below))?;
        Some(self.values.get_mut(value))
    }

    /// Takes a filter out, with the branch that only it needed.
    pub(super) fn remove(&mut self, filter: &TopicFilter) -> Option<T> {
        let (node, below) = self.find(filter)?;
        let value = self.nodes.get_mut(node).slot(below).take()?;
        self.prune(node);
        Some(self.values.remove(value))
    }

    /// Calls `found` with the value of each filter that matches, once per filter.
    ///
    /// The work is bounded by the nodes that the topic reaches, each at most once. Depth first, since a branch lies together in memory;
    /// without recursion, and with no more nodes put off than the topic has levels.
    pub(super) fn visit<'a>(&'a self, topic: TopicName<'_>, mut found: impl FnMut(&'a T)) {
        let mut levels = TopicLevels::new(&self.levels, topic);
        let mut put_off: SmallVec<[(Id, usize); 16]> = SmallVec::new();
        let mut at = self.root.map(|root| (root, 0));
        while let Some((id, depth)) = at.or_else(|| put_off.pop()) {
            let node = self.nodes.get(id);
            let wildcards = depth > 0 || !topic.is_dollar(); // [MQTT-4.7.2-1]
            if let (Some(value), true) = (node.value_below, wildcards) {
                found(self.values.get(value)); // also at the topic's end: `sport/#` matches `sport` (4.7.1.2)
            }
            at = None;
            let Some(level) = levels.at(depth) else {
                node.value.into_iter().for_each(|value| found(self.values.get(value)));
                continue;
            };
            if let (Some(any), true) = (node.any, wildcards) {
                at = Some((any, depth + 1));
            }
            if let (Some(level), 1..) = (level, node.named_children)
                && let Some(child) = self.find_edge(Edge { parent: id, level })
            {
                put_off.extend(at.replace((child, depth + 1)));
            }
        }
    }

    /// Nodes, values, levels and edges in use: all zero when no filter is left.
    #[cfg(test)]
    pub(super) fn occupancy(&self) -> [usize; 4] {
        [self.nodes.len(), self.values.len(), self.levels.len(), self.edges.len()]
    }

    /// The node where a filter ends, and whether it ends in `#`.
    fn find(&self, filter: &TopicFilter) -> Option<(Id, bool)> {
        let mut node = self.root?;
        let mut below = false;
        for level in filter.levels() {
            match level {
                "#" => below = true,
                "+" => node = self.nodes.get(node).any?,
                name => node = self.find_edge(Edge { parent: node, level: self.levels.find(name)? })?,
            }
        }
        Some((node, below))
    }

    fn find_edge(&self, edge: Edge) -> Option<Id> {
        self.edges.find(self.hasher.hash_one(edge), |child| self.nodes.get(child).place == Place::Named(edge))
    }

    fn any_child(&mut self, parent: Id) -> Id {
        if let Some(child) = self.nodes.get(parent).any {
            return child;
        }
        let child = self.nodes.insert(Node::new(Place::Any(parent)));
        self.nodes.get_mut(parent).any = Some(child);
        child
    }

    fn named_child(&mut self, parent: Id, name: &str) -> Id {
        let edge = Edge { parent, level: self.levels.acquire(name) };
        if let Some(child) = self.find_edge(edge) {
            self.levels.release(edge.level); // the edge holds it already
            return child;
        }
        let child = self.nodes.insert(Node::new(Place::Named(edge)));
        self.edges.insert(self.hasher.hash_one(edge), child);
        self.nodes.get_mut(parent).named_children += 1;
        child
    }

    /// Frees a node that nothing needs any more, and those above it that only led there.
    fn prune(&mut self, mut id: Id) {
        while self.nodes.get(id).is_unused() {
            match self.nodes.remove(id).place {
                Place::Root => {
                    self.root = None;
                    return;
                }
                Place::Any(parent) => {
                    self.nodes.get_mut(parent).any = None;
                    id = parent;
                }
                Place::Named(edge) => {
                    self.edges.remove(self.hasher.hash_one(edge), id);
                    self.levels.release(edge.level);
                    self.nodes.get_mut(edge.parent).named_children -= 1;
                    id = edge.parent;
                }
            }
        }
    }
}

impl<'a> TopicLevels<'a> {
    fn new(levels: &'a Levels, topic: TopicName<'a>) -> Self {
        Self { levels, ahead: topic.levels(), known: SmallVec::new() }
    }

    /// The level at a depth, one deeper than was asked for before at most; the outer `None` at the topic's end.
    fn at(&mut self, depth: usize) -> Option<Option<Id>> {
        if depth == self.known.len() {
            self.known.push(self.levels.find(self.ahead.next()?));
        }
        Some(self.known[depth])
    }
}

impl Node {
    const fn new(place: Place) -> Self {
        Self { place, any: None, value: None, value_below: None, named_children: 0 }
    }

    const fn slot(&mut self, below: bool) -> &mut Option<Id> {
        if below { &mut self.value_below } else { &mut self.value }
    }

    const fn is_unused(&self) -> bool {
        self.any.is_none() && self.value.is_none() && self.value_below.is_none() && self.named_children == 0
    }
}
