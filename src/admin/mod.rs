//! HTTP for people and Prometheus, and `$SYS`.

pub mod config;

pub use config::{AdminConfig, SysConfig};
