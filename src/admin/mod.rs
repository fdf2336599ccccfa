//! HTTP for people and Prometheus, and `$SYS`.

pub mod api;
pub mod config;
mod dashboard;
pub mod health;
mod histogram;
pub mod http;
pub mod presence;
mod problem;
mod process;
mod prometheus;
mod queue_series;
pub mod queues;
mod series;
pub mod sys_topics;

pub use api::{
    Access, Api, BackupState, BackupView, BridgeTopicView, BridgeView, ConfigChanged, ConfigRefusal, ListenerView,
    OverridesView, Pending, Steward,
};
pub use config::{AdminApiConfig, AdminConfig, AdminTlsConfig, SysConfig};
pub use health::{Condition, Readiness};
pub use http::{Accept, AdminState, Stream, serve};
pub use process::Process;
pub use prometheus::Exporter;
pub use sys_topics::SysTopics;
