//! What the command line sets.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::error::Place;
use super::layer::Layer;
use super::sections::LogFormat;

/// Values of the command line; what is not set there is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--listen`: URLs that replace the listeners of the config.
    pub listen: Vec<String>,
    /// `--data-dir`.
    pub data_dir: Option<String>,
    /// `--admin`: address and port, or `none`.
    pub admin: Option<String>,
    /// `--allow-anonymous`.
    pub allow_anonymous: bool,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
}

impl Flags {
    pub(super) fn layer(&self) -> Layer {
        let mut layer = Layer::default();
        let mut set = |names: &[&str], value: Option<Value>, flag| {
            if let Some(value) = value {
                layer.set(names, value, Place::Flag(flag));
            }
        };
        let text = |value: &Option<String>| value.clone().map(Value::String);
        set(&["data_dir"], text(&self.data_dir), "--data-dir");
        set(&["admin", "bind"], text(&self.admin), "--admin");
        set(&["auth", "allow_anonymous"], self.allow_anonymous.then_some(Value::Boolean(true)), "--allow-anonymous");
        set(&["log", "level"], text(&self.log_level), "--log-level");
        set(&["log", "format"], self.log_format.map(format_name), "--log-format");
        set(&["listeners"], (!self.listen.is_empty()).then(|| listeners(&self.listen)), "--listen");
        layer
    }
}

fn format_name(format: LogFormat) -> Value {
    Value::String(match format {
        LogFormat::Text => "text".into(),
        LogFormat::Json => "json".into(),
    })
}

/// Listeners that are named after their scheme: `tcp`, `tcp-2`, `websocket`.
fn listeners(urls: &[String]) -> Value {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let tables = urls.iter().map(|url| {
        let name = match url.split(':').next() {
            Some("ws") => "websocket",
            Some("wss") => "websocket-tls",
            Some(scheme) => scheme,
            None => "listener",
        };
        let count = counts.entry(name).or_default();
        *count += 1;
        let name = if *count == 1 { name.into() } else { format!("{name}-{count}") };
        Value::Table(Table::from_iter([("name".into(), Value::String(name)), ("url".into(), Value::String(url.clone()))]))
    });
    Value::Array(tables.collect())
}
