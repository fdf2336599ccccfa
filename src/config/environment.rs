//! `DUNLIN__SECTION__KEY=value` in the environment: `DUNLIN__LIMITS__MAX_PACKET_SIZE=64KiB`, `DUNLIN__DATA_DIR=/var/lib/dunlin`.

use toml::Value;

use super::error::Place;
use super::layer::Layer;
use super::schema::{Names, Schema, Shape, nearest};

const PREFIX: &str = "DUNLIN__";

/// This process's variables.
pub(super) fn of_process() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect()
}

/// Reads those of `variables` that are meant for the broker. An empty one counts as not set.
pub(super) fn read(variables: &[(String, String)], schema: &Schema) -> Layer {
    let mut layer = Layer::default();
    for (name, text) in variables {
        if let Some(rest) = name.strip_prefix(PREFIX)
            && !text.is_empty()
        {
            let lower = rest.to_ascii_lowercase();
            let names: Vec<&str> = lower.split("__").collect();
            match value(&names, text, schema) {
                Ok(value) => layer.set(&names, value, Place::Variable(name.clone())),
                Err(message) => layer.error(Place::Variable(name.clone()), &names.join("."), message),
            }
        }
    }
    layer
}

/// The text as the kind of value that the key takes.
fn value(names: &Names<'_>, text: &str, schema: &Schema) -> Result<Value, String> {
    if (1..names.len()).any(|length| matches!(schema.shape(&names[..length]), Some(Shape::Tables(_)))) {
        return Err(in_array(names[0]));
    }
    let value = match schema.shape(names) {
        None => return Err(unknown(names, schema)),
        Some(Shape::Table(_)) => return Err(format!("this is a section; name a key in it, {PREFIX}SECTION__KEY")),
        Some(Shape::Tables(_)) => return Err(in_array(names[0])),
        Some(Shape::Leaf(Value::Integer(_))) => text.parse().map(Value::Integer).ok(),
        Some(Shape::Leaf(Value::Boolean(_))) => text.to_ascii_lowercase().parse().map(Value::Boolean).ok(),
        Some(Shape::Leaf(Value::Array(_))) => {
            Some(Value::Array(text.split(',').map(|item| Value::String(item.trim().into())).collect()))
        }
        Some(Shape::Leaf(_)) => None,
    };
    let value = value.unwrap_or_else(|| Value::String(text.into()));
    schema.check(names, value.clone()).map(|()| value)
}

fn in_array(name: &str) -> String {
    match name {
        "listeners" => "listeners are set in the config file, or with --listen".into(),
        _ => format!("[[{name}]] can be set in the config file only"),
    }
}

fn unknown(names: &Names<'_>, schema: &Schema) -> String {
    let all = variables(schema);
    let meant = nearest(&names.join("__"), all.iter().map(String::as_str));
    let meant = meant.map(|name| format!("; did you mean {PREFIX}{}?", name.to_ascii_uppercase()));
    format!("unknown key{}", meant.unwrap_or_default())
}

/// What a variable can be called, in lower case and without the prefix.
fn variables(schema: &Schema) -> Vec<String> {
    let mut all = Vec::new();
    for name in schema.root().keys() {
        match schema.shape(&[name]) {
            Some(Shape::Leaf(_)) => all.push(name.clone()),
            Some(Shape::Table(table)) => all.extend(table.keys().map(|key| format!("{name}__{key}"))),
            Some(Shape::Tables(_)) | None => {}
        }
    }
    all
}
