use serde::{Deserialize, Serialize};

use crate::units::Span;

/// `[admin]`: HTTP for people and Prometheus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Address and port of `/metrics`, `/healthz`, `/readyz`; `"none"` for no admin port.
    pub bind: String,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { bind: "127.0.0.1:18083".into() }
    }
}

/// `[sys]`: what the broker tells about itself over MQTT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SysConfig {
    /// How often the figures under `$SYS/broker/` are published; `"0s"` turns them off.
    pub interval: Span,
    /// Whether `$SYS/brokers/NODE/clients/CLIENT/connected` and `…/disconnected` are published.
    pub presence: bool,
    /// This broker's name in presence topics and logs.
    pub node: String,
}

impl Default for SysConfig {
    fn default() -> Self {
        Self { interval: Span::seconds(10), presence: true, node: "dunlin".into() }
    }
}
