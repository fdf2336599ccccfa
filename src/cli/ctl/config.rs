//! `dunlin ctl config`: what holds, and changes of it that last.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::Print;
use super::client::{Api, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// What holds, key by key. Secrets are masked.
    Show {
        /// Keys that begin so, like limits or auth.http.
        prefix: Option<String>,
        /// Only what was changed over the API.
        #[arg(long)]
        changed: bool,
    },
    /// Change keys, all or none, from now on and over restarts.
    ///
    /// A value is a number, true, false or a list as JSON has them, and a text otherwise: limits.max_inflight=64,
    /// limits.max_packet_size=64KiB, 'auth.methods=["password"]'.
    Set {
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = assignment)]
        values: Vec<(String, Value)>,
    },
    /// Take changes of keys, or of whole sections, back: the config file counts again.
    Unset {
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Take all changes back.
    Reset,
}

impl ConfigCommand {
    pub(super) async fn run(&self, api: &Api, print: Print) -> Result<(), Failure> {
        match self {
            Self::Show { prefix: None, changed: false } if print.is_json => print.one(&api.get("/config").await?),
            Self::Show { prefix, changed } => {
                let lines = lines(api.get("/config").await?, prefix.as_deref().unwrap_or_default(), *changed);
                print.list(&lines, &["key", "value", "changed"]);
            }
            Self::Set { values } => change(api, print, values.iter().map(|(key, value)| (key.as_str(), value.clone()))).await?,
            Self::Unset { keys } => change(api, print, keys.iter().map(|key| (key.as_str(), Value::Null))).await?,
            Self::Reset => print.one(&api.delete("/config/overrides").await?),
        }
        Ok(())
    }
}

async fn change<'a>(api: &Api, print: Print, values: impl Iterator<Item = (&'a str, Value)>) -> Result<(), Failure> {
    print.one(&api.patch("/config", &patch(values)).await?);
    Ok(())
}

/// `KEY=VALUE`, the value as JSON if it is some.
fn assignment(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("it is no KEY=VALUE")?;
    // An empty value, null and objects are no values of a key.
    let parsed = serde_json::from_str(value).ok().filter(|value: &Value| !value.is_null() && !value.is_object());
    Ok((key.into(), parsed.unwrap_or_else(|| value.into())))
}

/// Keys with dots as the objects in each other that a merge patch is.
fn patch<'a>(values: impl Iterator<Item = (&'a str, Value)>) -> Value {
    let mut root = Map::new();
    for (key, value) in values {
        let mut names: Vec<&str> = key.split('.').collect();
        let last = names.pop().unwrap_or_default();
        let mut table = &mut root;
        for name in names {
            let inner = table.entry(name).or_insert_with(|| json!({}));
            if !inner.is_object() {
                *inner = json!({});
            }
            table = inner.as_object_mut().expect("it was made one");
        }
        table.insert(last.into(), value);
    }
    Value::Object(root)
}

/// One entry for each key, in the order of their names.
fn lines(mut config: Value, prefix: &str, only_changed: bool) -> Vec<Value> {
    let overridden = config.as_object_mut().and_then(|sections| sections.remove("overridden")).unwrap_or_default();
    let mut keys = Vec::new();
    flatten("", config, &mut keys);
    let is_changed = |key: &str| overridden.as_array().is_some_and(|keys| keys.iter().any(|changed| changed == key));
    let is_below = |key: &str| {
        key.strip_prefix(prefix).is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
    };
    keys.into_iter()
        .filter(|(key, _)| is_below(key) && (!only_changed || is_changed(key)))
        .map(|(key, value)| json!({ "changed": is_changed(&key), "key": key, "value": value }))
        .collect()
}

fn flatten(path: &str, value: Value, keys: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(&path, value, keys);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.into_iter().enumerate() {
                flatten(&format!("{path}[{index}]"), item, keys);
            }
        }
        value => keys.push((path.to_owned(), value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_or_text() {
        let value = |text: &str| assignment(text).unwrap().1;
        assert_eq!(value("a=64"), json!(64));
        assert_eq!(value("a=true"), json!(true));
        assert_eq!(value("a=64KiB"), json!("64KiB"));
        assert_eq!(value("a=\"64\""), json!("64"));
        assert_eq!(value("a=[\"b\"]"), json!(["b"]));
        assert_eq!(value("a=info,b=debug"), json!("info,b=debug"));
        assert_eq!((value("a="), value("a=null")), (json!(""), json!("null")));
        assert!(assignment("a").is_err() && assignment("=1").is_err());
    }

    #[test]
    fn keys_become_a_patch_and_a_config_becomes_keys() {
        let values = [("log.level", json!("debug")), ("limits.a", json!(1)), ("limits.b", Value::Null)];
        let patch = patch(values.into_iter());
        assert_eq!(patch, json!({"log": {"level": "debug"}, "limits": {"a": 1, "b": null}}));
        let config = json!({"overridden": ["limits.a"], "limits": {"a": 1, "c": []}, "limitsx": 2, "list": [{"url": "u"}]});
        let keys = |prefix, changed| -> Vec<String> {
            lines(config.clone(), prefix, changed).iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(keys("", false), ["limits.a", "limits.c", "limitsx", "list[0].url"]);
        assert_eq!(keys("limits", false), ["limits.a", "limits.c"]);
        assert_eq!((keys("list", false), keys("", true)), (vec!["list[0].url".into()], vec!["limits.a".into()]));
    }
}
