use std::sync::Arc;

use serde_json::Value;

use super::acl_file::{Access, Rules};
use super::acl_rule::{InvalidPattern, Rule};
use super::authorizer::{Principal, may_read_some};
use crate::packet::{TopicFilter, TopicName};

/// More of them in one token are refused: each is looked at for every message.
const MAX_RULES: usize = 1000;

/// What topics of work queues begin with, and of their dead letters.
const QUEUES: [&str; 2] = ["$queue/", "$dlq/"];

/// The rights that a client brings along, from the claim of a token or the answer of a hook. Two forms, both as EMQX has them:
///
/// ```json
/// {"pub": ["a/%c"], "sub": ["b/#"], "all": ["c/%u/#"], "deny": ["c/+/secret"]}
/// [{"permission": "allow", "action": "publish", "topic": "a/%c"},
///  {"permission": "deny", "action": "all", "topics": ["b/#"]}]
/// ```
///
/// - `%c` is the client identifier and `%u` the proven user name, each a level of its own, with the rules of a `pattern` line of an ACL
///   file; `${clientid}` and `${username}` mean the same. `pub`, `sub` and `all` may be one text instead of a list.
/// - What is not granted is denied. A denial wins over every grant, wherever it stands (EMQX takes the first that matches).
/// - Topics are those that the client sees, without its mount point. `$queue/` and `$dlq/` stand for the queues of its mount point.
/// - What narrows a rule and is not known here, such as `qos` and `retain`, is an error: the whole is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    rules: Rules,
    mount_point: Option<Arc<str>>,
}

