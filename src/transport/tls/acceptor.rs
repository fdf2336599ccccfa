use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::pem::{self, FileKind};
use super::server_config::{TlsError, server_config};
use crate::transport::TlsConfig;

/// What a listener needs to answer TLS clients; it can be changed while connections live.
pub struct TlsAcceptorSlot {
    /// What is spoken inside, for clients that ask (ALPN, RFC 7301).
    protocol: &'static [u8],
    configs: ArcSwap<Configs>,
    /// When the first of the certificates ends, in seconds since 1970.
    expires_at: AtomicU64,
}

/// rustls refuses a client that offers protocols none of which the config has. No client is to be refused for that, so there
/// is one config that names the protocol, for clients that offer it, and one that answers no offer.
struct Configs {
    with_protocol: Arc<ServerConfig>,
    without: Arc<ServerConfig>,
}

impl TlsAcceptorSlot {
    /// Reads the files that `config` names. `protocol` is the ALPN name: `mqtt`, or `http/1.1` for WebSocket.
    pub fn new(config: &TlsConfig, protocol: &'static [u8]) -> Result<Self, TlsError> {
        let configs = Configs::new(config, protocol)?;
        let expires_at = AtomicU64::new(first_expiry(config)?);
        Ok(Self { protocol, configs: ArcSwap::from_pointee(configs), expires_at })
    }

    /// Reads the files again, for connections to come; those that are there go on as they are. On an error all stays as it was.
    pub fn reload(&self, config: &TlsConfig) -> Result<(), TlsError> {
        let (configs, expires_at) = (Configs::new(config, self.protocol)?, first_expiry(config)?);
        self.configs.store(Arc::new(configs));
        self.expires_at.store(expires_at, Ordering::Relaxed);
        Ok(())
    }

    /// When the first of the listener's certificates ends, those of its authorities in the files included; in seconds since 1970.
    pub fn expires_at(&self) -> u64 {
        self.expires_at.load(Ordering::Relaxed)
    }

    /// The whole handshake. A refused client is sent the alert that tells why. The caller bounds the time.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let config = self.configs.load().for_client(self.protocol, &start.client_hello());
        start.into_stream(config).await
    }
}

/// When the first certificate of all chains ends, in seconds since 1970.
fn first_expiry(config: &TlsConfig) -> Result<u64, TlsError> {
    let files = [&config.certificate].into_iter().chain(config.more.iter().map(|pair| &pair.certificate));
    let mut first = u64::MAX;
    for path in files {
        for der in pem::certificates(FileKind::Certificate, path)? {
            // One that rustls takes and cannot be read here has no end that is known.
            let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&der) else { continue };
            first = first.min(u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0));
        }
    }
    Ok(first)
}

impl Configs {
    fn new(config: &TlsConfig, protocol: &'static [u8]) -> Result<Self, TlsError> {
        let without = server_config(config)?;
        let mut with_protocol = without.clone();
        with_protocol.alpn_protocols = vec![protocol.into()];
        Ok(Self { with_protocol: Arc::new(with_protocol), without: Arc::new(without) })
    }

    fn for_client(&self, protocol: &[u8], hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let offers_it = hello.alpn().is_some_and(|mut offers| offers.any(|offer| offer == protocol));
        if offers_it { self.with_protocol.clone() } else { self.without.clone() }
    }
}
