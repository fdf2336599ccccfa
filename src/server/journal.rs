//! The journal's threads: one commits, one keeps it short. What they need of the broker they get as it is.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::StartError;
use crate::broker::{Broker, QueueFold, Waiter};
use crate::cli::exit;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::storage::{self, Backend, Clock, Committer, FileBackend, Keeper, Level, Opened, Recover};

/// How often it is looked whether a checkpoint is worth it.
const TEND_INTERVAL: Duration = Duration::from_millis(500);
/// How often recovery tells how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// A journal that is being written to.
pub struct RunningJournal {
    pub keeper: Arc<Keeper<Waiter>>,
    journal: Arc<storage::Journal<Waiter>>,
    committing: JoinHandle<()>,
    /// How it ended; if nobody says so any more, its thread has panicked.
    pub ended: watch::Receiver<Option<Ended>>,
}

/// How a journal ended that was told to, or had to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    AsTold,
    Failed,
}

/// Waits until a journal has failed; for ever if it does not.
pub async fn failure(mut ended: watch::Receiver<Option<Ended>>) {
    let end = ended.wait_for(Option::is_some).await.map(|end| *end);
    if matches!(end, Ok(Some(Ended::AsTold))) {
        std::future::pending::<()>().await;
    }
}

/// Whether a journal that has ended has failed.
pub fn has_failed(ended: &watch::Receiver<Option<Ended>>) -> bool {
    *ended.borrow() != Some(Ended::AsTold)
}

/// Reads what is in the data directory, which must be there; `None` if nothing is to survive.
pub fn open(config: &Config, recover: Option<Recover>, metrics: &Arc<Metrics>) -> Result<Option<Opened<Waiter>>, StartError> {
    if config.durability.highest() == Level::Memory {
        tracing::warn!("durability is \"memory\": sessions, their messages and retained messages end with this process");
        return Ok(None);
    }
    let (started, clock) = (Instant::now(), clock());
    let backend: Arc<dyn Backend> = Arc::new(FileBackend::new(&config.data_dir));
    let mut told = started;
    let mut progress = |read: u64, all: u64| {
        if told.elapsed() > PROGRESS_INTERVAL {
            told = Instant::now();
            tracing::info!(read, all, "reading the journal");
        }
    };
    let opened = storage::open(
        backend,
        &config.durability,
        recover,
        (clock, Instant::now),
        metrics.clone(),
        Box::new(QueueFold::default()),
        &mut progress,
    )
    .map_err(|error| StartError {
        code: exit::STORAGE,
        cause: format!("data directory {}: {error}", config.data_dir.display()),
    })?;
    let report = &opened.report;
    for given_up in &report.given_up {
        tracing::warn!(given_up, "recovered, as asked for");
    }
    if report.torn > 0 {
        tracing::info!(
            bytes = report.torn,
            "the end of the journal was not written to its end, and is cut: nothing acknowledged was in it"
        );
    }
    metrics.storage.recovery_milliseconds.set(started.elapsed().as_millis() as u64);
    tracing::info!(
        seconds = started.elapsed().as_secs_f64(),
        bytes = report.bytes,
        segments = report.segments,
        sessions = report.sessions,
        messages = report.waiting,
        retained = report.retained,
        "journal read"
    );
    Ok(Some(opened))
}

/// The time of day, as from now on it is told.
pub fn clock() -> Clock {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    Clock::new(Instant::now(), wall)
}

/// Starts both threads.
pub fn start(broker: &Arc<Broker>, mut committer: Committer<Waiter>, config: &Config) -> std::io::Result<RunningJournal> {
    let journal = committer.journal().clone();
    let backend: Arc<dyn Backend> = Arc::new(FileBackend::new(&config.data_dir));
    let keeper = Arc::new(Keeper::new(journal.clone(), backend));
    let (tell, ended) = watch::channel(None);
    let of_commits = broker.clone();
    let committing = std::thread::Builder::new().name("dunlin-journal".into()).spawn(move || {
        let end = match committer.run(&mut |waiters| of_commits.release(waiters, Instant::now())) {
            Ok(()) => Ended::AsTold,
            Err(error) => {
                tracing::error!(%error, "the journal has failed: nothing is acknowledged any more");
                Ended::Failed
            }
        };
        let _ = tell.send(Some(end)); // without a receiver the process is ending already
    })?;
    let (of_keeping, tended) = (broker.clone(), keeper.clone());
    let its = journal.clone();
    std::thread::Builder::new().name("dunlin-keeper".into()).spawn(move || {
        while !its.is_over() {
            std::thread::sleep(TEND_INTERVAL);
            if let Err(error) = tended.tend(&*of_keeping) {
                tracing::error!(%error, "no checkpoint could be made; the journal grows until one can");
            }
        }
    })?;
    Ok(RunningJournal { keeper, journal, committing, ended })
}

impl RunningJournal {
    /// Writes what is left and ends.
    pub async fn stop(self) {
        self.journal.stop();
        let joined = tokio::task::spawn_blocking(|| self.committing.join());
        if !matches!(joined.await, Ok(Ok(()))) {
            tracing::error!("the journal's thread has panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_journal_whose_thread_panics_has_failed() {
        let fails = |ended| Box::pin(failure(ended)).as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(());
        let (tell, ended) = watch::channel(None);
        assert!(!fails(ended.clone()), "it runs");
        tell.send(Some(Ended::AsTold)).unwrap();
        assert!(!fails(ended.clone()) && !has_failed(&ended));
        tell.send(Some(Ended::Failed)).unwrap();
        assert!(fails(ended.clone()) && has_failed(&ended));
        let (tell, ended) = watch::channel(None);
        std::thread::spawn(move || drop(tell)).join().unwrap(); // as a panic drops it
        assert!(fails(ended.clone()) && has_failed(&ended));
    }
}
