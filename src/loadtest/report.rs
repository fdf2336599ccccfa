//! What a run found, as it goes into the JSON file.

use serde::Serialize;

use super::latency::LatencySummary;
use super::process::Usage;
use super::settings::{Load, Pace, Settings};

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// As on the command line: `p2p`.
    pub scenario: String,
    pub setup: Setup,
    /// What was measured, one after the other.
    pub phases: Vec<Phase>,
    pub messages: Messages,
    /// From when a message was due until a subscriber had it.
    pub latency_us: Option<LatencySummary>,
    /// From when a message was due until the broker had acknowledged it.
    pub ack_latency_us: Option<LatencySummary>,
    /// From the first byte to CONNACK.
    pub connect_latency_us: Option<LatencySummary>,
    /// Where something was lost, doubled or reordered; the worst ones.
    pub faults: Vec<Fault>,
    /// What went wrong otherwise: refusals, connections that broke.
    pub problems: Vec<String>,
}

/// How it was done.
#[derive(Clone, Debug, Serialize)]
pub struct Setup {
    pub broker: String,
    pub version: &'static str,
    pub tls: bool,
    pub websocket: bool,
    pub clients: usize,
    pub qos: u8,
    pub payload_bytes: usize,
    /// `window 100`, `every 10ms`, `5000/s`.
    pub pace: String,
    pub persistent: bool,
    pub threads: usize,
    pub pid: Option<u32>,
}

/// One measured stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    pub name: &'static str,
    /// What is counted: connections, subscriptions, messages acknowledged, deliveries.
    pub unit: Unit,
    pub seconds: f64,
    pub count: u64,
    pub per_second: f64,
    pub payload_bytes_per_second: f64,
    /// PUBACK or PUBCOMP.
    pub acknowledged_per_second: f64,
    /// Of the broker, with `--pid`.
    pub broker: Option<Cost>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Connections,
    Subscriptions,
    Messages,
    /// Messages times the sessions that are to have them.
    Queued,
    Deliveries,
}

impl Unit {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Subscriptions => "subscriptions",
            Self::Messages => "messages",
            Self::Queued => "queued",
            Self::Deliveries => "deliveries",
        }
    }
}

/// What a phase cost the broker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    pub cpu_seconds: f64,
    /// Per million of what was counted; the same number is microseconds for each.
    pub cpu_seconds_per_million: Option<f64>,
    /// Part of one core.
    pub cpu_percent: f64,
    pub resident_before: u64,
    pub resident_after: u64,
    /// Growth for each of what was counted.
    pub resident_bytes_each: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Messages {
    pub sent: u64,
    pub acknowledged: u64,
    /// Not taken by the broker.
    pub rejected: u64,
    /// Deliveries that what was sent had to lead to, as far as that is known.
    pub expected: u64,
    pub delivered: u64,
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
    /// Came to a subscriber that nobody here sent it to.
    pub unexpected: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub subscriber: String,
    /// The topic of the publisher's messages, or its number if it is not one of this run.
    pub stream: String,
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
}

/// How it went, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// Something was lost, doubled, reordered, rejected, or came where it should not.
    Faulty,
    /// Clients were refused or cut off.
    Troubled,
}

impl Report {
    pub fn verdict(&self) -> Verdict {
        let Messages { lost, doubled, reordered, unexpected, rejected, .. } = self.messages;
        if lost + doubled + reordered + unexpected + rejected > 0 {
            Verdict::Faulty
        } else if self.problems.is_empty() {
            Verdict::Good
        } else {
            Verdict::Troubled
        }
    }

    pub fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == name)
    }
}

impl Phase {
    pub(super) fn new(name: &'static str, unit: Unit, seconds: f64, count: u64, bytes: u64) -> Self {
        let (per_second, acknowledged_per_second) = (0.0, 0.0);
        let empty = Self {
            name,
            unit,
            seconds,
            count,
            per_second,
            payload_bytes_per_second: 0.0,
            acknowledged_per_second,
            broker: None,
        };
        Self { per_second: empty.rate(count), payload_bytes_per_second: empty.rate(bytes), ..empty }
    }

    pub(super) fn rate(&self, amount: u64) -> f64 {
        if self.seconds > 0.0 { amount as f64 / self.seconds } else { 0.0 }
    }

    pub(super) fn with_usage(mut self, before: &Usage, after: &Usage) -> Self {
        let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        let each = |amount: f64| (self.count > 0).then(|| amount / self.count as f64);
        self.broker = Some(Cost {
            cpu_seconds,
            cpu_seconds_per_million: each(cpu_seconds * 1e6),
            cpu_percent: if self.seconds > 0.0 { cpu_seconds / self.seconds * 100.0 } else { 0.0 },
            resident_before: before.resident,
            resident_after: after.resident,
            resident_bytes_each: each(after.resident as f64 - before.resident as f64),
        });
        self
    }
}

impl Setup {
    pub(super) fn new(settings: &Settings, clients: usize) -> Self {
        let target = &settings.target;
        Self {
            broker: target.address.to_string(),
            version: target.version.name(),
            tls: target.tls.is_some(),
            websocket: target.websocket.is_some(),
            clients,
            qos: settings.load.qos as u8,
            payload_bytes: settings.load.size,
            pace: pace(&settings.load),
            persistent: settings.persistent,
            threads: settings.threads,
            pid: settings.pid,
        }
    }
}

fn pace(load: &Load) -> String {
    match load.pace {
        Pace::Window(window) => format!("window {window}"),
        Pace::Every(interval) => format!("every {interval:?}"),
        Pace::Rate(rate) => format!("{rate}/s"),
    }
}
