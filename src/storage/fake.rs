//! A disk for tests: it forgets what was not synced, tears and reorders writes, fails when it is told to, and has only so much room.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::backend::{Backend, StoreFile};

/// What survives a power cut piece by piece.
const SECTOR: usize = 512;

/// Numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

thread_local! {
    static AT_PAUSE: std::cell::RefCell<Option<Box<dyn FnMut()>>> = const { std::cell::RefCell::new(None) };
}

/// From now on, a checkpoint that this thread makes does this between any two pieces.
pub fn at_pause(act: impl FnMut() + 'static) {
    AT_PAUSE.set(Some(Box::new(act)));
}

pub(super) fn pause() {
    AT_PAUSE.with_borrow_mut(|act| act.iter_mut().for_each(|act| act()));
}

/// What can be counted, and can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Create,
    Open,
    List,
    Remove,
    Rename,
    SyncNames,
    Read,
    WillRead,
    Write,
    Sync,
    Reserve,
    SetLen,
    /// Each of those that change something.
    Change,
}

/// Why it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// EIO.
    Broken,
    /// ENOSPC.
    Full,
    /// EMFILE.
    NoFiles,
}

/// A folder in memory. Clones are the same folder.
#[derive(Clone, Debug, Default)]
pub struct FakeBackend {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Clone, Debug, Default)]
struct Disk {
    files: HashMap<usize, Content>,
    names: BTreeMap<String, usize>,
    /// Names that survive a power cut, and what happened to names since.
    synced_names: BTreeMap<String, usize>,
    renamings: Vec<Renaming>,
    capacity: Option<u64>,
    counts: HashMap<Call, usize>,
    failures: Vec<Failure>,
    next_file: usize,
}

#[derive(Clone, Debug, Default)]
struct Content {
    live: Vec<u8>,
    synced: Vec<u8>,
    /// What happened since the last sync.
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

#[derive(Clone, Debug)]
enum Renaming {
    Set(String, usize),
    Remove(String),
    Move(String, String, usize),
}

#[derive(Clone, Debug)]
struct Failure {
    call: Call,
    /// The count of such calls at which it happens.
    at: usize,
    trouble: Trouble,
    is_lasting: bool,
}

#[derive(Debug)]
struct FakeFile {
    disk: Arc<Mutex<Disk>>,
    file: usize,
}

impl FakeBackend {
    pub fn new() -> Self {
        Self::default()
    }

    /// The folder that a power cut leaves: of what was not synced, any part.
    pub fn crash(&self, random: &mut Random) -> Self {
        let disk = self.disk.lock();
        let how = random.below(4);
        let mut names = disk.synced_names.clone();
        disk.renamings.iter().filter(|_| is_kept(how, random)).for_each(|renaming| renaming.apply(&mut names));
        let mut left = Disk { synced_names: names.clone(), names, next_file: disk.next_file, ..Disk::default() };
        let mut numbers: Vec<_> = left.names.values().copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let bytes = disk.files[&number].after_crash(how, random);
            left.files.insert(number, Content { live: bytes.clone(), synced: bytes, changes: Vec::new() });
        }
        Self { disk: Arc::new(Mutex::new(left)) }
    }

    /// The folder that the end of the process leaves: all that was written. A power cut after that can still take what was not synced.
    pub fn kill(&self) -> Self {
        let mut disk = self.disk.lock().clone();
        disk.failures.clear();
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// The `nth` call of this kind from now on fails, 1 being the next, and all later ones too if it `is_lasting`.
    pub fn fail(&self, call: Call, nth: usize, trouble: Trouble, is_lasting: bool) {
        let mut disk = self.disk.lock();
        let at = disk.count(call) + nth;
        disk.failures.push(Failure { call, at, trouble, is_lasting });
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.disk.lock().failures.clear();
    }

    /// How many calls of this kind there were.
    pub fn count(&self, call: Call) -> usize {
        self.disk.lock().count(call)
    }

    /// Bytes that fit; `None` is no bound.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.disk.lock().capacity = capacity;
    }

    pub fn used(&self) -> u64 {
        self.disk.lock().used()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let disk = self.disk.lock();
        disk.files[&disk.names[name]].live.clone()
    }

    /// Puts a file there, synced.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut disk = self.disk.lock();
        let number = disk.next_file;
        disk.next_file += 1;
        disk.files.insert(number, Content { live: bytes.clone(), synced: bytes, changes: Vec::new() });
        disk.names.insert(name.to_owned(), number);
        disk.synced_names.insert(name.to_owned(), number);
    }

    /// Changes what lies on the disk behind everybody's back.
    pub fn garble(&self, name: &str, work: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk.lock();
        let number = disk.names[name];
        let content = disk.files.get_mut(&number).unwrap();
        work(&mut content.live);
        content.synced.clone_from(&content.live);
        content.changes.clear();
    }

    pub fn flip(&self, name: &str, offset: usize, bit: u32) {
        self.garble(name, |bytes| bytes[offset] ^= 1 << bit);
    }

    /// A folder with the first bytes of some of these files, as a backup copies them.
    pub fn copy(&self, files: &[(String, u64)]) -> Self {
        let copy = Self::new();
        for (name, length) in files {
            copy.put(name, self.bytes(name)[..*length as usize].to_vec());
        }
        copy
    }

    fn begin(&self, call: Call) -> io::Result<parking_lot::MutexGuard<'_, Disk>> {
        let mut disk = self.disk.lock();
        disk.begin(call)?;
        Ok(disk)
    }

    fn handle(&self, file: usize) -> Arc<dyn StoreFile> {
        Arc::new(FakeFile { disk: self.disk.clone(), file })
    }
}

