//! The bridges: begun, compared on SIGHUP, ended.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::background::publish_sys;
use crate::auth::{Authenticator, Authorizer};
use crate::broker::{Admission, BRIDGE_PREFIX, Broker, Buckets, Client, Door, Origin, Rights};
use crate::client::Stream;
use crate::client::bridge::{self, Bridge, BridgeConfig};
use crate::config::Config;
use crate::metrics::Limit;
use crate::packet::ProtocolVersion;
use crate::session::Limits;
use crate::transport::{Driver, StreamWire};
use crate::units::Span;

/// All bridges that run.
pub struct Bridges {
    broker: Arc<Broker>,
    /// What bridges may do here: everything but to write to `$SYS`.
    rights: Arc<Rights>,
    running: HashMap<String, Running>,
}

struct Running {
    config: BridgeConfig,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Bytes that lie between a bridge and its broker in one direction.
const PIPE_SIZE: usize = 64 * 1024;
/// How long bridges may take to say goodbye.
const STOP_TIME: Duration = Duration::from_secs(2);

/// The rights of all bridges.
pub fn rights() -> Arc<Rights> {
    Arc::new(Rights::new(Authenticator::new(true, None), Authorizer::new(None)))
}

/// The name of a bridge's door, which is the client identifier of its session here.
pub fn door_name(bridge: &str) -> String {
    format!("{BRIDGE_PREFIX}{bridge}")
}

impl Bridges {
    pub fn new(broker: Arc<Broker>, rights: Arc<Rights>) -> Self {
        Self { broker, rights, running: HashMap::new() }
    }

    /// Ends the bridges that are gone from the config or changed in it, and begins those that are new or changed.
    pub async fn apply(&mut self, config: &Config) {
        let is_same = |running: &Running| config.bridges.contains(&running.config);
        let gone: Vec<_> = self.running.extract_if(|_, running| !is_same(running)).collect();
        let before: Vec<BridgeConfig> = gone.iter().map(|(_, running)| running.config.clone()).collect();
        stop(gone.into_iter().map(|(_, running)| running)).await;
        self.forget_states(&before, config);
        let is_there = |name: &str| config.bridges.iter().any(|bridge| bridge.name == name);
        // Their connections here end a little after they have said goodbye.
        let patience = Instant::now() + STOP_TIME;
        while self.broker.end_other_bridges(is_there, Instant::now()) > 0 && Instant::now() < patience {
            sleep(Duration::from_millis(10)).await;
        }
        for bridge in &config.bridges {
            if !self.running.contains_key(&bridge.name) {
                let running = self.start(bridge, config).await;
                self.running.insert(bridge.name.clone(), running);
            }
        }
    }

    /// Nothing stays retained of the state of bridges that are gone.
    fn forget_states(&self, before: &[BridgeConfig], config: &Config) {
        let told: HashSet<String> = config.bridges.iter().flat_map(|bridge| state_topics(bridge, config)).collect();
        for topic in before.iter().flat_map(|bridge| state_topics(bridge, config)).filter(|topic| !told.contains(topic)) {
            publish_sys(&self.broker, &topic, "", true, Instant::now());
        }
    }

    /// Ends all.
    pub async fn stop(&mut self) {
        stop(self.running.drain().map(|(_, running)| running)).await;
    }

    async fn start(&self, bridge: &BridgeConfig, config: &Config) -> Running {
        let (stop, stopping) = watch::channel(false);
        let name = door_name(&bridge.name);
        let limits = limits(bridge, &config.limits);
        let door = self.door(&name, &limits);
        let client_id = client_id(bridge, config);
        let (broker, of_session, session) = (self.broker.clone(), self.broker.clone(), name.clone());
        let connect_timeout = config.limits.connect_timeout.0;
        let bridge_task = Bridge {
            on_state: Box::new(tell_state(&self.broker, bridge, config)),
            config: bridge.clone(),
            client_id,
            local_client_id: name,
            limits,
            metrics: self.broker.metrics.bridge(&bridge.name),
            connect_local: Box::new(move || connect(&broker, &door, connect_timeout)),
            local_subscriptions: Box::new(move || of_session.bridge_subscriptions(&session)),
        };
        let start = bridge::prepare(&bridge_task).await;
        Running { config: bridge.clone(), stop, task: tokio::spawn(bridge::run(bridge_task, start, stopping)) }
    }

