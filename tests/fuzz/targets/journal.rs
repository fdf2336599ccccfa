//! A data directory whose frames say anything. The start ends in a state or in an error that has changed nothing; what the operator
//! gave up is given up once; and the next start finds the same. The writer here follows `src/storage/FORMAT.md` and nothing else.

#![no_main]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Instant;

use arbitrary::Arbitrary;
use dunlin::broker::QueueFold;
use dunlin::metrics::Metrics;
use dunlin::storage::{
    Backend, Clock, Durability, Level, Opened, Place, Put, Recover, StorageError, StoreFile, Summary, load, open,
};
use dunlin::units::ByteSize;
use libfuzzer_sys::fuzz_target;

const COMMIT: u8 = 2;
const CHECKPOINT: u8 = 17;
const CHECKPOINT_END: u8 = 18;
const FILTERS: [&str; 5] = ["a", "a/#", "+/b", "$share/g/a", "a/#/b"];
const TOPICS: [&str; 3] = ["a", "a/b", ""];

#[derive(Arbitrary, Debug)]
struct Input {
    recover: Option<bool>,
    segments: Vec<Vec<Piece>>,
    checkpoint: Option<(u8, Vec<Piece>)>,
    damage: Vec<Harm>,
}

#[derive(Arbitrary, Debug)]
enum Piece {
    /// A frame of any kind with a right checksum.
    Frame(u8, Vec<u8>),
    Bytes(Vec<u8>),
    Zeros(u8),
    Body {
        qos: u8,
        topic: u8,
        properties: Vec<u8>,
        payload: Vec<u8>,
        expires: bool,
    },
    Commit {
        is_synced: bool,
    },
    Session {
        session: u8,
        next: Number,
        revision: Number,
        state: u8,
        client: u8,
        has_will: bool,
    },
    SessionEnded(u8),
    Subscribed {
        session: u8,
        options: u8,
        identifier: u8,
        filter: u8,
    },
    /// Unsubscribed, or replayed.
    OfFilter(bool, u8, u8),
    Queued {
        session: u8,
        sequence: Number,
        flags: u8,
        at: At,
        identifiers: Vec<u8>,
    },
    /// Settled, released, received, unreceived.
    OfNumber(u8, u8, Number),
    Retained {
        at: At,
        topic: u8,
        has_client: bool,
    },
    Unretained(u8),
    Relocated(At, At),
    Replaying(u8, u8, Option<u8>),
    Removed(u8),
    Work {
        stream: u8,
        at: Option<At>,
        content: Vec<u8>,
    },
}

/// Small, or as large as it can be.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Small(u8),
    Large(u8),
}

/// The place of one of the bodies, or any.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum At {
    Body(u8),
    Any(u8, u16),
}

#[derive(Arbitrary, Debug)]
enum Harm {
    Flip(u8, u16, u8),
    Cut(u8, u16),
    Lose(u8),
}

