//! Where a listener listens, as its `url` says it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// The address of one listener: `tcp://127.0.0.1:1883`, `tls://[::]:8883`, `ws://localhost:8083/mqtt`, `wss://0.0.0.0`,
/// `unix:///run/dunlin.sock`. The port may be left out (1883, 8883, 8083, 8084), as may the path of a WebSocket (`/mqtt`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenerUrl {
    /// Plain TCP.
    Tcp(HostPort),
    /// TLS over TCP.
    Tls(HostPort),
    /// WebSocket.
    Ws {
        at: HostPort,
        /// Begins with a slash.
        path: String,
    },
    /// WebSocket over TLS.
    Wss {
        at: HostPort,
        /// Begins with a slash.
        path: String,
    },
    /// A Unix socket; always an absolute path.
    Unix(PathBuf),
}

/// A host and a port, for `bind`. A name is looked up when the listener is opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// An address or a name; IPv6 without its brackets.
    pub host: String,
    /// 0 lets the system choose one.
    pub port: u16,
}

/// Why a text is no [`ListenerUrl`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    #[error("{0:?} has no scheme; write it like \"tcp://{0}\"")]
    NoScheme(String),
    #[error("the scheme {scheme:?} is none of tcp, tls, ws, wss, unix{}", hint(.scheme))]
    UnknownScheme { scheme: String },
    #[error("the host is missing; write 127.0.0.1 for this machine only, 0.0.0.0 or [::] for everyone")]
    NoHost,
    #[error("{0:?} is neither a name nor an address")]
    BadHost(String),
    #[error("an IPv6 address stands in brackets, like [::1]:1883")]
    NoBrackets,
    #[error("{0:?} is no port from 0 to 65535")]
    BadPort(String),
    #[error("only ws:// and wss:// have a path")]
    UnexpectedPath,
    #[error("a listener's URL has no user name")]
    UserInfo,
    #[error("a listener's URL has no ? or #")]
    Query,
    #[error("the path of a Unix socket is absolute, like unix:///run/dunlin.sock")]
    RelativeSocket,
    #[error("the path of a Unix socket has at most {MAX_SOCKET_PATH} bytes")]
    LongSocket,
}

/// What fits into `sockaddr_un` on Linux besides the closing zero.
const MAX_SOCKET_PATH: usize = 107;

const DEFAULT_PATH: &str = "/mqtt";

impl ListenerUrl {
    /// The scheme without `://`.
    pub const fn scheme(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Ws { .. } => "ws",
            Self::Wss { .. } => "wss",
            Self::Unix(_) => "unix",
        }
    }

    /// Host and port; none for a Unix socket.
    pub const fn host_port(&self) -> Option<&HostPort> {
        match self {
            Self::Tcp(at) | Self::Tls(at) | Self::Ws { at, .. } | Self::Wss { at, .. } => Some(at),
            Self::Unix(_) => None,
        }
    }

    /// Whether it needs certificates: `tls` and `wss`.
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::Wss { .. })
    }

    /// Whether it begins with an HTTP request: `ws` and `wss`.
    pub const fn is_websocket(&self) -> bool {
        matches!(self, Self::Ws { .. } | Self::Wss { .. })
    }

    /// Whether only this machine can reach it: a loopback address, `localhost`, or a Unix socket.
    pub fn is_local(&self) -> bool {
        self.host_port().is_none_or(HostPort::is_loopback)
    }
}

impl HostPort {
    /// Whether the host is `localhost` or a loopback address. Other names are not looked up and count as not.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// Reads `host:port` or `[v6]:port`; without a port it is `default_port`.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, UrlError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(|| UrlError::BadHost(text.into()))?;
                host.parse::<Ipv6Addr>().map_err(|_| UrlError::BadHost(host.into()))?;
                (host, port)
            }
            None if text.matches(':').count() > 1 => return Err(UrlError::NoBrackets),
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                check_name(host)?;
                (host, port)
            }
        };
        Ok(Self { host: host.into(), port: parse_port(port, default_port)? })
    }
}

fn check_name(host: &str) -> Result<(), UrlError> {
    let bad = || UrlError::BadHost(host.into());
    if host.is_empty() {
        return Err(UrlError::NoHost);
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err(bad());
    }
    // 127.0.0.256 and 1883 would be looked up as names.
    let is_number = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number { host.parse::<IpAddr>().map(|_| ()).map_err(|_| bad()) } else { Ok(()) }
}

/// `rest` is what follows the host: nothing, or `:` and the port.
fn parse_port(rest: &str, default_port: u16) -> Result<u16, UrlError> {
    if rest.is_empty() {
        return Ok(default_port);
    }
    let digits = rest.strip_prefix(':').ok_or_else(|| UrlError::BadPort(rest.into()))?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlError::BadPort(digits.into()));
    }
    digits.parse().map_err(|_| UrlError::BadPort(digits.into()))
}

