//! One source's values, each with the place it came from.

use std::collections::BTreeMap;

use super::error::{ConfigError, Place};

/// The values of the file, of the environment, or of the command line, and what was wrong with them.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// Values that fit their keys; what did not fit stands in `errors` instead.
    pub(super) values: toml::Table,
    pub(super) places: Places,
    pub(super) errors: Vec<ConfigError>,
}

/// Where the value of each key came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(BTreeMap<String, Place>);

impl Layer {
    pub(super) fn error(&mut self, place: Place, key: &str, message: impl Into<String>) {
        self.errors.push(ConfigError { place, key: key.into(), message: message.into() });
    }

    /// Sets the key at `names`, making the tables on the way.
    pub(super) fn set(&mut self, names: &[&str], value: toml::Value, place: Place) {
        let Some((last, tables)) = names.split_last() else { return };
        let mut table = &mut self.values;
        for name in tables {
            let entry = table.entry(*name).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let Some(inner) = entry.as_table_mut() else { return };
            table = inner;
        }
        table.insert((*last).into(), value);
        self.places.note(names.join("."), place);
    }
}

impl Places {
    pub(super) fn note(&mut self, key: String, place: Place) {
        self.0.insert(key, place);
    }

    /// The place of a key; or of one in it, as a variable makes a table of one key; or of the nearest table around it.
    pub(super) fn find(&self, key: &str) -> Place {
        let mut found = self.0.get(key).or_else(|| self.inside(key));
        let mut around = key;
        while found.is_none() {
            let Some(end) = around.rfind(['.', '[']) else { return Place::Default };
            around = &around[..end];
            found = self.0.get(around);
        }
        found.cloned().unwrap_or(Place::Default)
    }

    /// The place of the first key in a table.
    fn inside(&self, table: &str) -> Option<&Place> {
        let is_inside = |key: &str| key.strip_prefix(table).is_some_and(|rest| rest.starts_with(['.', '[']));
        self.0.iter().find(|(key, _)| is_inside(key)).map(|(_, place)| place)
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Takes over what a higher layer says; an array of that layer replaces the one below, with all its parts.
    pub(super) fn overlay(&mut self, higher: Self) {
        for key in higher.0.keys() {
            self.0.retain(|lower, _| !lower.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with('[')));
        }
        self.0.extend(higher.0);
    }
}
