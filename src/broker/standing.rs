//! What may be done with a session, for those whose rights are not written in a file alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::handle::SessionHandle;
use crate::auth::{Action, Asker, Claim, Grants, Opinion, Principal, RightAnswer};
use crate::packet::{TopicFilter, TopicName};

/// What a session's client has brought along, and what was answered about it. Sessions without either have none.
#[derive(Debug, Default)]
pub struct Standing {
    brought: Brought,
    /// Answers about publishing, by topic.
    cache: HashMap<Arc<str>, (RightAnswer, Instant)>,
    /// Answers for the packet at hand.
    current: Vec<(Action, Arc<str>, RightAnswer)>,
}

/// Rights that came with the login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Brought {
    #[default]
    Nothing,
    Grants(Arc<Grants>),
    /// The session was there before the process, and its client has not come back.
    Unknown,
}

impl Brought {
    fn claim(&self) -> Claim<'_> {
        match self {
            Self::Nothing => Claim::None,
            Self::Grants(grants) => Claim::Known(grants),
            Self::Unknown => Claim::Unknown,
        }
    }

    /// Who asks, with this.
    pub fn asker<'a>(&'a self, principal: &'a Principal) -> Asker<'a> {
        Asker { principal, claim: self.claim() }
    }
}

impl SessionHandle {
    /// A client has come with this: it counts from now on, and what was answered before does not. Returns whether it is something else
    /// than before.
    pub(super) fn bring(&self, brought: Brought) -> bool {
        let mut standing = self.standing.lock();
        let is_other = standing.as_ref().map_or(&Brought::Nothing, |standing| &standing.brought) != &brought;
        *standing = match brought {
            Brought::Nothing => None,
            brought => Some(Box::new(Standing { brought, ..Standing::default() })),
        };
        is_other
    }

    /// Rights were read anew: what was answered before does not count any more.
    pub(super) fn forget_answers(&self) {
        if let Some(standing) = &mut *self.standing.lock() {
            standing.cache = HashMap::new();
            standing.current = Vec::new();
        }
    }

    /// What its client has brought along.
    pub(super) fn brought(&self) -> Brought {
        self.standing.lock().as_ref().map(|standing| standing.brought.clone()).unwrap_or_default()
    }

    /// Answers for the packet at hand; those of the packet before are forgotten.
    pub(super) fn set_current(&self, answers: Vec<(Action, Arc<str>, RightAnswer)>) {
        self.standing.lock().get_or_insert_default().current = answers;
    }

    /// The answer that is kept about publishing to a topic.
    pub(super) fn cached(&self, topic: &str, now: Instant) -> Option<(Arc<str>, RightAnswer)> {
        let standing = self.standing.lock();
        let (topic, (answer, until)) = standing.as_ref()?.cache.get_key_value(topic)?;
        (now < *until).then(|| (topic.clone(), *answer))
    }

    /// Keeps an answer about publishing. Returns whether others had to go for it: those that are too old, or else all.
    pub(super) fn keep_answer(
        &self,
        topic: Arc<str>,
        answer: RightAnswer,
        (ttl, max): (Duration, usize),
        now: Instant,
    ) -> bool {
        if ttl.is_zero() || max == 0 {
            return false;
        }
        let mut standing = self.standing.lock();
        let cache = &mut standing.get_or_insert_default().cache;
        let is_full = cache.len() >= max && !cache.contains_key(&topic);
        if is_full {
            cache.retain(|_, (_, until)| now < *until);
            if cache.len() >= max {
                cache.clear();
            }
        }
        cache.insert(topic, (answer, now + ttl));
        is_full
    }

    pub(super) fn may_publish(&self, topic: TopicName<'_>) -> RightAnswer {
        if self.rights.is_unrestricted() && !topic.is_dollar() {
            return RightAnswer::Allow;
        }
        self.ask(Action::Publish, topic.as_str(), |asker| self.rights.on_publish(asker, topic))
    }

    /// Whether what the client has said to be published once it is gone still may be: what was asked at CONNECT is not asked again.
    pub(super) fn may_publish_will(&self, topic: TopicName<'_>) -> bool {
        self.rights.on_publish(&self.brought().asker(&self.principal), topic) != Opinion::Denied
    }

    /// Whether somebody outside decides about the will on this topic.
    pub(super) fn is_asked_about_will(&self, topic: &str) -> bool {
        let opinion = |topic| self.rights.on_publish(&self.brought().asker(&self.principal), topic);
        TopicName::new(topic).is_ok_and(|topic| opinion(topic) == Opinion::Ask)
    }

    pub(super) fn may_read(&self, topic: TopicName<'_>) -> bool {
        if self.rights.is_unrestricted() {
            return true;
        }
        if !self.rights.is_personal() {
            return self.rights.may_read(&Asker::plain(&self.principal), topic);
        }
        self.rights.may_read(&self.brought().asker(&self.principal), topic)
    }

    /// The filter with its mount point, without `$share/NAME/`.
    pub(super) fn may_subscribe(&self, filter: &TopicFilter) -> RightAnswer {
        if self.rights.is_unrestricted() {
            return RightAnswer::Allow;
        }
        self.ask(Action::Subscribe, filter.as_str(), |asker| self.rights.on_subscribe(asker, filter))
    }

    /// What the files and the client's own rights say; what they leave open has been asked before the packet was looked at.
    fn ask(&self, action: Action, topic: &str, opinion: impl FnOnce(&Asker<'_>) -> Opinion) -> RightAnswer {
        let brought = if self.rights.is_personal() { self.brought() } else { Brought::Nothing };
        match opinion(&brought.asker(&self.principal)) {
            Opinion::Granted => RightAnswer::Allow,
            Opinion::Denied => RightAnswer::Deny,
            Opinion::Ask => self.answered(action, topic),
        }
    }

    fn answered(&self, action: Action, topic: &str) -> RightAnswer {
        let standing = self.standing.lock();
        let current = standing.iter().flat_map(|standing| &standing.current);
        let mut answers = current.filter(|(about, of, _)| *about == action && &**of == topic);
        answers.next().map_or(RightAnswer::Unavailable, |(_, _, answer)| *answer)
    }
}
