//! What types cannot say: numbers that make no sense, names that clash, files that are not there.

mod bridges;
mod limits;
mod listeners;
mod login;

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use super::{Config, schema};
use crate::admin::AdminConfig;
use crate::auth::{AuthConfig, MethodName};
use crate::packet::TopicFilter;
use crate::storage::Durability;
use crate::transport::ListenerConfig;
use crate::transport::url::HostPort;

/// Something that works, but hardly as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key with its tables, as in [`super::ConfigError`].
    pub key: String,
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// An error whose place is not known here.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) key: String,
    pub(super) message: String,
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { key: key.into(), message: message.into() });
    }

    fn check(&mut self, is_right: bool, key: impl Into<String>, message: impl Into<String>) {
        if !is_right {
            self.add(key, message);
        }
    }

    /// A file that is named must be there, and be readable by this process.
    fn file(&mut self, key: impl Into<String>, path: &Path) {
        if let Err(error) = readable(path) {
            self.add(key, format!("cannot read {}: {error}", path.display()));
        }
    }
}

/// Everything that is wrong.
pub(super) fn errors(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::default();
    server(config, &mut findings);
    log_level(&config.log.level, &mut findings);
    listeners::check(&config.listeners, &config.auth, &mut findings);
    bridges::check(&config.bridges, &mut findings);
    auth(config, &mut findings);
    durability(&config.durability, &mut findings);
    queues(config, &mut findings);
    limits::check(&config.limits, &mut findings);
    limits::check_rates(&config.rates, &mut findings);
    limits::check_protection(&config.protection, &mut findings);
    limits::check_overload(&config.overload, &mut findings);
    admin(&config.admin, &mut findings);
    node(&config.sys.node, &mut findings);
    findings.0
}

/// Everything that is odd.
pub(super) fn warnings(config: &Config) -> Vec<Warning> {
    let listeners = config.listeners.iter().enumerate();
    let mut warnings: Vec<_> =
        listeners.filter_map(|(index, listener)| listeners::warn(index, listener, &config.auth)).collect();
    warnings.append(&mut login::warnings(&config.auth));
    warnings
}

fn readable(path: &Path) -> io::Result<()> {
    if File::open(path)?.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(()) }
}

