use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;

use super::acl_rule::{InvalidPattern, Rule};
use super::authorizer::Principal;
use super::text_file::{self, TextFileError};
use crate::packet::InvalidTopic;

/// Room for a million lines.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// The rights that a file gives, in mosquitto's format:
///
/// ```text
/// # for clients without a user name
/// topic read news/#
///
/// user alice
/// topic readwrite alice/#
/// topic deny alice/private/#
///
/// # for all clients
/// pattern write sensor/%c/data
/// pattern readwrite home/%u/#
/// ```
///
/// - `topic [read|write|readwrite|deny] FILTER` belongs to the `user` line above it, or, above the first one, to anonymous clients
///   only. `pattern …` holds for all clients, wherever it stands. Without a word for the access it is `readwrite`; a filter with a
///   space in it needs the word.
/// - What is not granted is denied, and a `deny` that matches wins over every grant, of `topic` and of `pattern` lines, for reading and
///   for writing. (mosquitto asks `topic` lines first, so that a `pattern deny` cannot take away what a `topic` line grants.)
/// - `%c` is the client identifier and `%u` the user name, each a level of its own. To a client whose name contains `/`, `+` or `#` a
///   pattern with that name in it grants nothing; a `deny` with a `/` in the name holds for the levels that it spells.
/// - `#` and `+` at the first level do not reach topics that start with `$`, and no `%c` or `%u` there does.
/// - A comment starts with `#` at the start of its line. Blanks at the end of a line do not count.
#[derive(Debug, Default)]
pub struct AclFile {
    anonymous: Rules,
    users: HashMap<Arc<str>, Rules>,
    patterns: Rules,
}

/// The lines of one user, or all patterns, or what a token grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) deny: Vec<Rule>,
    pub(super) read: Vec<Rule>,
    pub(super) write: Vec<Rule>,
}

/// Why an ACL file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AclFileError {
    #[error(transparent)]
    File(#[from] TextFileError),
    #[error("{}:{line}: {cause}", .path.display())]
    Line { path: PathBuf, line: usize, cause: InvalidAclLine },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAclLine {
    #[error("expected `user`, `topic` or `pattern`, found {0:?}")]
    Keyword(String),
    #[error("a comment must start at the start of its line")]
    IndentedComment,
    #[error("the user name is missing")]
    NoUserName,
    #[error("the topic filter is missing")]
    NoFilter,
    #[error("expected read, write, readwrite or deny before the topic filter, found {0:?}")]
    Access(String),
    #[error("the topic filter {filter:?} is not valid: {cause}")]
    Filter { filter: String, cause: InvalidTopic },
    #[error("the pattern {pattern:?} is not valid: {cause}")]
    Pattern { pattern: String, cause: InvalidPattern },
}

enum Line<'a> {
    Nothing,
    User(&'a str),
    Topic(Access, Rule),
    Pattern(Access, Rule),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    ReadWrite,
    Deny,
}

impl AclFile {
    /// Reads a file of up to 64 MiB. All or nothing: the first line that is wrong is the error.
    pub fn load(path: &Path) -> Result<Self, AclFileError> {
        let text = text_file::read(path, MAX_FILE)?;
        Self::parse(&text).map_err(|(line, cause)| AclFileError::Line { path: path.into(), line, cause })
    }

    /// Reads the text of a file; the error has the number of its line, from 1.
    pub fn parse(text: &str) -> Result<Self, (usize, InvalidAclLine)> {
        let mut file = Self::default();
        let mut user: Option<Arc<str>> = None;
        for (index, line) in text.lines().enumerate() {
            match Line::parse(line).map_err(|cause| (index + 1, cause))? {
                Line::Nothing => {}
                Line::User(name) => user = Some(name.into()),
                Line::Topic(access, rule) => file.rules_mut(user.as_ref()).add(access, rule),
                Line::Pattern(access, rule) => file.patterns.add(access, rule),
            }
        }
        Ok(file)
    }

    /// The lines that hold for a client: those of its user, or of anonymous clients, and the patterns.
    pub(super) fn rules<'a>(&'a self, who: &Principal) -> impl Iterator<Item = &'a Rules> + Clone + use<'a> {
        let own = match &who.username {
            Some(name) => self.users.get(name),
            None => Some(&self.anonymous),
        };
        own.into_iter().chain([&self.patterns])
    }

    fn rules_mut(&mut self, user: Option<&Arc<str>>) -> &mut Rules {
        match user {
            Some(name) => self.users.entry(Arc::clone(name)).or_default(),
            None => &mut self.anonymous,
        }
    }
}

