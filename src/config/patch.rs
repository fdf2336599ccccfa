//! A change over the admin API: a JSON merge patch (RFC 7396) of the overrides. What it says lies over the config file from then on,
//! and `null` takes that back.

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use super::changeable::by_api;
use super::error::{ConfigError, Place};
use super::schema::{Schema, Shape};

/// A patch that was looked through.
#[derive(Debug, Default)]
pub(super) struct Patch {
    /// Keys that get a value.
    pub(super) set: Vec<String>,
    /// Keys that there are not.
    pub(super) unknown: Vec<ConfigError>,
    /// Keys that cannot be changed this way, and why.
    pub(super) refused: Vec<(String, String)>,
}

impl Patch {
    /// Looks at every key; values are for the reader of config files to judge. `outranks` tells who says of a key what counts more.
    pub(super) fn read(patch: &Map<String, Json>, schema: &Schema, outranks: &dyn Fn(&str) -> Option<Place>) -> Self {
        let mut read = Self::default();
        read.table(patch, schema.root(), schema, outranks, &mut Vec::new());
        read
    }

    fn table<'a>(
        &mut self,
        patch: &Map<String, Json>,
        model: &'a Table,
        schema: &'a Schema,
        outranks: &dyn Fn(&str) -> Option<Place>,
        names: &mut Vec<&'a str>,
    ) {
        for (key, value) in patch {
            let Some((name, _)) = model.get_key_value(key) else {
                let key_path = [names.as_slice(), &[key]].concat().join(".");
                let message = schema.unknown(key, model, names.is_empty());
                self.unknown.push(ConfigError { place: Place::Default, key: key_path, message });
                continue;
            };
            names.push(name);
            match (schema.shape(names), value) {
                (Some(Shape::Table(inner)), Json::Object(patch)) => self.table(patch, inner, schema, outranks, names),
                _ => self.key(value, schema, outranks, names),
            }
            names.pop();
        }
    }

    fn key(&mut self, value: &Json, schema: &Schema, outranks: &dyn Fn(&str) -> Option<Place>, names: &[&str]) {
        let path = names.join(".");
        if let Err(why) = by_api(schema, names) {
            self.refused.push((path, why.into()));
        } else if !value.is_null() {
            if let Some(place) = outranks(&path) {
                self.refused.push((
                    path.clone(),
                    format!("{place} sets it, and counts more: change it there, and start the broker again"),
                ));
            }
            self.set.push(path);
        }
    }
}

/// Lays the patch over `values`. Tables that nothing is left in go, too: an empty `[auth.jwt]` would mean something.
///
/// # Errors
/// A value that TOML cannot say, with its key.
pub(super) fn merge(values: &mut Table, patch: &Map<String, Json>) -> Result<(), ConfigError> {
    merge_below(values, patch, &mut Vec::new())
}

fn merge_below<'a>(values: &mut Table, patch: &'a Map<String, Json>, names: &mut Vec<&'a str>) -> Result<(), ConfigError> {
    for (name, value) in patch {
        names.push(name);
        match value {
            Json::Null => drop(values.remove(name)),
            Json::Object(patch) => {
                let mut inner = match values.remove(name) {
                    Some(Value::Table(inner)) => inner,
                    _ => Table::new(),
                };
                merge_below(&mut inner, patch, names)?;
                if !inner.is_empty() {
                    values.insert(name.clone(), Value::Table(inner));
                }
            }
            other => {
                let value = of_json(other).map_err(|message| ConfigError {
                    place: Place::Default,
                    key: names.join("."),
                    message: message.into(),
                })?;
                values.insert(name.clone(), value);
            }
        }
        names.pop();
    }
    Ok(())
}

