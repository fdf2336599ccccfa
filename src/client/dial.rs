use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};

use super::TlsConnector;

/// A connected stream of bytes.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// By name or address; names are looked up anew for each connection.
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("cannot look up {host}: {cause}")]
    Lookup { host: String, cause: io::Error },
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
}

/// Connects, and does the TLS handshake. `bind` is the local address to go out from. Takes as long as the system lets it.
pub async fn dial(endpoint: &Endpoint, tls: Option<&TlsConnector>, bind: Option<IpAddr>) -> Result<Box<dyn Stream>, DialError> {
    let (host, stream) = match endpoint {
        Endpoint::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        Endpoint::Tcp { host, port } => (host, connect(host, *port, bind).await?),
    };
    // Fails only on a socket that is dead already, which the first read tells.
    let _ = stream.set_nodelay(true);
    match tls {
        None => Ok(Box::new(stream)),
        Some(tls) => Ok(Box::new(tls.connect(host, stream).await.map_err(DialError::Tls)?)),
    }
}

/// Tries every address of the name until one answers.
async fn connect(host: &str, port: u16, bind: Option<IpAddr>) -> Result<TcpStream, DialError> {
    let lookup = |cause| DialError::Lookup { host: host.to_owned(), cause };
    let mut last = lookup(io::Error::from(io::ErrorKind::NotFound));
    for address in lookup_host((host, port)).await.map_err(lookup)? {
        let connected = match bind {
            None => TcpStream::connect(address).await,
            Some(bind) => {
                let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                match socket.bind((bind, 0).into()) {
                    Ok(()) => socket.connect(address).await,
                    Err(error) => Err(error),
                }
            }
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}
