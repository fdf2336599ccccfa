use std::collections::HashSet;
use std::path::PathBuf;

use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::pem::{self, FileKind, TlsFileError};
use crate::broker::Revocations;

/// The certificates that lists name as revoked: for connections whose handshake was before they were.
///
/// Which list may speak for which authority is decided at the handshake; here a list of an authority that nobody trusts can at most
/// name certificates of its own.
#[derive(Debug, Default)]
pub struct Revoked {
    certificates: HashSet<Name>,
}

/// What a list calls a certificate by, in DER.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Name {
    issuer: Box<[u8]>,
    serial: Box<[u8]>,
}

impl Revoked {
    /// Reads the lists of PEM files.
    pub fn load(files: &[PathBuf]) -> Result<Self, TlsFileError> {
        let mut revoked = Self::default();
        for path in files {
            for list in pem::revocation_lists(path)? {
                let (_, list) = CertificateRevocationList::from_der(&list)
                    .map_err(|error| TlsFileError::new(FileKind::RevocationList, path, error))?;
                let issuer = list.issuer().as_raw();
                let serials = list.iter_revoked_certificates().map(|one| one.raw_serial());
                revoked.certificates.extend(serials.map(|serial| Name { issuer: issuer.into(), serial: serial.into() }));
            }
        }
        Ok(revoked)
    }
}

impl Revocations for Revoked {
    fn contains(&self, certificate: &[u8]) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
        let name = Name { issuer: certificate.issuer().as_raw().into(), serial: certificate.raw_serial().into() };
        self.certificates.contains(&name)
    }
}
