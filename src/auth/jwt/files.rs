use std::path::{Path, PathBuf};

use super::key_set::{InvalidKey, KeySet};
use crate::auth::text_file::{self, TextFileError};

/// Room for all the keys that a set may have.
const MAX_FILE: u64 = 1024 * 1024;

/// Why a file of keys cannot be used. Never holds a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error(transparent)]
    File(#[from] TextFileError),
    #[error("{}: {cause}", .path.display())]
    Key { path: PathBuf, cause: InvalidKey },
}

impl KeySet {
    /// Reads a secret, see [`secret`](Self::secret).
    pub fn load_secret(path: &Path) -> Result<Self, KeyFileError> {
        load(path, |text| Self::secret(text.as_bytes()))
    }

    /// Reads public keys, see [`pem`](Self::pem).
    pub fn load_pem(path: &Path) -> Result<Self, KeyFileError> {
        load(path, |text| Self::pem(text.as_bytes()))
    }

    /// Reads a key set, see [`jwks`](Self::jwks). Secrets in it count: the file is the operator's own.
    pub fn load_jwks(path: &Path) -> Result<Self, KeyFileError> {
        load(path, |text| Self::jwks(text.as_bytes(), false))
    }
}

fn load(path: &Path, read: impl Fn(&str) -> Result<KeySet, InvalidKey>) -> Result<KeySet, KeyFileError> {
    let text = text_file::read(path, MAX_FILE)?;
    read(&text).map_err(|cause| KeyFileError::Key { path: path.into(), cause })
}
