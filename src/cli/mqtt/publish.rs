use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};

use super::args::{ConnectArgs, qos};
use super::session::{self, Log, Next, Other, Task};
use super::source::Source;
use super::{EXIT_CODES, Error, FAILED};
use crate::client::{Event, Link, Machine, Message, MessageProperties};
use crate::packet::{PacketId, QoS, TopicName};

/// Publish messages to a broker, with mosquitto_pub's letters.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = EXIT_CODES)]
#[command(group = ArgGroup::new("source").required(true).args(["message", "null_message", "file", "stdin_line", "stdin_file"]))]
pub(crate) struct PubArgs {
    /// Topic to publish to.
    #[arg(short, long, value_name = "TOPIC", required_unless_present = "url", conflicts_with = "url")]
    topic: Option<String>,
    /// Message to send; it need not be UTF-8.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<OsString>,
    /// Send a message of no bytes.
    #[arg(short, long)]
    null_message: bool,
    /// Send what is in this file.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Send each line of standard input as a message.
    #[arg(short = 'l', long)]
    stdin_line: bool,
    /// Send all of standard input as one message.
    #[arg(short, long)]
    stdin_file: bool,
    /// QoS of the messages.
    #[arg(short, long, value_name = "QOS", default_value = "0", value_parser = qos)]
    qos: QoS,
    /// The broker is to retain them.
    #[arg(short, long)]
    retain: bool,
    /// Messages of QoS 1 and 2 that may be on their way at a time.
    #[arg(short = 'M', long, value_name = "COUNT", default_value_t = 20)]
    max_inflight: u16,
    /// Send the message so many times; not with -l.
    #[arg(long, value_name = "TIMES", default_value_t = 1, conflicts_with = "stdin_line")]
    repeat: u64,
    /// Seconds between two of them.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    repeat_delay: f64,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: Option<f64> = text.parse().ok().filter(|seconds| (0.0..=1e9).contains(seconds));
    seconds.ok_or_else(|| "it is no number of seconds".into())
}

/// Messages that may wait for their acknowledgement in all; no line is read before there is room.
const UNACKNOWLEDGED_MAX: usize = 1000;

pub(super) fn run(args: PubArgs) -> Result<impl Future<Output = Result<u8, Error>>, Error> {
    let plan = args.connect.plan()?;
    let topic = args.topic.clone().or_else(|| plan.topic.clone()).unwrap_or_default();
    TopicName::new(&topic).map_err(|error| Error::usage(format!("topic {topic:?}: {error}")))?;
    let failed = |error| Error::new(FAILED, error);
    let payload = match (&args.message, &args.file) {
        (Some(text), _) => text.clone().into_vec(),
        (None, Some(file)) => Source::file(file).map_err(failed)?,
        (None, None) if args.stdin_file => Source::standard_input().map_err(failed)?,
        (None, None) => Vec::new(),
    };
    let delay = Duration::from_secs_f64(args.repeat_delay);
    let properties = plan.properties.publish.clone();
    Ok(async move {
        let source = if args.stdin_line { Source::lines() } else { Source::repeated(payload, args.repeat, delay) };
        let mut machine = Machine::new(plan.options.clone(), Instant::now());
        machine.set_max_inflight(args.max_inflight);
        if !plan.options.clean_start {
            // The server may remember exchanges of a run that was cut off.
            machine.set_first_packet_id(PacketId::new(rand::random()).unwrap_or(PacketId::FIRST));
        }
        let (qos, retain) = (args.qos, args.retain);
        let mut task = Publishing {
            topic,
            qos,
            retain,
            properties,
            source,
            is_over: false,
            has_failed: false,
            unacknowledged: 0,
            qos0_count: 0,
        };
        session::run(&plan, &mut machine, &mut task).await
    })
}

struct Publishing {
    topic: String,
    qos: QoS,
    retain: bool,
    properties: MessageProperties,
    source: Source,
    /// The source has no more.
    is_over: bool,
    /// A message was refused, or is known not to have gone out whole.
    has_failed: bool,
    unacknowledged: usize,
    /// Messages without a packet identifier, for `-d`.
    qos0_count: u64,
}

