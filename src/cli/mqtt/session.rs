use std::fmt::Display;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::args::Plan;
use super::{Error, FAILED};
use crate::cli::{complain, say};
use crate::client::{Event, Link, LinkError, Machine, Stream, dial};
use crate::packet::{ConnectReason, DisconnectReason, ProtocolVersion};

/// What the two tools do over a connection. A connection that breaks is made anew, and all begins again at `connected`.
pub(super) trait Task {
    /// The server has let us in.
    fn connected(&mut self, link: &mut Link<'_>, log: &Log, session_present: bool) -> Result<Next, Error>;

    /// Something has come.
    fn event(&mut self, link: &mut Link<'_>, log: &Log, event: Event) -> Result<Next, Error>;

    /// All that was to be sent has been written.
    fn written(&mut self) -> Next {
        Next::Continue
    }

    /// The connection broke, and so many bytes were not written.
    fn lost(&mut self, _unwritten: usize, _log: &Log) -> Result<(), Error> {
        Ok(())
    }

    /// The exit code if a signal of this number ends it now.
    fn interrupted(&self, _signal: u8) -> u8 {
        0
    }

    /// Bytes that may wait to be written before it is asked again: one if it only waits for them.
    fn room(&self) -> usize {
        WAITING_MAX
    }

    /// Whether the server answers to nothing of what was sent.
    fn is_unanswered(&self) -> bool {
        false
    }

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
pub(super) const WAITING_MAX: usize = 1 << 20;

/// How long connecting may take, with the TLS handshake; CONNACK may take as long once more.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// How long saying goodbye may take,
const GOODBYE_PATIENCE: Duration = Duration::from_secs(3);
/// and if it takes messages along that nobody acknowledges.
const LAST_WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// How long the server may take to close the connection then.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// SIGTERM and SIGINT.
struct StopSignals(Signal, Signal);

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    /// The number of the signal that comes.
    async fn wait(&mut self) -> u8 {
        let Self(terminate, interrupt) = self;
        tokio::select! {
            _ = terminate.recv() => 15,
            _ = interrupt.recv() => 2,
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
            signal = stop.wait() => return Ok(task.interrupted(signal)),
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

/// Connects, in time.
async fn connect(plan: &Plan) -> Result<Box<dyn Stream>, std::io::Error> {
    match timeout(CONNECT_PATIENCE, dial(&plan.endpoint, plan.tls.as_ref(), plan.bind)).await {
        Ok(dialled) => dialled.map_err(std::io::Error::other),
        Err(_) => Err(std::io::Error::other("no answer in time")),
    }
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
        dialled = connect(plan) => dialled,
        signal = stop.wait() => return Ok(Over::Done(task.interrupted(signal))),
        () = task.too_late() => return timed_out(log).map(Over::Done),
    };
    let stream = match dialled {
        Ok(stream) => stream,
        Err(error) if !*has_connected => return Err(Error::new(FAILED, format_args!("{}: {error}", plan.endpoint))),
        Err(error) => return Ok(Over::Lost(LinkError::Io(error))),
    };
    log.debug("sending CONNECT");
    let mut link = Link::new(machine, stream);
    loop {
        // No more is taken to be sent than the server takes in.
        let has_room = link.machine.is_connected() && link.waiting() < WAITING_MAX;
        let room = task.room();
        let next = tokio::select! {
            event = link.next_or_room(room) => match event {
                Ok(None) if link.waiting() == 0 => Ok(task.written()),
                Ok(None) => Ok(Next::Continue),
                Ok(Some(Event::Connected { session_present, assigned_client_id })) => {
                    log.name = assigned_client_id.unwrap_or_else(|| log.name.clone());
                    log.debug("received CONNACK (0)");
                    *has_connected = true;
                    task.connected(&mut link, log, session_present)
                }
                Ok(Some(Event::Refused { reason, reason_string })) => {
                    return Err(refused(link.machine.options().version, reason, reason_string));
                }
                Ok(Some(event)) => task.event(&mut link, log, event),
                Err(error) if *has_connected => {
                    // Before CONNACK there is nothing of the task's.
                    let unwritten = if link.machine.is_connected() { link.waiting() } else { 0 };
                    task.lost(unwritten, log)?;
                    return Ok(Over::Lost(error));
                }
                Err(error) => return Err(Error::new(FAILED, error)),
            },
            signal = stop.wait() => Ok(Next::End(task.interrupted(signal))),
            other = task.other(has_room) => task.handle_other(&mut link, log, other),
        };
        match next {
            Ok(Next::Continue) => {}
            Ok(Next::End(code)) => {
                let must_arrive = code == 0 && task.is_unanswered();
                return Ok(Over::Done(end(plan, link, log, stop, code, must_arrive).await));
            }
            Err(error) => {
                // What was done before is acknowledged all the same.
                let _ = timeout(GOODBYE_PATIENCE, link.flush()).await;
                return Err(error);
            }
        }
    }
}

/// Says goodbye, until the time is over or the next signal comes. That this may come to nothing makes no difference, unless what was sent
/// `must_arrive`: then it makes the exit code 1.
async fn end(plan: &Plan, mut link: Link<'_>, log: &Log, stop: &mut StopSignals, code: u8, must_arrive: bool) -> u8 {
    log.debug("sending DISCONNECT");
    let (user, expiry) = (plan.properties.disconnect_user.as_ref(), plan.properties.disconnect_expiry);
    link.machine.disconnect(DisconnectReason::NormalDisconnection, expiry, user, Instant::now());
    let is_written = tokio::select! {
        flushed = link.flush() => flushed.is_ok(),
        _ = stop.wait() => false,
        () = sleep(if must_arrive { LAST_WRITE_PATIENCE } else { GOODBYE_PATIENCE }) => false,
    };
    if is_written {
        tokio::select! {
            _ = link.close() => {}
            _ = stop.wait() => {}
            () = sleep(CLOSE_PATIENCE) => {}
        }
        code
    } else if must_arrive {
        log.warn("Error: the connection ended before all was sent");
        FAILED
    } else {
        code
    }
}

/// The exit code is the server's own: the return code of older versions, the reason code of 5.0.
fn refused(version: ProtocolVersion, reason: ConnectReason, reason_string: Option<String>) -> Error {
    let code = if version == ProtocolVersion::V5 { reason.code().0 } else { reason.to_v3() };
    let why = reason_string.map(|text| format!(": {text}")).unwrap_or_default();
    Error::new(code, format_args!("the server refuses the connection: {}{why}", reason.code().name()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::cli::mqtt::properties::Properties;
    use crate::client::{Endpoint, Options, TlsConnector, TlsOptions};

    /// Time is virtual: it jumps when everything waits.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_the_tls_handshake_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let authority = folder.path().join("ca.pem");
        let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert;
        std::fs::write(&authority, certificate.pem()).unwrap();
        let tls = TlsConnector::new(&TlsOptions { ca_file: Some(authority), ..TlsOptions::default() }).unwrap();
        // The system takes the connection; nobody says a word.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port: silent.local_addr().unwrap().port() };
        let plan = Plan {
            endpoint,
            tls: Some(tls),
            bind: None,
            options: Options::default(),
            properties: Properties::default(),
            topic: None,
            is_debug: false,
            is_quiet: true,
        };
        let error = connect(&plan).await.err().unwrap();
        assert_eq!(error.to_string(), "no answer in time");
    }
}
