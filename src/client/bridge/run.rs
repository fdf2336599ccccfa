use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::caution::blame;
use super::config::{BridgeConfig, BridgeUrl};
use super::leg::{Leg, LegError};
use super::oversized::{Oversized, oversized};
use super::relay::{Drop, Memory, Outcome, Relay, Side};
use super::topics::Rules;
use crate::client::{Options, Stream, TlsConnector, TlsOptions, dial};
use crate::metrics::{BridgeDrop, BridgeMetrics};
use crate::packet::{ConnectReason, Malformed, MalformedPacket, Packet, ProtocolVersion, RetainHandling, TopicFilter};
use crate::session::Limits;

/// A bridge, and how it reaches its own broker.
pub struct Bridge {
    pub config: BridgeConfig,
    /// Client identifier at the other broker.
    pub client_id: String,
    /// Client identifier here.
    pub local_client_id: String,
    /// Our own broker's, as they are for the bridge.
    pub limits: Limits,
    pub metrics: Arc<BridgeMetrics>,
    /// Opens a connection to our own broker.
    pub connect_local: Box<dyn Fn() -> Box<dyn Stream> + Send + Sync>,
    /// What the session here is subscribed to.
    pub local_subscriptions: Box<dyn Fn() -> Vec<TopicFilter> + Send + Sync>,
    /// Is told whether both brokers are connected, whenever that changes.
    pub on_state: Box<dyn Fn(bool) + Send + Sync>,
}

/// Bytes that may wait for one side before no more is read from the other.
const WAITING_MAX: usize = 1 << 20;
/// Characters of a topic in the log.
const TOPIC_SHOWN: usize = 256;
/// How long saying goodbye may take.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Why a connection came to nothing, or has ended.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("{0}")]
    Config(String),
    #[error("{url}: {cause}")]
    Dial { url: String, cause: String },
    #[error("the other broker: {0}")]
    Remote(LegError),
    #[error("our own broker: {0}")]
    Local(LegError),
    #[error("a message was refused for now: {0}")]
    Refused(crate::packet::PublishReason),
}

/// Runs a bridge that [`prepare`] has prepared until `stop` is set.
pub async fn run(bridge: Bridge, mut start: Start, mut stop: watch::Receiver<bool>) {
    let config = &bridge.config;
    let mut backoff = Backoff::new(config.reconnect_min.0, config.reconnect_max.0);
    let mut is_private = config.try_private;
    let mut attempt = 0;
    let mut has_connected = false;
    (bridge.on_state)(false);
    loop {
        let opened = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            opened = open(&bridge, attempt, is_private, &mut start) => opened,
        };
        let error = match opened {
            Err(error) => error,
            Ok((local, remote, relay)) => {
                has_connected = true;
                tracing::info!(bridge = config.name, "bridge connected");
                bridge.metrics.connected.set(1);
                (bridge.on_state)(true);
                let (error, memory) = serve(&bridge, local, remote, relay, &mut stop).await;
                bridge.metrics.connected.set(0);
                (bridge.on_state)(false);
                let Some(error) = error else { return };
                // What ends the connections is not tried more often than a broker that is away.
                if !memory.caution.has_suspect() {
                    backoff.reset();
                }
                start.memory = memory;
                error
            }
        };
        // A broker that does not know such a level may also end without a word; then both are tried in turn.
        if config.try_private && !has_connected && is_refusal(&error) {
            is_private = !is_private;
        }
        attempt += 1;
        bridge.metrics.reconnects.increment();
        let wait = backoff.wait(rand::random());
        tracing::warn!(bridge = config.name, %error, seconds = wait.as_secs_f64(), "bridge is down");
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = sleep(wait) => {}
        }
    }
}

fn is_refusal(error: &RunError) -> bool {
    matches!(error, RunError::Remote(LegError::Refused(ConnectReason::UnsupportedProtocolVersion) | LegError::Closed))
}

