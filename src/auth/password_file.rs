use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};

use super::password_hash::{InvalidHash, PasswordHash};
use super::scram;
use super::text_file::{self, TextFileError};

/// Room for more than a million users.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// User names and hashed passwords: lines of `NAME:HASH`, as `dunlin passwd` and `mosquitto_passwd` write them. Empty lines and
/// lines that start with `#` are skipped.
#[derive(Debug, Default)]
pub struct PasswordFile {
    /// Where in `hashes` a user's is.
    users: HashMap<Box<str>, usize>,
    hashes: Vec<PasswordHash>,
    /// Which of `hashes` are SCRAM keys.
    scram: Vec<usize>,
    /// Chooses, per process, whose hash stands in for that of an unknown user.
    stand_ins: RandomState,
}

/// Why a password file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFileError {
    #[error(transparent)]
    File(#[from] TextFileError),
    #[error("{}:{line}: {cause}", .path.display())]
    Line { path: PathBuf, line: usize, cause: InvalidPasswordLine },
}

/// What is wrong with a line. Never holds a hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPasswordLine {
    #[error("expected NAME:HASH, there is no colon")]
    NoColon,
    #[error(transparent)]
    UserName(#[from] InvalidUserName),
    #[error("the user {0:?} is there twice")]
    Duplicate(String),
    #[error("user {name:?}: {cause}")]
    Hash { name: String, cause: InvalidHash },
}

/// Why a string cannot be a user name in a password file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUserName {
    #[error("the user name is empty")]
    Empty,
    #[error("the user name is longer than 65535 bytes")]
    TooLong,
    #[error("a user name must not contain a colon")]
    Colon,
    #[error("a user name must not contain control characters")]
    Control,
    #[error("a user name must not start with #, which starts a comment")]
    Comment,
}

/// Checks that a password file can hold this user name.
pub fn check_user_name(name: &str) -> Result<(), InvalidUserName> {
    match name {
        "" => Err(InvalidUserName::Empty),
        _ if name.len() > 65_535 => Err(InvalidUserName::TooLong),
        _ if name.contains(':') => Err(InvalidUserName::Colon),
        _ if name.contains(char::is_control) => Err(InvalidUserName::Control),
        _ if name.starts_with('#') => Err(InvalidUserName::Comment),
        _ => Ok(()),
    }
}

impl PasswordFile {
    /// Reads a file of up to 256 MiB. All or nothing: the first line that is wrong is the error.
    pub fn load(path: &Path) -> Result<Self, PasswordFileError> {
        let text = read_text(path)?;
        Self::parse(&text).map_err(|(line, cause)| PasswordFileError::Line { path: path.into(), line, cause })
    }

