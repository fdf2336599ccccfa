//! The rules of the house: which room may know which, what the lower floors may not touch, how long a file may be.
//!
//! ```text
//! 5  server  config  cli     reads the config, builds the house, opens the doors
//! 4  transport  admin  loadtest  remote  client    bytes and sockets; HTTP and $SYS; clients that measure; servers that are asked; a client
//! 3  broker                  where the rooms below meet
//! 2  session  routing  queue  auth    rules without sockets and without a clock
//! 1  storage                 what survives a crash; messages that wait may lie there
//! 0  packet  metrics  units
//! ```
//!
//! The sources are read as text. Tests inside them may do what they like; comments do not count.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FLOORS: [(&str, u8); 17] = [
    ("server", 5),
    ("config", 5),
    ("cli", 5),
    ("transport", 4),
    ("admin", 4),
    ("loadtest", 4),
    ("remote", 4),
    ("client", 4),
    ("broker", 3),
    ("session", 2),
    ("routing", 2),
    ("queue", 2),
    ("auth", 2),
    ("storage", 1),
    ("packet", 0),
    ("metrics", 0),
    ("units", 0),
];

/// The one floor whose rooms know each other: together they are the program.
const TOP: u8 = 5;

/// What must not be named up to floor 2, in production code.
const FORBIDDEN_BELOW: [&str; 9] =
    ["tokio", "std::net", "std::fs", "fs::", "thread::spawn", "Instant::now", "SystemTime::now", ".elapsed()", "std::process"];

/// Files of floors 1 and 2 that read or write files, because that is what they are for.
const LOADERS: [&str; 3] = ["src/auth/text_file.rs", "src/auth/password_update.rs", "src/storage/backend.rs"];

/// The disk itself, which may be asked how long it takes.
const DISK: &str = "src/storage/backend.rs";

/// Lines of a file without its tests.
const MAX_LINES: usize = 600;

const TOP_LEVEL: [&str; 10] =
    ["Cargo.toml", "Cargo.lock", "src", "config", "certs", "tests", "benches", "README.md", "CHANGELOG.md", "LICENSE-APACHE"];

#[test]
fn every_room_has_its_floor() {
    let known: BTreeSet<_> = FLOORS.iter().map(|(room, _)| (*room).to_owned()).collect();
    let there: BTreeSet<_> = sources().into_iter().filter_map(|source| source.room).collect();
    assert_eq!(there, known, "the rooms in src/ and those in FLOORS are the same");
}

#[test]
fn a_room_imports_from_lower_floors_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(room) = &source.room else { continue };
        for (line, text) in source.production_lines() {
            for other in rooms_named(&text) {
                if !may_know(room, &other) {
                    wrong.push(format!("{}:{line}: {room} knows {other}", source.name));
                }
            }
        }
    }
    assert_none("imports against the floors", &wrong);
}

#[test]
fn nothing_leaves_its_room_by_super() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (line, text) in source.production_lines() {
            if longest_super_chain(&text) >= source.depth() {
                wrong.push(format!("{}:{line}: {}", source.name, text.trim()));
            }
        }
    }
    assert_none("paths out of the room by super::", &wrong);
}

#[test]
fn lower_floors_have_no_sockets_no_clock_and_no_runtime() {
    let mut wrong = Vec::new();
    for source in sources() {
        if source.room.as_deref().and_then(floor).is_none_or(|floor| floor > 2) {
            continue;
        }
        let is_loader = LOADERS.contains(&source.name.as_str());
        for (line, text) in source.production_lines() {
            for word in FORBIDDEN_BELOW {
                let is_allowed = is_loader && ["std::fs", "fs::"].contains(&word)
                    || source.name == DISK && ["Instant::now", ".elapsed()"].contains(&word);
                if names(&text, word) && !is_allowed {
                    wrong.push(format!("{}:{line}: {word}", source.name));
                }
            }
        }
    }
    assert_none("things that floors 0 to 2 do without", &wrong);
}