/// Connects both sides, first the other broker: while it is away, our session here must be offline to keep everything.
async fn open(bridge: &Bridge, attempt: usize, is_private: bool, start: &mut Start) -> Result<(Leg, Leg, Relay), RunError> {
    let config = &bridge.config;
    let rules = Rules::new(&config.topics).map_err(|(_, error)| RunError::Config(error))?.within(bridge.limits.clone());
    let remote_options = remote_options(bridge, is_private)?;
    let patience = config.connect_timeout.0;
    let url = &config.urls[attempt % config.urls.len()];
    let dial_error = |cause: String| RunError::Dial { url: url.clone(), cause };
    let stream = timeout(patience, connect(config, url)).await;
    let stream = stream.map_err(|_| dial_error("no answer in time".into()))?.map_err(dial_error)?;
    let remote = timeout(patience, Leg::open(stream, &remote_options)).await;
    let mut remote = remote.map_err(|_| RunError::Remote(LegError::Silent))?.map_err(RunError::Remote)?;
    start.is_remote_new |= !remote.peer.session_present;
    // What goes there must find room there.
    let mut local =
        open_local(bridge, &rules, config.max_inflight.min(remote.receive_maximum), |filter| start.retained(filter)).await?;
    remote.subscribe(rules.incoming_filters(), |_| RetainHandling::SendIfNew);
    let mark = start.mark.clone().filter(|_| remote_options.version.has_properties());
    local.peer.session_present &= !start.is_new;
    remote.peer.session_present &= !start.is_remote_new;
    let relay = Relay::new(rules, mark, local.peer, remote.peer, start.connected());
    Ok((local, remote, relay))
}

/// What a bridge knows from before its first connection, and from one to the next.
#[derive(Debug, Default)]
pub struct Start {
    /// Our session here is one that the other broker has not seen yet.
    is_new: bool,
    /// The other broker's session is one that ours has not seen yet.
    is_remote_new: bool,
    /// Subscriptions of it whose retained messages have not gone over.
    fresh: Vec<TopicFilter>,
    /// What messages that have gone over are marked by.
    mark: Option<String>,
    /// From the connections before.
    memory: Memory,
}

impl Start {
    fn connected(&mut self) -> Memory {
        (self.is_new, self.is_remote_new) = (false, false);
        self.fresh.clear();
        std::mem::take(&mut self.memory)
    }

    /// Retained messages go over when a subscription is new, not with each connection.
    fn retained(&self, filter: &TopicFilter) -> RetainHandling {
        if self.fresh.contains(filter) { RetainHandling::Send } else { RetainHandling::SendIfNew }
    }
}

/// Makes sure that our session here is there and keeps what is to go to the other broker, though that may be away. To be called before
/// anybody can publish.
pub async fn prepare(bridge: &Bridge) -> Start {
    let mut start = try_prepare(bridge).await.unwrap_or_else(|error| {
        tracing::error!(bridge = bridge.config.name, %error, "nothing is kept for the bridge until it is connected");
        Start::default()
    });
    // Nobody else has it, and a message that is still going round from before a restart goes round once more at most.
    start.mark = bridge.config.loop_protection.then(|| format!("{:016x}", rand::random::<u64>()));
    start
}

async fn try_prepare(bridge: &Bridge) -> Result<Start, RunError> {
    let rules = Rules::new(&bridge.config.topics).map_err(|(_, error)| RunError::Config(error))?;
    let known = (bridge.local_subscriptions)();
    let wanted = rules.outgoing_filters().into_iter().map(|(filter, _)| filter);
    let fresh: Vec<_> = wanted.filter(|filter| !known.contains(filter)).collect();
    let mut local = open_local(bridge, &rules, 1, |_| RetainHandling::DoNotSend).await?;
    let is_new = !local.peer.session_present;
    if !rules.outgoing_filters().is_empty() {
        let subscribed = timeout(bridge.config.connect_timeout.0, local.subscribed()).await;
        subscribed.map_err(|_| RunError::Local(LegError::Silent))?.map_err(RunError::Local)?;
    }
    let _ = timeout(CLOSE_TIME, local.close()).await; // it is over anyway
    Ok(Start { is_new, fresh, ..Start::default() })
}

async fn open_local(
    bridge: &Bridge,
    rules: &Rules,
    receive_maximum: u16,
    retained: impl Fn(&TopicFilter) -> RetainHandling,
) -> Result<Leg, RunError> {
    let options = Options {
        version: ProtocolVersion::V5,
        client_id: bridge.local_client_id.clone(),
        clean_start: false,
        keep_alive: 0,
        session_expiry_interval: u32::MAX,
        receive_maximum,
        ..Options::default()
    };
    let local = timeout(bridge.config.connect_timeout.0, Leg::open((bridge.connect_local)(), &options)).await;
    let mut local = local.map_err(|_| RunError::Local(LegError::Silent))?.map_err(RunError::Local)?;
    let wanted = rules.outgoing_filters();
    let is_unwanted = |filter: &TopicFilter| wanted.iter().all(|(there, _)| there != filter);
    local.unsubscribe((bridge.local_subscriptions)().into_iter().filter(is_unwanted).collect());
    local.subscribe(wanted, retained);
    Ok(local)
}

