use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the API asks of the process around the broker.
pub trait Steward: Send + Sync + 'static {
    /// The config in force, without its secrets.
    fn config(&self) -> serde_json::Value;

    /// Reads the config again, as SIGHUP does. Gives the keys whose change takes effect at the next start only; the error tells all that
    /// is wrong, and then all stays as it was.
    fn reload(&self) -> Pending<Result<Vec<String>, String>>;

    fn listeners(&self) -> Vec<ListenerView>;

    fn log_level(&self) -> String;

    /// Until the config is read again.
    fn set_log_level(&self, level: &str) -> Result<(), String>;

    /// Writes the bans down. Waits for the disk: not for threads that serve connections.
    fn keep_bans(&self) -> Result<(), String>;

    /// Begins a backup; gives its name. The error says why there can be none now.
    fn begin_backup(&self) -> Result<BackupView, String>;

    /// The backups that were begun, the latest first.
    fn backups(&self) -> Vec<BackupView>;
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
