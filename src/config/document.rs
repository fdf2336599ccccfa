//! The config file: TOML, read with the line of every key, so that what is wrong can be shown where it is.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue, Error};
use toml::{Spanned, Table, Value};

use super::error::Place;
use super::layer::Layer;
use super::schema::{Names, Schema, Shape, is_path};

/// Reads `text` as it stands in `file`. Relative paths in it are taken from the folder that the file lies in.
pub(super) fn parse(file: &Path, text: &str, schema: &Schema) -> Layer {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut walk = Walk { file: file.into(), text, schema, layer: Layer::default() };
    for error in &errors {
        walk.syntax_error(error);
    }
    // What follows a syntax error may stand in the wrong table.
    if errors.is_empty() {
        walk.layer.values = walk.table(document.get_ref(), schema.root(), &mut Vec::new(), "", 0);
    }
    walk.layer
}

struct Walk<'a> {
    file: PathBuf,
    text: &'a str,
    schema: &'a Schema,
    layer: Layer,
}

impl<'a> Walk<'a> {
    fn syntax_error(&mut self, error: &Error) {
        let place = error.span().map_or_else(|| Place::File(self.file.clone()), |span| self.place(span.start));
        self.layer.error(place, "", format!("this is no TOML: {}", error.message().trim_end().replace('\n', "; ")));
    }

    /// Goes through a table of the document beside its model. `names` and `path` lead to it, `start` is where it begins.
    fn table(&mut self, document: &DeTable<'a>, model: &'a Table, names: &mut Vec<&'a str>, path: &str, start: usize) -> Table {
        let mut values = Table::new();
        for (key, value) in document {
            let path = join(path, key.get_ref());
            let place = self.place(key.span().start);
            let Some((name, _)) = model.get_key_value(key.get_ref().as_ref()) else {
                let message = self.schema.unknown(key.get_ref(), model, names.is_empty());
                self.layer.error(place, &path, message);
                continue;
            };
            self.layer.places.note(path.clone(), place);
            names.push(name);
            if let Some(value) = self.value(value, names, &path, key.span().start) {
                values.insert(name.clone(), value);
            }
            names.pop();
        }
        self.fill_required(&mut values, document, model, names, path, start);
        values
    }

    /// Tells the keys that must be there and are not, and puts the model's values in so that reading can go on.
    fn fill_required(
        &mut self,
        values: &mut Table,
        document: &DeTable<'_>,
        model: &'a Table,
        names: &mut Vec<&'a str>,
        path: &str,
        start: usize,
    ) {
        for (name, value) in model.iter().filter(|(name, _)| !values.contains_key(name.as_str())).collect::<Vec<_>>() {
            names.push(name);
            if self.schema.is_required(names) {
                values.insert(name.clone(), value.clone());
                if !document.iter().any(|(key, _)| key.get_ref() == name) {
                    self.layer.error(self.place(start), path, format!("the key {name:?} is missing"));
                }
            }
            names.pop();
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'a>>, names: &mut Vec<&'a str>, path: &str, start: usize) -> Option<Value> {
        let schema = self.schema;
        match (schema.shape(names)?, value.get_ref()) {
            (Shape::Table(model), DeValue::Table(table)) => Some(Value::Table(self.table(table, model, names, path, start))),
            (Shape::Table(_), other) => self.wrong(start, path, &format!("found {}, expected a table", kind(other))),
            (Shape::Tables(model), DeValue::Array(items)) => {
                let tables = items.iter().enumerate().map(|(index, item)| {
                    let path = format!("{path}[{index}]");
                    self.layer.places.note(path.clone(), self.place(item.span().start));
                    match item.get_ref() {
                        DeValue::Table(table) => Some(Value::Table(self.table(table, model, names, &path, item.span().start))),
                        other => self.wrong(item.span().start, &path, &format!("found {}, expected a table", kind(other))),
                    }
                });
                Some(Value::Array(tables.collect::<Vec<_>>().into_iter().flatten().collect()))
            }
            (Shape::Tables(_), DeValue::Table(_)) => {
                self.wrong(start, path, &format!("there may be several: write [[{path}]] with two brackets"))
            }
            (Shape::Tables(_), other) => self.wrong(start, path, &format!("found {}, expected [[{path}]]", kind(other))),
            (Shape::Leaf(model), _) => self.leaf(value, model, names, path),
        }
    }

    fn leaf(&mut self, value: &Spanned<DeValue<'a>>, model: &Value, names: &Names<'_>, path: &str) -> Option<Value> {
        let start = value.span().start;
        let read = Value::deserialize(toml::de::ValueDeserializer::from(value.clone()));
        let checked = match read {
            Ok(read) => self.schema.check(names, read.clone()).map(|()| read),
            Err(_) if matches!(value.get_ref(), DeValue::Integer(_)) => Err("the number is too large".into()),
            Err(error) => Err(error.message().into()),
        };
        match checked {
            Ok(read) if is_path(model) => Some(self.in_folder(read)),
            Ok(read) => Some(read),
            Err(message) => self.wrong(start, path, &message),
        }
    }

    fn wrong(&mut self, start: usize, path: &str, message: &str) -> Option<Value> {
        self.layer.error(self.place(start), path, message);
        None
    }

    /// Takes a relative path from the folder of the file.
    fn in_folder(&self, value: Value) -> Value {
        let folder = self.file.parent().unwrap_or_else(|| Path::new(""));
        match value {
            Value::String(path) => Value::String(folder.join(path).to_string_lossy().into_owned()),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.in_folder(item)).collect()),
            other => other,
        }
    }

    fn place(&self, offset: usize) -> Place {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        Place::Line { file: self.file.clone(), line: 1 + before.iter().filter(|byte| **byte == b'\n').count() }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
