use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use serde::Serialize;
use serde_json::{Map, Value};

pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the API asks of the process around the broker.
pub trait Steward: Send + Sync + 'static {
    /// The config in force, without its secrets.
    fn config(&self) -> Value;

    /// Reads the config again, as SIGHUP does. Gives the keys whose change takes effect at the next start only; the error tells all that
    /// is wrong, and then all stays as it was.
    fn reload(&self) -> Pending<Result<Vec<String>, String>>;

    /// What was changed over the API.
    fn overrides(&self) -> OverridesView;

    /// Lays a JSON merge patch over what was changed before; once it is answered it holds, and survives a power cut. On an error nothing
    /// has changed.
    fn patch_config(&self, patch: Map<String, Value>) -> Pending<Result<ConfigChanged, ConfigRefusal>>;

    /// Takes back all that was changed over the API.
    fn reset_config(&self) -> Pending<Result<ConfigChanged, ConfigRefusal>>;

    fn listeners(&self) -> Vec<ListenerView>;

    /// The bridges of the config, by name.
    fn bridges(&self) -> Vec<BridgeView>;

    fn log_level(&self) -> String;

    /// Until the config is read again, or its level changed.
    fn set_log_level(&self, level: &str) -> Result<(), String>;

    /// Writes the bans down. Waits for the disk: not for threads that serve connections.
    fn keep_bans(&self) -> Result<(), String>;

    /// Begins a backup; gives its name. The error says why there can be none now.
    fn begin_backup(&self) -> Result<BackupView, String>;

    /// The backups that were begun, the latest first.
    fn backups(&self) -> Vec<BackupView>;
}

/// What lies over the config file.
#[derive(Clone, Debug, Serialize)]
pub struct OverridesView {
    /// As a patch that would make them again.
    pub overrides: Value,
    /// The keys in it, `limits.max_inflight`.
    pub overridden: Vec<String>,
    /// The keys that may be changed.
    pub changeable: Vec<String>,
    /// Where they are kept.
    pub file: String,
}

/// A change of the config that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigChanged {
    /// The keys that were given a value.
    pub set: Vec<String>,
    /// The keys for which the config file counts again.
    pub taken_back: Vec<String>,
    /// All that are overridden now.
    pub overridden: Vec<String>,
}

/// Why a change of the config was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigRefusal {
    /// It is wrong as a config file would be.
    Wrong(String),
    /// It names keys that cannot be changed this way.
    NotChangeable(String),
    /// The config has errors already.
    Broken(String),
    /// It could not be written down.
    NotKept(String),
    Busy(String),
}

/// A listener, as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct ListenerView {
    /// The name in the config.
    pub id: String,
    /// `tcp`, `tls`, `ws`, `wss` or `unix`.
    #[serde(rename = "type")]
    pub transport: &'static str,
    pub bind: String,
    pub mountpoint: String,
    /// 0 is no bound.
    pub max_connections: usize,
    pub current_connections: u64,
    /// Connections whose CONNECT has not been accepted yet.
    pub pending_connections: u64,
    /// Since the start.
    pub accepted_total: u64,
    pub handshake_failures_total: u64,
    pub versions: Vec<&'static str>,
}

/// A bridge to another broker, as it is now. Counters go on over a change of its config.
#[derive(Clone, Debug, Serialize)]
pub struct BridgeView {
    pub name: String,
    /// Where the other broker is.
    pub urls: Vec<String>,
    pub topics: Vec<BridgeTopicView>,
    /// Both brokers are connected.
    pub connected: bool,
    /// Messages that wait here for the other broker, and their bytes.
    pub mqueue_len: usize,
    pub mqueue_bytes: usize,
    /// Messages that went over in each direction, those that were sent again included.
    pub sent_total: u64,
    pub received_total: u64,
    /// Connections that ended, or could not be had.
    pub reconnects_total: u64,
    /// Messages that were to go over and did not, by reason.
    pub dropped_total: BTreeMap<&'static str, u64>,
}

/// Topics that a bridge shares.
#[derive(Clone, Debug, Serialize)]
pub struct BridgeTopicView {
    pub filter: String,
    /// `out`, `in` or `both`.
    pub direction: &'static str,
    pub qos: u8,
    pub local_prefix: String,
    pub remote_prefix: String,
}

/// How far a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupState {
    Running,
    Done,
    Failed,
}

/// A backup that was begun in this process.
#[derive(Clone, Debug, Serialize)]
pub struct BackupView {
    /// Its folder in the data directory's `backups`.
    pub name: String,
    pub state: BackupState,
    /// When it was begun, in milliseconds since 1970.
    pub at: u64,
    /// Copied so far, of these.
    pub bytes: u64,
    pub bytes_total: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
