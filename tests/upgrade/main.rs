//! A data directory of every format that was ever released opens, and has in it what it had.
//!
//! `tests/fixtures/format-N` is one as format N wrote it, and `format-N.txt` what is in it. Once a version that writes a format is
//! released, both stay as they are for ever. A new format gets its own, beside the older ones:
//! `DUNLIN_MAKE_FIXTURE=1 cargo test --test upgrade what_is_written_today` writes the one of `FORMAT` with `maker`, if it is not there.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

mod contents;
mod maker;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use contents::{contents, summary};
use dunlin::storage::{Clock, Durability, FileBackend, Opened, Summary, open};
use dunlin::units::ByteSize;

/// Milliseconds since the epoch at which the fixtures were made, and at which they are opened.
const WALL: u64 = 1_800_000_000_000;
/// The format that is written today.
const FORMAT: &str = "format-1";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Opens a data directory, with segments so small that many fit into a fixture.
fn opened(folder: &Path) -> Opened<()> {
    let config = Durability { segment_size: ByteSize(1024), min_free_space: ByteSize(0), ..Durability::default() };
    let clock = Clock::new(Instant::now(), WALL);
    let backend = Arc::new(FileBackend::new(folder));
    open(backend, &config, None, (clock, Instant::now), Arc::default(), &mut |_, _| ()).unwrap()
}

fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    copy
}

#[test]
fn a_data_directory_of_every_format_opens_with_all_that_was_in_it() {
    let all = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<_> = all.filter(|path| path.is_dir()).collect();
    assert!(folders.iter().any(|folder| folder.ends_with(FORMAT)), "today's format has a fixture");
    for folder in folders {
        let expected = fs::read_to_string(folder.with_extension("txt")).unwrap();
        let (told, summed) = expected.split_once("\nsummary\n").unwrap();
        let copy = copy_of(&folder);
        assert_eq!(summary(&Summary::read(&FileBackend::new(copy.path())).unwrap()).trim(), summed.trim(), "{folder:?}");
        for time in ["at first", "once more"] {
            assert_eq!(contents(&opened(copy.path())).trim(), told.trim(), "{folder:?}, opened {time}");
        }
    }
}

#[test]
fn what_is_written_today_is_what_the_newest_fixture_has() {
    let folder = tempfile::tempdir().unwrap();
    maker::make(folder.path());
    let summed = summary(&Summary::read(&FileBackend::new(folder.path())).unwrap());
    let made = format!("{}\nsummary\n{summed}", contents(&opened(folder.path())));
    let fixture = fixtures().join(FORMAT);
    if std::env::var_os("DUNLIN_MAKE_FIXTURE").is_some() && !fixture.exists() {
        fs::create_dir_all(&fixture).unwrap();
        maker::make(&fixture);
        fs::write(fixture.with_extension("txt"), &made).unwrap();
    }
    assert_eq!(made, fs::read_to_string(fixture.with_extension("txt")).unwrap());
}