#[test]
fn no_file_is_longer_than_can_be_read() {
    let long: Vec<_> = sources()
        .iter()
        .map(|source| (source.production_lines().len(), &source.name))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, name)| format!("{name}: {lines} lines, {MAX_LINES} are allowed"))
        .collect();
    assert_none("files too long", &long);
}

#[test]
fn nothing_is_left_to_be_done_in_the_sources() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for path in rust_files(&root().join(folder)) {
            for (index, line) in read(&path).lines().enumerate() {
                if marks.iter().any(|mark| line.contains(mark)) {
                    wrong.push(format!("{}:{}: {}", path.display(), index + 1, line.trim()));
                }
            }
        }
    }
    assert_none("marks of unfinished work", &wrong);
}

#[test]
fn the_top_level_holds_what_it_may_hold() {
    // target and data are what building and running leave behind; the repository ignores them.
    let may_be_there =
        |name: &str| TOP_LEVEL.contains(&name) || name.starts_with('.') || ["LICENSE-MIT", "target", "data"].contains(&name);
    let wrong: Vec<_> = fs::read_dir(root())
        .expect("the repository can be read")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !may_be_there(name))
        .collect();
    assert_none("strangers at the top level", &wrong);
}

#[test]
fn the_reader_of_this_file_sees_code_and_not_tests_or_comments() {
    let text = "use crate::packet::QoS; // crate::broker\n//! crate::cli\n#[cfg(test)]\nmod tests;\nfn f() {}\n\
        #[cfg(test)]\nmod more {\n    use crate::server;\n}\nfn g() {}\n#[cfg(test)]\nuse crate::auth;\n\
        #[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;\n";
    let source = Source { name: "src/session/a.rs".into(), room: Some("session".into()), text: text.into() };
    let lines: Vec<_> = source.production_lines();
    let code: Vec<_> = lines.iter().map(|(line, text)| (*line, text.trim())).collect();
    assert_eq!(code, [(1, "use crate::packet::QoS;"), (2, ""), (5, "fn f() {}"), (10, "fn g() {}")]);
    assert_eq!(test_modules(text), [TestModule::Named("tests"), TestModule::At("a_tests.rs")]);
    assert_eq!(rooms_named("use crate::{packet::QoS, units::{self, A}}; my_crate::no"), ["packet", "units"]);
    assert_eq!(rooms_named("fn a(b: crate::auth::X, c: $crate::metrics::Y)"), ["auth", "metrics"]);
    assert!(names("use tokio::net;", "tokio") && !names("use my_tokio::net;", "tokio"));
    assert_eq!(longest_super_chain("super::a, super::super::b"), 2);
    assert!(!may_know("packet", "session") && !may_know("session", "auth") && !may_know("broker", "config"));
    assert!(may_know("broker", "session") && may_know("cli", "server"));
}

struct Source {
    /// From the repository's root: `src/session/timers.rs`.
    name: String,
    /// `None` for lib.rs and main.rs, which stand above all floors.
    room: Option<String>,
    text: String,
}

impl Source {
    /// Number and text of each line that is compiled into the program, comments cut off.
    fn production_lines(&self) -> Vec<(usize, String)> {
        let mut lines = self.text.lines().enumerate();
        let mut kept = Vec::new();
        while let Some((index, line)) = lines.next() {
            if line.trim() != "#[cfg(test)]" {
                kept.push((index + 1, without_comment(line).to_owned()));
                continue;
            }
            // The item that follows: one line, or up to the brace at its own indentation, where rustfmt puts it.
            let indent = line.len() - line.trim_start().len();
            let Some((_, item)) = lines.find(|(_, line)| !is_attribute(line)) else { break };
            if item.trim_end().ends_with('{') {
                let end = format!("{}}}", " ".repeat(indent));
                let _ = lines.find(|(_, line)| *line == end);
            }
        }
        kept
    }

