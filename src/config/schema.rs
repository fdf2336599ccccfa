//! Which keys there are and what fits them, found out from the structs themselves.
//!
//! The model is a config in which every key has a value; a test holds it equal to the structs. Whether a value fits a key is
//! tried: put into the model in the place of the key's own value, it deserializes or it does not.

use serde::Deserialize;
use toml::{Table, Value};

use super::Config;
use crate::admin::AdminTlsConfig;
use crate::auth::jwt::Algorithm;
use crate::auth::{HttpConfig, JwtConfig, MethodName, RequiredClaim};
use crate::client::bridge::{BridgeConfig, BridgeTls, BridgeTopic, Direction};
use crate::queue::{self, QueueName};
use crate::storage::{Level, TopicLevel};
use crate::transport::ListenerConfig;
use crate::transport::config::{CertificateAndKey, TlsConfig};
use crate::units::{ByteSize, Span};

/// The model's value of every key that is a path: so it is known which are.
const PATH: &str = "/path";

/// The names of a key and of the tables around it. A table in an array is named by the array alone: `["listeners", "url"]`.
pub(super) type Names<'a> = [&'a str];

pub(super) struct Schema {
    model: Table,
}

/// What stands under a key of the model.
pub(super) enum Shape<'a> {
    /// A section.
    Table(&'a Table),
    /// Tables in an array, as in `[[listeners]]`; the table is the model of each.
    Tables(&'a Table),
    /// A value.
    Leaf(&'a Value),
}

impl Schema {
    pub(super) fn new() -> Self {
        let model = Value::try_from(every_key()).expect("a config is TOML");
        Self { model: model.as_table().expect("a struct is a table").clone() }
    }

    pub(super) const fn root(&self) -> &Table {
        &self.model
    }

    /// What the key at `names` is; none if there is no such key.
    pub(super) fn shape(&self, names: &Names<'_>) -> Option<Shape<'_>> {
        let (last, tables) = names.split_last()?;
        let mut table = &self.model;
        for name in tables {
            table = match shape_of(table.get(*name)?) {
                Shape::Table(inner) | Shape::Tables(inner) => inner,
                Shape::Leaf(_) => return None,
            };
        }
        let value = table.get(*last)?;
        // A table or a list.
        Some(if names == ["queues", "backoff"] { Shape::Leaf(value) } else { shape_of(value) })
    }

    /// Whether `value` fits the key; if not, why.
    pub(super) fn check(&self, names: &Names<'_>, value: Value) -> Result<(), String> {
        self.try_with(names, |table, last| {
            table.insert(last.into(), value);
        })
    }

    /// Whether its table is nothing without the key.
    pub(super) fn is_required(&self, names: &Names<'_>) -> bool {
        self.try_with(names, |table, last| {
            table.remove(last);
        })
        .is_err()
    }

    /// What is told of a key that is not in its table: with the one that was most likely meant.
    pub(super) fn unknown(&self, key: &str, table: &Table, is_top: bool) -> String {
        let near = nearest(key, table.keys().map(String::as_str)).map(|name| format!("\"{name}\""));
        let known = self.elsewhere(key).or(near);
        let meant = known.map(|name| format!("; did you mean {name}?"));
        let what = if is_top { "unknown key or section" } else { "unknown key" };
        format!("{what}{}", meant.unwrap_or_default())
    }

    /// The key in any table that is called `name`.
    fn elsewhere(&self, name: &str) -> Option<String> {
        self.model.iter().find_map(|(section, value)| match shape_of(value) {
            Shape::Table(table) if table.contains_key(name) => Some(format!("{section}.{name}")),
            _ => None,
        })
    }

    fn try_with(&self, names: &Names<'_>, change: impl FnOnce(&mut Table, &str)) -> Result<(), String> {
        let Some((last, tables)) = names.split_last() else { return Ok(()) };
        let mut model = self.model.clone();
        let mut table = &mut model;
        for name in tables {
            table = match table.get_mut(*name) {
                Some(Value::Table(inner)) => inner,
                Some(Value::Array(items)) => match items.first_mut() {
                    Some(Value::Table(inner)) => inner,
                    _ => return Ok(()),
                },
                _ => return Ok(()),
            };
        }
        change(table, last);
        match Config::deserialize(Value::Table(model)) {
            Ok(_) => Ok(()),
            Err(error) => Err(for_people(error.message())),
        }
    }
}

fn shape_of(value: &Value) -> Shape<'_> {
    match value {
        Value::Table(table) => Shape::Table(table),
        Value::Array(items) => match items.first() {
            Some(Value::Table(table)) => Shape::Tables(table),
            _ => Shape::Leaf(value),
        },
        _ => Shape::Leaf(value),
    }
}

/// Whether the model's value is the mark of a path.
pub(super) fn is_path(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.first().is_some_and(is_path),
        _ => value.as_str() == Some(PATH),
    }
}

/// The name that was most likely meant, if any is near.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase().replace('-', "_");
    names
        .map(|name| (strsim::jaro_winkler(&wrong, name), name))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// serde's words in those of the documentation.
fn for_people(message: &str) -> String {
    let message = message.trim_end();
    if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: ")).and_then(split_expected)
    {
        return format!("found {}, expected {}", found_name(found), type_name(expected));
    }
    if let Some((found, expected)) = message.strip_prefix("unknown variant ").and_then(split_expected) {
        let known = expected.trim_start_matches("one of ").replace('`', "\"");
        let near = nearest(found.trim_matches('`'), known.split('"').skip(1).step_by(2))
            .map(|name| format!("; did you mean \"{name}\"?"))
            .unwrap_or_default();
        return format!("found {}, expected {known}{near}", found.replace('`', "\""));
    }
    message.into()
}

fn split_expected(message: &str) -> Option<(&str, &str)> {
    message.rsplit_once(", expected ")
}

fn found_name(found: &str) -> String {
    for (theirs, ours) in
        [("string ", "the text "), ("integer ", "the number "), ("floating point ", "the number "), ("boolean ", "")]
    {
        if let Some(value) = found.strip_prefix(theirs) {
            return format!("{ours}{}", value.replace('`', ""));
        }
    }
    match found {
        "sequence" => "an array".into(),
        "map" => "a table".into(),
        other => other.into(),
    }
}

fn type_name(expected: &str) -> &str {
    match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 on",
        "a boolean" => "true or false",
        "path string" => "a path in quotes",
        "a string" => "a text in quotes",
        "a sequence" => "an array, like [\"…\", \"…\"]",
        other => other,
    }
}