async fn connect(config: &BridgeConfig, url: &str) -> Result<Box<dyn Stream>, String> {
    let BridgeUrl { endpoint, is_tls } = url.parse()?;
    let tls = if is_tls { Some(tls(config)?) } else { None };
    dial(&endpoint, tls.as_ref(), None).await.map_err(|error| error.to_string())
}

fn tls(config: &BridgeConfig) -> Result<TlsConnector, String> {
    let tls = config.tls.as_ref();
    TlsConnector::new(&TlsOptions {
        ca_file: tls.and_then(|tls| tls.ca.clone()),
        system_authorities: tls.is_none_or(|tls| tls.ca.is_none()),
        certificate: tls.and_then(|tls| tls.certificate.clone().zip(tls.key.clone())),
        any_server_name: tls.is_some_and(|tls| !tls.verify_name),
        ..TlsOptions::default()
    })
}

fn remote_options(bridge: &Bridge, is_private: bool) -> Result<Options, RunError> {
    let config = &bridge.config;
    let version = match config.version.as_str() {
        "3.1" => ProtocolVersion::V31,
        "3.1.1" => ProtocolVersion::V311,
        _ => ProtocolVersion::V5,
    };
    let password = match &config.password_file {
        Some(file) => Some(first_line(file).map_err(RunError::Config)?),
        None => config.password.clone().map(String::into_bytes),
    };
    Ok(Options {
        version,
        client_id: bridge.client_id.clone(),
        clean_start: config.clean_session,
        keep_alive: u16::try_from(config.keep_alive.0.as_secs()).unwrap_or(u16::MAX),
        username: config.username.clone(),
        password,
        session_expiry_interval: if config.clean_session { 0 } else { u32::MAX },
        receive_maximum: config.max_inflight,
        maximum_packet_size: u32::try_from(bridge.limits.max_packet_size.0).unwrap_or(u32::MAX),
        is_bridge: is_private,
        ..Options::default()
    })
}

fn first_line(file: &Path) -> Result<Vec<u8>, String> {
    let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

/// Passes packets on until one side ends; no error when told to stop.
async fn serve(
    bridge: &Bridge,
    local: Leg,
    remote: Leg,
    relay: Relay,
    stop: &mut watch::Receiver<bool>,
) -> (Option<RunError>, Memory) {
    let mut pair = Pair { bridge, local, remote, relay, has_waiting: false };
    let error = tokio::select! {
        _ = stop.wait_for(|stop| *stop) => None,
        error = poll_fn(|cx| pair.poll(cx)) => Some(error),
    };
    let Pair { local, remote, relay, .. } = pair;
    let blame = if let Some(RunError::Remote(error)) = &error { blame(error) } else { 0 };
    // Sessions are kept; whoever is gone hears nothing.
    let _ = timeout(CLOSE_TIME, async { tokio::join!(local.close(), remote.close()) }).await;
    (error, relay.end(blame))
}

struct Pair<'a> {
    bridge: &'a Bridge,
    local: Leg,
    remote: Leg,
    relay: Relay,
    /// A message of our own broker has been read, and must wait.
    has_waiting: bool,
}

