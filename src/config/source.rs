//! From the layers to one config: the file, the environment over it, the command line over that.

use std::path::PathBuf;

use config::{Map, Source, Value, ValueKind};
use serde::Deserialize;

use super::error::{ConfigError, ConfigErrors, Place};
use super::flags::Flags;
use super::layer::{Layer, Places};
use super::schema::Schema;
use super::{Config, document, environment, validate};

/// Where the config comes from, kept so that it can be read again on SIGHUP.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    file: Option<PathBuf>,
    environment: Vec<(String, String)>,
    flags: Flags,
}

impl ConfigSource {
    /// The file, if any, with this process's environment and the command line.
    pub fn new(file: Option<PathBuf>, flags: Flags) -> Self {
        Self { file, environment: environment::of_process(), flags }
    }

    /// The same with other variables than this process has.
    pub fn with_environment(self, variables: &[(&str, &str)]) -> Self {
        let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Self { environment, ..self }
    }

    /// Reads and checks everything. All that is wrong comes back together.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        let (layers, mut errors) = self.read();
        let places = places(&layers);
        match merge(&layers) {
            Ok(config) => {
                let findings = unless_known(validate::errors(&config), &errors, &places);
                errors.extend(findings);
                if errors.is_empty() {
                    return Ok(config);
                }
            }
            Err(error) => errors.push(ConfigError { place: places.find(&error.key), ..error }),
        }
        errors.sort();
        errors.dedup();
        Err(ConfigErrors(errors))
    }

    /// Whether somebody set the key (`admin.bind`), rather than leave it at its default.
    pub fn sets(&self, key: &str) -> bool {
        places(&self.read().0).contains(key)
    }

    /// The layers, the lowest first, and what is wrong with each by itself.
    fn read(&self) -> (Vec<Layer>, Vec<ConfigError>) {
        let schema = Schema::new();
        let mut layers = Vec::new();
        layers.extend(self.file.as_deref().map(|file| document::read(file, &schema)));
        layers.push(environment::read(&self.environment, &schema));
        layers.push(self.flags.layer());
        let errors = layers.iter_mut().flat_map(|layer| std::mem::take(&mut layer.errors)).collect();
        (layers, errors)
    }
}

fn places(layers: &[Layer]) -> Places {
    let mut all = Places::default();
    for layer in layers {
        all.overlay(layer.places.clone());
    }
    all
}

/// Puts the layers over each other. Strictly typed reading is serde's and toml's: the `config` crate's own would take
/// `"70000"` for a number.
fn merge(layers: &[Layer]) -> Result<Config, ConfigError> {
    let wrong = |key: String, message: String| ConfigError { place: Place::Default, key, message };
    let mut builder = config::Config::builder();
    for layer in layers {
        let values = Value::deserialize(layer.values.clone()).map_err(|error| wrong(String::new(), error.to_string()))?;
        builder = builder.add_source(Values(values));
    }
    let merged = builder.build().and_then(|merged| merged.try_deserialize::<toml::Table>());
    let merged = merged.map_err(|error| wrong(String::new(), error.to_string()))?;
    serde_path_to_error::deserialize(toml::Value::Table(merged))
        .map_err(|error| wrong(error.path().to_string(), error.inner().message().into()))
}

/// A layer's values as a source of the `config` crate.
#[derive(Clone, Debug)]
struct Values(Value);

impl Source for Values {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        match &self.0.kind {
            ValueKind::Table(values) => Ok(values.clone()),
            _ => Ok(Map::new()),
        }
    }
}

/// Gives the findings their places, without those that only follow from an error already told: in its place there is a value
/// that nobody wrote.
fn unless_known(findings: Vec<validate::Finding>, known: &[ConfigError], places: &Places) -> Vec<ConfigError> {
    findings
        .into_iter()
        .filter(|finding| !known.iter().any(|error| follows(&finding.key, &error.key)))
        .map(|finding| ConfigError { place: places.find(&finding.key), key: finding.key, message: finding.message })
        .collect()
}

/// Whether a finding about `key` may come from an error about `wrong`: the same key or, in an array, a table around it, or the
/// URL of the same listener, on which all its other keys depend.
fn follows(key: &str, wrong: &str) -> bool {
    let table = wrong.strip_suffix(".url").unwrap_or(wrong);
    let is_inside = key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    key == wrong || (wrong.contains('[') && is_inside)
}
