//! How much is sent, and how fast.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::target_args::TargetArgs;
use crate::loadtest::{Load, Pace, QoS, STAMP_LENGTH, Settings};
use crate::units::Span;

/// Bytes of the longest payload that goes into one PUBLISH, behind the longest topic.
const SIZE_MAX: usize = 268_435_455 - 65_535 - 5;

/// Of all scenarios. A flag that is given twice counts as it was given last, so that a comparison's scenario can differ from what
/// is common to all.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub(super) struct CommonArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// From one connection to the next, in milliseconds [default: as fast as they are answered]
    #[arg(short, long, value_name = "MS", default_value_t = 0.0, hide_default_value = true, help_heading = "Run")]
    interval: f64,
    /// Quality of service, of publishers and of subscriptions.
    #[arg(short, long, default_value = "0", help_heading = "Run")]
    qos: QosArg,
    /// How long to measure.
    #[arg(long, value_name = "TIME", help_heading = "Run")]
    duration: Option<Span>,
    /// How long to wait for what does not come.
    #[arg(long, value_name = "TIME", default_value = "10s", help_heading = "Run")]
    patience: Span,
    /// Threads that the clients are on [default: half of the cores]
    #[arg(long, help_heading = "Run")]
    threads: Option<usize>,
    /// Write the result to this file as JSON; - for standard output.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) json: Option<PathBuf>,
    /// Tell nothing until the end.
    #[arg(long, help_heading = "Output")]
    pub(super) quiet: bool,
}

/// Of scenarios in which something is published.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(super) struct LoadArgs {
    /// Bytes of a payload, 28 of which tell which message it is.
    #[arg(short, long, default_value_t = 64)]
    size: usize,
    /// Messages of all publishers together.
    #[arg(short = 'L', long, value_name = "MESSAGES")]
    limit: Option<u64>,
    /// Closed loop: so many messages of each publisher are under way at most, neither acknowledged nor delivered [default: 100]
    #[arg(short = 'F', long, visible_alias = "inflight", value_name = "MESSAGES", conflicts_with_all = ["interval_of_msg", "rate"])]
    window: Option<u32>,
    /// Open loop: each publisher sends every so many milliseconds, whatever has become of what it sent before. Latency counts
    /// from when a message was to be sent.
    #[arg(short = 'I', long, value_name = "MS", conflicts_with = "rate")]
    interval_of_msg: Option<f64>,
    /// Open loop: so many messages a second of all publishers together.
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// How long to publish before measuring [default: 1s; none with --limit alone]
    #[arg(long, value_name = "TIME")]
    warmup: Option<Span>,
    /// Publish retained messages.
    #[arg(short, long)]
    retain: bool,
    /// What subscribers ask for, if it is not what publishers send with.
    #[arg(long, value_name = "QOS")]
    subscribe_qos: Option<QosArg>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum QosArg {
    #[value(name = "0")]
    Zero,
    #[value(name = "1")]
    One,
    #[value(name = "2")]
    Two,
}

/// What a scenario does if nothing is said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defaults {
    /// If neither a limit nor a duration is given.
    pub(super) limit: Option<u64>,
    pub(super) duration: Option<Duration>,
    /// Less does not do.
    pub(super) qos_min: u8,
    pub(super) persistent: bool,
}

impl QosArg {
    const fn qos(self) -> QoS {
        match self {
            Self::Zero => QoS::AtMostOnce,
            Self::One => QoS::AtLeastOnce,
            Self::Two => QoS::ExactlyOnce,
        }
    }
}

impl CommonArgs {
    /// Settings of a scenario in which nothing is published here.
    pub(super) fn settings(&self, limit: Option<u64>, persistent: bool) -> Result<Settings, String> {
        let load = Load {
            qos: self.qos.qos(),
            size: STAMP_LENGTH,
            retain: false,
            pace: Pace::Window(1),
            limit,
            warmup: Duration::ZERO,
            duration: self.duration.map(|span| span.0),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Settings {
            target: self.target.target()?,
            subscribe_qos: load.qos,
            load,
            persistent,
            threads: self.threads.unwrap_or(cores / 2).clamp(1, 1024),
            connect_interval: milliseconds("--interval", self.interval)?,
            patience: self.patience.0,
            pid: self.target.pid,
        })
    }
}

impl LoadArgs {
    pub(super) fn settings(&self, common: &CommonArgs, persistent: bool, defaults: Defaults) -> Result<Settings, String> {
        if self.size < STAMP_LENGTH {
            return Err(format!("--size {} is too small: {STAMP_LENGTH} bytes tell which message it is", self.size));
        }
        if self.size > SIZE_MAX {
            return Err(format!("--size {} is too large: MQTT has room for {SIZE_MAX} bytes", self.size));
        }
        let mut settings = common.settings(self.limit, persistent || defaults.persistent)?;
        let load = &mut settings.load;
        load.size = self.size;
        load.retain = self.retain;
        load.pace = self.pace()?;
        if load.limit.is_none() && load.duration.is_none() {
            load.limit = defaults.limit;
            load.duration = defaults.duration;
        }
        let warmup = if load.duration.is_some() { Duration::from_secs(1) } else { Duration::ZERO };
        load.warmup = self.warmup.map_or(warmup, |span| span.0);
        if (load.qos as u8) < defaults.qos_min {
            load.qos = QoS::AtLeastOnce;
        }
        settings.subscribe_qos = self.subscribe_qos.map_or(load.qos, QosArg::qos);
        Ok(settings)
    }

    fn pace(&self) -> Result<Pace, String> {
        match (self.interval_of_msg, self.rate) {
            (Some(interval), _) if interval > 0.0 => Ok(Pace::Every(milliseconds("--interval-of-msg", interval)?)),
            (_, Some(rate)) if rate > 0.0 && rate.is_finite() => Ok(Pace::Rate(rate)),
            (_, Some(rate)) => Err(format!("--rate {rate} is no rate")),
            _ => Ok(Pace::Window(self.window.unwrap_or(100).max(1))),
        }
    }
}

fn milliseconds(flag: &str, value: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(value / 1e3).map_err(|_| format!("{flag} {value} is no time"))
}