fn server(config: &Config, findings: &mut Findings) {
    findings.check(!config.data_dir.as_os_str().is_empty(), "data_dir", "must not be empty");
    findings.check(config.server.worker_threads <= 1024, "server.worker_threads", "must be at most 1024");
    findings.check(!config.server.shutdown_timeout.is_zero(), "server.shutdown_timeout", "must not be zero");
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A bare word would be taken for the name of a part of the program, and every line but that part's be lost.
fn log_level(level: &str, findings: &mut Findings) {
    if let Err(error) = check_log_level(level) {
        findings.add("log.level", error);
    }
}

/// Whether a text is a log level; if not, why.
pub fn check_log_level(level: &str) -> Result<(), String> {
    for part in level.split(',').map(str::trim).filter(|part| !part.contains(['=', '['])) {
        if !LEVELS.contains(&part.to_ascii_lowercase().as_str()) {
            let near = schema::nearest(part, LEVELS.into_iter()).map(|name| format!("; did you mean \"{name}\"?"));
            let known = "off, error, warn, info, debug, trace, or part=level";
            return Err(format!("{part:?} is none of {known}{}", near.unwrap_or_default()));
        }
    }
    tracing_subscriber::EnvFilter::builder().parse(level).map(drop).map_err(|error| error.to_string())
}

fn durability(durability: &Durability, findings: &mut Findings) {
    for (index, topic) in durability.topics.iter().enumerate() {
        let filter = TopicFilter::new(&topic.filter);
        let is_plain = filter.as_ref().is_ok_and(|filter| filter.shared().is_none());
        let message = format!("{:?} is no topic filter", topic.filter);
        findings.check(is_plain, format!("durability.topics[{index}].filter"), message);
    }
    let size = durability.segment_size.0;
    let message = "must be between 64KiB and 1GiB";
    findings.check((64 << 10..=1 << 30).contains(&size), "durability.segment_size", message);
    findings.check(durability.max_unwritten.0 > 0, "durability.max_unwritten", "must not be 0");
}

fn queues(config: &Config, findings: &mut Findings) {
    let mut names = HashSet::new();
    for (index, queue) in config.queues.iter().enumerate() {
        for finding in queue.check() {
            findings.add(format!("queues[{index}].{}", finding.key), finding.message);
        }
        let is_new = queue.name.as_ref().is_none_or(|name| names.insert(name));
        findings.check(is_new, format!("queues[{index}].name"), "another queue has this name");
    }
    let max = config.work_queues.max_queues;
    findings.check(config.queues.len() <= max, "work_queues.max_queues", "must not be less than there are [[queues]]");
}

fn auth(config: &Config, findings: &mut Findings) {
    let auth = &config.auth;
    findings.check(auth.max_password_checks > 0, "auth.max_password_checks", "must not be 0: nobody could log in");
    findings.check(auth.max_password_checks <= 1024, "auth.max_password_checks", "must be at most 1024: each is a thread");
    if let Some(named) = &auth.methods {
        let of_listener = |listener: &ListenerConfig| listener.methods.is_some() || listener.password_file.is_some();
        let has_passwords = auth.password_file.is_some() || config.listeners.iter().all(of_listener);
        methods("auth.methods", named, has_passwords, auth, findings);
        let message = "methods says it already: \"anonymous\" in the list lets them in";
        findings.check(auth.allow_anonymous.is_none(), "auth.allow_anonymous", message);
    }
    if let Some(jwt) = &auth.jwt {
        login::jwt(jwt, findings);
    }
    if let Some(http) = &auth.http {
        login::http(http, findings);
    }
    for (key, file) in [("auth.password_file", &auth.password_file), ("auth.acl_file", &auth.acl_file)] {
        if let Some(file) = file {
            findings.file(key, file);
        }
    }
}

/// What each method needs to work with.
fn methods(key: &str, methods: &[MethodName], has_passwords: bool, auth: &AuthConfig, findings: &mut Findings) {
    findings.check(!methods.is_empty(), key, "must name at least one method: nobody could log in");
    for (index, method) in methods.iter().enumerate() {
        let missing = match method {
            _ if methods[..index].contains(method) => Some("names a method twice"),
            MethodName::Password if !has_passwords => Some("\"password\" needs a password_file"),
            MethodName::Jwt if auth.jwt.is_none() => Some("\"jwt\" needs [auth.jwt]"),
            MethodName::Http if auth.http.as_ref().is_none_or(|http| http.authenticate_url.is_none()) => {
                Some("\"http\" needs [auth.http] authenticate_url")
            }
            _ => None,
        };
        if let Some(message) = missing {
            findings.add(key, message);
        }
    }
}

/// Why an API that asks for no key is only served on loopback.
pub const OPEN_API: &str = "the API has no keys, so it is served on loopback only; make some with `dunlin apikey add` and name their file \
     in [admin.api] key_file, or set [admin.api] enabled = false to serve only metrics and health there";

fn admin(admin: &AdminConfig, findings: &mut Findings) {
    for (key, bind) in [("admin.bind", &admin.bind), ("admin.metrics_bind", &admin.metrics_bind)] {
        admin_bind(key, bind, findings);
    }
    let is_open = admin.api.enabled && admin.api.key_file.is_none();
    let address = HostPort::parse(&admin.bind, 18083).ok().and_then(|at| at.host.parse::<IpAddr>().ok());
    // What a name means is found out when it is bound.
    if is_open && address.is_some_and(|address| !address.is_loopback()) {
        findings.add("admin.bind", OPEN_API);
    }
    if let Some(file) = &admin.api.key_file {
        findings.file("admin.api.key_file", file);
    }
    if let Some(tls) = &admin.tls {
        findings.file("admin.tls.certificate", &tls.certificate);
        findings.file("admin.tls.key", &tls.key);
    }
}

fn admin_bind(key: &str, bind: &str, findings: &mut Findings) {
    if bind == "none" {
        return;
    }
    if bind.contains("://") {
        return findings.add(key, "takes no scheme; write it like \"127.0.0.1:18083\", or \"none\"");
    }
    if let Err(error) = HostPort::parse(bind, 18083) {
        findings.add(key, error.to_string());
    }
}

/// The name becomes one level of a topic `[MQTT-4.7.1-1]`.
fn node(node: &str, findings: &mut Findings) {
    let is_level = !node.is_empty() && !node.contains(['/', '+', '#', '\0']);
    findings.check(is_level, "sys.node", "must not be empty, nor contain / + # or a zero character");
}
