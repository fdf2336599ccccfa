use std::fmt;
use std::sync::Arc;

use super::topic_name::{InvalidTopic, TopicName, check_length};
use super::{Malformed, MalformedPacket};

/// What a subscription asks for: levels, `+` for one of any name, a last `#` for all that follow (4.7). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

/// The parts of a `$share/NAME/FILTER` (4.8.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedSubscription {
    pub share_name: Arc<str>,
    pub filter: TopicFilter,
}

impl TopicFilter {
    /// Checks a string. `[MQTT-4.7.1-1]`, `[MQTT-4.7.1-2]`, `[MQTT-4.7.3-1]` to `-3`.
    pub fn new(filter: &str) -> Result<Self, InvalidTopic> {
        check_length(filter)?;
        if filter.bytes().any(|byte| byte == 0) {
            return Err(InvalidTopic::Nul);
        }
        let mut levels = filter.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level.len() > 1 || levels.peek().is_some()) {
                return Err(InvalidTopic::MisplacedMultiLevelWildcard);
            }
            if level.contains('+') && level.len() > 1 {
                return Err(InvalidTopic::MisplacedSingleLevelWildcard);
            }
        }
        Ok(Self(filter.into()))
    }

    /// Checks a string of a packet, NUL included, and the name of a shared subscription where there are such.
    pub(super) fn read(filter: &str, shared_subscriptions: bool) -> Result<Self, MalformedPacket> {
        let malformed = |invalid: InvalidTopic| invalid.malformed(Malformed::TopicFilter);
        let filter = Self::new(filter).map_err(malformed)?;
        match filter.shared() {
            Some(Err(invalid)) if shared_subscriptions => Err(malformed(invalid)),
            _ => Ok(filter),
        }
    }

    /// Whether it begins as a shared subscription does.
    pub(super) fn is_shared(&self) -> bool {
        self.0.starts_with("$share/")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn levels(&self) -> std::str::Split<'_, char> {
        self.0.split('/')
    }

    pub fn has_wildcard(&self) -> bool {
        self.0.bytes().any(|byte| matches!(byte, b'+' | b'#'))
    }

    /// The parts of a shared subscription; `None` for an ordinary one. `[MQTT-4.8.2-1]`, `[MQTT-4.8.2-2]`.
    pub fn shared(&self) -> Option<Result<SharedSubscription, InvalidTopic>> {
        let rest = self.0.strip_prefix("$share/").or_else(|| (&*self.0 == "$share").then_some(""))?;
        Some(match rest.split_once('/') {
            Some((name, filter)) if !name.is_empty() && !name.contains(['+', '#']) && !filter.is_empty() => {
                Self::new(filter).map(|filter| SharedSubscription { share_name: name.into(), filter })
            }
            _ => Err(InvalidTopic::Shared),
        })
    }

    /// Whether a topic matches, level by level: the plain definition (4.7) that `routing` is tested against.
    pub fn matches(&self, topic: TopicName<'_>) -> bool {
        if topic.is_dollar() && self.0.starts_with(['+', '#']) {
            return false; // [MQTT-4.7.2-1]
        }
        let mut levels = topic.levels();
        for wanted in self.levels() {
            match (wanted, levels.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::new(filter).unwrap().matches(TopicName::new(topic).unwrap())
    }

    #[test]
    fn matches_as_the_examples_of_chapter_4_7_say() {
        for topic in ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"] {
            assert!(matches("sport/tennis/player1/#", topic), "{topic}");
        }
        assert!(matches("sport/#", "sport"));
        assert!(matches("#", "é/x"));
        assert!(matches("sport/tennis/+", "sport/tennis/player2"));
        assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
        assert!(!matches("sport/+", "sport"));
        assert!(matches("sport/+", "sport/"));
        assert!(matches("+/+", "/finance"));
        assert!(matches("/+", "/finance"));
        assert!(!matches("+", "/finance"));
    }

    #[test]
    fn wildcards_at_the_first_level_do_not_reach_dollar_topics() {
        assert!(!matches("#", "$SYS/x"));
        assert!(!matches("+/x", "$SYS/x"));
        assert!(matches("$SYS/#", "$SYS/x"));
        assert!(matches("$SYS/+", "$SYS/x"));
    }

    #[test]
    fn misplaced_wildcards_are_refused() {
        for filter in ["", "sport/tennis#", "sport/#/ranking", "sport+", "a/+b", "##", "#/", "a\0b"] {
            assert!(TopicFilter::new(filter).is_err(), "{filter:?}");
        }
        for filter in ["#", "+", "/", "+/+/#", "a//b", "$share/g/t"] {
            assert!(TopicFilter::new(filter).is_ok(), "{filter:?}");
        }
    }

    #[test]
    fn shared_subscriptions_have_a_name_and_a_filter() {
        let parts = TopicFilter::new("$share/g/a/+").unwrap().shared().unwrap().unwrap();
        assert_eq!((&*parts.share_name, parts.filter.as_str()), ("g", "a/+"));
        assert!(TopicFilter::new("a/b").unwrap().shared().is_none());
        assert!(TopicFilter::new("$shared/g/a").unwrap().shared().is_none());
        for filter in ["$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#"] {
            assert!(TopicFilter::new(filter).unwrap().shared().unwrap().is_err(), "{filter}");
        }
    }
}
