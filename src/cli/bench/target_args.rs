//! Where the broker is.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::loadtest::{Target, TlsFiles, Version};
use crate::units::Span;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Broker")]
pub(super) struct TargetArgs {
    /// Name or address.
    #[arg(short = 'h', long, default_value = "127.0.0.1")]
    host: String,
    /// [default: 1883; 8883 with TLS, 8083 with WebSocket, 8084 with both]
    #[arg(short, long)]
    port: Option<u16>,
    /// Of MQTT: 4 (or 3.1.1), or 5.
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5")]
    version: VersionArg,
    /// User name.
    #[arg(short, long)]
    username: Option<String>,
    /// Password.
    #[arg(short = 'P', long)]
    password: Option<String>,
    /// Connect with TLS.
    #[arg(short = 'S', long)]
    ssl: bool,
    /// Authorities to trust (PEM); implies --ssl.
    #[arg(long, value_name = "FILE", visible_alias = "cacertfile", conflicts_with = "insecure")]
    cafile: Option<PathBuf>,
    /// Trust any certificate; implies --ssl.
    #[arg(long)]
    insecure: bool,
    /// The clients' certificate (PEM).
    #[arg(long, value_name = "FILE", visible_alias = "certfile", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", visible_alias = "keyfile", requires = "cert")]
    key: Option<PathBuf>,
    /// Resume no TLS session: each connection makes a handshake of its own, with the broker's certificate.
    #[arg(long)]
    full_handshakes: bool,
    /// Connect with WebSocket.
    #[arg(long)]
    ws: bool,
    /// Path of the WebSocket.
    #[arg(long, value_name = "PATH", default_value = "/mqtt")]
    ws_path: String,
    /// Keep alive, in seconds; 0 for none.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 300)]
    keepalive: u16,
    /// How long the broker keeps a session, for 5.0; with it subscribers' sessions outlive their connections.
    #[arg(short = 'x', long, value_name = "TIME", default_value = "1h")]
    session_expiry: Span,
    /// Unacknowledged messages that each client takes at once, for 5.0: also how many a consumer of a queue has [default: as many as the
    /// broker likes]
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u16).range(1..))]
    receive_maximum: Option<u16>,
    /// Addresses of this machine to connect from, in turn. On loopback further ones are taken when one is not enough.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    ifaddr: Vec<IpAddr>,
    /// Client identifiers are this, p or s, and a number [default: one that is new in each run]
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Number of the first client.
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 0)]
    startnumber: usize,
    /// The broker's process on this machine, to tell its CPU and memory.
    #[arg(long)]
    pub(super) pid: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VersionArg {
    #[value(name = "4", alias = "3.1.1", alias = "311")]
    V4,
    #[value(name = "5", alias = "5.0")]
    V5,
}

impl TargetArgs {
    pub(super) fn target(&self) -> Result<Target, String> {
        let has_tls = self.ssl || self.insecure || self.cafile.is_some() || self.cert.is_some();
        if has_tls && self.cafile.is_none() && !self.insecure {
            return Err("TLS needs --cafile FILE, the authorities to trust, or --insecure".into());
        }
        let tls = has_tls.then(|| TlsFiles {
            authorities: self.cafile.clone(),
            identity: self.cert.clone().zip(self.key.clone()),
            resumes: !self.full_handshakes,
        });
        let port = self.port.unwrap_or(match (has_tls, self.ws) {
            (false, false) => 1883,
            (true, false) => 8883,
            (false, true) => 8083,
            (true, true) => 8084,
        });
        let expiry = self.session_expiry.0.as_secs();
        let version = match self.version {
            VersionArg::V4 => Version::V4,
            VersionArg::V5 => Version::V5,
        };
        if self.receive_maximum.is_some() && version == Version::V4 {
            return Err("--receive-maximum: 3.1.1 has none".into());
        }
        Ok(Target {
            host: self.host.clone(),
            address: resolve(&self.host, port)?,
            version,
            user: self.username.clone(),
            password: self.password.clone(),
            tls,
            websocket: self.ws.then(|| self.ws_path.clone()),
            keep_alive: self.keepalive,
            session_expiry: u32::try_from(expiry).map_err(|_| "--session-expiry is longer than MQTT can say")?,
            receive_maximum: self.receive_maximum,
            sources: self.ifaddr.clone(),
            prefix: self.prefix.clone(),
            first: self.startnumber,
        })
    }
}

/// IPv4 first, as brokers that listen on one family only mostly do.
fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    let addresses = (host, port).to_socket_addrs().map_err(|error| format!("cannot find {host}: {error}"))?;
    let addresses: Vec<_> = addresses.collect();
    let first = addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first());
    first.copied().ok_or_else(|| format!("{host} has no address"))
}
