/// Someone who can be sent messages. Routing knows nothing else of a session, so that it need not know the broker.
///
/// Clones are kept in the index and in cached matches: a clone should be a counted pointer.
pub trait Subscriber: Clone + Send + Sync {
    /// Which session it is: unique for the life of the process, the same for all its clones.
    fn key(&self) -> u64;

    /// How well it can take a message of a shared subscription now. It is asked under the group's lock: read an atomic, wait for
    /// nothing.
    fn availability(&self) -> Availability;
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
