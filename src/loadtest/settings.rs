//! What a run is told.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use mqttbytes::QoS;

/// The broker, and how to reach it.
#[derive(Clone, Debug)]
pub struct Target {
    /// As given: a name or an address.
    pub host: String,
    pub address: SocketAddr,
    pub version: Version,
    pub user: Option<String>,
    pub password: Option<String>,
    pub tls: Option<TlsFiles>,
    /// Path of the WebSocket endpoint, if MQTT is to go through WebSocket.
    pub websocket: Option<String>,
    /// Seconds.
    pub keep_alive: u16,
    /// Of sessions that are to outlive their connections, in seconds.
    pub session_expiry: u32,
    /// Unacknowledged messages that each client takes at once, if it says so.
    pub receive_maximum: Option<u16>,
    /// Addresses of this machine that connections come from, in turn; empty for the system's choice.
    pub sources: Vec<IpAddr>,
    /// Beginning of all client identifiers.
    pub prefix: String,
    /// Number of the first client.
    pub first: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1.
    V4,
    V5,
}

impl Version {
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "3.1.1",
            Self::V5 => "5.0",
        }
    }
}

#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Authorities to trust; `None` trusts any certificate.
    pub authorities: Option<PathBuf>,
    /// The client's own certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Connections resume the TLS sessions of those before them.
    pub resumes: bool,
}

/// What is published, and how fast.
#[derive(Clone, Debug)]
pub struct Load {
    pub qos: QoS,
    /// Of the payload, in bytes.
    pub size: usize,
    pub retain: bool,
    pub pace: Pace,
    /// Messages of all publishers together.
    pub limit: Option<u64>,
    /// Not measured.
    pub warmup: Duration,
    /// Measured; `None` until the limit is reached.
    pub duration: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Closed loop: so many messages of each publisher are under way at most.
    Window(u32),
    /// Open loop: one message of each publisher every so often, whatever has become of the others.
    Every(Duration),
    /// Open loop: so many messages a second of all publishers together.
    Rate(f64),
}

/// All that does not depend on the scenario.
#[derive(Clone, Debug)]
pub struct Settings {
    pub target: Target,
    pub load: Load,
    /// What subscribers ask for.
    pub subscribe_qos: QoS,
    /// Subscribers' sessions outlive their connections.
    pub persistent: bool,
    pub threads: usize,
    /// From one connection to the next; zero for as fast as they are answered.
    pub connect_interval: Duration,
    /// How long to wait for what does not come.
    pub patience: Duration,
    /// The broker's process, for its CPU and memory.
    pub pid: Option<u32>,
}

/// What is run: which clients there are, and what they do.
#[derive(Clone, Debug)]
pub enum Scenario {
    /// Publishers alone; `topic` may have `%i`, `%c` and `%u` in it.
    Publish { publishers: usize, topic: String },
    /// Subscribers alone.
    Subscribe { subscribers: usize, filters: Vec<String> },
    /// Connections that do nothing.
    Connect { clients: usize },
    /// Each publisher has one subscriber.
    Pairs { pairs: usize },
    /// All subscribers get everything from all publishers.
    All { publishers: usize, subscribers: usize },
    /// Consumers get what is published, each message once.
    Consumers {
        publishers: usize,
        consumers: usize,
        filter: String,
        /// Of all publishers together; at least one for each.
        topics: usize,
        /// Messages that wait for the consumers all the time; published before they come.
        backlog: u64,
    },
    /// Each retained message has a topic of its own; then subscribers come.
    Retained { publishers: usize, subscribers: usize },
    /// Sessions subscribe and go, messages are published, sessions come back.
    Offline { publishers: usize, sessions: usize, everyone: bool },
    /// Many wildcard subscriptions, of which each message matches one.
    Wildcards { publishers: usize, subscribers: usize, subscriptions: usize },
}

impl Scenario {
    /// How many clients it has.
    pub(super) const fn clients(&self) -> usize {
        match self {
            Self::Publish { publishers, .. } => *publishers,
            Self::Subscribe { subscribers, .. } => *subscribers,
            Self::Connect { clients } => *clients,
            Self::Pairs { pairs } => 2 * *pairs,
            Self::Consumers { publishers, consumers, .. } => *publishers + *consumers,
            Self::Offline { publishers, sessions, .. } => *publishers + *sessions,
            Self::All { publishers, subscribers }
            | Self::Retained { publishers, subscribers }
            | Self::Wildcards { publishers, subscribers, .. } => *publishers + *subscribers,
        }
    }
}