impl Pair<'_> {
    /// Moves what can be moved; ready when a side has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RunError> {
        // So many rounds before others have their turn.
        for _ in 0..16 {
            let mut has_moved = false;
            for side in [Side::Local, Side::Remote] {
                match self.poll_side(side, cx) {
                    Ok(moved) => has_moved |= moved,
                    Err(error) => return Poll::Ready(error),
                }
            }
            if !has_moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether something has happened, so that it is worth looking again.
    fn poll_side(&mut self, side: Side, cx: &mut Context<'_>) -> Result<bool, RunError> {
        let wrong = |error| if side == Side::Local { RunError::Local(error) } else { RunError::Remote(error) };
        let (leg, other) = match side {
            Side::Local => (&mut self.local, &self.remote),
            Side::Remote => (&mut self.remote, &self.local),
        };
        let had = leg.pipe.waiting();
        if let Poll::Ready(Err(error)) = leg.poll_write(cx) {
            return Err(wrong(error));
        }
        let mut has_moved = leg.pipe.waiting() < had;
        if let Poll::Ready(result) = leg.poll_keep_alive(cx) {
            result.map_err(wrong)?;
            has_moved = true;
        }
        if other.pipe.waiting() + self.relay.held(side) >= WAITING_MAX {
            return Ok(has_moved);
        }
        if side == Side::Local && self.has_waiting {
            if self.relay.must_wait(side) {
                return Ok(has_moved);
            }
            self.take(side, wrong)?;
            return Ok(true);
        }
        if let Poll::Ready(result) = leg.poll_read(cx) {
            result.map_err(wrong)?;
            has_moved = true;
            self.take(side, wrong)?;
        }
        Ok(has_moved)
    }

    /// Takes the whole packets that have been read, up to a message that must wait.
    fn take(&mut self, side: Side, wrong: impl Fn(LegError) -> RunError) -> Result<(), RunError> {
        // The packets borrow from the input while both outputs are written to.
        let leg = self.leg(side);
        let (input, decoder) = (leg.pipe.take_input(), leg.decoder());
        let mut used = leg.skipped(&input);
        let mut has_waiting = false;
        loop {
            let rest = &input[used..];
            used += match decoder.decode(rest) {
                Ok(None) => break,
                Ok(Some((Packet::Publish(_), _))) if self.relay.must_wait(side) => {
                    has_waiting = true;
                    break;
                }
                Ok(Some((packet, length))) => {
                    self.pass_on(side, &packet, &wrong)?;
                    length
                }
                Err(error) if error.kind == Malformed::TooLarge => match self.pass_over(side, rest, error, &wrong)? {
                    0 => break,
                    count => count,
                },
                Err(error) => return Err(wrong(error.into())),
            };
        }
        if side == Side::Local {
            self.has_waiting = has_waiting;
        }
        self.leg(side).pipe.put_input(input, used);
        Ok(())
    }

    fn leg(&mut self, side: Side) -> &mut Leg {
        if side == Side::Local { &mut self.local } else { &mut self.remote }
    }

    fn pass_on(&mut self, side: Side, packet: &Packet<'_>, wrong: impl Fn(LegError) -> RunError) -> Result<(), RunError> {
        let name = &self.bridge.config.name;
        match packet {
            Packet::PingResp => self.leg(side).pinged(),
            Packet::Disconnect(disconnect) => return Err(wrong(LegError::Disconnected(disconnect.reason))),
            Packet::SubAck(ack) => {
                for reason in ack.reasons.iter().filter(|reason| reason.is_error()) {
                    tracing::warn!(bridge = name, ?side, %reason, "a subscription of the bridge is refused");
                }
            }
            packet => {
                let outcome = self.relay.handle(side, packet, self.local.pipe.output(), self.remote.pipe.output());
                if let (Outcome::Dropped(Drop::Condemned), Packet::Publish(publish)) = (outcome, packet) {
                    let topic: String = publish.topic.map_or("", |topic| topic.as_str()).chars().take(TOPIC_SHOWN).collect();
                    tracing::error!(
                        bridge = name,
                        topic,
                        "the other broker ends the connection whenever this message comes: dropped"
                    );
                }
                count(self.bridge, outcome, side)?;
            }
        }
        Ok(())
    }

    /// Throws a message away that is larger than we take. Returns how many of the bytes that have been read are its, or 0 as long as it
    /// cannot be said which message it is.
    fn pass_over(
        &mut self,
        side: Side,
        bytes: &[u8],
        error: MalformedPacket,
        wrong: impl Fn(LegError) -> RunError,
    ) -> Result<usize, RunError> {
        let (delivery, length) = match oversized(bytes) {
            Oversized::Unknown => return Ok(0),
            Oversized::Other => return Err(wrong(error.into())),
            Oversized::Publish { delivery, length } => (delivery, length),
        };
        let leg = if side == Side::Local { &mut self.local } else { &mut self.remote };
        let outcome = self.relay.pass_over(side, delivery, leg.pipe.output());
        count(self.bridge, outcome, side)?;
        Ok(leg.throw_away(bytes, length))
    }
}

fn count(bridge: &Bridge, outcome: Outcome, side: Side) -> Result<(), RunError> {
    let metrics = &bridge.metrics;
    match outcome {
        Outcome::Forwarded if side == Side::Local => metrics.sent.increment(),
        Outcome::Forwarded => metrics.received.increment(),
        Outcome::Passed => {}
        Outcome::Dropped(reason) => metrics.dropped(match reason {
            Drop::Unmatched => BridgeDrop::Unmatched,
            Drop::Loop => BridgeDrop::Loop,
            Drop::TooLarge => BridgeDrop::TooLarge,
            Drop::Rejected | Drop::Condemned => BridgeDrop::Rejected,
        }),
        Outcome::Refused(reason) => return Err(RunError::Refused(reason)),
    }
    Ok(())
}
