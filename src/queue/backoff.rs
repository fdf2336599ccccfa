use std::fmt;
use std::time::Duration;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::random::Random;
use crate::units::Span;

/// How long a failed message waits before its next attempt.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Backoff {
    /// Grows by a factor: `{ initial = "1s", factor = 2.0, max = "5m", jitter = 0.2 }`.
    Growing(GrowingBackoff),
    /// One delay per failure: `["1s", "10s", "1m"]`; the last repeats.
    List(Vec<Span>),
}

/// `initial`, then `factor` times as long after each further failure, at most `max`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrowingBackoff {
    /// After the first failure.
    pub initial: Span,
    /// At least 1.
    pub factor: f64,
    /// The longest delay, before jitter.
    pub max: Span,
    /// From 0 to 1: each delay is drawn from `delay * (1 ± jitter)`, so that messages that failed together do not come back together.
    pub jitter: f64,
}

impl Default for GrowingBackoff {
    fn default() -> Self {
        Self { initial: Span::seconds(1), factor: 2.0, max: Span::seconds(300), jitter: 0.2 }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::Growing(GrowingBackoff::default())
    }
}

impl Backoff {
    /// The delay after this many failures, from 1.
    pub(super) fn delay(&self, failures: u32, random: &mut Random) -> Duration {
        let earlier = failures.saturating_sub(1);
        match self {
            Self::Growing(growing) => growing.delay(earlier, random),
            Self::List(delays) => {
                delays.get(earlier as usize).or_else(|| delays.last()).map_or(Duration::ZERO, |delay| delay.0)
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::List(delays) if delays.is_empty() => Err("a list needs at least one delay"),
            Self::List(_) => Ok(()),
            Self::Growing(growing) => growing.check(),
        }
    }
}

impl GrowingBackoff {
    fn delay(&self, earlier: u32, random: &mut Random) -> Duration {
        let exponent = i32::try_from(earlier).unwrap_or(i32::MAX);
        let grown = self.initial.0.as_secs_f64() * self.factor.powi(exponent);
        let spread = 1.0 + self.jitter * (2.0 * random.unit() - 1.0);
        // `min` also takes the infinity that a large exponent gives.
        Duration::try_from_secs_f64(grown.min(self.max.0.as_secs_f64()) * spread).unwrap_or(self.max.0)
    }

    fn check(&self) -> Result<(), &'static str> {
        if !(self.factor.is_finite() && self.factor >= 1.0) {
            return Err("factor must be at least 1");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err("jitter must be from 0 to 1");
        }
        if self.initial > self.max {
            return Err("initial must not be longer than max");
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Backoff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TableOrList)
    }
}

/// Told apart by shape, so that an error in either names its own key.
struct TableOrList;

impl<'de> Visitor<'de> for TableOrList {
    type Value = Backoff;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a table like { initial = \"1s\", factor = 2.0, max = \"5m\", jitter = 0.2 } or a list like [\"1s\", \"10s\"]",
        )
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Backoff, A::Error> {
        GrowingBackoff::deserialize(MapAccessDeserializer::new(map)).map(Backoff::Growing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Backoff, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Backoff::List)
    }
}
