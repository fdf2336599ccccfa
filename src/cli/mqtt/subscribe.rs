use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::time::sleep_until;

use super::args::{ConnectArgs, qos};
use super::format::Format;
use super::properties::Properties;
use super::session::{self, Log, Next, Other, Task};
use super::{EXIT_CODES, Error, FAILED};
use crate::client::{Event, Link, Machine, Message};
use crate::packet::{PacketId, ProtocolVersion, QoS, SubscriptionOptions, TopicFilter, TopicName, UserPropertiesBuf};

/// Subscribe to topics of a broker and print the messages, with mosquitto_sub's letters.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = EXIT_CODES)]
pub(crate) struct SubArgs {
    /// Topic filter to subscribe to; can be given several times.
    #[arg(short, long, value_name = "FILTER", required_unless_present_any = ["url", "unsubscribe"])]
    topic: Vec<String>,
    /// Unsubscribe from this filter; can be given several times.
    #[arg(short = 'U', long, value_name = "FILTER")]
    unsubscribe: Vec<String>,
    /// Do not print messages whose topic matches this filter; can be given several times.
    #[arg(short = 'T', long, value_name = "FILTER")]
    filter_out: Vec<String>,
    /// QoS of the subscriptions.
    #[arg(short, long, value_name = "QOS", default_value = "0", value_parser = qos)]
    qos: QoS,
    /// End after so many messages; what comes behind them is not acknowledged.
    #[arg(short = 'C', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds, with exit code 27.
    #[arg(short = 'W', value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    timeout: Option<u64>,
    /// End once the server has answered all subscriptions.
    #[arg(short = 'E')]
    exit_after_subscribe: bool,
    /// Print the topic before the message.
    #[arg(short, long)]
    verbose: bool,
    /// How to print a message.
    ///
    /// %t topic, %p payload, %x and %X payload in hexadecimal, %l its length, %q QoS, %r retained (0 or 1), %m packet
    /// identifier, %I time (ISO 8601), %U time (seconds since 1970), %j message as JSON, %J the same with a payload that is
    /// JSON, %% a percent sign. MQTT 5.0: %A topic alias, %C content type, %D correlation data, %E expiry interval, %F
    /// payload format, %P user properties, %R response topic, %S subscription identifier. A width goes before the letter:
    /// %10t, %-10t, %010l, %.5t. @X is strftime's %X; \n, \t, \0 and their like are single characters.
    #[arg(short = 'F', value_name = "FORMAT", allow_hyphen_values = true, value_parser = Format::parse)]
    format: Option<Format>,
    /// Do not end the line after a message.
    #[arg(short = 'N')]
    no_newline: bool,
    /// Do not print retained messages.
    #[arg(short = 'R')]
    no_retained: bool,
    /// Have the retained flag of messages as they were published. MQTT 5.0 only.
    #[arg(long)]
    retain_as_published: bool,
    /// Only take retained messages, and end at the first that is not.
    #[arg(long)]
    retained_only: bool,
    /// Delete the retained messages that come, save those that -T names.
    #[arg(long)]
    remove_retained: bool,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

pub(super) fn run(args: SubArgs) -> Result<impl Future<Output = Result<u8, Error>>, Error> {
    let mut plan = args.connect.plan()?;
    if args.retain_as_published && plan.options.version != ProtocolVersion::V5 {
        return Err(Error::usage("--retain-as-published is MQTT 5.0's: it needs -V mqttv5"));
    }
    if let Some(count) = args.count {
        // More would only come to be given back.
        plan.options.receive_maximum = plan.options.receive_maximum.min(u16::try_from(count).unwrap_or(u16::MAX));
    }
    let topics: Vec<String> = args.topic.iter().chain(&plan.topic).cloned().collect();
    let subscriptions = filters(&topics)?;
    let unsubscriptions = filters(&args.unsubscribe)?;
    let filtered_out = filters(&args.filter_out)?;
    Ok(async move {
        let Properties { subscription_identifier, subscribe_user, unsubscribe_user, .. } = &plan.properties;
        let deadline = args.timeout.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
        let mut task = Subscribing {
            subscription_identifier: *subscription_identifier,
            subscribe_user: subscribe_user.clone(),
            unsubscribe_user: unsubscribe_user.clone(),
            subscriptions,
            unsubscriptions,
            filtered_out,
            deadline,
            unanswered: Vec::new(),
            granted: 0,
            removals: 0,
            printed: 0,
            end: None,
            args,
        };
        let mut machine = Machine::new(plan.options.clone(), Instant::now());
        session::run(&plan, &mut machine, &mut task).await
    })
}

fn filters(texts: &[String]) -> Result<Vec<TopicFilter>, Error> {
    let read = |text: &String| {
        let filter = TopicFilter::new(text).and_then(|filter| match filter.shared() {
            Some(Err(error)) => Err(error),
            _ => Ok(filter),
        });
        filter.map_err(|error| Error::usage(format!("topic filter {text:?}: {error}")))
    };
    texts.iter().map(read).collect()
}

struct Subscribing {
    args: SubArgs,
    subscription_identifier: Option<u32>,
    subscribe_user: UserPropertiesBuf,
    unsubscribe_user: UserPropertiesBuf,
    subscriptions: Vec<TopicFilter>,
    unsubscriptions: Vec<TopicFilter>,
    filtered_out: Vec<TopicFilter>,
    deadline: Option<Instant>,
    /// SUBSCRIBE packets that the server has not answered.
    unanswered: Vec<PacketId>,
    granted: usize,
    /// Deletions of retained messages that are on their way.
    removals: usize,
    printed: u64,
    /// The exit code, once no more messages are wanted.
    end: Option<u8>,
}

impl Subscribing {
    fn next(&self) -> Next {
        match self.end {
            Some(code) if self.removals == 0 => Next::End(code),
            _ => Next::Continue,
        }
    }

