//! The bans over a restart: one small file of JSON in the data directory, replaced as a whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::kept_file;
use crate::broker::{Ban, Bans, Broker, wall_clock};

const FILE: &str = "bans.json";
/// How often bans that were made by themselves are written down, and those that are over are forgotten.
const INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct BanFile {
    folder: PathBuf,
    /// The revision that is on disk.
    kept: Mutex<u64>,
}

impl BanFile {
    /// Reads what is there into `bans`; those that are over, or over the bound, are left out. The error names the file.
    pub fn open(folder: &Path, bans: &Bans) -> Result<Self, String> {
        let path = folder.join(FILE);
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        match fs::read(&path) {
            Ok(bytes) => {
                let kept: Vec<Ban> = serde_json::from_slice(&bytes).map_err(|error| wrong(&error))?;
                let now = wall_clock();
                let valid = kept.into_iter().filter(|ban| ban.until.is_none_or(|until| until > now));
                let refused = valid.filter_map(|ban| bans.put(ban, now).err()).count();
                if refused > 0 {
                    tracing::warn!(refused, "bans over [limits] max_bans are given up");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(wrong(&error)),
        }
        Ok(Self { folder: folder.into(), kept: Mutex::new(bans.revision()) })
    }

    /// Writes the bans down if they have changed; returns when they survive a power cut.
    pub fn save(&self, bans: &Bans) -> io::Result<()> {
        let mut kept = self.kept.lock();
        let revision = bans.revision();
        if *kept == revision {
            return Ok(());
        }
        let all: Vec<_> = bans.all();
        let all: Vec<&Ban> = all.iter().map(|ban| &**ban).collect();
        kept_file::replace(&self.folder, FILE, &serde_json::to_vec(&all)?)?;
        *kept = revision;
        Ok(())
    }
}

/// Keeps the file up to date, for ever.
pub async fn run(file: Arc<BanFile>, broker: Arc<Broker>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        broker.bans.drop_expired(wall_clock());
        let (file, broker) = (file.clone(), broker.clone());
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || file.save(&broker.bans)).await {
            tracing::error!(%error, "the bans cannot be written down");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::BanKind;

    #[test]
    fn bans_are_there_after_a_restart_and_those_that_are_over_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let bans = Bans::new(10);
        let file = BanFile::open(folder.path(), &bans).unwrap();
        bans.add(BanKind::ClientId, "c", None, "noisy", "me", 1).unwrap();
        bans.add(BanKind::Address, "192.0.2.1", Some(2), "", "me", 1).unwrap();
        bans.add(BanKind::Username, "u", Some(u64::MAX), "", "me", 1).unwrap();
        file.save(&bans).unwrap();
        let again = Bans::new(10);
        BanFile::open(folder.path(), &again).unwrap();
        assert_eq!(again.all(), bans.all());
        assert_eq!(again.len(), 2);
        let few = Bans::new(1);
        BanFile::open(folder.path(), &few).unwrap();
        assert_eq!(few.len(), 1);
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "[{").unwrap();
        assert!(BanFile::open(folder.path(), &Bans::new(1)).unwrap_err().contains("bans.json"));
    }
}