/// A config in which every key has a value, also those that are not set by default.
fn every_key() -> Config {
    let mut config = Config { data_dir: PATH.into(), ..Config::default() };
    config.auth.allow_anonymous = Some(true);
    config.auth.password_file = Some(PATH.into());
    config.auth.acl_file = Some(PATH.into());
    config.admin.api.key_file = Some(PATH.into());
    config.admin.tls = Some(AdminTlsConfig { certificate: PATH.into(), key: PATH.into() });
    config.auth.methods = Some(vec![MethodName::Certificate]);
    config.auth.jwt = Some(JwtConfig {
        secret_file: Some(PATH.into()),
        public_keys: vec![PATH.into()],
        jwks_file: Some(PATH.into()),
        jwks_url: Some("http://localhost/".into()),
        ca_file: Some(PATH.into()),
        algorithms: vec![Algorithm::HS256],
        claims: vec![RequiredClaim { name: "model".into(), value: "%c".into() }],
        ..JwtConfig::default()
    });
    config.auth.http = Some(HttpConfig {
        authenticate_url: Some("http://localhost/".into()),
        authorize_url: Some("http://localhost/".into()),
        bearer_file: Some(PATH.into()),
        ca_file: Some(PATH.into()),
        ..HttpConfig::default()
    });
    config.durability.topics = vec![TopicLevel { filter: "model/#".into(), level: Level::Memory }];
    let mut listener = ListenerConfig::new("model", "unix:///path");
    listener.max_packet_size = Some(ByteSize(1));
    listener.max_keep_alive = Some(Span::seconds(1));
    listener.allow_anonymous = Some(true);
    listener.methods = Some(vec![MethodName::Certificate]);
    listener.password_file = Some(PATH.into());
    listener.acl_file = Some(PATH.into());
    listener.tls = Some(every_tls_key());
    config.listeners = vec![listener];
    config.bridges = vec![every_bridge_key()];
    config.queues =
        vec![queue::Config { bind: vec!["model/#".into()], ..queue::Config::named(QueueName::new("model").expect("a name")) }];
    config
}