    fn message(&mut self, link: &mut Link<'_>, log: &Log, message: &Message) -> Result<(), Error> {
        let (qos, retain, mid) = (message.qos, u8::from(message.retain), message.packet_id.map_or(0, PacketId::get));
        let (topic, size) = (&message.topic, message.payload.len());
        log.debug(format_args!(
            "received PUBLISH (d{}, q{qos}, r{retain}, m{mid}, '{topic}', ... ({size} bytes))",
            u8::from(message.dup)
        ));
        if self.args.retained_only && !message.retain {
            self.end = self.end.or(Some(0));
        }
        if self.end.is_some() {
            link.machine.decline();
            return Ok(());
        }
        let is_out = |topic| self.filtered_out.iter().any(|filter| filter.matches(topic));
        if message.retain && self.args.no_retained || TopicName::new(topic).is_ok_and(is_out) {
            return Ok(());
        }
        if self.args.remove_retained && message.retain {
            let (topic, qos) = (topic.clone(), QoS::AtLeastOnce);
            let removal = Message { topic, qos, retain: true, ..Message::default() };
            let sent = link.machine.publish(removal, Instant::now());
            self.removals += usize::from(sent.map_err(|error| Error::new(FAILED, error))?.is_some());
        }
        self.print(message, log)?;
        self.printed += 1;
        if self.args.count == Some(self.printed) {
            self.end = Some(0);
        }
        Ok(())
    }

    fn print(&self, message: &Message, log: &Log) -> Result<(), Error> {
        let mut line = Vec::new();
        match &self.args.format {
            Some(format) => {
                if let Err(error) = format.write(message, &mut line) {
                    log.warn(format_args!("Error: {error}"));
                }
            }
            // mosquitto_sub prints nothing for an empty payload, but with its topic "(null)" unless the line is to go on.
            None if message.payload.is_empty() && (!self.args.verbose || self.args.no_newline) => return Ok(()),
            None if message.payload.is_empty() => line.extend_from_slice(format!("{} (null)", message.topic).as_bytes()),
            None => {
                if self.args.verbose {
                    line.extend_from_slice(format!("{} ", message.topic).as_bytes());
                }
                line.extend_from_slice(&message.payload);
            }
        }
        if !self.args.no_newline {
            line.push(b'\n');
        }
        let mut output = std::io::stdout().lock();
        let written = output.write_all(&line).and_then(|()| output.flush());
        written.map_err(|error| Error::new(FAILED, format_args!("standard output: {error}")))
    }