fn of_json(value: &Json) -> Result<Value, &'static str> {
    Ok(match value {
        Json::Null => return Err("null cannot stand in a list"),
        Json::Bool(value) => Value::Boolean(*value),
        Json::String(text) => Value::String(text.clone()),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Integer(whole),
            (None, Some(broken)) if number.is_f64() => Value::Float(broken),
            _ => return Err("the number is too large"),
        },
        Json::Array(items) => Value::Array(items.iter().map(of_json).collect::<Result<_, _>>()?),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| Ok((name.clone(), of_json(value)?)));
            Value::Table(fields.collect::<Result<_, &'static str>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Json) -> Map<String, Json> {
        value.as_object().unwrap().clone()
    }

    fn merged(below: &str, patch: Json) -> Table {
        let mut values: Table = toml::from_str(below).unwrap();
        merge(&mut values, &object(patch)).unwrap();
        values
    }

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    /// The cases of RFC 7396, appendix A, that a table can have; `null` never reaches the file, and empty tables do not stay.
    #[test]
    fn a_patch_is_merged_as_the_rfc_says() {
        for (below, patch, after) in [
            ("a = 'b'", json!({"a": "c"}), "a = 'c'"),
            ("a = 'b'", json!({"b": "c"}), "a = 'b'\nb = 'c'"),
            ("a = 'b'", json!({"a": null}), ""),
            ("a = 'b'\nb = 'c'", json!({"a": null}), "b = 'c'"),
            ("a = ['b']", json!({"a": "c"}), "a = 'c'"),
            ("a = 'c'", json!({"a": ["b"]}), "a = ['b']"),
            ("[a]\nb = 'c'", json!({"a": {"b": "d", "c": null}}), "[a]\nb = 'd'"),
            ("[[a]]\nb = 'c'", json!({"a": [1]}), "a = [1]"),
            ("e = 1", json!({"a": 1}), "e = 1\na = 1"),
            ("a = 'foo'", json!({"a": {"b": "c"}}), "[a]\nb = 'c'"),
            ("", json!({"a": {"bb": {"ccc": null}}}), ""),
            ("[a]\nb = 1\n[a.c]\nd = 2", json!({"a": {"c": {"d": null}}}), "[a]\nb = 1"),
            ("[a]\nb = 1", json!({}), "[a]\nb = 1"),
        ] {
            assert_eq!(merged(below, patch.clone()), table(after), "{below} {patch}");
        }
    }

    #[test]
    fn what_toml_cannot_say_is_told_with_its_key() {
        let wrong = |patch| merge(&mut Table::new(), &object(patch)).unwrap_err();
        assert_eq!(wrong(json!({"a": {"b": [null]}})).key, "a.b");
        assert_eq!(wrong(json!({"a": u64::MAX})).message, "the number is too large");
        assert_eq!(merged("", json!({"a": -1, "b": 1.5, "c": true})), table("a = -1\nb = 1.5\nc = true"));
    }

    #[test]
    fn every_key_of_a_patch_is_looked_at() {
        let patch = json!({
            "limits": {"max_inflight": 7, "max_infligt": 7, "max_subscriptions": null, "connect_timeout": "1s"},
            "log": {"level": "debug"}, "max_inflight": 1, "rates": null, "listeners": [],
        });
        let outranks = |key: &str| (key == "log.level").then_some(Place::Flag("--log-level"));
        let read = Patch::read(&object(patch), &Schema::new(), &outranks);
        assert_eq!(read.set, ["limits.max_inflight", "log.level"]);
        let unknown: Vec<_> = read.unknown.iter().map(|error| format!("{}: {}", error.key, error.message)).collect();
        assert_eq!(
            unknown,
            [
                "limits.max_infligt: unknown key; did you mean \"max_inflight\"?",
                "max_inflight: unknown key or section; did you mean limits.max_inflight?"
            ]
        );
        let refused: Vec<_> = read.refused.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(refused, ["limits.connect_timeout", "listeners", "log.level"]);
        assert!(read.refused[2].1.contains("--log-level sets it"), "{:?}", read.refused);
    }
}
