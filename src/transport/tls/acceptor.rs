use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::server_config::{TlsError, server_config};
use crate::transport::TlsConfig;

/// What a listener needs to answer TLS clients; it can be changed while connections live.
pub struct TlsAcceptorSlot {
    /// What is spoken inside, for clients that ask (ALPN, RFC 7301).
    protocol: &'static [u8],
    configs: ArcSwap<Configs>,
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
        Ok(Self { protocol, configs: ArcSwap::from_pointee(configs) })
    }

    /// Reads the files again, for connections to come; those that are there go on as they are. On an error all stays as it was.
    pub fn reload(&self, config: &TlsConfig) -> Result<(), TlsError> {
        self.configs.store(Arc::new(Configs::new(config, self.protocol)?));
        Ok(())
    }

    /// The whole handshake. A refused client is sent the alert that tells why. The caller bounds the time.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let config = self.configs.load().for_client(self.protocol, &start.client_hello());
        start.into_stream(config).await
    }
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
