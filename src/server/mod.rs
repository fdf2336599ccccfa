//! The running broker: builds the rooms, opens the doors, closes them in order.

mod admin_port;
mod background;
mod backups;
mod ban_file;
mod bridges;
mod cgroup;
mod check;
mod control;
mod data_dir;
mod descriptors;
mod house;
mod journal;
mod kept_file;
mod office;
mod overload;
mod patient;
mod reload;
mod rights;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::cli::exit;
use crate::config::{ConfigSource, Loaded};
use crate::packet::DisconnectReason;
use crate::storage::Recover;
pub use check::file_errors;
pub use control::connect as connect_control;
use house::House;
use office::Request;
use patient::Patient;

/// Serves until SIGTERM or SIGINT, with what was loaded from `source`; SIGHUP makes it read that again.
/// `recover` is what to do about a damaged journal.
pub fn run(loaded: Loaded, source: ConfigSource, recover: Option<Recover>) -> ExitCode {
    descriptors::raise_limit();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let threads = loaded.config.server.worker_threads;
    if threads > 0 {
        builder.worker_threads(threads);
    }
    let runtime = match builder.enable_all().thread_name("dunlin").build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be started");
            return ExitCode::from(exit::FAILURE);
        }
    };
    // Half of the workers at most: a client that is in finds an idle processor without having to take one away.
    let handshakes = runtime.metrics().num_workers() / 2;
    let patient = match Patient::start(handshakes, loaded.config.auth.max_password_checks) {
        Ok(patient) => patient,
        Err(error) => {
            tracing::error!(%error, "the threads for logins cannot be started");
            return ExitCode::from(exit::FAILURE);
        }
    };
    let code = runtime.block_on(serve(loaded, source, recover, &patient));
    patient.stop();
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

/// Why the broker cannot start, and the exit code for it.
#[derive(Debug)]
pub struct StartError {
    pub code: u8,
    pub cause: String,
}

async fn serve(loaded: Loaded, source: ConfigSource, recover: Option<Recover>, patient: &Patient) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "signals cannot be waited for");
            return ExitCode::from(exit::FAILURE);
        }
    };
    let (stop, stopping) = watch::channel(false);
    let mut house = match House::build(loaded, source, recover, patient, &stopping).await {
        Ok(house) => house,
        Err(StartError { code, cause }) => {
            tracing::error!(cause, "the broker cannot start");
            return ExitCode::from(code);
        }
    };
    house.ready();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let stopped = wait_for_stop(&mut house, &mut signals).await;
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    house.not_ready();
    if stopped == Stop::StorageFailed {
        // Nobody is told anything any more: what clients were not acknowledged they will send again.
        return ExitCode::from(exit::STORAGE);
    }
    let _ = stop.send(true);
    house.bridges.stop().await;
    close(&house).await;
    let has_failed = house.close_journal().await;
    house.close_admin().await;
    if has_failed {
        return ExitCode::from(exit::STORAGE);
    }
    tracing::info!("stopped");
    ExitCode::from(exit::OK)
}

/// The signals that are listened to. From the start on: what came before would have killed the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Takes the lock of a data directory for as long as the value lives, so that no broker starts on it.
///
/// # Errors
/// If it is in use, or cannot be had; the text names it.
pub fn lock_data_dir(path: &std::path::Path) -> Result<impl std::fmt::Debug + use<>, String> {
    data_dir::DataDir::open(path)
}

/// Why the broker stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Signal,
    StorageFailed,
}

/// Handles SIGHUP, and what the admin API asks, one after the other, until a signal to stop comes, or the journal fails.
async fn wait_for_stop(house: &mut House, signals: &mut Signals) -> Stop {
    let mut failure = house.journal_failure();
    let (_keep, nobody) = mpsc::channel(1);
    let mut requests = house.requests.take().unwrap_or(nobody);
    loop {
        tokio::select! {
            () = &mut failure => return Stop::StorageFailed,
            _ = signals.terminate.recv() => {
                tracing::info!(signal = "SIGTERM", "stopping");
                return Stop::Signal;
            }
            _ = signals.interrupt.recv() => {
                tracing::info!(signal = "SIGINT", "stopping");
                return Stop::Signal;
            }
            _ = signals.hangup.recv() => {
                let started = NotifyState::monotonic_usec_now();
                let _ = sd_notify::notify(&started.map_or(vec![], |now| vec![NotifyState::Reloading, now]));
                let _ = house.reload().await; // told in the log
                let _ = sd_notify::notify(&[NotifyState::Ready]);
            }
            // Who does not wait for the answer any more has still asked.
            Some(request) = requests.recv() => match request {
                Request::Reload(asked) => drop(asked.send(house.reload().await)),
                Request::Change(change, asked) => drop(asked.send(house.change(&change).await)),
            },
        }
    }
}

/// Says goodbye to the clients and waits until they are gone, as long as the config allows.
async fn close(house: &House) {
    let patience = house.config.server.shutdown_timeout.0;
    let started = Instant::now();
    house.broker.publish_all_wills(started);
    house.broker.disconnect_all(DisconnectReason::ServerShuttingDown);
    let gate = Arc::clone(&house.gate);
    let gone = async {
        while gate.connected() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    if timeout(patience, gone).await.is_err() {
        tracing::warn!(connections = house.gate.connected(), "not all clients have gone in time");
    }
    tracing::debug!(seconds = started.elapsed().as_secs_f64(), "connections closed");
}
