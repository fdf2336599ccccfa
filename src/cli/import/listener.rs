//! One `listener` of mosquitto, or its default one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::document::Table;
use super::files::Files;
use super::report::{Report, Verdict};
use super::security::{Anonymous, Security};
use super::source::Line;

#[derive(Debug, Default)]
pub(super) struct Listener {
    /// Where it comes from.
    pub(super) comment: String,
    /// What is said of it.
    pub(super) lines: Vec<Line>,
    pub(super) port: Option<u16>,
    pub(super) host: Option<String>,
    pub(super) unix: Option<PathBuf>,
    pub(super) security: Security,
    protocol: Protocol,
    /// Whether it was bound to a network interface by its name.
    interface: Option<String>,
    is_ipv6: bool,
    max_connections: u64,
    mount_point: Option<String>,
    proxy_protocol: bool,
    origins: Vec<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    authorities: Vec<PathBuf>,
    requires_certificate: bool,
    takes_common_name: bool,
    takes_subject: bool,
    crl: Option<PathBuf>,
    min_version: Option<&'static str>,
    psk: bool,
    /// The options for which mosquitto opens its default listener.
    opening: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Protocol {
    #[default]
    Mqtt,
    WebSocket,
    HttpApi,
}

/// What a listener is written with.
pub(super) struct Surroundings<'a> {
    /// The path that WebSocket clients are expected at.
    pub(super) websocket_path: &'a str,
    /// Whether a listener without address is for this machine only.
    pub(super) is_local: bool,
    /// With `per_listener_settings`: what holds for anonymous clients where nothing is said of them.
    pub(super) own_security: Option<Anonymous>,
}

/// The options of this room.
pub(super) fn is_of_listener(key: &str) -> bool {
    const KEYS: &[&str] = &[
        "bind_interface",
        "cafile",
        "capath",
        "certfile",
        "ciphers",
        "ciphers_tls1.3",
        "crlfile",
        "dhparamfile",
        "accept_protocol_versions",
        "disable_client_cert_date_checks",
        "enable_proxy_protocol",
        "http_dir",
        "keyfile",
        "max_connections",
        "max_qos",
        "maximum_qos",
        "mount_point",
        "protocol",
        "proxy_protocol_v2_require_tls",
        "psk_hint",
        "require_certificate",
        "socket_domain",
        "tls_engine",
        "tls_engine_kpass_sha1",
        "tls_keyform",
        "tls_version",
        "use_identity_as_username",
        "use_subject_as_username",
        "use_username_as_clientid",
        "websockets_origin",
    ];
    KEYS.contains(&key)
}

impl Listener {
    pub(super) fn new(comment: String) -> Self {
        Self { comment, ..Self::default() }
    }

    /// Takes a line for which [`is_of_listener`] holds.
    pub(super) fn take(&mut self, line: &Line, locate: impl Fn(&str) -> PathBuf) -> Result<Verdict, String> {
        let verdict = match self.take_tls(line, locate)? {
            Some(verdict) => verdict,
            None => self.take_other(line)?,
        };
        // The last line of an option is the one that holds.
        if opens_default(line) {
            self.opening.insert(line.key.clone());
        } else {
            self.opening.remove(&line.key);
        }
        self.lines.push(line.clone());
        Ok(verdict)
    }

