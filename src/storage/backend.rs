//! The one way to files. What is behind it can be the disk, or a fake that forgets what was not synced.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A folder of files with plain names.
pub trait Backend: Send + Sync + Debug {
    /// A new, empty file; one that is there is emptied.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StoreFile>>;

    /// A file that is there, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>>;

    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Takes the place of a file called `to`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Returns when names that were made, changed or removed survive a power cut.
    fn sync_names(&self) -> io::Result<()>;

    /// Free bytes for this process.
    fn free_space(&self) -> io::Result<u64>;
}

#[expect(clippy::len_without_is_empty, reason = "nobody asks a file whether it is empty")]
/// One file. Reads and writes name their place, so that any number of threads can share it.
pub trait StoreFile: Send + Sync + Debug {
    /// Writes all of `bytes`, or fails.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads as many bytes as there are, up to the length of `bytes`.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The same, and whether it took as long as when the disk is asked: then what lies behind is not in memory either, as a rule.
    fn read_and_time(&self, bytes: &mut [u8], offset: u64) -> io::Result<(usize, bool)> {
        Ok((self.read_at(bytes, offset)?, false))
    }

    /// Pieces of this part will be read soon: whoever knows how can fetch it with one read of the disk.
    fn will_read(&self, _offset: u64, _length: u64) {}

    /// Returns when what was written survives a power cut.
    fn sync(&self) -> io::Result<()>;

    /// Takes the space for this many bytes; they read as zeros.
    fn reserve(&self, length: u64) -> io::Result<()>;

    fn set_len(&self, length: u64) -> io::Result<()>;

    fn len(&self) -> io::Result<u64>;
}

/// A folder on disk.
#[derive(Clone, Debug)]
pub struct FileBackend {
    folder: PathBuf,
}

impl FileBackend {
    /// The folder must be there.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }
}

impl Backend for FileBackend {
    fn create(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Arc::new(options.open(self.folder.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.folder.join(name))?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn free_space(&self) -> io::Result<u64> {
        let space = nix::sys::statvfs::statvfs(&self.folder)?;
        Ok(space.blocks_available().saturating_mul(space.fragment_size()))
    }
}

/// What reading a few pages that the kernel has in memory takes at most, as a rule: a disk takes longer.
const FROM_MEMORY_MAX: Duration = Duration::from_micros(40);

impl StoreFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut count = 0;
        while count < bytes.len() {
            match FileExt::read_at(self, &mut bytes[count..], offset + count as u64) {
                Ok(0) => break,
                Ok(read) => count += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    fn read_and_time(&self, bytes: &mut [u8], offset: u64) -> io::Result<(usize, bool)> {
        let started = Instant::now();
        let count = StoreFile::read_at(self, bytes, offset)?;
        Ok((count, started.elapsed() > FROM_MEMORY_MAX))
    }

    fn will_read(&self, offset: u64, length: u64) {
        let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else { return };
        // Where it cannot be told, reading takes longer.
        let _ = nix::fcntl::posix_fadvise(self, offset, length, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_WILLNEED);
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        match nix::fcntl::fallocate(self, nix::fcntl::FallocateFlags::empty(), 0, length) {
            // Some file systems cannot: then space is taken as it is written.
            Err(nix::errno::Errno::EOPNOTSUPP) => Ok(()),
            result => Ok(result?),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        Self::set_len(self, length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
