use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a queue is called: one level of a topic, 1 to 128 bytes, without `/ + #` and control characters, not beginning with `$`.
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(Arc<str>);

/// Why a text is no queue name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQueueName {
    #[error("a queue name is empty")]
    Empty,
    #[error("a queue name is longer than 128 bytes")]
    TooLong,
    #[error("a queue name must not contain / + #")]
    Separator,
    #[error("a queue name must not contain control characters")]
    Control,
    #[error("a queue name must not begin with $")]
    Dollar,
}

impl QueueName {
    /// Bytes of the longest name.
    pub const MAX: usize = 128;

    pub fn new(name: &str) -> Result<Self, InvalidQueueName> {
        Self::check(name).map(|()| Self(name.into()))
    }

    /// Whether `name` would be one, without making it.
    pub fn check(name: &str) -> Result<(), InvalidQueueName> {
        match name.len() {
            0 => return Err(InvalidQueueName::Empty),
            1..=Self::MAX => {}
            _ => return Err(InvalidQueueName::TooLong),
        }
        if name.starts_with('$') {
            return Err(InvalidQueueName::Dollar);
        }
        if name.contains(['/', '+', '#']) {
            return Err(InvalidQueueName::Separator);
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidQueueName::Control);
        }
        Ok(())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for QueueName {
    type Error = InvalidQueueName;

    fn try_from(name: String) -> Result<Self, InvalidQueueName> {
        Self::new(&name)
    }
}

impl From<QueueName> for String {
    fn from(name: QueueName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