    fn take_other(&mut self, line: &Line) -> Result<Verdict, String> {
        Ok(match line.key.as_str() {
            "protocol" => return self.take_protocol(line),
            "max_connections" => {
                self.max_connections = u64::try_from(line.number()?).unwrap_or(0);
                Verdict::taken("listeners.max_connections")
            }
            "mount_point" => {
                self.mount_point = Some(line.text()?.into());
                Verdict::taken("listeners.mount_point")
            }
            "bind_interface" => {
                self.interface = Some(line.text()?.into());
                Verdict::dropped(
                    "a listener is bound to an address, not to an interface; where no address is given it is put on 127.0.0.1: write \
                     the interface's own address into url",
                )
            }
            "socket_domain" => {
                self.is_ipv6 = line.word() == "ipv6";
                Verdict::taken("listeners.url")
            }
            "enable_proxy_protocol" => {
                self.proxy_protocol = true;
                Verdict::differs("listeners.proxy_protocol", "versions 1 and 2 are both taken")
            }
            "websockets_origin" => {
                self.origins.push(line.text()?.into());
                Verdict::taken("listeners.allowed_origins")
            }
            "accept_protocol_versions" => Verdict::dropped("set listeners.versions, as in versions = [\"3.1.1\", \"5.0\"]"),
            "max_qos" | "maximum_qos" if line.number()? >= 2 => Verdict::needless("QoS 2 is the highest there is"),
            "max_qos" | "maximum_qos" => Verdict::dropped("all listeners serve all three QoS"),
            "use_username_as_clientid" if !line.flag()? => Verdict::needless("user name and client identifier are two things"),
            "use_username_as_clientid" => Verdict::dropped(
                "the client identifier stays the one in CONNECT. Nobody can take over another user's session: sessions belong to \
                 their users",
            ),
            "http_dir" => Verdict::dropped("no files are served over HTTP; a web server can do that"),
            _ => Verdict::dropped("the PROXY protocol header is taken with and without TLS in it"),
        })
    }

    fn take_protocol(&mut self, line: &Line) -> Result<Verdict, String> {
        self.protocol = match line.word() {
            "mqtt" => Protocol::Mqtt,
            "websockets" => Protocol::WebSocket,
            "http_api" => Protocol::HttpApi,
            other => return Err(format!("{other:?} is none of mqtt, websockets, http_api")),
        };
        Ok(match self.protocol {
            Protocol::Mqtt => Verdict::taken("listeners.url"),
            Protocol::WebSocket => {
                Verdict::differs("listeners.url", "clients must use the path that stands there; mosquitto takes any")
            }
            Protocol::HttpApi => {
                Verdict::dropped("the listener is left out; the admin port has an HTTP interface, see [admin]")
            }
        })
    }

    fn take_tls(&mut self, line: &Line, locate: impl Fn(&str) -> PathBuf) -> Result<Option<Verdict>, String> {
        Ok(Some(match line.key.as_str() {
            "certfile" => {
                self.certificate = Some(locate(line.text()?));
                Verdict::taken("listeners.tls.certificate; the file stays where it is")
            }
            "keyfile" => {
                self.key = Some(locate(line.text()?));
                Verdict::taken("listeners.tls.key; the file stays where it is")
            }
            "cafile" | "capath" => {
                self.authorities.push(locate(line.text()?));
                let how = "where clients show certificates. mosquitto also sends intermediate certificates from here: they \
                           belong into the certificate's file, behind the server's own (Let's Encrypt: fullchain.pem)";
                Verdict::differs("listeners.tls.client_ca", how)
            }
            "require_certificate" => {
                self.requires_certificate = line.flag()?;
                Verdict::taken("listeners.tls.client_certificates")
            }
            "use_identity_as_username" => {
                self.takes_common_name = line.flag()?;
                Verdict::taken("listeners.tls.identity")
            }
            "use_subject_as_username" => {
                self.takes_subject = line.flag()?;
                Verdict::taken("listeners.tls.identity, unless use_identity_as_username is true")
            }
            "crlfile" => {
                self.crl = Some(locate(line.text()?));
                Verdict::taken("listeners.tls.crl, where clients show certificates")
            }
            "tls_version" => return self.take_version(line).map(Some),
            "ciphers" | "ciphers_tls1.3" => {
                Verdict::dropped("the cipher suites are those that are held safe for TLS 1.2 and 1.3")
            }
            "dhparamfile" => Verdict::needless("key exchange is over elliptic curves"),
            "tls_keyform" if line.word() == "pem" => Verdict::needless("keys are PEM files"),
            "tls_engine" | "tls_engine_kpass_sha1" | "tls_keyform" => {
                Verdict::dropped("keys are PEM files; there are no TLS engines")
            }
            "disable_client_cert_date_checks" => Verdict::dropped("certificates that have run out are refused"),
            "psk_hint" => {
                self.psk = true;
                Verdict::dropped("there is no TLS with pre-shared keys here; the listener is left out")
            }
            _ => return Ok(None),
        }))
    }

