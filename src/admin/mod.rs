//! HTTP for people and Prometheus, and `$SYS`.

pub mod config;
pub mod health;
pub mod http;
pub mod presence;
mod process;
mod prometheus;
mod queue_series;
pub mod queues;
mod series;
pub mod sys_topics;

pub use config::{AdminConfig, SysConfig};
pub use health::{Condition, Readiness};
pub use http::{AdminState, serve};
pub use process::Process;
pub use prometheus::Exporter;
pub use sys_topics::SysTopics;
