use std::fmt::Display;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::args::Plan;
use super::{Error, FAILED};
use crate::cli::{complain, say};
use crate::client::{Event, Link, LinkError, Machine, dial};
use crate::packet::{ConnectReason, DisconnectReason, ProtocolVersion};

/// What the two tools do over a connection. A connection that breaks is made anew, and all begins again at `connected`.
pub(super) trait Task {
    /// The server has let us in.
    fn connected(&mut self, link: &mut Link<'_>, log: &Log, session_present: bool) -> Result<Next, Error>;

    /// Something has come.
    fn event(&mut self, link: &mut Link<'_>, log: &Log, event: Event) -> Result<Next, Error>;

    /// Something else is due or has come, such as a line to publish, which is not asked for unless there is room for it; never ends if
    /// there is nothing.
    async fn other(&mut self, has_room: bool) -> Other;

    /// The time of `-W` has passed; never ends without.
    async fn too_late(&mut self) {
        std::future::pending().await
    }

    /// It has.
    fn handle_other(&mut self, link: &mut Link<'_>, log: &Log, other: Other) -> Result<Next, Error>;
}

/// What is not from the server.
pub(super) enum Other {
    /// A message to publish; none when there are no more.
    Message(Option<Vec<u8>>),
    TimedOut,
    Failed(std::io::Error),
}

pub(super) enum Next {
    Continue,
    /// Say goodbye, and end with this exit code.
    End(u8),
}

/// How long until a connection that broke is made anew, as mosquitto's tools have it.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// Bytes that may wait to be written before no more is published.
const WAITING_MAX: usize = 1 << 20;

/// SIGTERM and SIGINT.
struct StopSignals(Signal, Signal);

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    async fn wait(&mut self) {
        let Self(terminate, interrupt) = self;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// What `-d` shows.
pub(super) struct Log {
    is_debug: bool,
    is_quiet: bool,
    name: String,
}

impl Log {
    pub(super) fn debug(&self, text: impl Display) {
        if self.is_debug {
            say(format_args!("Client {} {text}", self.name));
        }
    }

    pub(super) fn plain(&self, text: impl Display) {
        if self.is_debug {
            say(text);
        }
    }

    pub(super) fn warn(&self, text: impl Display) {
        if !self.is_quiet {
            complain(text);
        }
    }
}

/// Connects, and goes on until the task ends, a signal comes, or the server refuses.
pub(super) async fn run(plan: &Plan, machine: &mut Machine, task: &mut impl Task) -> Result<u8, Error> {
    let name = if plan.options.client_id.is_empty() { "(null)".into() } else { plan.options.client_id.clone() };
    let mut log = Log { is_debug: plan.is_debug, is_quiet: plan.is_quiet, name };
    let mut stop = StopSignals::new().map_err(|error| Error::new(FAILED, error))?;
    let mut has_connected = false;
    loop {
        let over = one_connection(plan, machine, task, &mut log, &mut has_connected, &mut stop);
        let error = match over.await? {
            Over::Done(code) => return Ok(code),
            Over::Lost(error) => error,
        };
        machine.lost();
        log.warn(format_args!("Connection lost: {error}"));
        tokio::select! {
            () = sleep(RECONNECT_AFTER) => {}
            () = task.too_late() => return timed_out(&log),
            () = stop.wait() => return Ok(0),
        }
    }
}

pub(super) fn timed_out(log: &Log) -> Result<u8, Error> {
    log.warn("Timed out");
    Ok(super::TIMED_OUT)
}

enum Over {
    Done(u8),
    Lost(LinkError),
}

async fn one_connection(
    plan: &Plan,
    machine: &mut Machine,
    task: &mut impl Task,
    log: &mut Log,
    has_connected: &mut bool,
    stop: &mut StopSignals,
) -> Result<Over, Error> {
    let dialled = tokio::select! {
        dialled = dial(&plan.endpoint, plan.tls.as_ref(), plan.bind) => dialled,
        () = stop.wait() => return Ok(Over::Done(0)),
        () = task.too_late() => return timed_out(log).map(Over::Done),
    };
    let stream = match dialled {
        Ok(stream) => stream,
        Err(error) if !*has_connected => return Err(Error::new(FAILED, format_args!("{}: {error}", plan.endpoint))),
        Err(error) => return Ok(Over::Lost(LinkError::Io(std::io::Error::other(error)))),
    };
    log.debug("sending CONNECT");
    let mut link = Link::new(machine, stream);
    loop {
        // No more is taken to be sent than the server takes in.
        let has_room = link.machine.is_connected() && link.waiting() < WAITING_MAX;
        let next = tokio::select! {
            event = link.next_or_room(WAITING_MAX) => match event {
                Ok(None) => Next::Continue,
                Ok(Some(Event::Connected { session_present, assigned_client_id })) => {
                    log.name = assigned_client_id.unwrap_or_else(|| log.name.clone());
                    log.debug("received CONNACK (0)");
                    *has_connected = true;
                    task.connected(&mut link, log, session_present)?
                }
                Ok(Some(Event::Refused { reason, reason_string })) => {
                    return Err(refused(link.machine.options().version, reason, reason_string));
                }
                Ok(Some(event)) => task.event(&mut link, log, event)?,
                Err(error) if *has_connected => return Ok(Over::Lost(error)),
                Err(error) => return Err(Error::new(FAILED, error)),
            },
            () = stop.wait() => Next::End(0),
            other = task.other(has_room) => task.handle_other(&mut link, log, other)?,
        };
        if let Next::End(code) = next {
            return Ok(Over::Done(end(plan, link, log, code).await));
        }
    }
}

/// Says goodbye. That this may come to nothing makes no difference any more.
async fn end(plan: &Plan, link: Link<'_>, log: &Log, code: u8) -> u8 {
    log.debug("sending DISCONNECT");
    let (user, expiry) = (plan.properties.disconnect_user.as_ref(), plan.properties.disconnect_expiry);
    link.machine.disconnect(DisconnectReason::NormalDisconnection, expiry, user, Instant::now());
    let _ = link.close().await;
    code
}

/// The exit code is the server's own: the return code of older versions, the reason code of 5.0.
fn refused(version: ProtocolVersion, reason: ConnectReason, reason_string: Option<String>) -> Error {
    let code = if version == ProtocolVersion::V5 { reason.code().0 } else { reason.to_v3() };
    let why = reason_string.map(|text| format!(": {text}")).unwrap_or_default();
    Error::new(code, format_args!("the server refuses the connection: {}{why}", reason.code().name()))
}