impl FromStr for ListenerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| UrlError::NoScheme(text.into()))?;
        match scheme {
            "tcp" => without_path(rest, 1883).map(Self::Tcp),
            "tls" => without_path(rest, 8883).map(Self::Tls),
            "ws" => with_path(rest, 8083).map(|(at, path)| Self::Ws { at, path }),
            "wss" => with_path(rest, 8084).map(|(at, path)| Self::Wss { at, path }),
            "unix" if !rest.starts_with('/') => Err(UrlError::RelativeSocket),
            "unix" if rest.len() > MAX_SOCKET_PATH => Err(UrlError::LongSocket),
            "unix" => Ok(Self::Unix(rest.into())),
            _ => Err(UrlError::UnknownScheme { scheme: scheme.into() }),
        }
    }
}

fn without_path(rest: &str, default_port: u16) -> Result<HostPort, UrlError> {
    let (at, path) = split_path(rest)?;
    if !matches!(path, "" | "/") {
        return Err(UrlError::UnexpectedPath);
    }
    HostPort::parse(at, default_port)
}

fn with_path(rest: &str, default_port: u16) -> Result<(HostPort, String), UrlError> {
    let (at, path) = split_path(rest)?;
    let path = if path.is_empty() { DEFAULT_PATH } else { path };
    Ok((HostPort::parse(at, default_port)?, path.into()))
}

fn split_path(rest: &str) -> Result<(&str, &str), UrlError> {
    if rest.contains(['?', '#']) {
        return Err(UrlError::Query);
    }
    let (at, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if at.contains('@') { Err(UrlError::UserInfo) } else { Ok((at, path)) }
}

fn hint(scheme: &str) -> &'static str {
    match scheme {
        "mqtt" => "; did you mean tcp?",
        "mqtts" | "ssl" => "; did you mean tls?",
        "http" => "; did you mean ws?",
        "https" => "; did you mean wss?",
        _ => "",
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for ListenerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme())?;
        match self {
            Self::Tcp(at) | Self::Tls(at) => at.fmt(f),
            Self::Ws { at, path } | Self::Wss { at, path } => write!(f, "{at}{path}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ListenerUrl {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        for (text, full) in [
            ("tcp://127.0.0.1:1884", "tcp://127.0.0.1:1884"),
            ("tcp://127.0.0.1", "tcp://127.0.0.1:1883"),
            ("tcp://127.0.0.1:0/", "tcp://127.0.0.1:0"),
            ("tls://[::]", "tls://[::]:8883"),
            ("ws://localhost", "ws://localhost:8083/mqtt"),
            ("ws://localhost:80/", "ws://localhost:80/"),
            ("wss://broker.example.org/a/b", "wss://broker.example.org:8084/a/b"),
            ("unix:///run/dunlin.sock", "unix:///run/dunlin.sock"),
        ] {
            assert_eq!(url(text).to_string(), full);
            assert_eq!(url(full), url(text));
        }
    }

    #[test]
    fn what_only_this_machine_can_reach_is_local() {
        for text in ["tcp://127.8.0.1", "tcp://[::1]:1", "ws://LocalHost", "tcp://[::ffff:127.0.0.1]", "unix:///a"] {
            assert!(url(text).is_local(), "{text}");
        }
        for text in ["tcp://0.0.0.0", "tls://[::]", "ws://10.0.0.1", "tcp://localhost.example.org"] {
            assert!(!url(text).is_local(), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        for (text, reason) in [
            ("127.0.0.1:1883", "\"127.0.0.1:1883\" has no scheme; write it like \"tcp://127.0.0.1:1883\""),
            ("mqtt://localhost", "the scheme \"mqtt\" is none of tcp, tls, ws, wss, unix; did you mean tcp?"),
            ("quic://localhost", "the scheme \"quic\" is none of tcp, tls, ws, wss, unix"),
            ("tcp://:1883", "the host is missing; write 127.0.0.1 for this machine only, 0.0.0.0 or [::] for everyone"),
            ("tcp://", "the host is missing; write 127.0.0.1 for this machine only, 0.0.0.0 or [::] for everyone"),
            ("tcp://*:1883", "\"*\" is neither a name nor an address"),
            ("tcp://127.0.0.256:1883", "\"127.0.0.256\" is neither a name nor an address"),
            ("tcp://[::g]:1883", "\"::g\" is neither a name nor an address"),
            ("tcp://[::1", "\"[::1\" is neither a name nor an address"),
            ("tcp://::1:1883", "an IPv6 address stands in brackets, like [::1]:1883"),
            ("tcp://a:65536", "\"65536\" is no port from 0 to 65535"),
            ("tcp://a:+1", "\"+1\" is no port from 0 to 65535"),
            ("tcp://a:", "\"\" is no port from 0 to 65535"),
            ("tcp://[::1]1883", "\"1883\" is no port from 0 to 65535"),
            ("tcp://a:1/mqtt", "only ws:// and wss:// have a path"),
            ("ws://me:secret@a/mqtt", "a listener's URL has no user name"),
            ("ws://a/mqtt?b", "a listener's URL has no ? or #"),
            ("unix://run/x", "the path of a Unix socket is absolute, like unix:///run/dunlin.sock"),
        ] {
            assert_eq!(text.parse::<ListenerUrl>().unwrap_err().to_string(), reason, "{text}");
        }
        let long = format!("unix:///{}", "x".repeat(107));
        assert_eq!(long.parse::<ListenerUrl>(), Err(UrlError::LongSocket));
    }
}
