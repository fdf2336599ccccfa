use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::client::Endpoint;
use crate::units::{ByteSize, Span};

/// `[[bridges]]`: another broker that topics are shared with. Bridges are compared on SIGHUP: new ones begin, others end, and
/// one that is changed begins anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeConfig {
    /// The name in logs, metrics and `$SYS`, and of the session here that keeps what is to go there.
    pub name: String,
    /// Where the other broker is: `tcp://host:1883`, `tls://host:8883`, `unix:///path`. Several are tried one after the other.
    pub urls: Vec<String>,
    /// Client identifier there; no other client of that broker may have it. Empty: `NODE.NAME`, the node being that of `[sys]`.
    #[serde(default)]
    pub client_id: String,
    /// User name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// File whose first line is the password there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Version of the protocol: `"5.0"`, `"3.1.1"` or `"3.1"`.
    #[serde(default = "newest_version")]
    pub version: String,
    /// Begin a new session there with each connection: what would have come while it was down is lost, and a message that was
    /// on its way may come twice.
    #[serde(default)]
    pub clean_session: bool,
    /// Keep alive; `"0s"` for none.
    #[serde(default = "a_minute")]
    pub keep_alive: Span,
    /// How long connecting may take.
    #[serde(default = "ten_seconds")]
    pub connect_timeout: Span,
    /// Time until the next try after the first that fails; it doubles with each, and each is shortened by up to a half at
    /// random.
    #[serde(default = "a_second")]
    pub reconnect_min: Span,
    /// The longest time until the next try.
    #[serde(default = "a_minute")]
    pub reconnect_max: Span,
    /// Messages of QoS 1 and 2 that may be on their way at a time, in each direction. No more go out than the other broker says
    /// it takes; one of 3.1 or 3.1.1 cannot say, and gets 20 at most.
    #[serde(default = "a_hundred")]
    pub max_inflight: u16,
    /// Messages that wait here while the other broker is away; more are dropped, as `[limits] queue_policy` says.
    #[serde(default = "many_messages")]
    pub max_queued_messages: usize,
    /// Bytes of such messages.
    #[serde(default = "many_bytes")]
    pub max_queued_bytes: ByteSize,
    /// Keep messages of QoS 0 as well while the other broker is away.
    #[serde(default)]
    pub queue_qos0: bool,
    /// Mark what goes over by a user property (5.0), and let nothing over that bears our mark already.
    #[serde(default = "yes")]
    pub loop_protection: bool,
    /// With 3.1 and 3.1.1: tell a mosquitto that this is a bridge. It then sends nothing back, and keeps the RETAIN flag. A
    /// broker that refuses that is tried without.
    #[serde(default = "yes")]
    pub try_private: bool,
    /// What is shared.
    pub topics: Vec<BridgeTopic>,
    /// Certificates, for `tls://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BridgeTls>,
}

/// `[[bridges.topics]]`: topics that are shared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeTopic {
    /// Topic filter, without the prefixes.
    pub filter: String,
    /// `"out"`: from here to there; `"in"`: from there to here; `"both"`.
    #[serde(default)]
    pub direction: Direction,
    /// The highest QoS: 0, 1 or 2. Messages above it are lowered.
    #[serde(default = "highest_qos")]
    pub qos: u8,
    /// What stands before the topics here, and not there.
    #[serde(default)]
    pub local_prefix: String,
    /// What stands before the topics there, and not here.
    #[serde(default)]
    pub remote_prefix: String,
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    #[default]
    Out,
    In,
    Both,
}

impl Direction {
    /// As the config has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
            Self::Both => "both",
        }
    }
}

/// `[bridges.tls]`: PEM files, read for each connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeTls {
    /// The authorities that may have signed the other broker's certificate; without, those that this machine trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Our certificate, if it wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Whether the certificate must be that of the host in the URL.
    #[serde(default = "yes")]
    pub verify_name: bool,
}

fn newest_version() -> String {
    "5.0".into()
}

const fn a_second() -> Span {
    Span::seconds(1)
}

const fn ten_seconds() -> Span {
    Span::seconds(10)
}

const fn a_minute() -> Span {
    Span::seconds(60)
}

const fn a_hundred() -> u16 {
    100
}

const fn many_messages() -> usize {
    100_000
}

const fn many_bytes() -> ByteSize {
    ByteSize(256 << 20)
}

const fn highest_qos() -> u8 {
    2
}

const fn yes() -> bool {
    true
}

impl BridgeConfig {
    /// A bridge with nothing but a name, an address and a topic.
    pub fn new(name: &str, url: &str, topic: BridgeTopic) -> Self {
        Self {
            name: name.into(),
            urls: vec![url.into()],
            client_id: String::new(),
            username: None,
            password: None,
            password_file: None,
            version: newest_version(),
            clean_session: false,
            keep_alive: a_minute(),
            connect_timeout: ten_seconds(),
            reconnect_min: a_second(),
            reconnect_max: a_minute(),
            max_inflight: a_hundred(),
            max_queued_messages: many_messages(),
            max_queued_bytes: many_bytes(),
            queue_qos0: false,
            loop_protection: true,
            try_private: true,
            topics: vec![topic],
            tls: None,
        }
    }
}

impl BridgeTopic {
    /// A filter that goes this way under the same names.
    pub fn new(filter: &str, direction: Direction) -> Self {
        Self { filter: filter.into(), direction, qos: 2, local_prefix: String::new(), remote_prefix: String::new() }
    }
}

/// Where a bridge goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeUrl {
    pub endpoint: Endpoint,
    pub is_tls: bool,
}

impl FromStr for BridgeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is none of tcp://host:1883, tls://host:8883, unix:///path");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (is_tls, port) = match scheme {
            "unix" if rest.starts_with('/') => return Ok(Self { endpoint: Endpoint::Unix(rest.into()), is_tls: false }),
            "tcp" | "mqtt" => (false, 1883),
            "tls" | "mqtts" => (true, 8883),
            _ => return Err(wrong()),
        };
        let (host, given) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let port = given.map_or(Ok(port), |given| given.parse().map_err(|_| wrong()))?;
        if host.is_empty() || host.contains(['/', '@', '[', ']']) {
            return Err(wrong());
        }
        Ok(Self { endpoint: Endpoint::Tcp { host: host.into(), port }, is_tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_place_with_or_without_tls() {
        let tcp = |host: &str, port| Endpoint::Tcp { host: host.into(), port };
        for (text, endpoint, is_tls) in [
            ("tcp://a.example", tcp("a.example", 1883), false),
            ("tls://a.example", tcp("a.example", 8883), true),
            ("tcp://[::1]:1", tcp("::1", 1), false),
            ("unix:///run/b.sock", Endpoint::Unix("/run/b.sock".into()), false),
        ] {
            assert_eq!(text.parse(), Ok(BridgeUrl { endpoint, is_tls }), "{text}");
        }
        for wrong in ["a.example", "http://a", "tcp://", "tcp://a:b", "tcp://u@h", "unix://x", "tcp://a/b"] {
            assert!(wrong.parse::<BridgeUrl>().is_err(), "{wrong}");
        }
    }
}
