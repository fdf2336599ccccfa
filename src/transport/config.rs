use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::auth::config::CertificateIdentity;
use crate::auth::config::MethodName;
use crate::units::{ByteSize, Span};

/// `[[listeners]]`: one door of the broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// The name in logs, metrics and the API.
    pub name: String,
    /// `tcp://127.0.0.1:1883`, `tls://0.0.0.0:8883`, `ws://127.0.0.1:8083/mqtt`, `wss://…`, `unix:///run/dunlin.sock`.
    pub url: String,
    /// Connections at this door; 0 is no bound of its own.
    #[serde(default)]
    pub max_connections: usize,
    /// Overrides `[limits] max_packet_size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_packet_size: Option<ByteSize>,
    /// Overrides `[limits] max_keep_alive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_keep_alive: Option<Span>,
    /// The protocol versions that are let in: any of `"3.1"`, `"3.1.1"`, `"5.0"`.
    #[serde(default = "all_versions")]
    pub versions: Vec<String>,
    /// Put before every topic of this door's clients and taken away on the way back; empty for none. With `%u` (user name), `%c` (client
    /// identifier), `%{claim.NAME}` (a claim of the client's token) or `%{cert.O}` (an attribute of its certificate's subject) in it, each
    /// a level or part of one, clients are kept apart as tenants: `"tenants/%u/"`.
    #[serde(default)]
    pub mount_point: String,
    /// Expects the PROXY protocol header (version 1 or 2) in front of every connection, and refuses those without.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Overrides `[auth] methods`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<MethodName>>,
    /// Overrides `[auth] allow_anonymous`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_anonymous: Option<bool>,
    /// Overrides `[auth] password_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Overrides `[auth] acl_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl_file: Option<PathBuf>,
    /// Web pages that may connect, by their origin (`"https://example.org"`); empty lets all. WebSocket only.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Certificates; `tls://` and `wss://` need them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
}

fn all_versions() -> Vec<String> {
    ["3.1", "3.1.1", "5.0"].map(String::from).to_vec()
}

impl ListenerConfig {
    /// A door with nothing but its name and URL.
    pub fn new(name: &str, url: &str) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            max_connections: 0,
            max_packet_size: None,
            max_keep_alive: None,
            versions: all_versions(),
            mount_point: String::new(),
            proxy_protocol: false,
            methods: None,
            allow_anonymous: None,
            password_file: None,
            acl_file: None,
            allowed_origins: Vec::new(),
            tls: None,
        }
    }
}

/// `[listeners.tls]`: certificates are PEM files, read again on SIGHUP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate chain, the default one where a client names no server or an unknown one.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// More certificates, chosen by the server name that the client asks for.
    #[serde(default)]
    pub more: Vec<CertificateAndKey>,
    /// The authorities that sign client certificates; needed where clients must or may show one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Whether clients show a certificate: `"none"`, `"optional"`, `"required"`.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
    /// Revocation lists of those authorities.
    #[serde(default)]
    pub crl: Vec<PathBuf>,
    /// What of the client's certificate becomes its user name: `"none"`, `"common-name"`, `"subject"`, `"san"`.
    #[serde(default)]
    pub identity: CertificateIdentity,
    /// The oldest version: `"1.2"` or `"1.3"`.
    #[serde(default = "oldest_version")]
    pub min_version: String,
}

fn oldest_version() -> String {
    "1.2".into()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateAndKey {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificates {
    #[default]
    None,
    Optional,
    Required,
}
