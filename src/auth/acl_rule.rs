//! One line of an ACL file, and how it compares with topics and filters. Nothing here allocates once a rule is built.

use super::authorizer::Principal;
use crate::packet::{InvalidTopic, TopicFilter, TopicName};

/// A filter that an ACL file grants or denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    levels: Box<[Level]>,
    names_client_id: bool,
    names_username: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Name(Box<str>),
    /// `+`
    Any,
    /// `#`
    Rest,
    /// `%c`
    ClientId,
    /// `%u`
    Username,
}

/// Why a pattern is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    #[error(transparent)]
    Filter(#[from] InvalidTopic),
    #[error("%c and %u must be a level of their own")]
    Placeholder,
}

/// A level with the placeholders filled in. A name is compared as it is, even if it reads `+` or `#`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Name(&'a str),
    Any,
    Rest,
}

impl Rule {
    /// Of a `topic` line: `%c` and `%u` mean themselves.
    pub(super) fn filter(text: &str) -> Result<Self, InvalidTopic> {
        TopicFilter::new(text)?;
        Ok(Self::of(text.split('/').map(plain_level).collect()))
    }

    /// Of a `pattern` line. A placeholder is the only text of its level, as mosquitto's manual has it: mosquitto 2.0 fills in any, 2.1
    /// takes `x%c` as it is and so silently grants nothing; here it is an error.
    pub(super) fn pattern(text: &str) -> Result<Self, InvalidPattern> {
        TopicFilter::new(text)?;
        let level = |text: &str| match text {
            "%c" => Ok(Level::ClientId),
            "%u" => Ok(Level::Username),
            text if text.contains("%c") || text.contains("%u") => Err(InvalidPattern::Placeholder),
            text => Ok(plain_level(text)),
        };
        Ok(Self::of(text.split('/').map(level).collect::<Result<_, _>>()?))
    }

    fn of(levels: Box<[Level]>) -> Self {
        let names_client_id = levels.contains(&Level::ClientId);
        let names_username = levels.contains(&Level::Username);
        Self { levels, names_client_id, names_username }
    }

    /// Whether this rule may give `who` anything. A pattern gives nothing to a client whose name would fill more than its level
    /// (CVE-2017-7650), has no name to fill in or an empty one, or would turn the pattern into a `$` topic that the file does not write out.
    pub(super) fn may_grant(&self, who: &Principal) -> bool {
        let names =
            [self.names_client_id.then_some(Some(&*who.client_id)), self.names_username.then_some(who.username.as_deref())];
        let fills_its_level = |name: Option<&str>| name.is_some_and(|name| !name.is_empty() && !name.contains(['+', '#', '/']));
        let dollar = match self.levels[0] {
            Level::ClientId => who.client_id.starts_with('$'),
            Level::Username => who.username.as_deref().is_some_and(|name| name.starts_with('$')),
            Level::Name(_) | Level::Any | Level::Rest => false,
        };
        !dollar && names.into_iter().flatten().all(fills_its_level)
    }

    /// Whether this rule may deny `who` anything: always, unless there is no user name to fill in. A name with `/` fills as many levels
    /// as it has.
    pub(super) fn may_deny(&self, who: &Principal) -> bool {
        !self.names_username || who.username.is_some()
    }

    pub(super) fn matches(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        covers(self.parts(who), topic.levels().map(Part::Name))
    }

    /// Whether every topic of the filter matches; `false` in doubt.
    pub(super) fn covers_filter(&self, who: &Principal, filter: &TopicFilter) -> bool {
        covers(self.parts(who), parts(filter))
    }

    /// Whether this rule, as a denial, takes the whole filter away.
    pub(super) fn denies_all(&self, who: &Principal, filter: &TopicFilter) -> bool {
        self.may_deny(who) && self.covers_filter(who, filter)
    }

    /// Whether every topic of the other rule matches; `false` in doubt.
    pub(super) fn covers_rule(&self, who: &Principal, other: &Self) -> bool {
        covers(self.parts(who), other.parts(who))
    }

    /// Whether there is a topic that this rule and the filter match; the empty one, which is no topic, counts too.
    pub(super) fn overlaps(&self, who: &Principal, filter: &TopicFilter) -> bool {
        overlap(self.parts(who), parts(filter))
    }

    fn parts<'a>(&'a self, who: &'a Principal) -> impl Iterator<Item = Part<'a>> {
        Parts { levels: self.levels.iter(), name: None, who }
    }
}

/// The levels of a rule, with a placeholder giving each level of the name that fills it.
struct Parts<'a> {
    levels: std::slice::Iter<'a, Level>,
    name: Option<std::str::Split<'a, char>>,
    who: &'a Principal,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        if let Some(level) = self.name.as_mut().and_then(Iterator::next) {
            return Some(Part::Name(level));
        }
        let mut name = match self.levels.next()? {
            Level::Name(name) => return Some(Part::Name(name)),
            Level::Any => return Some(Part::Any),
            Level::Rest => return Some(Part::Rest),
            Level::ClientId => self.who.client_id.split('/'),
            Level::Username => self.who.username.as_deref().unwrap_or_default().split('/'),
        };
        let first = name.next().map(Part::Name);
        self.name = Some(name);
        first
    }
}

fn plain_level(text: &str) -> Level {
    match text {
        "+" => Level::Any,
        "#" => Level::Rest,
        text => Level::Name(text.into()),
    }
}

