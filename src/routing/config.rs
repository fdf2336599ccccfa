use serde::{Deserialize, Serialize};

/// `[shared_subscriptions]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SharedSubscriptions {
    /// How a message of a `$share` group finds its one receiver.
    pub strategy: Strategy,
}

/// How a message of a `$share` group finds its one receiver, among those online.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Any.
    Random,
    /// The same until it goes away.
    Sticky,
    /// The same for one publisher.
    HashClient,
    /// The same for one topic.
    HashTopic,
}