    fn subscribe(&mut self, link: &mut Link<'_>, log: &Log, filter: TopicFilter) -> Result<(), Error> {
        let qos = self.args.qos;
        let retain_as_published = self.args.retain_as_published;
        let options = SubscriptionOptions { qos, retain_as_published, ..SubscriptionOptions::default() };
        let bits = u8::from(retain_as_published) << 3;
        let name = filter.clone();
        let now = Instant::now();
        let sent = link.machine.subscribe(vec![(filter, options)], self.subscription_identifier, &self.subscribe_user, now);
        let packet_id = sent.ok_or_else(|| Error::new(FAILED, "no packet identifier is left"))?;
        self.unanswered.push(packet_id);
        log.debug(format_args!("sending SUBSCRIBE (Mid: {packet_id}, Topic: {name}, QoS: {qos}, Options: 0x{bits:02x})"));
        Ok(())
    }
}

impl Task for Subscribing {
    fn connected(&mut self, link: &mut Link<'_>, log: &Log, _: bool) -> Result<Next, Error> {
        self.unanswered.clear();
        self.granted = 0;
        for filter in self.subscriptions.clone() {
            self.subscribe(link, log, filter)?;
        }
        if !self.unsubscriptions.is_empty() {
            let filters = self.unsubscriptions.clone();
            let names: Vec<_> = filters.iter().map(TopicFilter::as_str).collect();
            log.debug(format_args!("sending UNSUBSCRIBE (Topics: {})", names.join(", ")));
            link.machine.unsubscribe(filters, &self.unsubscribe_user, Instant::now());
        }
        Ok(self.next())
    }

    fn event(&mut self, link: &mut Link<'_>, log: &Log, event: Event) -> Result<Next, Error> {
        match event {
            Event::Message(message) => self.message(link, log, &message)?,
            Event::Published { .. } => self.removals = self.removals.saturating_sub(1),
            Event::Subscribed { packet_id, reasons } => {
                log.debug("received SUBACK");
                let codes: Vec<_> = reasons.iter().map(|reason| reason.code().0.to_string()).collect();
                log.plain(format_args!("Subscribed (mid: {packet_id}): {}", codes.join(", ")));
                self.unanswered.retain(|id| *id != packet_id);
                for reason in reasons.iter().filter(|reason| reason.is_error()) {
                    log.warn(format_args!("Warning: a subscription was refused: {}.", reason.code().name()));
                }
                self.granted += reasons.iter().filter(|reason| !reason.is_error()).count();
                if self.unanswered.is_empty() && self.granted == 0 {
                    return Err(Error::new(FAILED, "All subscription requests were denied."));
                }
                if self.unanswered.is_empty() && self.args.exit_after_subscribe {
                    self.end = Some(0);
                }
            }
            Event::Unsubscribed { packet_id, reasons } => {
                log.debug(format_args!("received UNSUBACK (Mid: {packet_id})"));
                let refused: Vec<_> = reasons.iter().filter(|reason| reason.is_error()).collect();
                for reason in &refused {
                    log.warn(format_args!("Warning: an unsubscription was refused: {}.", reason.code().name()));
                }
                if self.subscriptions.is_empty() {
                    self.end = Some(if refused.is_empty() { 0 } else { FAILED });
                }
            }
            Event::Disconnected { reason, .. } => {
                return Err(Error::new(reason.code().0, format_args!("the server disconnects: {reason}")));
            }
            Event::Connected { .. } | Event::Refused { .. } => {}
        }
        Ok(self.next())
    }

    async fn other(&mut self, _: bool) -> Other {
        self.too_late().await;
        Other::TimedOut
    }

    async fn too_late(&mut self) {
        match self.deadline {
            Some(deadline) => sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    }

    fn handle_other(&mut self, _: &mut Link<'_>, log: &Log, _: Other) -> Result<Next, Error> {
        Ok(Next::End(session::timed_out(log)?))
    }
}
