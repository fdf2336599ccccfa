use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::packet::ProtocolVersion;
use crate::transport::config::{CertificateIdentity, ListenerConfig};
use crate::transport::limits::{ListenerCount, Permit};
use crate::transport::stats::TransportStats;
use crate::transport::{ListenerUrl, Wire};
use crate::units::{ByteSize, Span};

/// A connection whose handshakes are done; its first MQTT byte is still to be read.
pub struct Accepted {
    pub wire: Box<dyn Wire>,
    pub peer: PeerInfo,
    /// Held as long as the connection is; to be admitted when the CONNECT is there.
    pub permit: Permit,
    /// When the CONNECT is due; it runs from accept.
    pub deadline: Instant,
}

/// Who is at the other end, as far as the transport knows.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// The client's address, behind a proxy the one that the PROXY protocol tells. None on a Unix socket.
    pub address: Option<SocketAddr>,
    pub listener: Arc<ListenerContext>,
    /// The client's own certificate, verified, in DER.
    pub certificate: Option<Box<[u8]>>,
    /// `tcp`, `tls`, `ws`, `wss` or `unix`.
    pub transport: &'static str,
}

/// What the connections of one listener have in common.
#[derive(Debug)]
pub struct ListenerContext {
    /// The name in logs, metrics and the API.
    pub name: String,
    /// `tcp`, `tls`, `ws`, `wss` or `unix`.
    pub transport: &'static str,
    /// The protocol versions that are let in.
    pub versions: VersionSet,
    /// Put before every topic of this listener's clients; empty for none.
    pub mount_point: String,
    /// In place of `[limits] max_packet_size`.
    pub max_packet_size: Option<ByteSize>,
    /// In place of `[limits] max_keep_alive`.
    pub max_keep_alive: Option<Span>,
    /// In place of `[auth] allow_anonymous`.
    pub allow_anonymous: Option<bool>,
    /// What of the client's certificate becomes its user name.
    pub identity: CertificateIdentity,
    /// Whether its clients are on this machine: bound to a loopback address or a Unix socket, and no proxy in front, which
    /// may forward the whole world.
    pub is_loopback: bool,
    pub count: Arc<ListenerCount>,
    /// Connections that are taken in a second; 0 is no bound.
    pub connection_rate: u64,
    pub stats: TransportStats,
}

impl ListenerContext {
    /// Errors tell which of `versions` is none.
    pub(super) fn new(config: &ListenerConfig, url: &ListenerUrl, is_loopback: bool) -> Result<Self, UnknownVersion> {
        Ok(Self {
            name: config.name.clone(),
            transport: url.scheme(),
            versions: VersionSet::from_names(&config.versions)?,
            mount_point: config.mount_point.clone(),
            max_packet_size: config.max_packet_size,
            max_keep_alive: config.max_keep_alive,
            allow_anonymous: config.allow_anonymous,
            identity: config.tls.as_ref().map_or(CertificateIdentity::None, |tls| tls.identity),
            is_loopback: is_loopback && !config.proxy_protocol,
            count: ListenerCount::new(config.max_connections),
            connection_rate: config.connection_rate,
            stats: TransportStats::default(),
        })
    }
}

/// Some of the protocol versions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VersionSet(u8);

/// A name in `versions` that is none of `"3.1"`, `"3.1.1"`, `"5.0"`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("versions: {0:?} is none of \"3.1\", \"3.1.1\", \"5.0\"")]
pub struct UnknownVersion(pub String);

impl VersionSet {
    const ALL: [ProtocolVersion; 3] = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

    pub fn from_names<S: AsRef<str>>(names: &[S]) -> Result<Self, UnknownVersion> {
        names.iter().try_fold(Self(0), |set, name| {
            let version = Self::ALL.into_iter().find(|version| version.to_string() == name.as_ref());
            version.map(|version| Self(set.0 | Self::bit(version))).ok_or_else(|| UnknownVersion(name.as_ref().into()))
        })
    }

    pub const fn contains(self, version: ProtocolVersion) -> bool {
        self.0 & Self::bit(version) != 0
    }

    const fn bit(version: ProtocolVersion) -> u8 {
        1 << version as u8
    }
}

impl fmt::Debug for VersionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Self::ALL.into_iter().filter(|version| self.contains(*version))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_set_holds_what_was_named() {
        let set = VersionSet::from_names(&["3.1.1", "5.0"]).unwrap();
        assert_eq!(VersionSet::ALL.map(|version| set.contains(version)), [false, true, true]);
        assert_eq!(VersionSet::from_names(&["5.0", "5"]), Err(UnknownVersion("5".into())));
    }

    #[test]
    fn a_proxied_listener_is_not_loopback_wherever_it_is_bound() {
        let url = "tcp://127.0.0.1:1883";
        let mut config = ListenerConfig::new("inner", url);
        let url = url.parse().unwrap();
        assert!(ListenerContext::new(&config, &url, true).unwrap().is_loopback);
        config.proxy_protocol = true;
        assert!(!ListenerContext::new(&config, &url, true).unwrap().is_loopback);
    }
}
