//! Who wants this message, and what this filter wants.

pub mod config;

pub use config::{SharedSubscriptions, Strategy};
