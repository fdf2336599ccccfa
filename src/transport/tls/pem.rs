use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use thiserror::Error;

/// A file of `[listeners.tls]` that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind} {}: {cause}", path.display())]
pub struct TlsFileError {
    pub kind: FileKind,
    pub path: PathBuf,
    pub cause: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Certificate,
    Key,
    ClientAuthorities,
    RevocationList,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::ClientAuthorities => "client_ca",
            Self::RevocationList => "crl",
        })
    }
}

impl TlsFileError {
    pub(super) fn new(kind: FileKind, path: &Path, cause: impl fmt::Display) -> Self {
        Self { kind, path: path.into(), cause: cause.to_string() }
    }
}

/// The certificates of a file, at least one.
pub(super) fn certificates(kind: FileKind, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    sections(kind, path, "CERTIFICATE")
}

/// The revocation lists of a file, at least one.
pub(super) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
    sections(FileKind::RevocationList, path, "X509 CRL")
}

/// The private key of a file: PKCS#8, PKCS#1 or SEC1, not encrypted.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let bytes = read(FileKind::Key, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let is_encrypted = String::from_utf8_lossy(&bytes).contains("ENCRYPTED");
        let cause = match error {
            pem::Error::NoItemsFound if is_encrypted => "the key is encrypted; store it without a passphrase".into(),
            pem::Error::NoItemsFound => "no PRIVATE KEY section".into(),
            error => error.to_string(),
        };
        TlsFileError::new(FileKind::Key, path, cause)
    })
}

fn sections<T: PemObject>(kind: FileKind, path: &Path, section: &str) -> Result<Vec<T>, TlsFileError> {
    let bytes = read(kind, path)?;
    let items: Result<Vec<T>, _> = T::pem_slice_iter(&bytes).collect();
    let items = items.map_err(|error| TlsFileError::new(kind, path, error))?;
    if items.is_empty() {
        return Err(TlsFileError::new(kind, path, format!("no {section} section")));
    }
    Ok(items)
}

fn read(kind: FileKind, path: &Path) -> Result<Vec<u8>, TlsFileError> {
    std::fs::read(path).map_err(|error| TlsFileError::new(kind, path, error))
}
