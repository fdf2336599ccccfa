use std::sync::Arc;

use super::acl_file::{AclFile, Rules};
use super::grants::Grants;
use super::hook::Hook;
use crate::packet::{TopicFilter, TopicName};

/// Who asks: what [`Authenticator`](super::Authenticator) found out, and the client identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    pub client_id: Arc<str>,
    /// The proven user name; `None` for an anonymous client.
    pub username: Option<Arc<str>>,
}

/// Somebody who asks, with what was brought along from the login.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub principal: &'a Principal,
    pub claim: Claim<'a>,
}

/// Rights that a client has brought along.
#[derive(Clone, Copy, Debug)]
pub enum Claim<'a> {
    /// None: the files say what it may do.
    None,
    /// These instead of what the files grant.
    Known(&'a Grants),
    /// The session is of before the process: it is not known what its client has brought along, until it comes back.
    Unknown,
}

/// What is said to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    Granted,
    Denied,
    /// Whoever is behind the hook decides.
    Ask,
}

/// Says what a client may do. Without a file that is everything but to write to `$SYS`; with one, what the file grants.
///
/// What the file denies is denied, whatever others say. A client that has brought rights along has those, and needs no grant of the
/// file. Where there is a hook it is asked about what the file neither grants nor denies.
#[derive(Clone, Debug, Default)]
pub struct Authorizer {
    file: Option<Arc<AclFile>>,
    hook: Option<Arc<dyn Hook>>,
    /// Clients may bring rights along.
    takes_grants: bool,
}

impl Authorizer {
    pub fn new(file: Option<Arc<AclFile>>) -> Self {
        Self { file, hook: None, takes_grants: false }
    }

    /// `takes_grants`: the login may bring rights along. `hook` is asked about what the file leaves open.
    pub fn with_others(self, takes_grants: bool, hook: Option<Arc<dyn Hook>>) -> Self {
        Self { takes_grants, hook, ..self }
    }

    /// No file and nothing else: all may be read, and nothing needs to be asked at delivery.
    pub fn is_unrestricted(&self) -> bool {
        self.file.is_none() && !self.is_personal()
    }

    /// Whether clients of the same name may have different rights.
    pub fn is_personal(&self) -> bool {
        self.takes_grants || self.hook.is_some()
    }

    pub fn hook(&self) -> Option<&Arc<dyn Hook>> {
        self.hook.as_ref()
    }

    /// A Will is a publish too. Never `$SYS`, whatever a file says: it is the broker's own.
    pub fn on_publish(&self, asker: &Asker<'_>, topic: TopicName<'_>) -> Opinion {
        let who = asker.principal;
        if is_sys(topic) || self.rules(who).any(|rules| rules.denies(who, topic)) {
            return Opinion::Denied;
        }
        match asker.claim {
            Claim::Known(grants) => grants.may_write(who, topic).into(),
            Claim::Unknown => Opinion::Granted, // as it was when it was asked
            Claim::None => self.grant_or_ask(|rules| rules.grants_write(who, topic), who),
        }
    }

    /// Asked at delivery, for retained and queued messages too. What the hook has to say was said at SUBSCRIBE.
    pub fn on_read(&self, asker: &Asker<'_>, topic: TopicName<'_>) -> bool {
        let who = asker.principal;
        if self.rules(who).any(|rules| rules.denies(who, topic)) {
            return false;
        }
        match asker.claim {
            Claim::Known(grants) => grants.may_read(who, topic),
            Claim::Unknown => true, // it goes no further than the queue before the client has come back
            Claim::None => self.grant_or_ask(|rules| rules.grants_read(who, topic), who) != Opinion::Denied,
        }
    }

    /// Whether the filter may bring anything that the client may read. So `#` is granted, and brings what is permitted. For a shared
    /// subscription, the filter without `$share/NAME/`. The hook is asked about the whole filter, unless the file grants all of it.
    pub fn on_subscribe(&self, asker: &Asker<'_>, filter: &TopicFilter) -> Opinion {
        let who = asker.principal;
        let denials = self.rules(who);
        match (asker.claim, &self.file) {
            (Claim::Known(grants), _) => grants.may_read_some(who, filter, denials).into(),
            (Claim::Unknown, _) => Opinion::Granted,
            (Claim::None, None) if self.hook.is_none() => Opinion::Granted,
            (Claim::None, Some(file)) if self.hook.is_none() => may_read_some(file.rules(who), denials, who, filter).into(),
            (Claim::None, file) if file.as_ref().is_some_and(|file| file.may_read_all(who, filter)) => Opinion::Granted,
            (Claim::None, _) if denials.clone().flat_map(|rules| &rules.deny).any(|deny| deny.denies_all(who, filter)) => {
                Opinion::Denied
            }
            (Claim::None, _) => Opinion::Ask,
        }
    }