    /// How many modules deep its code lies: 1 for src/units.rs and src/session/mod.rs, 2 for src/session/timers.rs.
    fn depth(&self) -> usize {
        let path = self.name.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').count()
    }
}

/// The sources of the program, files of tests left out.
fn sources() -> Vec<Source> {
    let files = rust_files(&root().join("src"));
    let tests: Vec<_> = files.iter().flat_map(|path| test_paths(path)).collect();
    let production = files.iter().filter(|path| !tests.iter().any(|test| path.starts_with(test)));
    let sources: Vec<_> = production
        .map(|path| {
            let name = path.strip_prefix(root()).expect("it lies in the repository").display().to_string();
            let room = name.split('/').nth(1).map(|room| room.trim_end_matches(".rs").to_owned());
            let room = room.filter(|room| room != "lib" && room != "main");
            Source { name, room, text: read(path) }
        })
        .collect();
    assert!(sources.len() > 100, "the sources are found: {}", sources.len());
    sources
}

/// Files and folders of the test modules that a file declares.
fn test_paths(path: &Path) -> Vec<PathBuf> {
    let is_folder = path.file_stem().is_some_and(|stem| stem == "mod" || stem == "lib");
    let folder = if is_folder { path.with_file_name("") } else { path.with_extension("") };
    let text = read(path);
    let place = |module: TestModule<'_>| match module {
        TestModule::Named(name) => vec![folder.join(name), folder.join(format!("{name}.rs"))],
        TestModule::At(file) => vec![path.with_file_name(file)],
    };
    test_modules(&text).into_iter().flat_map(place).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum TestModule<'a> {
    Named(&'a str),
    At(&'a str),
}

/// The modules in `#[cfg(test)] mod name;`, each on lines of their own, perhaps with `#[path = ".."]`.
fn test_modules(text: &str) -> Vec<TestModule<'_>> {
    let mut modules = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while lines.any(|line| line == "#[cfg(test)]") {
        let mut file = None;
        for line in lines.by_ref() {
            file = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")).or(file);
            if !is_attribute(line) {
                let name = line.strip_suffix(';').and_then(|item| Some(item.rsplit_once("mod ")?.1));
                modules.extend(name.map(|name| file.map_or(TestModule::Named(name), TestModule::At)));
                break;
            }
        }
    }
    modules
}

fn is_attribute(line: &str) -> bool {
    line.trim_start().starts_with("#[")
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split_once(" // ").map_or(line, |(code, _)| code)
}

/// The rooms behind each `crate::` of a line, also in `use crate::{a::B, c}`.
fn rooms_named(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        if line[..at].ends_with(is_word) {
            continue;
        }
        let path = &line[at + "crate::".len()..];
        match path.strip_prefix('{') {
            Some(list) => rooms.extend(first_words(list)),
            None => rooms.extend(word(path)),
        }
    }
    rooms
}

/// The first word of each part of a `{..}` list, nested lists passed over.
fn first_words(list: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut depth = 0;
    let mut is_start = true;
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            _ if is_start && is_word(letter) => {
                words.extend(word(&list[at..]));
                is_start = false;
            }
            _ => {}
        }
    }
    words
}

fn word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|letter| is_word(*letter)).collect();
    (!word.is_empty()).then_some(word)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Whether a line has these words, not as the end of a longer one.
fn names(line: &str, words: &str) -> bool {
    line.match_indices(words).any(|(at, _)| words.starts_with('.') || !line[..at].ends_with(is_word))
}

fn longest_super_chain(line: &str) -> usize {
    let chain = |at: usize| line[at..].split("super::").skip(1).take_while(|rest| rest.is_empty()).count() + 1;
    line.match_indices("super::").map(|(at, _)| chain(at)).max().unwrap_or(0)
}

fn may_know(room: &str, other: &str) -> bool {
    let (Some(here), Some(there)) = (floor(room), floor(other)) else { return false };
    room == other || here > there || here == TOP && there == TOP
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder; folders that are not there have none, and what a build left there is not ours.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn assert_none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}