    fn door(&self, name: &str, limits: &Limits) -> Arc<Door> {
        Arc::new(Door {
            name: name.into(),
            versions: vec![ProtocolVersion::V5],
            mount_point: None,
            limits: ArcSwap::from_pointee(limits.clone()),
            rights: self.rights.clone(),
            revoked: ArcSwapOption::empty(),
            metrics: self.broker.metrics.listener(name),
            flow: ArcSwap::default(),
            buckets: Buckets::shared(Instant::now()),
        })
    }
}

fn limits(bridge: &BridgeConfig, ours: &Limits) -> Limits {
    Limits {
        receive_maximum: u16::MAX, // An older broker cannot be told of one.
        max_inflight: bridge.max_inflight,
        max_queued_messages: bridge.max_queued_messages,
        max_queued_bytes: bridge.max_queued_bytes,
        queue_qos0: bridge.queue_qos0,
        max_user_properties: usize::MAX, // More would end the connection, and come again; the packet's size bounds them.
        max_keep_alive: Span::seconds(0),
        max_session_expiry: Span::seconds(0),
        ..ours.clone()
    }
}

async fn stop(all: impl Iterator<Item = Running>) {
    let tasks: Vec<_> = all
        .map(|Running { stop, task, .. }| {
            let _ = stop.send(true); // no receiver, no task
            task
        })
        .collect();
    for task in tasks {
        let _ = timeout(STOP_TIME, task).await; // the rest is cut
    }
}

/// What a bridge calls itself at the other broker.
fn client_id(bridge: &BridgeConfig, config: &Config) -> String {
    match bridge.client_id.as_str() {
        "" => format!("{}.{}", config.sys.node, bridge.name),
        given => given.to_owned(),
    }
}

/// Where it is told whether a bridge is connected, in our words and in mosquitto's.
fn state_topics(bridge: &BridgeConfig, config: &Config) -> [String; 2] {
    let client_id = client_id(bridge, config);
    [format!("$SYS/broker/bridges/{}/state", bridge.name), format!("$SYS/broker/connection/{client_id}/state")]
}

/// Tells who subscribes to `$SYS` whether a bridge is connected.
fn tell_state(broker: &Arc<Broker>, bridge: &BridgeConfig, config: &Config) -> impl Fn(bool) + Send + Sync + use<> {
    let topics = state_topics(bridge, config);
    let (broker, is_silent) = (broker.clone(), config.sys.interval.is_zero());
    move |is_connected| {
        if !is_silent {
            let payload = if is_connected { "1" } else { "0" };
            topics.iter().for_each(|topic| publish_sys(&broker, topic, payload, true, Instant::now()));
        }
    }
}

/// A connection to our own broker that touches no socket.
fn connect(broker: &Arc<Broker>, door: &Arc<Door>, connect_timeout: Duration) -> Box<dyn Stream> {
    let (ours, theirs) = tokio::io::duplex(PIPE_SIZE);
    let origin = Origin { door: door.clone(), address: None, certificate: None };
    let client = Client::new(broker.clone(), origin, None, Box::new(OwnPlace));
    let wire = Box::new(StreamWire::new(theirs));
    tokio::spawn(Driver::new(wire, client, Instant::now() + connect_timeout));
    Box::new(ours)
}

/// A bridge takes no place from the clients.
struct OwnPlace;

impl Admission for OwnPlace {
    fn admit(&mut self) -> Result<(), Limit> {
        Ok(())
    }
}