impl Rules {
    pub(super) fn add(&mut self, access: Access, rule: Rule) {
        match access {
            Access::Deny => self.deny.push(rule),
            Access::Read => self.read.push(rule),
            Access::Write => self.write.push(rule),
            Access::ReadWrite => {
                self.read.push(rule.clone());
                self.write.push(rule);
            }
        }
    }
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Result<Self, InvalidAclLine> {
        if line.starts_with('#') {
            return Ok(Line::Nothing);
        }
        let (keyword, rest) = first_word(line.trim());
        match keyword {
            "" => Ok(Line::Nothing),
            "user" if rest.is_empty() => Err(InvalidAclLine::NoUserName),
            "user" => Ok(Line::User(rest)),
            "topic" => {
                let (access, filter) = parse_access(rest)?;
                let invalid = |cause| InvalidAclLine::Filter { filter: filter.into(), cause };
                Ok(Line::Topic(access, Rule::filter(filter).map_err(invalid)?))
            }
            "pattern" => {
                let (access, pattern) = parse_access(rest)?;
                let invalid = |cause| InvalidAclLine::Pattern { pattern: pattern.into(), cause };
                Ok(Line::Pattern(access, Rule::pattern(pattern).map_err(invalid)?))
            }
            _ if keyword.starts_with('#') => Err(InvalidAclLine::IndentedComment),
            _ => Err(InvalidAclLine::Keyword(keyword.into())),
        }
    }
}

/// `[read|write|readwrite|deny] FILTER`. A line that ends after the access has lost its filter; mosquitto would grant a topic of that name.
fn parse_access(text: &str) -> Result<(Access, &str), InvalidAclLine> {
    match first_word(text) {
        ("" | "read" | "write" | "readwrite" | "deny", "") => Err(InvalidAclLine::NoFilter),
        (filter, "") => Ok((Access::ReadWrite, filter)),
        ("read", filter) => Ok((Access::Read, filter)),
        ("write", filter) => Ok((Access::Write, filter)),
        ("readwrite", filter) => Ok((Access::ReadWrite, filter)),
        ("deny", filter) => Ok((Access::Deny, filter)),
        (word, _) => Err(InvalidAclLine::Access(word.into())),
    }
}

fn first_word(text: &str) -> (&str, &str) {
    match text.split_once([' ', '\t']) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> (usize, String) {
        let (line, cause) = AclFile::parse(text).unwrap_err();
        (line, cause.to_string())
    }

    #[test]
    fn each_mistake_is_told_with_its_line_and_cause() {
        for (text, line, cause) in [
            ("topic a\n\ntopics b", 3, "expected `user`, `topic` or `pattern`, found \"topics\""),
            ("  # x", 1, "a comment must start at the start of its line"),
            ("user", 1, "the user name is missing"),
            ("user   ", 1, "the user name is missing"),
            ("topic", 1, "the topic filter is missing"),
            ("topic deny", 1, "the topic filter is missing"),
            ("pattern ", 1, "the topic filter is missing"),
            ("topic Read a", 1, "expected read, write, readwrite or deny before the topic filter, found \"Read\""),
            ("topic a b", 1, "expected read, write, readwrite or deny before the topic filter, found \"a\""),
            (
                "topic read a/#/b",
                1,
                "the topic filter \"a/#/b\" is not valid: # must be the last character and a level of its own",
            ),
            ("# x\r\npattern read a%c", 2, "the pattern \"a%c\" is not valid: %c and %u must be a level of their own"),
            ("pattern read a+", 1, "the pattern \"a+\" is not valid: + must be a level of its own"),
        ] {
            assert_eq!(refusal(text), (line, cause.into()), "{text}");
        }
    }

    #[test]
    fn an_error_of_a_file_names_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "user a\ntopic").unwrap();
        let error = AclFile::load(file.path()).unwrap_err().to_string();
        assert_eq!(error, format!("{}:2: the topic filter is missing", file.path().display()));
        assert!(matches!(AclFile::load(Path::new("/nonexistent")), Err(AclFileError::File(TextFileError::Unreadable { .. }))));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "((user|topic|pattern|#)?[ \t]?(read|write|deny)? ?[a-c+#/%cu$]{0,12}[\n\r]?){0,6}|\\PC{0,60}") {
            let _ = AclFile::parse(&text);
        }
    }
}