/// How a power cut went: nothing survives, everything does, or some.
fn is_kept(how: usize, random: &mut Random) -> bool {
    match how {
        0 => false,
        1 => true,
        _ => random.one_in(2),
    }
}

impl Disk {
    fn count(&self, call: Call) -> usize {
        self.counts.get(&call).copied().unwrap_or(0)
    }

    /// Counts a call, and fails if its turn has come.
    fn begin(&mut self, call: Call) -> io::Result<()> {
        let is_change = !matches!(call, Call::Open | Call::List | Call::Read | Call::WillRead);
        let calls = [Some(call), is_change.then_some(Call::Change)];
        for call in calls.into_iter().flatten() {
            *self.counts.entry(call).or_default() += 1;
        }
        for call in calls.into_iter().flatten() {
            let count = self.count(call);
            let is_due = |failure: &&Failure| {
                failure.call == call && (count == failure.at || (failure.is_lasting && count > failure.at))
            };
            if let Some(failure) = self.failures.iter().find(is_due) {
                return Err(failure.trouble.into());
            }
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        self.names.values().map(|number| self.files[number].live.len() as u64).sum()
    }

    /// How far this file may grow.
    fn room(&self, file: usize) -> usize {
        let length = self.files[&file].live.len();
        let free = self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()));
        length.saturating_add(usize::try_from(free).unwrap_or(usize::MAX))
    }

    fn change(&mut self, file: usize, change: Change) {
        let content = self.files.get_mut(&file).unwrap();
        change.apply(&mut content.live);
        content.changes.push(change);
    }

    fn number(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&mut self, renaming: Renaming) {
        renaming.apply(&mut self.names);
        self.renamings.push(renaming);
    }
}

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Broken => Self::other("the fake disk is broken"),
            Trouble::Full => io::ErrorKind::StorageFull.into(),
            Trouble::NoFiles => nix::errno::Errno::EMFILE.into(),
        }
    }
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, file) => drop(names.insert(name.clone(), *file)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Move(from, to, file) => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Resize(length) => bytes.resize(*length, 0),
            Self::Write { offset, bytes: new } => {
                let end = offset + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(new);
            }
        }
    }

    /// What is left of it after a power cut.
    fn torn(&self, how: usize, is_last: bool, random: &mut Random) -> Vec<Self> {
        if !is_kept(how, random) {
            return Vec::new();
        }
        let Self::Write { offset, bytes } = self else { return vec![self.clone()] };
        if how == 1 && is_last && !bytes.is_empty() {
            return vec![Self::Write { offset: *offset, bytes: bytes[..random.below(bytes.len() + 1)].to_vec() }];
        }
        if how < 3 {
            return vec![self.clone()];
        }
        let mut kept = Vec::new();
        let mut start = 0;
        while start < bytes.len() {
            // Sectors lie at multiples of their size in the file, not in the write.
            let end = (start + SECTOR - (offset + start) % SECTOR).min(bytes.len());
            if random.one_in(2) {
                kept.push(Self::Write { offset: offset + start, bytes: bytes[start..end].to_vec() });
            }
            start = end;
        }
        kept
    }
}

impl Content {
    fn after_crash(&self, how: usize, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for (index, change) in self.changes.iter().enumerate() {
            let is_last = index + 1 == self.changes.len();
            change.torn(how, is_last, random).iter().for_each(|change| change.apply(&mut bytes));
        }
        bytes
    }
}

