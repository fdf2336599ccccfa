//! Who has subscribed to what.

use std::collections::HashMap;

#[derive(Debug, Default)]
pub(super) struct Audience {
    /// Filters without wildcards.
    exact: HashMap<String, Vec<usize>>,
    wild: Vec<(String, usize)>,
    /// Changes whenever a subscriber comes or goes.
    generation: u64,
}

impl Audience {
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn add(&mut self, peer: usize, filter: String) {
        self.generation += 1;
        if filter.contains(['+', '#']) {
            self.wild.push((filter, peer));
        } else {
            self.exact.entry(filter).or_default().push(peer);
        }
    }

    pub(super) fn remove(&mut self, peer: usize) {
        self.generation += 1;
        self.wild.retain(|(_, there)| *there != peer);
        self.exact.retain(|_, peers| {
            peers.retain(|there| *there != peer);
            !peers.is_empty()
        });
    }

    /// Each one once.
    pub(super) fn of(&self, topic: &str) -> Vec<usize> {
        let wild = self.wild.iter().filter(|(filter, _)| matches(filter, topic)).map(|(_, peer)| *peer);
        let mut peers: Vec<_> = self.exact.get(topic).into_iter().flatten().copied().chain(wild).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }
}

/// Neither is checked: both are the load tester's own.
fn matches(filter: &str, topic: &str) -> bool {
    let mut topic = topic.split('/');
    let mut filter = filter.split('/');
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some(wanted), Some(level)) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_in_mqtt() {
        for (filter, topic) in [("a/b", "a/b"), ("a/+", "a/b"), ("a/#", "a"), ("a/#", "a/b/c"), ("#", "x"), ("+/b", "é/b")] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [("a/b", "a/c"), ("a/+", "a"), ("a/+", "a/b/c"), ("a", "a/b"), ("a/b", "a")] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn each_subscriber_is_found_once_until_it_leaves() {
        let mut audience = Audience::default();
        for (peer, filter) in [(2, "a/#"), (1, "a/b"), (2, "a/b"), (3, "c")] {
            audience.add(peer, filter.into());
        }
        assert_eq!(audience.of("a/b"), [1, 2]);
        let generation = audience.generation();
        audience.remove(2);
        assert_eq!(audience.of("a/b"), [1]);
        assert_ne!(audience.generation(), generation);
    }
}
