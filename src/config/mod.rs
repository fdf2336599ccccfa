//! What the operator decides: one struct per room, read from a TOML file, what the admin API has changed of it, the environment and the
//! command line, checked once.
//!
//! [`ConfigSource`] reads the layers, keeps for every value the place it came from, and tells all that is wrong at once: the
//! place, the key, and the cure. The rooms own their structs and defaults; this room knows them, they do not know it.

mod changeable;
mod document;
mod environment;
mod error;
mod flags;
mod layer;
mod overrides;
mod patch;
mod print;
mod schema;
mod sections;
mod source;
#[cfg(test)]
mod tests;
mod validate;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use changeable::{fixed_changes, keep_fixed};
pub use error::{ConfigError, ConfigErrors, Place};
pub use flags::Flags;
pub use overrides::Overrides;
pub use schema::nearest;
pub use sections::{Log, LogFormat, Server};
pub use source::{Change, Changed, ConfigSource, Loaded, Refusal};
pub use validate::{OPEN_API, Warning, check_log_level};

use crate::admin::{AdminConfig, SysConfig};
use crate::auth::AuthConfig;
use crate::broker::{OverloadConfig, Protection, QueueSettings, Quotas, Rates};
use crate::client::bridge::BridgeConfig;
use crate::queue;
use crate::routing::SharedSubscriptions;
use crate::session::Limits;
use crate::storage::Durability;
use crate::transport::ListenerConfig;

/// Everything that can be set. A section that is left out has the defaults of its struct.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the journal lies; one broker at a time.
    pub data_dir: PathBuf,
    /// The process.
    pub server: Server,
    /// What goes to standard error.
    pub log: Log,
    /// The doors. Those of the config replace the two default ones: TCP on 127.0.0.1:1883, WebSocket on 127.0.0.1:8083/mqtt.
    pub listeners: Vec<ListenerConfig>,
    /// Who may connect, and what they may do.
    pub auth: AuthConfig,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// The bounds on everything that a client can make grow.
    pub limits: Limits,
    /// How much may come in a second.
    pub rates: Rates,
    /// Totals of one user.
    pub quotas: Quotas,
    /// Who is locked out for a while because of what it does.
    pub protection: Protection,
    /// What is given up first when memory runs short.
    pub overload: OverloadConfig,
    /// How `$share` groups share.
    pub shared_subscriptions: SharedSubscriptions,
    /// Other brokers that topics are shared with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bridges: Vec<BridgeConfig>,
    /// What holds for all work queues together.
    pub work_queues: QueueSettings,
    /// The work queues, besides those that clients and operators make.
    pub queues: Vec<queue::Config>,
    /// HTTP for people and Prometheus.
    pub admin: AdminConfig,
    /// What the broker tells about itself over MQTT.
    pub sys: SysConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            server: Server::default(),
            log: Log::default(),
            listeners: vec![
                ListenerConfig::new("tcp", "tcp://127.0.0.1:1883"),
                ListenerConfig::new("websocket", "ws://127.0.0.1:8083/mqtt"),
            ],
            auth: AuthConfig::default(),
            durability: Durability::default(),
            limits: Limits::default(),
            rates: Rates::default(),
            quotas: Quotas::default(),
            protection: Protection::default(),
            overload: OverloadConfig::default(),
            shared_subscriptions: SharedSubscriptions::default(),
            bridges: Vec::new(),
            work_queues: QueueSettings::default(),
            queues: Vec::new(),
            admin: AdminConfig::default(),
            sys: SysConfig::default(),
        }
    }
}

impl Config {
    /// Reads the file, what was changed over the admin API, this process's environment, and `flags`, each over the one before. All that is wrong comes back together.
    pub fn load(file: Option<&Path>, flags: Flags) -> Result<Self, ConfigErrors> {
        ConfigSource::new(file.map(Path::to_path_buf), flags).load()
    }

    /// What works, but hardly as meant: for `dunlin check` and the log at start.
    pub fn warnings(&self) -> Vec<Warning> {
        validate::warnings(self)
    }

    /// The config as TOML, every key written out, with secrets masked.
    pub fn to_toml(&self) -> String {
        print::to_toml(self)
    }
}
