//! What the admin API asks of the process: the config, the listeners, the log, the files.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use super::backups::Backups;
use super::ban_file::BanFile;
use super::bridges::door_name;
use super::house::OpenDoor;
use crate::admin::{
    BackupView, BridgeTopicView, BridgeView, ConfigChanged, ConfigRefusal, ListenerView, OverridesView, Pending, Steward,
};
use crate::broker::Broker;
use crate::cli::logging;
use crate::client::bridge::{BridgeConfig, BridgeTopic};
use crate::config::{Change, Config, Loaded, Overrides, Refusal, check_log_level};
use crate::metrics::BridgeDrop;

/// What came of reading the config again: the keys that need a new start, or all that is wrong.
pub type Reloaded = Result<Vec<String>, String>;

/// What is done between two signals, one after the other.
pub enum Request {
    Reload(oneshot::Sender<Reloaded>),
    Change(Change, oneshot::Sender<Result<ConfigChanged, ConfigRefusal>>),
}

pub struct Office {
    pub broker: Arc<Broker>,
    pub doors: Arc<HashMap<String, OpenDoor>>,
    pub config: ArcSwap<Config>,
    pub overrides: ArcSwap<Overrides>,
    /// Keys that the API may change.
    pub changeable: ArcSwap<Vec<String>>,
    pub log_level: Mutex<String>,
    pub bans: Arc<BanFile>,
    /// `None` where nothing is stored.
    pub backups: Option<Arc<Backups>>,
    pub requests: mpsc::Sender<Request>,
}

impl Office {
    /// Another config holds.
    pub fn reloaded(&self, loaded: &Loaded, changeable: Vec<String>) {
        self.config.store(Arc::new(loaded.config.clone()));
        self.overrides.store(Arc::new(loaded.overrides.clone()));
        self.changeable.store(Arc::new(changeable));
    }

    /// The level that the log has now.
    pub fn set_shown_level(&self, level: &str) {
        level.clone_into(&mut self.log_level.lock());
    }

    /// Asks who holds the house; the error is that there is no time for it.
    fn ask<T: Send + 'static>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Pending<Result<T, Busy>> {
        let (ask, answer) = oneshot::channel();
        let sent = self.requests.try_send(request(ask));
        Box::pin(async move {
            sent.map_err(|_| Busy)?;
            answer.await.map_err(|_| Busy)
        })
    }

    fn change(&self, change: Change) -> Pending<Result<ConfigChanged, ConfigRefusal>> {
        let asked = self.ask(|answer| Request::Change(change, answer));
        Box::pin(async move { asked.await.map_err(|Busy| ConfigRefusal::Busy(BUSY.into()))? })
    }
}

/// The house has no time, or is closing.
struct Busy;

const BUSY: &str = "the broker is stopping, or reading its config already";

/// The words of the config in those of the API.
impl From<Refusal> for ConfigRefusal {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Wrong(why) => Self::Wrong(why),
            Refusal::NotChangeable(why) => Self::NotChangeable(why),
            Refusal::Broken(why) => Self::Broken(why),
        }
    }
}

impl Steward for Office {
    fn config(&self) -> Value {
        let text = self.config.load().to_toml();
        let parsed: Result<toml::Value, _> = toml::from_str(&text);
        parsed.ok().and_then(|config| serde_json::to_value(config).ok()).unwrap_or(Value::Null)
    }

    fn reload(&self) -> Pending<Reloaded> {
        let asked = self.ask(Request::Reload);
        Box::pin(async move { asked.await.map_err(|Busy| BUSY.to_owned())? })
    }

    fn overrides(&self) -> OverridesView {
        let overrides = self.overrides.load();
        OverridesView {
            overrides: serde_json::to_value(&overrides.values).unwrap_or(Value::Null),
            overridden: overrides.keys.clone(),
            changeable: self.changeable.load().to_vec(),
            file: overrides.file.display().to_string(),
        }
    }

    fn patch_config(&self, patch: Map<String, Value>) -> Pending<Result<ConfigChanged, ConfigRefusal>> {
        self.change(Change::Patch(patch))
    }

    fn reset_config(&self) -> Pending<Result<ConfigChanged, ConfigRefusal>> {
        self.change(Change::Reset)
    }

    fn listeners(&self) -> Vec<ListenerView> {
        let mut views: Vec<_> = self.doors.values().map(view).collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }

    fn bridges(&self) -> Vec<BridgeView> {
        let config = self.config.load();
        let mut views: Vec<_> = config.bridges.iter().map(|bridge| bridge_view(bridge, &self.broker)).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    fn log_level(&self) -> String {
        self.log_level.lock().clone()
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        check_log_level(level)?;
        let mut current = self.log_level.lock();
        logging::set_level(level)?;
        level.clone_into(&mut current);
        Ok(())
    }

    fn keep_bans(&self) -> Result<(), String> {
        self.bans.save(&self.broker.bans).map_err(|error| error.to_string())
    }

    fn begin_backup(&self) -> Result<BackupView, String> {
        self.backups.as_ref().ok_or("durability is \"memory\": there is nothing to back up")?.begin()
    }

    fn backups(&self) -> Vec<BackupView> {
        self.backups.as_ref().map(|backups| backups.views()).unwrap_or_default()
    }
}

fn bridge_view(config: &BridgeConfig, broker: &Broker) -> BridgeView {
    let metrics = broker.metrics.bridge(&config.name);
    let waiting = broker.session(None, &door_name(&config.name)).map(|session| session.view());
    let topic = |topic: &BridgeTopic| BridgeTopicView {
        filter: topic.filter.clone(),
        direction: topic.direction.name(),
        qos: topic.qos,
        local_prefix: topic.local_prefix.clone(),
        remote_prefix: topic.remote_prefix.clone(),
    };
    BridgeView {
        name: config.name.clone(),
        urls: config.urls.clone(),
        topics: config.topics.iter().map(topic).collect(),
        connected: metrics.connected.get() > 0,
        mqueue_len: waiting.as_ref().map_or(0, |session| session.queued),
        mqueue_bytes: waiting.as_ref().map_or(0, |session| session.queued_bytes),
        sent_total: metrics.sent.get(),
        received_total: metrics.received.get(),
        reconnects_total: metrics.reconnects.get(),
        dropped_total: BridgeDrop::ALL.into_iter().map(|reason| (reason.name(), metrics.drops(reason))).collect(),
    }
}

fn view(open: &OpenDoor) -> ListenerView {
    let (context, metrics) = (&open.context, &open.door.metrics);
    ListenerView {
        id: context.name.clone(),
        transport: context.transport,
        bind: open.address.clone(),
        mountpoint: context.mount_point.clone(),
        max_connections: open.max_connections,
        current_connections: metrics.connected().into_iter().sum(),
        pending_connections: metrics.pending.get(),
        accepted_total: metrics.accepted.get(),
        handshake_failures_total: metrics.handshake_failures.get(),
        versions: open.door.versions.iter().map(|version| version.name()).collect(),
    }
}
