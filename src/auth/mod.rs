//! Who are you, and may you.

pub mod config;

pub use config::AuthConfig;