    /// Reads the text of a file; the error has the number of its line, from 1.
    pub fn parse(text: &str) -> Result<Self, (usize, InvalidPasswordLine)> {
        let mut file = Self::default();
        for (index, line) in text.lines().enumerate() {
            file.add_line(line).map_err(|cause| (index + 1, cause))?;
        }
        Ok(file)
    }

    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    pub fn contains(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Whether this is the user's password. For an unknown user the password is checked against another user's hash and the answer
    /// thrown away: the same unknown name always costs the same, and the costs are spread as those of the real names are.
    pub fn verify(&self, user: &str, password: &[u8]) -> bool {
        self.hash_to_check(user).is_some_and(|(hash, is_known)| hash.verify(password) & is_known)
    }

    /// The hash that a password of this user is checked against, and whether it is the user's own. `None`: nobody is known, so there is
    /// nothing to hide.
    fn hash_to_check(&self, user: &str) -> Option<(&PasswordHash, bool)> {
        match self.users.get(user) {
            Some(&index) => Some((&self.hashes[index], true)),
            None => Some((&self.hashes[self.stand_in(user).checked_rem(self.hashes.len())?], false)),
        }
    }

    /// The SCRAM keys of a user; `None` if the user is unknown or has another kind of hash.
    pub(super) fn scram_keys(&self, user: &str) -> Option<&scram::Keys> {
        self.users.get(user).and_then(|&index| scram_keys(&self.hashes[index]))
    }

    /// The SCRAM keys that an unknown user's iterations and salt length are copied from.
    pub(super) fn scram_stand_in(&self, user: &str) -> Option<&scram::Keys> {
        let chosen = self.stand_in(user).checked_rem(self.scram.len())?;
        scram_keys(&self.hashes[self.scram[chosen]])
    }

    fn stand_in(&self, user: &str) -> usize {
        self.stand_ins.hash_one(user) as usize
    }

    fn add_line(&mut self, line: &str) -> Result<(), InvalidPasswordLine> {
        let Some((name, hash)) = split_line(line)? else { return Ok(()) };
        check_user_name(name)?;
        let hash = PasswordHash::parse(hash).map_err(|cause| InvalidPasswordLine::Hash { name: name.into(), cause })?;
        match self.users.entry(name.into()) {
            Entry::Occupied(_) => Err(InvalidPasswordLine::Duplicate(name.into())),
            Entry::Vacant(entry) => {
                let index = *entry.insert(self.hashes.len());
                self.scram.extend(scram_keys(&hash).map(|_| index));
                self.hashes.push(hash);
                Ok(())
            }
        }
    }
}

/// The text of a password file, within its bound.
pub(super) fn read_text(path: &Path) -> Result<String, TextFileError> {
    text_file::read(path, MAX_FILE)
}

/// Name and hash of a line; `None` if it holds neither.
pub(super) fn split_line(line: &str) -> Result<Option<(&str, &str)>, InvalidPasswordLine> {
    let line = line.trim_end();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    line.split_once(':').map(Some).ok_or(InvalidPasswordLine::NoColon)
}

fn scram_keys(hash: &PasswordHash) -> Option<&scram::Keys> {
    match hash {
        PasswordHash::ScramSha256(keys) => Some(keys),
        PasswordHash::Sha512 { .. } | PasswordHash::Pbkdf2Sha512 { .. } | PasswordHash::Argon2id { .. } => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `mosquitto_passwd` 2.0.11 left it; alice's password is `secret`, bob's `pass word`. Carol has SCRAM keys for `pencil`.
    pub(in crate::auth) const FILE: &str = "\
# people
alice:$7$101$rSzWFBWixXixnDRf$LOevje1+R8kSxaYQH6D2JJrPEwqav9sYK6JBNCwBZuxX5NUctyGM7XbGrOQxgMKIz6CgwXFtDCTvs0Gv/mfFkg==
bob:$6$gUpiFdfz/4ViHb2f$NGd3dJJ+10Y/lnpHI+dOSNwzLazUTdteNf5o3po6qFbwCzh/wCoLv6P2EQjImEKocqsoI7MLSyIIMxNKJQ3yew==

carol:$scram-sha-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=
";

    fn refusal(text: &str) -> (usize, String) {
        let (line, cause) = PasswordFile::parse(text).unwrap_err();
        (line, cause.to_string())
    }

    #[test]
    fn each_user_has_their_own_password() {
        let file = PasswordFile::parse(FILE).unwrap();
        assert_eq!(file.len(), 3);
        assert!(file.verify("alice", b"secret"));
        assert!(file.verify("bob", b"pass word"));
        assert!(file.verify("carol", b"pencil"));
        assert!(!file.verify("alice", b"pass word"));
        assert!(!file.verify("Alice", b"secret"));
    }

    #[test]
    fn an_unknown_user_is_refused_with_any_password() {
        let file = PasswordFile::parse(FILE).unwrap();
        for name in ["mallory", "eve", "trent", "alice ", ""] {
            for password in ["secret", "pass word", "pencil"] {
                assert!(!file.verify(name, password.as_bytes()), "{name} {password}");
            }
        }
        assert!(!PasswordFile::default().verify("alice", b"secret"));
    }

    /// Time is not asserted: what takes it is the same.
    #[test]
    fn an_unknown_user_costs_what_a_known_one_costs() {
        let file = PasswordFile::parse(FILE).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..200 {
            let name = format!("unknown{number}");
            let (hash, is_known) = file.hash_to_check(&name).unwrap();
            assert!(!is_known);
            assert!(std::ptr::eq(hash, file.hash_to_check(&name).unwrap().0), "each time the same");
            seen.insert(file.hashes.iter().position(|known| std::ptr::eq(known, hash)).unwrap());
        }
        assert_eq!(seen.len(), 3, "unknown users cost what one or the other known one costs");
        assert!(file.hash_to_check("alice").unwrap().1);
    }

    #[test]
    fn lines_may_end_as_on_windows_and_the_last_one_not_at_all() {
        let file = PasswordFile::parse(FILE.replace('\n', "\r\n").trim_end()).unwrap();
        assert!(file.verify("carol", b"pencil"));
    }

    #[test]
    fn a_line_that_is_wrong_is_told_with_its_number_and_without_its_hash() {
        assert_eq!(refusal("\n# x\nalice"), (3, "expected NAME:HASH, there is no colon".into()));
        assert_eq!(refusal(":$6$x$y").1, "the user name is empty");
        let (line, cause) = refusal(&format!("{FILE}alice:$6$gUpiFdfz$"));
        assert!(line == 6 && cause.starts_with("user \"alice\": the salt, the hash"), "{cause}");
        let (line, cause) = refusal("alice:secret");
        assert!(line == 1 && cause.contains("not hashed") && !cause.contains("secret"), "{cause}");
        assert_eq!(refusal(&format!("{FILE}{FILE}")), (7, "the user \"alice\" is there twice".into()));
    }

    #[test]
    fn an_error_of_a_file_names_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "alice:$7$1000000000000$x$y").unwrap();
        let error = PasswordFile::load(file.path()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{}:1: user \"alice\": the number of iterations", file.path().display())),
            "{error}"
        );
    }

    #[test]
    fn user_names_that_would_break_the_file_are_refused() {
        for (name, error) in [
            ("", InvalidUserName::Empty),
            ("a:b", InvalidUserName::Colon),
            ("a\nb", InvalidUserName::Control),
            ("a\0", InvalidUserName::Control),
            ("#a", InvalidUserName::Comment),
        ] {
            assert_eq!(check_user_name(name), Err(error), "{name:?}");
        }
        assert_eq!(check_user_name(&"x".repeat(65_536)), Err(InvalidUserName::TooLong));
        assert_eq!(check_user_name("CN=dev 1,O=é"), Ok(()));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([a#]?:?\\$?[67$a-z=,]{0,30}[\n\r:]?){0,6}|\\PC{0,60}") {
            let _ = PasswordFile::parse(&text);
        }
    }
}