impl Backend for FakeBackend {
    fn create(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        let mut disk = self.begin(Call::Create)?;
        let file = match disk.names.get(name).copied() {
            Some(file) => {
                disk.change(file, Change::Resize(0));
                file
            }
            None => {
                let file = disk.next_file;
                disk.next_file += 1;
                disk.files.insert(file, Content::default());
                disk.rename(Renaming::Set(name.to_owned(), file));
                file
            }
        };
        Ok(self.handle(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        Ok(self.handle(self.begin(Call::Open)?.number(name)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.begin(Call::List)?.names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.begin(Call::Remove)?;
        disk.number(name)?;
        disk.rename(Renaming::Remove(name.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.begin(Call::Rename)?;
        let file = disk.number(from)?;
        disk.rename(Renaming::Move(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut disk = self.begin(Call::SyncNames)?;
        disk.synced_names = disk.names.clone();
        disk.renamings.clear();
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        Ok(disk.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(disk.used())))
    }
}

impl StoreFile for FakeFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let offset = offset as usize;
        let result = disk.begin(Call::Write);
        let count = match result {
            // A write that fails may have got somewhere.
            Err(_) => bytes.len() / 2,
            Ok(()) => bytes.len(),
        };
        let fits = disk.room(self.file).saturating_sub(offset).min(count);
        disk.change(self.file, Change::Write { offset, bytes: bytes[..fits].to_vec() });
        result?;
        if fits < bytes.len() { Err(Trouble::Full.into()) } else { Ok(()) }
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        disk.begin(Call::Read)?;
        let rest = disk.files[&self.file].live.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn read_and_time(&self, bytes: &mut [u8], offset: u64) -> io::Result<(usize, bool)> {
        Ok((self.read_at(bytes, offset)?, true))
    }

    fn will_read(&self, _offset: u64, _length: u64) {
        let _ = self.disk.lock().begin(Call::WillRead); // nobody asks whether it helped
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let result = disk.begin(Call::Sync);
        let content = disk.files.get_mut(&self.file).unwrap();
        let changes = std::mem::take(&mut content.changes);
        // After a sync that failed the kernel takes the pages for clean: the next one says that all is well, and it is not.
        if result.is_ok() {
            changes.iter().for_each(|change| change.apply(&mut content.synced));
        }
        result
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin(Call::Reserve)?;
        // As ext4 does it, what there is is taken also where it is not enough.
        let fits = disk.room(self.file).min(length as usize);
        if fits > disk.files[&self.file].live.len() {
            disk.change(self.file, Change::Resize(fits));
        }
        if fits < length as usize { Err(Trouble::Full.into()) } else { Ok(()) }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin(Call::SetLen)?;
        disk.change(self.file, Change::Resize(length as usize));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[&self.file].live.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(backend: &FakeBackend) -> Arc<dyn StoreFile> {
        let file = backend.create("a").unwrap();
        file.write_at(&[1; 2000], 0).unwrap();
        file.sync().unwrap();
        backend.sync_names().unwrap();
        file
    }

    #[test]
    fn a_power_cut_keeps_what_was_synced_and_any_part_of_the_rest() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..200 {
            let backend = FakeBackend::new();
            let file = written(&backend);
            file.write_at(&[2; 2000], 2000).unwrap();
            file.write_at(&[3; 10], 0).unwrap();
            backend.create("b").unwrap();
            backend.rename("a", "c").unwrap();
            let left = backend.crash(&mut Random(seed));
            let names = left.list().unwrap();
            assert!(names.contains(&"a".to_owned()) || names.contains(&"c".to_owned()), "{names:?}");
            let name = if names.contains(&"a".to_owned()) { "a" } else { "c" };
            let bytes = left.bytes(name);
            assert_eq!(bytes[10..2000], [1; 1990]);
            assert!(bytes[2000..].iter().all(|byte| [0, 2].contains(byte)));
            seen.insert((names.len(), bytes[0], bytes.len(), bytes[2000..].contains(&0)));
        }
        assert!(seen.len() > 10, "{seen:?}");
    }

    #[test]
    fn the_end_of_the_process_keeps_all_and_a_later_power_cut_need_not() {
        let backend = FakeBackend::new();
        let file = written(&backend);
        file.write_at(&[2; 10], 2000).unwrap();
        let left = backend.kill();
        assert_eq!(left.bytes("a").len(), 2010);
        let lengths: std::collections::HashSet<_> =
            (0..50).map(|seed| left.crash(&mut Random(seed)).bytes("a").len()).collect();
        assert!(lengths.contains(&2000) && lengths.contains(&2010));
    }

    #[test]
    fn calls_fail_when_they_are_told_to() {
        let backend = FakeBackend::new();
        let file = written(&backend);
        backend.fail(Call::Sync, 2, Trouble::Broken, false);
        file.sync().unwrap();
        file.write_at(&[2; 10], 0).unwrap();
        assert!(file.sync().is_err() && file.sync().is_ok());
        assert_eq!(
            backend.crash(&mut Random(3)).bytes("a")[0],
            1,
            "what could not be synced is gone, whatever the next sync says"
        );
        backend.fail(Call::Change, 1, Trouble::Full, true);
        assert!(file.sync().is_err() && backend.create("b").is_err() && file.read_at(&mut [0], 0).is_ok());
        backend.heal();
        file.sync().unwrap();
    }

    #[test]
    fn a_disk_has_only_so_much_room() {
        let backend = FakeBackend::new();
        let file = written(&backend);
        backend.set_capacity(Some(2500));
        assert_eq!(backend.free_space().unwrap(), 500);
        assert!(super::super::error::is_full(&file.write_at(&[2; 1000], 2000).unwrap_err()));
        file.write_at(&[2; 1000], 1000).unwrap();
        assert!(file.reserve(3000).is_err() && file.reserve(2500).is_ok());
        backend.set_capacity(None);
        file.write_at(&[2; 1000], 2500).unwrap();
    }
}