    fn take_version(&mut self, line: &Line) -> Result<Verdict, String> {
        let key = "listeners.tls.min_version";
        let (version, verdict) = match line.word() {
            "tlsv1.3" => ("1.3", Verdict::taken(key)),
            "tlsv1.2" => ("1.2", Verdict::taken(key)),
            "tlsv1.1" | "tlsv1" => ("1.2", Verdict::differs(key, "TLS 1.2 is the oldest here")),
            other => return Err(format!("{other:?} is none of tlsv1.3, tlsv1.2, tlsv1.1")),
        };
        self.min_version = Some(version);
        Ok(verdict)
    }

    /// Whether mosquitto would open it beside others: the default listener once something is said of it that counts.
    pub(super) fn is_meant(&self) -> bool {
        self.port.is_some() || self.host.is_some() || !self.opening.is_empty() || self.security.opens_default()
    }

    /// Why it cannot be had here.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        if self.protocol == Protocol::HttpApi {
            return Some("is mosquitto's HTTP interface");
        }
        // Without its keys, or its certificates, it would be an open door.
        if self.psk {
            return Some("has TLS with pre-shared keys");
        }
        (self.unix.is_some() && self.is_tls()).then_some("has TLS on a Unix socket")
    }

    fn is_tls(&self) -> bool {
        self.certificate.is_some() || self.key.is_some()
    }

    /// What of a certificate is the user name. Of both, mosquitto takes the common name.
    const fn identity(&self) -> Option<&'static str> {
        match (self.takes_common_name, self.takes_subject) {
            (true, _) => Some("common-name"),
            (false, true) => Some("subject"),
            (false, false) => None,
        }
    }

    /// Its name without what makes it unlike others: `tls-8883`.
    pub(super) fn name(&self) -> String {
        match &self.unix {
            Some(_) => "unix".into(),
            None => format!("{}-{}", self.scheme(), self.port_or_default()),
        }
    }

    fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(1883)
    }

    fn scheme(&self) -> &'static str {
        match (self.protocol == Protocol::WebSocket, self.is_tls()) {
            (false, false) => "tcp",
            (false, true) => "tls",
            (true, false) => "ws",
            (true, true) => "wss",
        }
    }

    fn url(&self, around: &Surroundings<'_>) -> String {
        if let Some(path) = &self.unix {
            return format!("unix://{}", path.display());
        }
        let path = if self.protocol == Protocol::WebSocket { around.websocket_path } else { "" };
        let host = match self.address() {
            Some(host) if host.contains(':') => format!("[{host}]"),
            Some(host) => host.into(),
            None if around.is_local || self.interface.is_some() => "127.0.0.1".into(),
            None if self.is_ipv6 => "[::]".into(),
            None => "0.0.0.0".into(),
        };
        format!("{}://{host}:{}{path}", self.scheme(), self.port_or_default())
    }

    /// The address that is said. One that is all of the machine's says nothing beside an interface.
    fn address(&self) -> Option<&str> {
        let is_all = |host: &str| host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        self.host.as_deref().filter(|host| self.interface.is_none() || !is_all(host))
    }

    /// The tables of the result, under this name.
    pub(super) fn write(&self, name: &str, around: &Surroundings<'_>, files: &mut Files, report: &mut Report) -> Vec<Table> {
        let mut table = Table::new("[[listeners]]");
        table.set("name", name, self.comment.clone());
        table.set("url", self.url(around), "");
        if self.max_connections > 0 {
            table.set("max_connections", i64::try_from(self.max_connections).unwrap_or(i64::MAX), "");
        }
        if let Some(mount_point) = &self.mount_point {
            // There a % is a letter like others, here it begins a place to fill in.
            table.set("mount_point", mount_point.replace('%', "%%"), "");
        }
        if self.proxy_protocol {
            table.set("proxy_protocol", true, "");
        }
        if self.protocol == Protocol::WebSocket && !self.origins.is_empty() {
            table.set("allowed_origins", self.origins.clone(), "");
        }
        match around.own_security {
            Some(unless_said) => self.security.write(&mut table, unless_said, files, report),
            None => self.security.write_anonymous(&mut table),
        }
        let tls = self.is_tls().then(|| self.tls(name, files, report));
        std::iter::once(table).chain(tls).collect()
    }

    fn tls(&self, name: &str, files: &mut Files, report: &mut Report) -> Table {
        let mut table = Table::new("[listeners.tls]");
        for (key, file) in [("certificate", &self.certificate), ("key", &self.key)] {
            match file {
                Some(file) => table.set(key, file.display().to_string(), ""),
                None => report.note(format!("listener {name}: there is no {key} for its TLS")),
            }
        }
        if let Some(version) = self.min_version {
            table.set("min_version", version, "");
        }
        if self.requires_certificate || self.identity().is_some() {
            self.client_certificates(name, &mut table, files, report);
        }
        table
    }

    fn client_certificates(&self, name: &str, table: &mut Table, files: &mut Files, report: &mut Report) {
        match self.authorities.as_slice() {
            [] => report.note(format!("listener {name}: client certificates are asked for, and there is no cafile")),
            [file] if !file.is_dir() => table.set("client_ca", file.display().to_string(), ""),
            sources => table.set("client_ca", files.authorities(sources, report), shown(sources)),
        }
        let comment = if self.requires_certificate {
            ""
        } else {
            report.note(format!(
                "listener {name}: the certificate's name is the user name, so that certificates are required; mosquitto does not ask \
                 for them there, and lets nobody in"
            ));
            "The user name comes from it."
        };
        table.set("client_certificates", "required", comment);
        if let Some(identity) = self.identity() {
            table.set("identity", identity, "");
        }
        if let Some(crl) = &self.crl {
            table.set("crl", vec![crl.display().to_string()], "");
        }
    }

    /// What the written listener does not say and somebody may miss.
    pub(super) fn note(&self, name: &str, around: &Surroundings<'_>, report: &mut Report) {
        if self.unix.is_some() {
            return;
        }
        if self.host.is_none() && !around.is_local && self.interface.is_none() && !self.is_ipv6 {
            let url = self.url(around).replace("0.0.0.0", "[::]");
            report.note(format!(
                "listener {name}: on IPv4 only, where mosquitto takes IPv6 too; one more with url = \"{url}\" adds that"
            ));
        }
        if self.protocol == Protocol::WebSocket {
            let path = around.websocket_path;
            report.note(format!(
                "listener {name}: WebSocket clients must use the path {path} (--websocket-path); mosquitto takes any"
            ));
        }
    }
}

/// Whether mosquitto opens its default listener for this line: where it says something else than the default, and that counts.
fn opens_default(line: &Line) -> bool {
    match line.key.as_str() {
        "max_connections" => line.number().is_ok_and(|number| number >= 0),
        "max_qos" | "maximum_qos" => line.number().is_ok_and(|number| number < 2),
        "protocol" => line.word() != "mqtt",
        "tls_keyform" => line.word() == "engine",
        "require_certificate" | "use_identity_as_username" | "use_subject_as_username" | "use_username_as_clientid" => {
            line.flag() == Ok(true)
        }
        "accept_protocol_versions"
        | "disable_client_cert_date_checks"
        | "enable_proxy_protocol"
        | "http_dir"
        | "proxy_protocol_v2_require_tls"
        | "tls_version"
        | "websockets_origin" => false,
        _ => true,
    }
}

fn shown(sources: &[impl AsRef<Path>]) -> String {
    sources.iter().map(|source| source.as_ref().display().to_string()).collect::<Vec<_>>().join(", ")
}
