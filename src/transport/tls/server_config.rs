use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use thiserror::Error;

use super::pem::{self, FileKind, TlsFileError};
use super::server_names::ServerNames;
use crate::transport::TlsConfig;
use crate::transport::config::ClientCertificates;

static SINCE_TLS12: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static SINCE_TLS13: [&SupportedProtocolVersion; 1] = [&TLS13];

/// Why `[listeners.tls]` cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error(transparent)]
    File(#[from] TlsFileError),
    #[error("client_certificates is not \"none\", so client_ca must name the authorities that sign them")]
    NoClientAuthorities,
    #[error("min_version {0:?} is neither \"1.2\" nor \"1.3\"")]
    MinVersion(String),
    #[error("client_ca and crl: {0}")]
    ClientVerifier(#[from] VerifierBuilderError),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// Reads the files and builds what a listener needs of them.
///
/// Tickets are signed with a key of this config alone: after a reload every client shows its certificate again, so that a
/// revoked one cannot come back by resumption.
pub fn server_config(config: &TlsConfig) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let versions = versions(&config.min_version)?;
    let default = certified_key(&config.certificate, &config.key, &provider)?;
    let more = config.more.iter().map(|pair| certified_key(&pair.certificate, &pair.key, &provider));
    let more: Vec<_> = more.collect::<Result<_, _>>()?;
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(client_verifier(config, provider)?)
        .with_cert_resolver(Arc::new(ServerNames::new(default, more)));
    server.ticketer = ring::Ticketer::new()?;
    // One is enough for the one connection that a client keeps; each costs a record, with the client's certificate in it.
    server.send_tls13_tickets = 1;
    Ok(server)
}

fn versions(min_version: &str) -> Result<&'static [&'static SupportedProtocolVersion], TlsError> {
    match min_version {
        "1.2" => Ok(&SINCE_TLS12),
        "1.3" => Ok(&SINCE_TLS13),
        other => Err(TlsError::MinVersion(other.into())),
    }
}

fn certified_key(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsFileError> {
    let chain = pem::certificates(FileKind::Certificate, certificate)?;
    let secret = pem::private_key(key)?;
    let pair = CertifiedKey::from_der(chain, secret, provider);
    pair.map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsFileError::new(FileKind::Key, key, format!("does not belong to certificate {}", certificate.display()))
        }
        rustls::Error::InvalidCertificate(error) => TlsFileError::new(FileKind::Certificate, certificate, error),
        error => TlsFileError::new(FileKind::Key, key, error),
    })
}

fn client_verifier(config: &TlsConfig, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    if config.client_certificates == ClientCertificates::None {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let path = config.client_ca.as_deref().ok_or(TlsError::NoClientAuthorities)?;
    let mut roots = RootCertStore::empty();
    for authority in pem::certificates(FileKind::ClientAuthorities, path)? {
        roots.add(authority).map_err(|error| TlsFileError::new(FileKind::ClientAuthorities, path, error))?;
    }
    let mut lists = Vec::new();
    for path in &config.crl {
        lists.extend(pem::revocation_lists(path)?);
    }
    // With lists given, a certificate whose authority has none is refused: a forgotten list must not let revoked ones in.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).with_crls(lists);
    Ok(match config.client_certificates {
        ClientCertificates::Optional => verifier.allow_unauthenticated().build()?,
        ClientCertificates::Required | ClientCertificates::None => verifier.build()?,
    })
}
