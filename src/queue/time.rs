use std::time::Duration;

/// A moment of the wall clock: milliseconds since 1970, UTC. What is durable is dated by it, so that timers survive a restart.
///
/// The caller's clock should not jump: a queue that is told an earlier `now` than before goes on with the later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Later than any other; "no such moment" where eight bytes matter.
    pub(super) const NEVER: Self = Self(u64::MAX);

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to here; zero if that is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    pub(super) fn some(self) -> Option<Self> {
        (self != Self::NEVER).then_some(self)
    }
}