fn every_bridge_key() -> BridgeConfig {
    let mut bridge = BridgeConfig::new("model", "tcp://model", BridgeTopic::new("model/#", Direction::Both));
    bridge.username = Some("model".into());
    bridge.password = Some("model".into());
    bridge.password_file = Some(PATH.into());
    let path = || Some(PATH.into());
    bridge.tls = Some(BridgeTls { ca: path(), certificate: path(), key: path(), verify_name: true });
    bridge
}

fn every_tls_key() -> TlsConfig {
    TlsConfig {
        certificate: PATH.into(),
        key: PATH.into(),
        more: vec![CertificateAndKey { certificate: PATH.into(), key: PATH.into() }],
        client_ca: Some(PATH.into()),
        client_certificates: Default::default(),
        crl: vec![PATH.into()],
        identity: Default::default(),
        min_version: "1.2".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What serde says of a table that has one key too many: all that it knows.
    fn keys_of_struct(schema: &Schema, names: &[&str]) -> Vec<String> {
        let message = schema.check(names, Value::Boolean(true)).unwrap_err();
        let (_, known) = message.split_once(", expected ").unwrap();
        let mut keys: Vec<String> = known.split('`').skip(1).step_by(2).map(String::from).collect();
        keys.sort();
        keys
    }

    fn compare(schema: &Schema, table: &Table, names: &mut Vec<String>) -> usize {
        let mut bogus: Vec<&str> = names.iter().map(String::as_str).collect();
        bogus.push("no such key");
        let keys: Vec<String> = table.keys().cloned().collect();
        assert_eq!(keys, keys_of_struct(schema, &bogus), "keys of {names:?}");
        let mut tables = 1;
        for (name, value) in table {
            if let Shape::Table(inner) | Shape::Tables(inner) = shape_of(value) {
                names.push(name.clone());
                tables += compare(schema, inner, names);
                names.pop();
            }
        }
        tables
    }

    #[test]
    fn the_model_has_every_key_of_every_struct() {
        let schema = Schema::new();
        assert!(compare(&schema, schema.root(), &mut Vec::new()) > 8);
    }

    #[test]
    fn keys_that_are_paths_are_known_as_such() {
        let schema = Schema::new();
        let path = |names: &[&str]| matches!(schema.shape(names), Some(Shape::Leaf(value)) if is_path(value));
        for names in
            [&["data_dir"][..], &["auth", "acl_file"], &["listeners", "tls", "crl"], &["listeners", "tls", "more", "key"]]
        {
            assert!(path(names), "{names:?}");
        }
        for names in [&["listeners", "url"][..], &["listeners", "versions"], &["log", "level"], &["nothing"]] {
            assert!(!path(names), "{names:?}");
        }
    }

    #[test]
    fn only_what_has_no_default_is_required() {
        let schema = Schema::new();
        for names in [&["listeners", "name"][..], &["listeners", "url"], &["listeners", "tls", "certificate"]] {
            assert!(schema.is_required(names), "{names:?}");
        }
        for names in [&["listeners"][..], &["listeners", "tls"], &["listeners", "versions"], &["limits", "max_inflight"]] {
            assert!(!schema.is_required(names), "{names:?}");
        }
    }
}
