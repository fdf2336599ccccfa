use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::Span;

/// `[admin]`: HTTP for people and Prometheus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Address and port of the API, the dashboard, `/metrics`, `/healthz` and `/readyz`; `"none"` for no admin port.
    pub bind: String,
    /// A second address and port, of `/metrics`, `/healthz` and `/readyz` only, without keys and TLS; `"none"` for none.
    pub metrics_bind: String,
    /// Whether the page for people is served, at `/dashboard/` of `bind`; it needs the API.
    pub dashboard: bool,
    /// The HTTP API.
    pub api: AdminApiConfig,
    /// TLS on `bind`; read again on SIGHUP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<AdminTlsConfig>,
}

/// `[admin.api]`: the HTTP API under `/api/v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminApiConfig {
    /// Whether it is served.
    pub enabled: bool,
    /// The keys that are asked for, as `dunlin apikey` writes them; read again on SIGHUP. Without it the API is open, and then only
    /// served on loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

impl Default for AdminApiConfig {
    fn default() -> Self {
        Self { enabled: true, key_file: None }
    }
}

/// `[admin.tls]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminTlsConfig {
    /// The certificate with its chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:18083".into(),
            metrics_bind: "none".into(),
            dashboard: true,
            api: AdminApiConfig::default(),
            tls: None,
        }
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
