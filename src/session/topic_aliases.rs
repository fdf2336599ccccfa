//! Topic aliases (3.3.2.3.4). They belong to one Network Connection and are forgotten with it `[MQTT-3.3.2-7]`.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::packet::{AliasUse, TopicName};

/// The aliases that the client has set towards us.
#[derive(Debug, Default)]
pub struct InboundAliases {
    topics: Vec<Option<Arc<str>>>,
}

impl InboundAliases {
    /// Gives `alias` its meaning; `alias` is 1 up to the maximum that we told.
    pub fn define(&mut self, alias: u16, topic: TopicName<'_>) {
        let index = usize::from(alias) - 1;
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        if self.topics[index].as_deref() != Some(topic.as_str()) {
            self.topics[index] = Some(topic.as_str().into());
        }
    }

    pub fn resolve(&self, alias: u16) -> Option<Arc<str>> {
        self.topics.get(usize::from(alias).checked_sub(1)?)?.clone()
    }
}

/// The aliases that we have set towards the client.
#[derive(Debug)]
pub struct OutboundAliases {
    maximum: u16,
    by_topic: HashMap<Arc<str>, u16>,
    by_alias: Vec<Arc<str>>,
    misses: u32,
    /// Whether `maximum` is our own bound; then topics that got no alias for it are counted.
    is_own_bound: bool,
    refused: u64,
}

/// Shorter topics gain nothing: the property takes three bytes.
const SHORTEST_TOPIC: usize = 6;
/// With all aliases given out, one in so many topics without an alias takes over the oldest one.
const MISSES_PER_REPLACEMENT: u32 = 16;

impl OutboundAliases {
    /// `maximum` is the lower of the client's Topic Alias Maximum and our own bound `[MQTT-3.1.2-26]`; at least 1.
    pub fn new(maximum: u16) -> Self {
        assert!(maximum > 0, "without aliases there is no table");
        Self { maximum, by_topic: HashMap::new(), by_alias: Vec::new(), misses: 0, is_own_bound: false, refused: 0 }
    }

    /// The client would take more.
    pub fn within_own_bound(self) -> Self {
        Self { is_own_bound: true, ..self }
    }

    /// How many topics our own bound has left without an alias since the last time.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// The alias to write with a PUBLISH to `topic`. The caller must send that PUBLISH: from now on the alias counts as known.
    pub fn alias_for(&mut self, topic: TopicName<'_>) -> Option<(u16, AliasUse)> {
        if topic.as_str().len() < SHORTEST_TOPIC {
            return None;
        }
        if let Some(alias) = self.by_topic.get(topic.as_str()) {
            return Some((*alias, AliasUse::Refer));
        }
        let topic: Arc<str> = topic.as_str().into();
        if self.by_alias.len() < usize::from(self.maximum) {
            self.by_alias.push(topic.clone());
            let alias = self.by_alias.len() as u16;
            self.by_topic.insert(topic, alias);
            return Some((alias, AliasUse::Define));
        }
        self.misses = self.misses.wrapping_add(1);
        if !self.misses.is_multiple_of(MISSES_PER_REPLACEMENT) {
            self.refused += u64::from(self.is_own_bound);
            return None;
        }
        let index = (self.misses / MISSES_PER_REPLACEMENT) as usize % self.by_alias.len();
        let old = std::mem::replace(&mut self.by_alias[index], topic.clone());
        self.by_topic.remove(&old);
        let alias = index as u16 + 1;
        self.by_topic.insert(topic, alias);
        Some((alias, AliasUse::Define))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName<'_> {
        TopicName::new(name).unwrap()
    }

    #[test]
    fn an_alias_is_defined_once_and_then_referred_to() {
        let mut aliases = OutboundAliases::new(2);
        assert_eq!(aliases.alias_for(topic("a/long/topic")), Some((1, AliasUse::Define)));
        assert_eq!(aliases.alias_for(topic("a/long/topic")), Some((1, AliasUse::Refer)));
        assert_eq!(aliases.alias_for(topic("another/topic")), Some((2, AliasUse::Define)));
        assert_eq!(aliases.alias_for(topic("a/b")), None);
    }

    #[test]
    fn many_topics_never_use_more_aliases_than_the_client_takes() {
        let mut client = InboundAliases::default();
        let mut aliases = OutboundAliases::new(3);
        for round in 0..1000 {
            let name = format!("topic/{}", round % 7);
            match aliases.alias_for(topic(&name)) {
                Some((alias, AliasUse::Define)) => {
                    assert!((1..=3).contains(&alias));
                    client.define(alias, topic(&name));
                }
                Some((alias, AliasUse::Refer)) => assert_eq!(client.resolve(alias).as_deref(), Some(name.as_str())),
                None => {}
            }
        }
    }

    #[test]
    fn an_alias_that_was_never_set_means_nothing() {
        let mut aliases = InboundAliases::default();
        aliases.define(3, topic("x"));
        assert_eq!(aliases.resolve(3).as_deref(), Some("x"));
        assert_eq!(aliases.resolve(1), None);
        assert_eq!(aliases.resolve(0), None);
        assert_eq!(aliases.resolve(4), None);
    }
}
