use super::config::{BridgeTopic, Direction};
use crate::packet::{QoS, SubscriptionOptions, TopicFilter, TopicName};
use crate::session::Limits;

/// What a bridge shares, in one direction each.
#[derive(Clone, Debug)]
pub struct Rules {
    outgoing: Vec<Rule>,
    incoming: Vec<Rule>,
    /// What our own broker takes.
    limits: Option<Limits>,
}

/// One filter in one direction: what to subscribe to at the source, and how its topics are called at the target.
#[derive(Clone, Debug)]
struct Rule {
    filter: TopicFilter,
    source_prefix: String,
    target_prefix: String,
    qos: QoS,
}

impl Rules {
    /// The error says which topic is wrong, and why.
    pub fn new(topics: &[BridgeTopic]) -> Result<Self, (usize, String)> {
        let mut rules = Self { outgoing: Vec::new(), incoming: Vec::new(), limits: None };
        for (index, topic) in topics.iter().enumerate() {
            let rule = |source: &str, target: &str| Rule::new(topic, source, target).map_err(|error| (index, error));
            if topic.direction != Direction::In {
                rules.outgoing.push(rule(&topic.local_prefix, &topic.remote_prefix)?);
            }
            if topic.direction != Direction::Out {
                rules.incoming.push(rule(&topic.remote_prefix, &topic.local_prefix)?);
            }
        }
        Ok(rules)
    }

    /// The same for a broker of ours with these limits.
    pub(super) fn within(self, limits: Limits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// Whether a topic may go there, as far as is known: our own broker would end the connection for one that is beyond its limits.
    pub(super) fn is_within(&self, topic: &str, is_outgoing: bool) -> bool {
        is_outgoing || self.limits.as_ref().is_none_or(|limits| limits.check_topic(topic).is_ok())
    }

    pub(super) fn outgoing_filters(&self) -> Vec<(TopicFilter, QoS)> {
        self.outgoing.iter().map(|rule| (rule.filter.clone(), rule.qos)).collect()
    }

    pub(super) fn incoming_filters(&self) -> Vec<(TopicFilter, QoS)> {
        self.incoming.iter().map(|rule| (rule.filter.clone(), rule.qos)).collect()
    }

    /// What a topic is called on the other side; the first rule that matches says so. None for one that no rule matches, or
    /// whose name would become too long.
    pub(super) fn map(&self, topic: TopicName<'_>, is_outgoing: bool) -> Option<String> {
        let rules = if is_outgoing { &self.outgoing } else { &self.incoming };
        let rule = rules.iter().find(|rule| rule.filter.matches(topic))?;
        let rest = topic.as_str().strip_prefix(&rule.source_prefix)?;
        let name = format!("{}{rest}", rule.target_prefix);
        TopicName::new(&name).is_ok().then_some(name)
    }
}

/// How a bridge subscribes: nothing comes back that it has published itself, and the RETAIN flag is kept (3.8.3.1).
pub(super) fn options(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, no_local: true, retain_as_published: true, ..SubscriptionOptions::default() }
}

impl Rule {
    fn new(topic: &BridgeTopic, source: &str, target: &str) -> Result<Self, String> {
        if [source, target].iter().any(|prefix| prefix.contains(['+', '#', '\0'])) {
            return Err("a prefix must not contain + # or a zero character".into());
        }
        let qos = QoS::from_bits(topic.qos).ok_or("qos must be 0, 1 or 2")?;
        let text = format!("{source}{}", topic.filter);
        let filter = TopicFilter::new(&text).map_err(|error| format!("{text:?} is no topic filter: {error}"))?;
        if text.starts_with("$share/") {
            return Err("a bridge takes no part in a shared subscription".into());
        }
        Ok(Self { filter, source_prefix: source.into(), target_prefix: target.into(), qos })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_exchanged_on_the_way() {
        let topic = BridgeTopic {
            local_prefix: "site/".into(),
            remote_prefix: "plants/7/".into(),
            ..BridgeTopic::new("state/#", Direction::Both)
        };
        let rules = Rules::new(&[topic, BridgeTopic::new("alarm", Direction::In)]).unwrap();
        let map = |topic, is_outgoing| rules.map(TopicName::new(topic).unwrap(), is_outgoing);
        assert_eq!(map("site/state/a", true).as_deref(), Some("plants/7/state/a"));
        assert_eq!(map("plants/7/state", false).as_deref(), Some("site/state"));
        assert_eq!(map("alarm", false).as_deref(), Some("alarm"));
        assert_eq!(map("alarm", true), None, "only in");
        assert_eq!(map("state/a", true), None);
        let names: Vec<_> = rules.outgoing_filters().iter().map(|(filter, _)| filter.to_string()).collect();
        assert_eq!(names, ["site/state/#"]);
    }

    #[test]
    fn what_cannot_be_subscribed_to_is_refused() {
        let good = BridgeTopic::new("a/#", Direction::Both);
        for (wrong, message) in [
            (BridgeTopic { filter: "a#".into(), ..good.clone() }, "no topic filter"),
            (BridgeTopic { local_prefix: "+/".into(), ..good.clone() }, "prefix"),
            (BridgeTopic { qos: 3, ..good.clone() }, "qos"),
            (BridgeTopic { filter: "$share/g/a".into(), ..good.clone() }, "shared"),
        ] {
            let (index, error) = Rules::new(&[good.clone(), wrong]).unwrap_err();
            assert!(index == 1 && error.contains(message), "{error}");
        }
    }
}
