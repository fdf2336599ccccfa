use std::sync::Arc;

use super::acl_file::AclFile;
use crate::packet::{TopicFilter, TopicName};

/// Who asks: what [`Authenticator`](super::Authenticator) found out, and the client identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    pub client_id: Arc<str>,
    /// The proven user name; `None` for an anonymous client.
    pub username: Option<Arc<str>>,
}

/// Says what a client may do. Without a file that is everything but to write to `$SYS`; with one, what the file grants.
#[derive(Clone, Debug, Default)]
pub struct Authorizer {
    file: Option<Arc<AclFile>>,
}

impl Authorizer {
    pub fn new(file: Option<Arc<AclFile>>) -> Self {
        Self { file }
    }

    /// No file: all may be read, and nothing needs to be asked at delivery.
    pub fn is_unrestricted(&self) -> bool {
        self.file.is_none()
    }

    /// A Will is a publish too. Never `$SYS`, whatever a file says: it is the broker's own.
    pub fn may_publish(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        !is_sys(topic) && self.file.as_ref().is_none_or(|file| file.may_write(who, topic))
    }

    /// Asked at delivery, for retained and queued messages too.
    pub fn may_read(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        self.file.as_ref().is_none_or(|file| file.may_read(who, topic))
    }

    /// Whether the filter may bring anything that the client may read. So `#` is granted, and brings what is permitted. For a shared
    /// subscription, the filter without `$share/NAME/`.
    pub fn may_subscribe(&self, who: &Principal, filter: &TopicFilter) -> bool {
        self.file.as_ref().is_none_or(|file| file.may_read_some(who, filter))
    }

    /// Whether every topic of the filter may be read, so that [`may_read`](Self::may_read) need not be asked for each message. `false`
    /// in doubt: where it takes two lines of the file to grant it, or where anything in it is denied.
    pub fn covers(&self, who: &Principal, filter: &TopicFilter) -> bool {
        self.file.as_ref().is_none_or(|file| file.may_read_all(who, filter))
    }
}

impl AclFile {
    fn may_read(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        self.rules(who).flat_map(|rules| &rules.read).any(|rule| rule.may_grant(who) && rule.matches(who, topic))
            && !self.is_denied(who, topic)
    }

    fn may_write(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        self.rules(who).flat_map(|rules| &rules.write).any(|rule| rule.may_grant(who) && rule.matches(who, topic))
            && !self.is_denied(who, topic)
    }

    fn is_denied(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        self.rules(who).flat_map(|rules| &rules.deny).any(|rule| rule.may_deny(who) && rule.matches(who, topic))
    }

    /// A grant overlaps the filter, and no deny takes away all of one or the other.
    fn may_read_some(&self, who: &Principal, filter: &TopicFilter) -> bool {
        let denials = self.rules(who).flat_map(|rules| &rules.deny).filter(|rule| rule.may_deny(who));
        if denials.clone().any(|deny| deny.covers_filter(who, filter)) {
            return false;
        }
        self.rules(who).flat_map(|rules| &rules.read).any(|grant| {
            grant.may_grant(who) && grant.overlaps(who, filter) && !denials.clone().any(|deny| deny.covers_rule(who, grant))
        })
    }

    fn may_read_all(&self, who: &Principal, filter: &TopicFilter) -> bool {
        self.rules(who).flat_map(|rules| &rules.read).any(|rule| rule.may_grant(who) && rule.covers_filter(who, filter))
            && !self.rules(who).flat_map(|rules| &rules.deny).any(|rule| rule.may_deny(who) && rule.overlaps(who, filter))
    }
}

fn is_sys(topic: TopicName<'_>) -> bool {
    topic.levels().next() == Some("$SYS")
}

#[cfg(test)]
#[path = "authorizer_tests.rs"]
mod tests;
