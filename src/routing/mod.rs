//! Who wants this message, and what this filter wants.
//!
//! [`Index`] holds the subscriptions and finds the recipients of a topic; [`MatchCache`] remembers them for one thread;
//! [`RetainedTree`] finds the topics that a new subscription matches.

mod arena;
pub mod config;
mod exact_filters;
mod id_table;
pub mod index;
mod levels;
pub mod match_cache;
pub mod matches;
#[cfg(test)]
mod model_tests;
pub mod retained_tree;
pub mod shared_subscription;
mod skip_scan;
pub mod subscriber;
mod subscriber_list;
#[cfg(test)]
mod test_subscriber;
#[cfg(test)]
mod tests;
mod wildcard_trie;

pub use config::{SharedSubscriptions, Strategy};
pub use index::Index;
pub use match_cache::MatchCache;
pub use matches::{Grant, Matches, Recipient};
pub use retained_tree::{Retainable, RetainedTree};
pub use shared_subscription::{PublisherHash, SharedGroup};
pub use subscriber::{Availability, Subscriber, reaches};
pub use subscriber_list::Subscription;