fn parts(filter: &TopicFilter) -> impl Iterator<Item = Part<'_>> {
    filter.levels().map(|level| match level {
        "+" => Part::Any,
        "#" => Part::Rest,
        level => Part::Name(level),
    })
}

/// Whether `wide` matches every topic that `narrow` matches. Exact where `narrow` has no wildcard, and never wrongly `true`.
fn covers<'a>(mut wide: impl Iterator<Item = Part<'a>>, mut narrow: impl Iterator<Item = Part<'a>>) -> bool {
    let mut first = true;
    loop {
        match (wide.next(), narrow.next()) {
            // [MQTT-4.7.2-1]
            (Some(Part::Any | Part::Rest), Some(Part::Name(level))) if first && level.starts_with('$') => return false,
            (Some(Part::Rest), _) => return true,
            (Some(Part::Any), Some(Part::Any | Part::Name(_))) => {}
            (Some(Part::Name(wide)), Some(Part::Name(narrow))) if wide == narrow => {}
            (None, None) => return true,
            _ => return false,
        }
        first = false;
    }
}

/// Whether there is a topic that both match.
fn overlap<'a>(mut one: impl Iterator<Item = Part<'a>>, mut other: impl Iterator<Item = Part<'a>>) -> bool {
    let mut first = true;
    loop {
        match (one.next(), other.next()) {
            // [MQTT-4.7.2-1]
            (Some(Part::Any | Part::Rest), Some(Part::Name(level)))
            | (Some(Part::Name(level)), Some(Part::Any | Part::Rest))
                if first && level.starts_with('$') =>
            {
                return false;
            }
            (Some(Part::Rest), _) | (_, Some(Part::Rest)) | (None, None) => return true,
            (Some(Part::Any), Some(_)) | (Some(_), Some(Part::Any)) => {}
            (Some(Part::Name(one)), Some(Part::Name(other))) if one == other => {}
            _ => return false,
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nobody() -> Principal {
        Principal { client_id: "c".into(), username: None }
    }

    /// Every topic of one to four levels out of few names, `$` ones among them.
    fn topics() -> Vec<String> {
        let names = ["a", "b", "", "$s"];
        let mut topics = Vec::new();
        let mut longest: Vec<String> = names.map(String::from).to_vec();
        for _ in 0..4 {
            let longer = longest.iter().flat_map(|topic| names.map(|name| format!("{topic}/{name}"))).collect();
            topics.append(&mut std::mem::replace(&mut longest, longer));
        }
        topics.retain(|topic| !topic.is_empty());
        topics
    }

    proptest! {
        #[test]
        fn filters_are_compared_as_their_topics_are(one in r"(\$s|[ab+]?)(/[ab+]?){0,2}(/#)?|#", other in r"(\$s|[ab+]?)(/[ab+]?){0,2}(/#)?|#") {
            prop_assume!(!one.is_empty() && !other.is_empty());
            let (rule, filter) = (Rule::filter(&one).unwrap(), TopicFilter::new(&other).unwrap());
            let plain = TopicFilter::new(&one).unwrap();
            let (mut both, mut only_other) = (false, false);
            for topic in topics() {
                let topic = TopicName::new(&topic).unwrap();
                prop_assert_eq!(rule.matches(&nobody(), topic), plain.matches(topic), "{} {}", one, topic);
                both |= plain.matches(topic) && filter.matches(topic);
                only_other |= !plain.matches(topic) && filter.matches(topic);
            }
            // `+` and `/#` have only the empty topic in common, which is none.
            let match_the_empty = [&plain, &filter].into_iter().all(|filter| covers(parts(filter), [Part::Name("")].into_iter()));
            prop_assert_eq!(rule.overlaps(&nobody(), &filter), both || match_the_empty);
            prop_assert!(!(rule.covers_filter(&nobody(), &filter) && only_other));
            prop_assert_eq!(rule.covers_filter(&nobody(), &filter), rule.covers_rule(&nobody(), &Rule::filter(&other).unwrap()));
        }
    }

    #[test]
    fn a_filter_is_covered_by_itself_and_by_wider_ones() {
        for (wide, narrow, covered) in [
            ("a/+", "a/+", true),
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("a/#", "a/+/b/#", true),
            ("a/+", "a/b", true),
            ("#", "#", true),
            ("#", "+/b", true),
            ("a/+", "a/#", false),
            ("a/b", "a/+", false),
            ("#", "$s/#", false),
            ("$s/#", "$s/+", true),
            ("$s/#", "#", false),
        ] {
            let rule = Rule::filter(wide).unwrap();
            assert_eq!(rule.covers_filter(&nobody(), &TopicFilter::new(narrow).unwrap()), covered, "{wide} {narrow}");
        }
    }

    #[test]
    fn placeholders_are_whole_levels_of_patterns() {
        assert_eq!(Rule::pattern("a/x%c"), Err(InvalidPattern::Placeholder));
        assert_eq!(Rule::pattern("%u%c/a"), Err(InvalidPattern::Placeholder));
        assert_eq!(Rule::pattern("a/#/%c"), Err(InvalidPattern::Filter(InvalidTopic::MisplacedMultiLevelWildcard)));
        let rule = Rule::filter("%c/x%c").unwrap();
        assert!(rule.matches(&nobody(), TopicName::new("%c/x%c").unwrap()));
        assert!(!rule.matches(&nobody(), TopicName::new("c/xc").unwrap()));
    }
}
