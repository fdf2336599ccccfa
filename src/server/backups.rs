//! Backups that were asked for over the API: made beside the broker, into the data directory's `backups`.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use time::OffsetDateTime;

use crate::admin::{BackupState, BackupView};
use crate::broker::{Broker, Waiter, wall_clock};
use crate::cli::backup::{check, copy, empty_folder};
use crate::storage::{Backend, FileBackend, Keeper};

/// Backups that are told of; older ones are still on disk.
const TOLD_MAX: usize = 16;

pub struct Backups {
    data_dir: PathBuf,
    broker: Arc<Broker>,
    keeper: Arc<Keeper<Waiter>>,
    /// Free space that a backup must leave.
    min_free_space: u64,
    told: Mutex<VecDeque<Arc<Backup>>>,
}

struct Backup {
    name: String,
    at: u64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    end: Mutex<Option<Result<(), String>>>,
}

impl Backup {
    fn view(&self) -> BackupView {
        let end = self.end.lock().clone();
        let (state, error) = match end {
            None => (BackupState::Running, None),
            Some(Ok(())) => (BackupState::Done, None),
            Some(Err(error)) => (BackupState::Failed, Some(error)),
        };
        let (bytes, bytes_total) = (self.bytes.load(Ordering::Relaxed), self.bytes_total.load(Ordering::Relaxed));
        BackupView { name: self.name.clone(), state, at: self.at, bytes, bytes_total, error }
    }
}

impl Backups {
    pub fn new(data_dir: PathBuf, broker: Arc<Broker>, keeper: Arc<Keeper<Waiter>>, min_free_space: u64) -> Arc<Self> {
        Arc::new(Self { data_dir, broker, keeper, min_free_space, told: Mutex::default() })
    }

    /// One at a time.
    pub fn begin(self: &Arc<Self>) -> Result<BackupView, String> {
        let mut told = self.told.lock();
        if let Some(running) = told.iter().find(|backup| backup.end.lock().is_none()) {
            return Err(format!("the backup {} is being made", running.name));
        }
        let at = wall_clock();
        let name = name(at);
        if told.iter().any(|backup| backup.name == name) {
            return Err("the last one was begun less than a second ago".into());
        }
        let backup =
            Arc::new(Backup { name, at, bytes: AtomicU64::new(0), bytes_total: AtomicU64::new(0), end: Mutex::new(None) });
        told.push_front(backup.clone());
        told.truncate(TOLD_MAX);
        let (all, its) = (self.clone(), backup.clone());
        tokio::task::spawn_blocking(move || {
            let made = all.make(&its);
            match &made {
                Ok(()) => tracing::info!(name = its.name, bytes = its.bytes.load(Ordering::Relaxed), "backup made"),
                Err(error) => tracing::error!(name = its.name, error, "the backup failed"),
            }
            *its.end.lock() = Some(made);
        });
        Ok(backup.view())
    }

    pub fn views(&self) -> Vec<BackupView> {
        self.told.lock().iter().map(|backup| backup.view()).collect()
    }

    fn make(&self, backup: &Backup) -> Result<(), String> {
        let held = self.keeper.hold(&*self.broker).map_err(|error| error.to_string())?;
        let held = held.ok_or("the broker is stopping, or its disk is full")?;
        let total = held.files.iter().map(|(_, bytes)| *bytes).sum();
        backup.bytes_total.store(total, Ordering::Relaxed);
        let free = FileBackend::new(&self.data_dir).free_space().map_err(|error| error.to_string())?;
        if free.saturating_sub(total) < self.min_free_space {
            return Err(format!("it takes {total} bytes, and would leave less than [durability] min_free_space"));
        }
        let folder = self.data_dir.join("backups").join(&backup.name);
        empty_folder(&folder)?;
        for (name, bytes) in &held.files {
            copy(&self.data_dir, &folder, name, *bytes)?;
            backup.bytes.fetch_add(*bytes, Ordering::Relaxed);
        }
        drop(held);
        check(&folder).map(drop)
    }
}

/// `20260102T030405Z`: names in the order of time.
fn name(at: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp((at / 1000) as i64).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, hour) = (time.date(), time.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        hour.hour(),
        hour.minute(),
        hour.second()
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_times() {
        assert_eq!(super::name(1_700_000_000_123), "20231114T221320Z");
    }
}