impl Number {
    fn value(self) -> u64 {
        match self {
            Self::Small(value) => value.into(),
            Self::Large(below) => u64::MAX - u64::from(below),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Folder(Arc<Mutex<BTreeMap<String, Arc<Contents>>>>);

#[derive(Debug, Default)]
struct Contents(Mutex<Vec<u8>>);

impl Folder {
    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().unwrap().iter().map(|(name, file)| (name.clone(), file.0.lock().unwrap().clone())).collect()
    }
}

impl Backend for Folder {
    fn create(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        let file = Arc::new(Contents::default());
        self.0.lock().unwrap().insert(name.to_owned(), file.clone());
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoreFile>> {
        Ok(self.0.lock().unwrap().get(name).ok_or(io::ErrorKind::NotFound)?.clone())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

impl StoreFile for Contents {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut file, offset) = (self.0.lock().unwrap(), offset as usize);
        if file.len() < offset + bytes.len() {
            file.resize(offset + bytes.len(), 0);
        }
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.0.lock().unwrap();
        let there = file.get(offset as usize..).unwrap_or_default();
        let count = there.len().min(bytes.len());
        bytes[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        let mut file = self.0.lock().unwrap();
        let length = file.len().max(length as usize);
        file.resize(length, 0);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(length as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
}

/// Writes files, and knows where the bodies are.
#[derive(Default)]
struct Writer {
    file: Vec<u8>,
    segment: u64,
    batch: u32,
    bodies: Vec<(u64, u32)>,
}

impl Writer {
    fn begin(&mut self, number: u64) {
        let mut header = b"dunlin-j\x01\0\0\0".to_vec();
        header.extend_from_slice(&number.to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        (self.file, self.segment, self.batch) = (header, number, 24);
    }

    fn frame(&mut self, kind: u8, content: &[u8]) {
        let length = (content.len() as u32 + 1).to_le_bytes();
        let checksum = crc32fast::hash(&[&length[..], &[kind], content].concat()).to_le_bytes();
        self.file.extend_from_slice(&[&length[..], &checksum, &[kind], content].concat());
    }

    fn offset(&self) -> u32 {
        self.file.len() as u32
    }

    fn put_place(&self, out: &mut Vec<u8>, at: At) {
        let (segment, offset) = match at {
            At::Body(which) if !self.bodies.is_empty() => self.bodies[usize::from(which) % self.bodies.len()],
            At::Body(which) => (1, which.into()),
            At::Any(segment, offset) => (segment.into(), offset.into()),
        };
        out.put_varint(segment);
        out.extend_from_slice(&offset.to_le_bytes());
    }

    fn piece(&mut self, piece: &Piece) {
        let mut out = Vec::new();
        let kind = match piece {
            Piece::Frame(kind, content) => {
                out.extend_from_slice(content);
                *kind
            }
            Piece::Bytes(bytes) => return self.file.extend_from_slice(bytes),
            Piece::Zeros(count) => return self.file.extend((0..*count).map(|_| 0)),
            Piece::Body { qos, topic, properties, payload, expires } => {
                self.bodies.push((self.segment, self.offset()));
                put_message(&mut out, *qos, text(&TOPICS, *topic), properties, payload, u64::from(*expires));
                1
            }
            Piece::Commit { is_synced } => {
                out.extend_from_slice(&self.batch.to_le_bytes());
                out.push((*is_synced).into());
                self.frame(COMMIT, &out);
                self.batch = self.offset();
                return;
            }
            Piece::Session { session, next, revision, state, client, has_will } => {
                put_session(&mut out, *session, (next.value(), revision.value()), *state, *client, *has_will);
                3
            }
            Piece::SessionEnded(session) => {
                out.put_varint((*session).into());
                4
            }
            Piece::Subscribed { session, options, identifier, filter } => {
                out.put_varint((*session).into());
                out.push(*options);
                out.put_varint((*identifier).into());
                out.put_text(text(&FILTERS, *filter));
                5
            }
            Piece::OfFilter(is_replayed, session, filter) => {
                out.put_varint((*session).into());
                out.put_text(text(&FILTERS, *filter));
                if *is_replayed { 16 } else { 6 }
            }
            Piece::Queued { session, sequence, flags, at, identifiers } => {
                out.put_varint((*session).into());
                out.put_varint(sequence.value());
                out.push(*flags);
                self.put_place(&mut out, *at);
                if flags & 8 != 0 {
                    out.put_varint(identifiers.len() as u64);
                    identifiers.iter().for_each(|identifier| out.put_varint((*identifier).into()));
                    out.put_option((flags & 16 != 0).then_some("$share/g/a"));
                }
                7
            }
            Piece::OfNumber(kind, session, number) => {
                out.put_varint((*session).into());
                out.put_varint(number.value());
                [8, 9, 10, 11][usize::from(kind % 4)]
            }
            Piece::Retained { at, topic, has_client } => {
                self.put_place(&mut out, *at);
                out.put_text(text(&TOPICS, *topic));
                out.push((*has_client).into());
                if *has_client {
                    out.put_text("client");
                    out.put_option(None);
                    out.put_text("listener");
                }
                12
            }
            Piece::Unretained(topic) => {
                out.put_text(text(&TOPICS, *topic));
                13
            }
            Piece::Relocated(from, to) => {
                self.put_place(&mut out, *from);
                self.put_place(&mut out, *to);
                14
            }
            Piece::Replaying(session, filter, from) => {
                out.put_varint((*session).into());
                out.put_text(text(&FILTERS, *filter));
                out.put_option(from.map(|topic| text(&TOPICS, topic)));
                15
            }
            Piece::Removed(segment) => {
                out.put_varint((*segment).into());
                19
            }
            Piece::Work { stream, at, content } => {
                out.put_varint((stream % 3).into());
                out.push(at.is_some().into());
                if let Some(at) = at {
                    self.put_place(&mut out, *at);
                }
                out.extend_from_slice(content);
                20
            }
        };
        self.frame(kind, &out);
    }
}

fn text<'a>(texts: &[&'a str], which: u8) -> &'a str {
    texts[usize::from(which) % texts.len()]
}

fn put_message(out: &mut Vec<u8>, flags: u8, topic: &str, properties: &[u8], payload: &[u8], expires_at: u64) {
    out.push(flags);
    out.extend_from_slice(&(topic.len() as u16).to_le_bytes());
    out.extend_from_slice(&(properties.len() as u32).to_le_bytes());
    out.extend_from_slice(&expires_at.to_le_bytes());
    out.extend_from_slice(&[topic.as_bytes(), properties, payload].concat());
}

fn put_session(out: &mut Vec<u8>, session: u8, (next, revision): (u64, u64), state: u8, client: u8, has_will: bool) {
    out.put_varint(session.into());
    [100, next, next / 2, revision].iter().for_each(|number| out.put_varint(*number));
    out.push(state % 3);
    if state % 3 == 2 {
        out.put_varint(next);
    }
    out.put_option(None);
    out.put_text(text(&["one", "two", ""], client));
    out.put_option(None);
    out.put_text("listener");
    out.push(has_will.into());
    if has_will {
        [3, revision, next].iter().for_each(|number| out.put_varint(*number));
        put_message(out, 1, "a", &[], b"will", 0);
    }
}

fn write(input: &Input) -> Folder {
    let (folder, mut writer) = (Folder::default(), Writer::default());
    let keep = |name: String, bytes: &[u8]| folder.create(&name).unwrap().write_at(bytes, 0).unwrap();
    for (number, pieces) in (1..).zip(input.segments.iter().take(4)) {
        writer.begin(number);
        pieces.iter().for_each(|piece| writer.piece(piece));
        keep(format!("segment-{number:020}.log"), &writer.file);
    }
    if let Some((number, pieces)) = &input.checkpoint {
        let number = u64::from(number % 6);
        writer.begin(number);
        let mut content = Vec::new();
        content.put_varint(number);
        content.put_varint(3);
        writer.frame(CHECKPOINT, &content);
        pieces.iter().for_each(|piece| writer.piece(piece));
        content.clear();
        content.put_varint(pieces.len() as u64);
        writer.frame(CHECKPOINT_END, &content);
        keep(format!("checkpoint-{number:020}"), &writer.file);
    }
    harm(&folder, &input.damage);
    folder
}

fn harm(folder: &Folder, damage: &[Harm]) {
    let names = folder.list().unwrap();
    for one in damage.iter().take(4) {
        let which = match one {
            Harm::Flip(which, ..) | Harm::Cut(which, _) | Harm::Lose(which) => usize::from(*which),
        };
        let Some(name) = which.checked_rem(names.len()).map(|which| &names[which]) else { return };
        let mut files = folder.0.lock().unwrap();
        let Some(file) = files.get(name).cloned() else { continue };
        let mut bytes = file.0.lock().unwrap();
        match one {
            Harm::Flip(_, at, bits) => {
                if let Some(byte) = bytes.get_mut(usize::from(*at)) {
                    *byte ^= bits;
                }
            }
            Harm::Cut(_, length) => bytes.truncate((*length).into()),
            Harm::Lose(_) => drop(files.remove(name)),
        }
    }
}

static START: LazyLock<Clock> = LazyLock::new(|| Clock::new(Instant::now(), 1_700_000_000_000));

fn start(folder: &Folder, recover: Option<Recover>) -> Result<Opened<()>, StorageError> {
    let config = Durability { segment_size: ByteSize(512), level: Level::Sync, ..Durability::default() };
    let (backend, work) = (Arc::new(folder.clone()), Box::new(QueueFold::default()));
    open(backend, &config, recover, (*START, Instant::now), Arc::new(Metrics::default()), work, &mut |_, _| ())
}

/// All that a start has found, in an order.
fn state(opened: &mut Opened<()>) -> String {
    // Of the two the higher holds (FORMAT.md, Reading, 3), and a checkpoint has only that.
    opened.state.sessions.values_mut().for_each(|session| session.header.next_sequence = session.next_sequence);
    let sessions: BTreeMap<_, _> = opened.state.sessions.iter().collect();
    let retained: BTreeMap<_, _> = opened.state.retained.iter().collect();
    let mut work: Vec<(u64, Option<Place>, Vec<u8>)> = Vec::new();
    opened.state.work.show(&mut |stream, place, content| work.push((stream, place, content.to_vec())));
    work.sort();
    format!("{:?} {sessions:#?} {retained:#?} {work:?}", opened.state.next_session)
}

fuzz_target!(|input: Input| {
    let folder = write(&input);
    let before = folder.contents();
    let recover = input.recover.map(|skips| if skips { Recover::Skip } else { Recover::Truncate });
    let summary = Summary::read(&folder, Box::new(QueueFold::default()));
    assert_eq!(folder.contents(), before, "looking changes nothing");
    let mut opened = match start(&folder, recover) {
        Ok(opened) => opened,
        Err(error) => {
            assert_eq!(folder.contents(), before, "nothing was changed by {error}");
            assert!(recover.is_none() || !matches!(error, StorageError::Damaged(_)), "{recover:?} over {error}");
            return;
        }
    };
    assert!(recover.is_some() || summary.is_ok(), "what can be opened can be looked at");
    for body in opened.bodies.values() {
        let _ = load(std::slice::from_ref(body), &START);
    }
    let found = state(&mut opened);
    drop(opened);
    let mut again = start(&folder, None).unwrap_or_else(|error| panic!("the next start: {error}"));
    assert_eq!(found, state(&mut again), "the next start finds something else");
});
