//! The keys of the admin API: a file with one `NAME:ROLE:HASH` a line.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::password_update::{Change, rewrite};
use super::text_file::{self, TextFileError};

/// What a key may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything but live traffic.
    Viewer,
    /// Act on clients and messages: disconnect, ban, publish, delete; follow live traffic.
    Operator,
    /// Act on the broker itself: configuration, log level, backup.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or("the role is none of viewer, operator, admin")
    }
}

/// Why a file of keys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyFileError {
    #[error(transparent)]
    Text(#[from] TextFileError),
    #[error("{}:{line}: {cause}", .path.display())]
    Line { path: PathBuf, line: usize, cause: &'static str },
}

/// The keys that there are. Secrets are 256 random bits, so a plain hash keeps them: nobody can go through them.
#[derive(Debug, Default)]
pub struct ApiKeys {
    keys: HashMap<Box<str>, (Role, Hash)>,
}

type Hash = [u8; 32];

/// How a hash begins in the file.
const SHA256: &str = "sha256$";
/// Bytes of a file of keys.
const FILE_MAX: u64 = 1 << 20;
/// Bytes of a key's name.
const NAME_MAX: usize = 64;

impl ApiKeys {
    /// # Errors
    /// The file, the line and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ApiKeyFileError> {
        let text = text_file::read(path, FILE_MAX)?;
        Self::parse(&text).map_err(|(line, cause)| ApiKeyFileError::Line { path: path.into(), line, cause })
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut keys = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let wrong = |cause| (index + 1, cause);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, role, hash) = split(line).map_err(wrong)?;
            if keys.insert(name.into(), (role, hash)).is_some() {
                return Err(wrong("the name is there twice"));
            }
        }
        Ok(Self { keys })
    }

    /// What who knows this secret may do; takes the same time however much of it is right.
    pub fn verify(&self, name: &str, secret: &str) -> Option<Role> {
        let given = digest(secret);
        let (role, hash) = self.keys.get(name).copied().unwrap_or((Role::Viewer, [0; 32]));
        bool::from(hash.ct_eq(&given)).then_some(role)
    }

    /// Names and roles, by name.
    pub fn list(&self) -> Vec<(&str, Role)> {
        let mut list: Vec<_> = self.keys.iter().map(|(name, (role, _))| (&**name, *role)).collect();
        list.sort_unstable();
        list
    }
}

/// A new secret: 43 letters, digits, `-` and `_`.
pub fn new_secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// Adds a key, or takes it out where `key` is `None`; all other lines stay as they are. A file that is not there is made. It is written
/// as a password file is.
///
/// # Errors
/// `InvalidInput` for a name that cannot be, `AlreadyExists` for one that is there, `NotFound` for one to be taken out that is not.
pub fn update_api_key_file(path: &Path, name: &str, key: Option<(Role, &str)>) -> io::Result<Change> {
    check_name(name).map_err(|cause| io::Error::new(io::ErrorKind::InvalidInput, cause))?;
    let missing = if key.is_some() { io::ErrorKind::AlreadyExists } else { io::ErrorKind::NotFound };
    let edit = |text: &str| {
        let is_its = |line: &&str| line.split(':').next().is_some_and(|first| first.trim() == name);
        let is_there = text.lines().any(|line| is_its(&line));
        match key {
            Some((role, secret)) if !is_there => {
                let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
                let hash: String = digest(secret).iter().map(|byte| format!("{byte:02x}")).collect();
                Some((format!("{text}{separator}{name}:{role}:{SHA256}{hash}\n"), Change::Added))
            }
            None if is_there => Some((text.split_inclusive('\n').filter(|line| !is_its(line)).collect(), Change::Deleted)),
            _ => None,
        }
    };
    rewrite(path, edit)?.ok_or_else(|| {
        let what = if key.is_some() { "is there already" } else { "is not there" };
        io::Error::new(missing, format!("the key {name:?} {what}"))
    })
}

fn split(line: &str) -> Result<(&str, Role, Hash), &'static str> {
    let mut parts = line.split(':');
    let (Some(name), Some(role), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err("the line is not NAME:ROLE:HASH");
    };
    check_name(name)?;
    let hash = hash.strip_prefix(SHA256).and_then(read_hash).ok_or("the hash is not sha256$ and 64 hexadecimal digits")?;
    Ok((name, role.parse()?, hash))
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_right = (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_plain);
    is_right.then_some(()).ok_or("a key's name is 1 to 64 letters, digits, - and _")
}

fn read_hash(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, place) in hash.iter_mut().zip(0..) {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(hash)
}

fn digest(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_added_verified_and_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let secret = new_secret();
        assert_eq!(secret.len(), 43);
        update_api_key_file(&path, "grafana", Some((Role::Viewer, &secret))).unwrap();
        update_api_key_file(&path, "me", Some((Role::Admin, "other"))).unwrap();
        let keys = ApiKeys::load(&path).unwrap();
        assert_eq!(keys.list(), [("grafana", Role::Viewer), ("me", Role::Admin)]);
        assert_eq!(keys.verify("grafana", &secret), Some(Role::Viewer));
        assert_eq!((keys.verify("me", &secret), keys.verify("nobody", ""), keys.verify("me", "")), (None, None, None));

        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&secret));
        let again = update_api_key_file(&path, "me", Some((Role::Viewer, "x"))).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        update_api_key_file(&path, "me", None).unwrap();
        assert_eq!(ApiKeys::load(&path).unwrap().list().len(), 1);
        assert_eq!(update_api_key_file(&path, "me", None).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_wrong_line_is_told_with_its_number() {
        let hash = "0".repeat(64);
        for (text, line) in [
            ("# ok\n\nname".to_owned(), 3),
            (format!("a:viewer:sha256${hash}\na:admin:sha256${hash}"), 2),
            (format!("a b:viewer:sha256${hash}"), 1),
            (format!("a:root:sha256${hash}"), 1),
            ("a:viewer:sha256$00".to_owned(), 1),
            (format!("a:viewer:sha256${hash}:more"), 1),
            (format!("a:viewer:sha256${}", "+".repeat(64)), 1),
        ] {
            assert_eq!(ApiKeys::parse(&text).unwrap_err().0, line, "{text}");
        }
    }

    #[test]
    fn roles_are_in_their_order() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        assert_eq!("operator".parse(), Ok(Role::Operator));
    }
}
