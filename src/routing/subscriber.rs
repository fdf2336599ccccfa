use crate::packet::{TopicFilter, TopicName};

/// Someone who can be sent messages. Routing knows nothing else of a session, so that it need not know the broker.
///
/// Clones are kept in the index and in cached matches: a clone should be a counted pointer.
pub trait Subscriber: Clone + Send + Sync {
    /// Which session it is: unique for the life of the process, the same for all its clones.
    fn key(&self) -> u64;

    /// How well it can take a message of a shared subscription now. It is asked under the group's lock: read an atomic, wait for
    /// nothing.
    fn availability(&self) -> Availability;

    /// What stands before all its topics and filters, as if there were no others: its mount point.
    fn root(&self) -> Option<&str> {
        None
    }
}

/// Whether a topic that `filter` matches is one for somebody whose topics all begin with `root`: what is left of it without that is a
/// topic, and one that the rest of the filter matches.
pub fn reaches(root: Option<&str>, filter: &TopicFilter, topic: TopicName<'_>) -> bool {
    root.is_none_or(|root| !may_overreach(root, filter) || is_below(root, topic))
}

/// Whether a filter can match more than its rest behind `root` would: it goes on with a wildcard, which does not know that a level
/// begins there.
pub(super) fn may_overreach(root: &str, filter: &TopicFilter) -> bool {
    let rest = filter.as_str().strip_prefix(root);
    rest.is_some_and(|rest| rest.starts_with(['+', '#']) || rest == "/#")
}

/// `root/#` matches `root` too (4.7.1.2), and a wildcard after `root/` a level that begins with `$` `[MQTT-4.7.2-1]`.
pub(super) fn is_below(root: &str, topic: TopicName<'_>) -> bool {
    let rest = topic.as_str().strip_prefix(root);
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('$'))
}

/// How well a member of a shared subscription can take a message now, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Availability {
    /// A session whose client is away; it keeps the message for later.
    Offline,
    /// Online, but its window is full.
    Online,
    /// Online, with room.
    Ready,
}