    /// As [`on_publish`](Self::on_publish), for a client that has brought nothing along, and where no hook is asked.
    pub fn may_publish(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        self.on_publish(&Asker::plain(who), topic) == Opinion::Granted
    }

    /// As [`on_read`](Self::on_read), for a client that has brought nothing along.
    pub fn may_read(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        self.on_read(&Asker::plain(who), topic)
    }

    /// As [`on_subscribe`](Self::on_subscribe), for a client that has brought nothing along, and where no hook is asked.
    pub fn may_subscribe(&self, who: &Principal, filter: &TopicFilter) -> bool {
        self.on_subscribe(&Asker::plain(who), filter) == Opinion::Granted
    }

    /// Whether every topic of the filter may be read, so that [`may_read`](Self::may_read) need not be asked for each message. `false`
    /// in doubt: where it takes two lines of the file to grant it, or where anything in it is denied.
    pub fn covers(&self, who: &Principal, filter: &TopicFilter) -> bool {
        self.file.as_ref().is_none_or(|file| file.may_read_all(who, filter))
    }

    fn rules<'a>(&'a self, who: &Principal) -> impl Iterator<Item = &'a Rules> + Clone + use<'a> {
        self.file.as_ref().map(|file| file.rules(who)).into_iter().flatten()
    }

    fn grant_or_ask(&self, grants: impl Fn(&Rules) -> bool, who: &Principal) -> Opinion {
        match (&self.file, &self.hook) {
            (Some(file), _) if file.rules(who).any(grants) => Opinion::Granted,
            (_, Some(_)) => Opinion::Ask,
            (None, None) => Opinion::Granted,
            (Some(_), None) => Opinion::Denied,
        }
    }
}

impl<'a> Asker<'a> {
    /// Somebody who has brought nothing along.
    pub const fn plain(principal: &'a Principal) -> Self {
        Self { principal, claim: Claim::None }
    }
}

impl From<bool> for Opinion {
    fn from(is_granted: bool) -> Self {
        if is_granted { Self::Granted } else { Self::Denied }
    }
}

impl AclFile {
    fn may_read_all(&self, who: &Principal, filter: &TopicFilter) -> bool {
        self.rules(who).flat_map(|rules| &rules.read).any(|rule| rule.may_grant(who) && rule.covers_filter(who, filter))
            && !self.rules(who).flat_map(|rules| &rules.deny).any(|rule| rule.may_deny(who) && rule.overlaps(who, filter))
    }
}

impl Rules {
    pub(super) fn grants_read(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        self.read.iter().any(|rule| rule.may_grant(who) && rule.matches(who, topic))
    }

    pub(super) fn grants_write(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        self.write.iter().any(|rule| rule.may_grant(who) && rule.matches(who, topic))
    }

    pub(super) fn denies(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        self.deny.iter().any(|rule| rule.may_deny(who) && rule.matches(who, topic))
    }
}

/// A grant overlaps the filter, and no deny takes away all of one or the other.
pub(super) fn may_read_some<'a>(
    grants: impl Iterator<Item = &'a Rules>,
    denials: impl Iterator<Item = &'a Rules> + Clone,
    who: &Principal,
    filter: &TopicFilter,
) -> bool {
    let denials = denials.flat_map(|rules| &rules.deny).filter(|rule| rule.may_deny(who));
    if denials.clone().any(|deny| deny.covers_filter(who, filter)) {
        return false;
    }
    grants.flat_map(|rules| &rules.read).any(|grant| {
        grant.may_grant(who) && grant.overlaps(who, filter) && !denials.clone().any(|deny| deny.covers_rule(who, grant))
    })
}

fn is_sys(topic: TopicName<'_>) -> bool {
    topic.levels().next() == Some("$SYS")
}

#[cfg(test)]
#[path = "authorizer_tests.rs"]
mod tests;
