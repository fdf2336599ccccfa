//! What the journal costs, with a disk's sync and without. `cargo bench --bench storage`
//!
//! The files lie in the folder for temporary files: `TMPDIR=DIR` names another, since some of those are memory and sync nothing.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use dunlin::packet::{ForwardedProperties, Message, MessageView, QoS, TopicName};
use dunlin::storage::{
    Backend, Body, Clock, Durability, FileBackend, Item, Journal, Level, OnlineState, Opened, Recipient, Record, SessionHeader,
    StoreFile, Transaction, load, open,
};
use dunlin::units::ByteSize;
use tempfile::TempDir;

const WALL: u64 = 1_800_000_000_000;
const SESSION: u64 = 1;
const BATCHES: [usize; 3] = [1, 100, 1000];
/// Messages in a window of a long queue that is read back.
const WINDOW: usize = 512;
const RECOVERED: usize = 100_000;

fn main() {
    divan::main();
}

/// Files whose sync does nothing: what is left is the journal's own work, and the system's copy.
#[derive(Debug)]
struct WithoutSync<T>(T);

impl Backend for WithoutSync<FileBackend> {
    fn create(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        Ok(Arc::new(WithoutSync(self.0.create(name)?)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        Ok(Arc::new(WithoutSync(self.0.open(name)?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        self.0.free_space()
    }
}

impl StoreFile for WithoutSync<Arc<dyn StoreFile>> {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn read_and_time(&self, bytes: &mut [u8], offset: u64) -> io::Result<(usize, bool)> {
        self.0.read_and_time(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        self.0.reserve(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

fn without_sync(folder: &Path) -> Arc<dyn Backend> {
    Arc::new(WithoutSync(FileBackend::new(folder)))
}

fn opened(backend: Arc<dyn Backend>) -> Opened<()> {
    let config = Durability { min_free_space: ByteSize(0), ..Durability::default() };
    let clock = Clock::new(Instant::now(), WALL);
    open(backend, &config, None, (clock, Instant::now), Arc::default(), Box::new(dunlin::storage::NoWork), &mut |_, _| ())
        .expect("the folder is ours")
}

fn bodies(count: usize) -> Vec<Arc<Body>> {
    let topic = TopicName::new("sensors/hall-7/machine-42/temperature").expect("it is a topic");
    let view = MessageView { topic, properties: ForwardedProperties::default(), payload: &[b'x'; 256] };
    (0..count).map(|_| Body::new(Message::new(view, QoS::AtLeastOnce, false, None))).collect()
}

/// Tells of messages that wait for one session, and of a publisher that waits for all of them.
fn tell(journal: &Journal<()>, bodies: &[Arc<Body>], first: u64) {
    let mut transaction = Transaction::default();
    for (sequence, body) in (first..).zip(bodies) {
        let recipient = Recipient { session: SESSION, sequence, qos: QoS::AtLeastOnce, retain: false, notes: None };
        body.add(recipient).into_iter().for_each(|item| transaction.push(item));
    }
    transaction.wait((), Level::Sync);
    journal.submit(&mut transaction);
}

fn bench_commit(bencher: Bencher<'_, '_>, batch: usize, backend: Arc<dyn Backend>) {
    let mut committer = opened(backend).committer;
    let journal = committer.journal().clone();
    bencher.counter(ItemsCount::new(batch)).with_inputs(|| bodies(batch)).bench_local_values(|bodies| {
        tell(&journal, &bodies, 0);
        committer.commit(&mut |waiters| drop(black_box(waiters))).expect("the disk works");
        bodies
    });
}

#[divan::bench(args = BATCHES, sample_count = 100, sample_size = 1)]
fn commit_with_sync(bencher: Bencher<'_, '_>, batch: usize) {
    let folder = folder();
    bench_commit(bencher, batch, Arc::new(FileBackend::new(folder.path())));
}

#[divan::bench(args = BATCHES, sample_count = 100, sample_size = 1)]
fn commit_without_sync(bencher: Bencher<'_, '_>, batch: usize) {
    let folder = folder();
    bench_commit(bencher, batch, without_sync(folder.path()));
}

#[divan::bench]
fn load_consecutive(bencher: Bencher<'_, '_>) {
    let folder = folder();
    let mut committer = opened(without_sync(folder.path())).committer;
    let bodies = bodies(WINDOW);
    tell(committer.journal(), &bodies, 0);
    committer.commit(&mut |_| ()).expect("the disk works");
    let clock = committer.journal().clock;
    bencher.counter(ItemsCount::new(WINDOW)).bench_local(|| load(black_box(&bodies), &clock).expect("they are there"));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn recover_100_000(bencher: Bencher<'_, '_>) {
    let folder = folder();
    fill(without_sync(folder.path()));
    bencher.counter(ItemsCount::new(RECOVERED)).bench_local(|| {
        let opened = opened(without_sync(folder.path()));
        assert_eq!(opened.report.waiting, RECOVERED);
        opened
    });
}

/// One session with many messages, which came a thousand at a time.
fn fill(backend: Arc<dyn Backend>) {
    let mut committer = opened(backend).committer;
    let header = SessionHeader {
        mount_point: None,
        client_id: "c".into(),
        username: None,
        listener: "l".into(),
        expiry_interval: u32::MAX,
        state: OnlineState::Offline { expires_at: None },
        will: None,
        next_sequence: 0,
        first_unsent: 0,
        revision: 0,
    };
    committer.journal().tell(Item::Record(Record::Session { session: SESSION, header: Box::new(header) }));
    for first in (0..RECOVERED).step_by(1000) {
        tell(committer.journal(), &bodies(1000), first as u64);
        committer.commit(&mut |_| ()).expect("the disk works");
    }
}
