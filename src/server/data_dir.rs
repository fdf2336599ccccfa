use std::fs::{self, File, TryLockError};
use std::path::Path;

/// A data directory that is ours as long as this lives: two brokers on one journal would destroy it.
#[derive(Debug)]
pub struct DataDir {
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is not there, and takes its lock. The error names the directory and the cause.
    pub fn open(path: &Path) -> Result<Self, String> {
        let wrong = |error: std::io::Error| format!("data directory {}: {error}", path.display());
        fs::create_dir_all(path).map_err(wrong)?;
        let lock = File::create(path.join("LOCK")).map_err(wrong)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(format!("data directory {}: another process is using it", path.display())),
            Err(TryLockError::Error(error)) => Err(wrong(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/data");
        let first = DataDir::open(&path).unwrap();
        assert!(DataDir::open(&path).unwrap_err().contains("another process"));
        drop(first);
        DataDir::open(&path).unwrap();
    }
}
