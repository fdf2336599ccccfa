use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::{Domain, Socket, TcpKeepalive, Type};
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::broker::Bucket;
use crate::transport::accept_loop::accept_until_stopped;
use crate::transport::context::UnknownVersion;
use crate::transport::reception::{Doorkeeper, Layers, Reception};
use crate::transport::tls::{TlsAcceptorSlot, TlsError};
use crate::transport::unix::{self, SocketFile};
use crate::transport::url::{HostPort, UrlError};
use crate::transport::websocket::HandshakeRules;
use crate::transport::{ListenerConfig, ListenerContext, ListenerUrl};

/// Connections that the kernel may hold for us until they are accepted; it lowers this to `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

/// Silence after which the kernel asks whether the peer is still there: the only thing that ends a connection whose client
/// has vanished, and which has asked for no keep alive.
const TCP_KEEPALIVE: Duration = Duration::from_secs(300);

/// A door of the broker: bound, and not yet open.
pub struct Listener {
    context: Arc<ListenerContext>,
    door: Door,
    layers: Layers,
}

enum Door {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Why a listener cannot be opened.
#[derive(Debug, Error)]
#[error("listener {name:?} ({url}): {cause}")]
pub struct BindError {
    pub name: String,
    pub url: String,
    pub cause: BindCause,
}

#[derive(Debug, Error)]
pub enum BindCause {
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Versions(#[from] UnknownVersion),
    #[error("{0}:// needs a certificate: add [listeners.tls]")]
    NoCertificate(&'static str),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Listener {
    /// Binds the address and reads the certificates. A host name is looked up, and the first of its addresses that can be
    /// bound is. `[::]` means IPv6 only, so that `0.0.0.0` may stand beside it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(config: &ListenerConfig) -> Result<Self, BindError> {
        Self::try_bind(config).map_err(|cause| BindError { name: config.name.clone(), url: config.url.clone(), cause })
    }

    fn try_bind(config: &ListenerConfig) -> Result<Self, BindCause> {
        let url: ListenerUrl = config.url.parse()?;
        let layers = layers(config, &url)?;
        let (door, is_loopback) = match &url {
            ListenerUrl::Tcp(at) | ListenerUrl::Tls(at) | ListenerUrl::Ws { at, .. } | ListenerUrl::Wss { at, .. } => {
                let listener = bind_tcp(at)?;
                let is_loopback = listener.local_addr()?.ip().to_canonical().is_loopback();
                (Door::Tcp(listener), is_loopback)
            }
            ListenerUrl::Unix(path) => {
                let (listener, file) = unix::bind(path)?;
                (Door::Unix(listener, file), true)
            }
        };
        let context = Arc::new(ListenerContext::new(config, &url, is_loopback)?);
        Ok(Self { context, door, layers })
    }

    /// The address that is bound, with the port that the kernel chose for port 0; none for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.door {
            Door::Tcp(listener) => listener.local_addr().ok(),
            Door::Unix(..) => None,
        }
    }

    pub fn context(&self) -> &Arc<ListenerContext> {
        &self.context
    }

    /// The certificates, to be reloaded while the listener runs; none for a door without TLS.
    pub fn tls(&self) -> Option<&Arc<TlsAcceptorSlot>> {
        self.layers.tls.as_ref()
    }

    /// Takes connections in until `stop` holds true. Then the door is closed at once, and connections that are in their
    /// handshakes are dropped; those handed on are not its business any more.
    pub async fn run(self, reception: Reception, stop: watch::Receiver<bool>) {
        let arrivals = Mutex::new(Bucket::new(Instant::now()));
        let home = Handle::current();
        let keeper = Doorkeeper { context: self.context, arrivals, layers: self.layers, reception, home, stop: stop.clone() };
        let keeper = Arc::new(keeper);
        match self.door {
            Door::Tcp(listener) => accept_until_stopped(&listener, &keeper, stop).await,
            Door::Unix(listener, _file) => accept_until_stopped(&listener, &keeper, stop).await,
        }
    }
}

fn layers(config: &ListenerConfig, url: &ListenerUrl) -> Result<Layers, BindCause> {
    let (path, protocol): (Option<&String>, &'static [u8]) = match url {
        ListenerUrl::Tcp(_) | ListenerUrl::Tls(_) | ListenerUrl::Unix(_) => (None, b"mqtt"),
        ListenerUrl::Ws { path, .. } | ListenerUrl::Wss { path, .. } => (Some(path), b"http/1.1"),
    };
    let websocket = path.map(|path| HandshakeRules { path: path.clone(), allowed_origins: config.allowed_origins.clone() });
    let tls = if url.is_tls() {
        let tls = config.tls.as_ref().ok_or(BindCause::NoCertificate(url.scheme()))?;
        Some(Arc::new(TlsAcceptorSlot::new(tls, protocol)?))
    } else {
        None
    };
    Ok(Layers { proxy_protocol: config.proxy_protocol, tls, websocket })
}

fn bind_tcp(at: &HostPort) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (at.host.as_str(), at.port).to_socket_addrs()? {
        match bind_address(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the connections of the last run to fade.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests;