/// Why rights cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrants {
    #[error("rights are a table with pub, sub, all and deny, or a list of rules")]
    Form,
    #[error("the key {0:?} is not known")]
    Key(String),
    #[error("{key} is {found:?}, which is not known")]
    Word { key: &'static str, found: String },
    #[error("a rule without {0}")]
    Missing(&'static str),
    #[error("the topic filter {filter:?} is not valid: {cause}")]
    Filter { filter: String, cause: InvalidPattern },
    #[error("a rule that denies only one of publish and subscribe is not supported")]
    HalfDenied,
    #[error("more than {MAX_RULES} topic filters")]
    TooMany,
}

impl Grants {
    /// Reads either form.
    pub fn parse(value: &Value) -> Result<Self, InvalidGrants> {
        let mut grants = Self::default();
        match value {
            Value::Object(table) => {
                for (key, filters) in table {
                    let access = match key.as_str() {
                        "pub" => Access::Write,
                        "sub" => Access::Read,
                        "all" => Access::ReadWrite,
                        "deny" => Access::Deny,
                        _ => return Err(InvalidGrants::Key(key.clone())),
                    };
                    grants.add_all(access, filters)?;
                }
            }
            Value::Array(rules) => rules.iter().try_for_each(|rule| grants.add_rule(rule))?,
            _ => return Err(InvalidGrants::Form),
        }
        Ok(grants)
    }

    /// For a client whose topics lie under this mount point.
    pub fn mounted(self, mount_point: Option<Arc<str>>) -> Self {
        Self { mount_point, ..self }
    }

    pub(super) fn may_read(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        self.own_topic(topic).is_some_and(|topic| self.rules.grants_read(who, topic) && !self.rules.denies(who, topic))
    }

    pub(super) fn may_write(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        self.own_topic(topic).is_some_and(|topic| self.rules.grants_write(who, topic) && !self.rules.denies(who, topic))
    }

    /// Whether the filter may bring anything that is granted here and not wholly denied by `denials`, which know mount points.
    pub(super) fn may_read_some<'a>(
        &'a self,
        who: &Principal,
        filter: &TopicFilter,
        denials: impl Iterator<Item = &'a Rules>,
    ) -> bool {
        if denials.flat_map(|rules| &rules.deny).any(|deny| deny.denies_all(who, filter)) {
            return false;
        }
        let own = [&self.rules];
        self.own(filter.as_str())
            .and_then(|filter| TopicFilter::new(filter).ok())
            .is_some_and(|filter| may_read_some(own.into_iter(), own.into_iter(), who, &filter))
    }

    /// The topic or filter as the client sees it. Work queues have no mount point before their names.
    fn own<'a>(&self, whole: &'a str) -> Option<&'a str> {
        let Some(mount_point) = &self.mount_point else { return Some(whole) };
        let is_of_queue = || QUEUES.iter().any(|prefix| whole.starts_with(prefix));
        whole.strip_prefix(&**mount_point).or_else(|| is_of_queue().then_some(whole))
    }

    fn own_topic<'a>(&self, topic: TopicName<'a>) -> Option<TopicName<'a>> {
        if self.mount_point.is_none() {
            return Some(topic);
        }
        TopicName::new(self.own(topic.as_str())?).ok()
    }

    fn add_rule(&mut self, rule: &Value) -> Result<(), InvalidGrants> {
        let Value::Object(rule) = rule else { return Err(InvalidGrants::Form) };
        if let Some(key) = rule.keys().find(|key| !["permission", "action", "topic", "topics"].contains(&key.as_str())) {
            return Err(InvalidGrants::Key(key.clone()));
        }
        let word = |key: &'static str| match rule.get(key) {
            Some(Value::String(word)) => Ok(word.as_str()),
            Some(_) => Err(InvalidGrants::Form),
            None => Err(InvalidGrants::Missing(key)),
        };
        let action = word("action")?;
        let access = match action {
            "publish" => Access::Write,
            "subscribe" => Access::Read,
            "all" => Access::ReadWrite,
            _ => return Err(InvalidGrants::Word { key: "action", found: action.into() }),
        };
        let access = match (word("permission")?, access) {
            ("allow", access) => access,
            ("deny", Access::ReadWrite) => Access::Deny,
            ("deny", _) => return Err(InvalidGrants::HalfDenied),
            (found, _) => return Err(InvalidGrants::Word { key: "permission", found: found.into() }),
        };
        let filters = [rule.get("topic"), rule.get("topics")];
        if filters.iter().all(Option::is_none) {
            return Err(InvalidGrants::Missing("topic"));
        }
        filters.into_iter().flatten().try_for_each(|filters| self.add_all(access, filters))
    }

    fn add_all(&mut self, access: Access, filters: &Value) -> Result<(), InvalidGrants> {
        match filters {
            Value::String(filter) => self.add(access, filter),
            Value::Array(filters) => filters.iter().try_for_each(|filter| match filter {
                Value::String(filter) => self.add(access, filter),
                _ => Err(InvalidGrants::Form),
            }),
            _ => Err(InvalidGrants::Form),
        }
    }

    fn add(&mut self, access: Access, filter: &str) -> Result<(), InvalidGrants> {
        let Rules { deny, read, write } = &self.rules;
        if deny.len() + read.len() + write.len() >= MAX_RULES {
            return Err(InvalidGrants::TooMany);
        }
        let levels: Vec<&str> = filter
            .split('/')
            .map(|level| match level {
                "${clientid}" => "%c",
                "${username}" => "%u",
                level => level,
            })
            .collect();
        let rule = Rule::pattern(&levels.join("/"));
        let rule = rule.map_err(|cause| InvalidGrants::Filter { filter: filter.into(), cause })?;
        self.rules.add(access, rule);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn who() -> Principal {
        Principal { client_id: "c".into(), username: Some("u".into()) }
    }

    fn rights(grants: &Grants, topic: &str) -> (bool, bool) {
        let topic = TopicName::new(topic).unwrap();
        (grants.may_read(&who(), topic), grants.may_write(&who(), topic))
    }

    #[test]
    fn both_forms_say_the_same() {
        let table = json!({"pub": ["out/%c"], "sub": "in/${username}/#", "all": ["both/+"], "deny": ["both/secret"]});
        let list = json!([
            {"permission": "allow", "action": "publish", "topic": "out/%c"},
            {"permission": "allow", "action": "subscribe", "topics": ["in/${username}/#"]},
            {"permission": "allow", "action": "all", "topic": "both/+"},
            {"permission": "deny", "action": "all", "topic": "both/secret"},
        ]);
        for form in [table, list] {
            let grants = Grants::parse(&form).unwrap();
            for (topic, read, write) in [
                ("out/c", false, true),
                ("out/d", false, false),
                ("in/u/x", true, false),
                ("in/v/x", false, false),
                ("both/x", true, true),
                ("both/secret", false, false),
                ("other", false, false),
            ] {
                assert_eq!(rights(&grants, topic), (read, write), "{form} {topic}");
            }
            let some = |filter: &str| grants.may_read_some(&who(), &TopicFilter::new(filter).unwrap(), [].into_iter());
            assert!(some("#") && some("in/u/a") && !some("in/v/#") && !some("both/secret"));
        }
    }

    #[test]
    fn what_is_not_known_is_refused_and_not_passed_over() {
        for (value, cause) in [
            (json!("a/#"), "rights are a table with pub, sub, all and deny, or a list of rules"),
            (json!({"pub": 1}), "rights are a table with pub, sub, all and deny, or a list of rules"),
            (json!({"publish": ["a"]}), "the key \"publish\" is not known"),
            (json!([{"permission": "allow", "action": "publish", "topic": "a", "qos": [0]}]), "the key \"qos\" is not known"),
            (json!([{"permission": "maybe", "action": "all", "topic": "a"}]), "permission is \"maybe\", which is not known"),
            (json!([{"permission": "allow", "action": "read", "topic": "a"}]), "action is \"read\", which is not known"),
            (json!([{"permission": "allow", "action": "all"}]), "a rule without topic"),
            (json!([{"action": "all", "topic": "a"}]), "a rule without permission"),
            (json!([{"permission": "deny", "action": "publish", "topic": "a"}]), &InvalidGrants::HalfDenied.to_string()),
            (
                json!({"all": ["a/#/b"]}),
                "the topic filter \"a/#/b\" is not valid: # must be the last character and a level of its own",
            ),
            (json!({"all": ["a%c"]}), "the topic filter \"a%c\" is not valid: %c and %u must be a level of their own"),
            (json!({"all": vec!["a"; 501]}), "more than 1000 topic filters"),
        ] {
            assert_eq!(Grants::parse(&value).unwrap_err().to_string(), cause, "{value}");
        }
    }

    #[test]
    fn under_a_mount_point_the_client_s_own_topics_count() {
        let grants = Grants::parse(&json!({"all": ["a/#"]})).unwrap().mounted(Some("tenant/".into()));
        assert_eq!(rights(&grants, "tenant/a/b"), (true, true));
        assert_eq!(rights(&grants, "a/b"), (false, false));
        assert_eq!(rights(&grants, "other/a/b"), (false, false));
        assert_eq!(rights(&grants, "$queue/a"), (false, false));
        let grants = Grants::parse(&json!({"all": ["$queue/a/#"]})).unwrap().mounted(Some("tenant/".into()));
        assert_eq!(rights(&grants, "$queue/a/$put/x"), (true, true), "no mount point comes before the names of queues");
        assert_eq!(rights(&grants, "other/$queue/a/x"), (false, false));
        let some = |filter: &str| grants.may_read_some(&who(), &TopicFilter::new(filter).unwrap(), [].into_iter());
        assert!(some("$queue/a") && !some("$queue/b") && !some("$dlq/a"));
    }
}
