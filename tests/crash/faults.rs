//! Faults in the files of the data directory, switched on and off while the broker runs: the other end of `faults.c`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::OnceLock;

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

/// The kinds of system calls; `enum call` of faults.c.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Call {
    Write,
    Sync,
    Allocate,
    Truncate,
    /// Opening with `O_CREAT`.
    Create,
    Rename,
    Remove,
    /// Asking how much space is left.
    Space,
}

/// What happens to a call; `enum action` of faults.c.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this errno and does nothing.
    Fail(i32),
    /// A write takes so many bytes at most.
    Shorten(u64),
    /// It waits until the fault is off, and is done then.
    Hold,
    /// The process is killed before it.
    Die,
    /// The process is killed when it is done, before anyone hears of it.
    DieAfter,
    /// The process is killed when so many bytes are written.
    Tear(u64),
    /// So many bytes are said to be free.
    Pretend(u64),
    /// The power is cut before it: what was not synced is lost, in whole or in part, as the seed says. Needs [`Faults::with_power`].
    Cut(u64),
}

const CALLS: u64 = 8;
const RULE: u64 = 64;
const COUNT: u64 = 0;
const ACTION: u64 = 8;
const ARGUMENT: u64 = 16;
const FIRST: u64 = 24;
const LAST: u64 = 32;
const HITS: u64 = 40;

/// The control file, which the broker has mapped.
pub struct Faults {
    folder: PathBuf,
    path: PathBuf,
    control: File,
    /// Where files are kept whose removal is not synced; none if nobody wants to cut the power.
    aside: Option<PathBuf>,
}

impl Faults {
    /// None yet, over the files of this folder, which need not be there.
    pub fn over(folder: &Path, path: &Path) -> Self {
        let control = File::options().read(true).write(true).create_new(true).open(path).expect("the control file can be made");
        control.set_len(CALLS * RULE).expect("the control file can be sized");
        Self { folder: folder.to_owned(), path: path.to_owned(), control, aside: None }
    }

    /// Remembers what is not synced, so that the power can be cut.
    pub fn with_power(mut self) -> Self {
        let aside = self.path.with_extension("aside");
        fs::create_dir(&aside).expect("a folder can be made");
        self.aside = Some(aside);
        self
    }

    /// Loads the faults into a process that is to be started.
    pub fn apply_to(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library());
        command.env("DUNLIN_FAULTS_FOLDER", &self.folder).env("DUNLIN_FAULTS_CONTROL", &self.path);
        if let Some(aside) = &self.aside {
            command.env("DUNLIN_FAULTS_ASIDE", aside);
        }
    }

    /// Every such call from now on, until it is off.
    pub fn every(&self, call: Call, fault: Fault) {
        self.set(call, fault, 0, u64::MAX);
    }

    /// The `nth` call from now, counted from 1, and no other.
    pub fn at_nth(&self, call: Call, nth: u64, fault: Fault) {
        let number = self.count(call) + nth;
        self.set(call, fault, number, number);
    }

    pub fn off(&self, call: Call) {
        self.write(call, ACTION, 0);
    }

    /// How many such calls there were, in all processes over this folder.
    pub fn count(&self, call: Call) -> u64 {
        self.read(call, COUNT)
    }

    /// How many of them the fault has hit.
    pub fn hits(&self, call: Call) -> u64 {
        self.read(call, HITS)
    }

    fn set(&self, call: Call, fault: Fault, first: u64, last: u64) {
        let (action, argument) = match fault {
            Fault::Fail(errno) => (1, u64::try_from(errno).expect("errnos are positive")),
            Fault::Shorten(bytes) => (2, bytes),
            Fault::Hold => (3, 0),
            Fault::Die => (4, 0),
            Fault::DieAfter => (5, 0),
            Fault::Tear(bytes) => (6, bytes),
            Fault::Pretend(bytes) => (7, bytes),
            Fault::Cut(seed) => (8, seed),
        };
        self.write(call, ACTION, 0);
        self.write(call, ARGUMENT, argument);
        self.write(call, FIRST, first);
        self.write(call, LAST, last);
        self.write(call, ACTION, action);
    }

    fn write(&self, call: Call, field: u64, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), call as u64 * RULE + field).expect("the control file can be written");
    }

    fn read(&self, call: Call, field: u64) -> u64 {
        let mut value = [0; 8];
        self.control.read_exact_at(&mut value, call as u64 * RULE + field).expect("the control file can be read");
        u64::from_ne_bytes(value)
    }
}

/// faults.c and power.c, compiled once for each run of the tests.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let sources = ["faults.c", "power.c"].map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash").join(name));
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.so");
        let fresh = library.with_extension(format!("{}.so", process::id()));
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&fresh).args(sources);
        let output = compiler.output().expect("the tests need a C compiler, cc");
        assert!(output.status.success(), "faults.c: {}", String::from_utf8_lossy(&output.stderr));
        fs::rename(&fresh, &library).expect("the library can be put in its place");
        library
    })
}