impl Publishing {
    /// The `unwritten` bytes may be messages of QoS 0, which are done with when they are written.
    fn next(&self, unwritten: usize) -> Next {
        if !self.is_over || self.unacknowledged > 0 || unwritten > 0 {
            return Next::Continue;
        }
        Next::End(if self.has_failed { FAILED } else { 0 })
    }

    fn publish(&mut self, link: &mut Link<'_>, log: &Log, payload: Vec<u8>) -> Result<(), Error> {
        let Self { topic, qos, retain, .. } = &*self;
        let (qos, retain, size) = (*qos, *retain, payload.len());
        let properties = self.properties.clone();
        let message = Message { topic: topic.clone(), payload, qos, retain, properties, ..Message::default() };
        let sent = link.machine.publish(message, Instant::now()).map_err(|error| Error::new(FAILED, error))?;
        match sent {
            Some(_) => self.unacknowledged += 1,
            None => self.qos0_count += 1,
        }
        let mid = sent.map_or(self.qos0_count, |id| id.get().into());
        let retain = u8::from(retain);
        log.debug(format_args!("sending PUBLISH (d0, q{qos}, r{retain}, m{mid}, '{}', ... ({size} bytes))", self.topic));
        Ok(())
    }

    fn acknowledged(&mut self, packet_id: PacketId, log: &Log) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        let name = if self.qos == QoS::ExactlyOnce { "PUBCOMP" } else { "PUBACK" };
        log.debug(format_args!("received {name} (Mid: {packet_id})"));
    }
}

impl Task for Publishing {
    fn connected(&mut self, link: &mut Link<'_>, _: &Log, _: bool) -> Result<Next, Error> {
        Ok(self.next(link.waiting()))
    }

    fn event(&mut self, link: &mut Link<'_>, log: &Log, event: Event) -> Result<Next, Error> {
        match event {
            Event::Published { packet_id, reason } => {
                self.acknowledged(packet_id, log);
                if reason.is_error() {
                    self.has_failed = true;
                    log.warn(format_args!("Warning: Publish {packet_id} failed: {}.", reason.code().name()));
                }
            }
            Event::Disconnected { reason, .. } => {
                return Err(Error::new(reason.code().0, format_args!("the server disconnects: {reason}")));
            }
            _ => {}
        }
        Ok(self.next(link.waiting()))
    }

    fn written(&mut self) -> Next {
        self.next(0)
    }

    fn lost(&mut self, unwritten: usize, log: &Log) -> Result<(), Error> {
        if self.qos != QoS::AtMostOnce || unwritten == 0 {
            return Ok(()); // What was not acknowledged is sent again.
        }
        if self.is_over {
            return Err(Error::new(FAILED, "the connection was lost before all was sent"));
        }
        self.has_failed = true;
        log.warn("Warning: a message was lost with the connection.");
        Ok(())
    }

    /// It ends by itself when it is done.
    fn interrupted(&self, signal: u8) -> u8 {
        128 + signal
    }

    fn room(&self) -> usize {
        if self.is_over { 1 } else { session::WAITING_MAX }
    }

    fn is_unanswered(&self) -> bool {
        self.qos == QoS::AtMostOnce
    }

    async fn other(&mut self, has_room: bool) -> Other {
        if !has_room || self.is_over || self.unacknowledged >= UNACKNOWLEDGED_MAX {
            return std::future::pending().await;
        }
        match self.source.next().await {
            Ok(message) => Other::Message(message),
            Err(error) => Other::Failed(error),
        }
    }

    fn handle_other(&mut self, link: &mut Link<'_>, log: &Log, other: Other) -> Result<Next, Error> {
        match other {
            Other::Message(Some(payload)) => {
                self.publish(link, log, payload)?;
                self.is_over = self.source.is_over();
            }
            Other::Message(None) => self.is_over = true,
            Other::Failed(error) => return Err(Error::new(FAILED, format_args!("standard input: {error}"))),
            Other::TimedOut => {}
        }
        Ok(self.next(link.waiting()))
    }
}
