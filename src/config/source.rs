//! From the layers to one config: the file, what was changed over the admin API, the environment over that, the command line over all.

use std::path::{Path, PathBuf};

use config::{Map, Source, Value, ValueKind};
use serde::Deserialize;

use super::changeable::all_by_api;
use super::error::{ConfigError, ConfigErrors, Place};
use super::flags::Flags;
use super::layer::{Layer, Places};
use super::overrides::{self, Overrides};
use super::patch::{self, Patch};
use super::schema::Schema;
use super::validate::Warning;
use super::{Config, document, environment, validate};

/// Where the config comes from, kept so that it can be read again on SIGHUP.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    file: Option<File>,
    environment: Vec<(String, String)>,
    flags: Flags,
    /// The data directory of a broker that runs; what the config says of another one is for the next start.
    running_in: Option<PathBuf>,
    is_onlooker: bool,
}

/// The config file, as it was at one moment: a change over the admin API must not bring in what is being written in it just then.
#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    text: Result<String, String>,
}

/// A config, and what of it was changed over the admin API.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub overrides: Overrides,
}

/// A change of the overrides.
#[derive(Clone, Debug)]
pub enum Change {
    /// A JSON merge patch (RFC 7396); `null` takes an override back.
    Patch(serde_json::Map<String, serde_json::Value>),
    /// All are taken back.
    Reset,
}

/// What comes of a change.
#[derive(Clone, Debug)]
pub struct Changed {
    pub loaded: Loaded,
    /// What to keep in the file; none if nothing is overridden any more.
    pub text: Option<String>,
    /// The keys that the change gives a value.
    pub set: Vec<String>,
    /// The keys that were overridden and are no more.
    pub taken_back: Vec<String>,
}

/// Why a change is not made. Each tells all that it is about, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is wrong as a config file would be.
    Wrong(String),
    /// It names keys that cannot be changed this way.
    NotChangeable(String),
    /// The config has errors without it.
    Broken(String),
}

impl Loaded {
    /// What works, but hardly as meant.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.config.warnings();
        warnings.append(&mut self.overrides.warnings());
        warnings
    }
}

impl ConfigSource {
    /// The file, if any, as it is now, with this process's environment and the command line.
    pub fn new(file: Option<PathBuf>, flags: Flags) -> Self {
        let file = file.map(File::read);
        Self { file, environment: environment::of_process(), flags, running_in: None, is_onlooker: false }
    }

    /// The same with other variables than this process has.
    pub fn with_environment(self, variables: &[(&str, &str)]) -> Self {
        let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Self { environment, ..self }
    }

    /// For a broker that runs: the overrides lie in this data directory, whatever becomes of the key meanwhile.
    pub fn running_in(self, data_dir: &Path) -> Self {
        Self { running_in: Some(data_dir.into()), ..self }
    }

    /// For who looks at the config of a broker that may be another user's: overrides that may not be read are left out.
    pub fn for_onlooker(self) -> Self {
        Self { is_onlooker: true, ..self }
    }

    /// The same with the file as it is now.
    pub fn read_again(&self) -> Self {
        let file = self.file.as_ref().map(|file| File::read(file.path.clone()));
        Self { file, ..self.clone() }
    }

    /// Reads and checks everything. All that is wrong comes back together.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        self.load_all().map(|loaded| loaded.config)
    }

    /// The same, with what was changed over the admin API.
    pub fn load_all(&self) -> Result<Loaded, ConfigErrors> {
        let schema = Schema::new();
        let layers = self.layers(&schema, None);
        layers.load(&schema)
    }

    /// What would come of a change of the overrides, without making it.
    pub fn with_change(&self, change: &Change) -> Result<Changed, Refusal> {
        let schema = Schema::new();
        let layers = self.layers(&schema, None);
        let before = overrides::keys(&layers.overrides().values, &schema);
        let (values, set) = match change {
            Change::Reset => (toml::Table::new(), Vec::new()),
            Change::Patch(patch) => layers.patched(patch, &schema)?,
        };
        let text = overrides::text(&values);
        let loaded = self.layers(&schema, Some(text.as_deref().unwrap_or_default())).load(&schema);
        let loaded = loaded.map_err(|errors| match change {
            // Nothing of it is the patch's fault when there is none.
            Change::Reset => Refusal::Broken(errors.to_string()),
            Change::Patch(_) => Refusal::Wrong(layers.as_of_patch(&errors)),
        })?;
        let taken_back = before.into_iter().filter(|key| !loaded.overrides.keys.contains(key)).collect();
        Ok(Changed { loaded, text, set, taken_back })
    }

    /// The keys that a change may name now: those that can change while running, and that neither the environment nor a flag says.
    pub fn changeable(&self) -> Vec<String> {
        let schema = Schema::new();
        let layers = self.layers(&schema, Some(""));
        all_by_api(&schema).into_iter().filter(|key| layers.outranks(key).is_none()).collect()
    }

    /// Whether somebody set the key (`admin.bind`), rather than leave it at its default.
    pub fn sets(&self, key: &str) -> bool {
        self.layers(&Schema::new(), None).places().contains(key)
    }

    /// The layers with the overrides that are kept, or with `text` instead of them.
    fn layers(&self, schema: &Schema, text: Option<&str>) -> Layers {
        let below: Vec<_> = self.file.iter().map(|file| file.layer(schema)).collect();
        let above = [environment::read(&self.environment, schema), self.flags.layer()];
        let says = |layer: &Layer| layer.values.get("data_dir").and_then(toml::Value::as_str).map(PathBuf::from);
        let said = || above.iter().rev().chain(&below).find_map(says).unwrap_or_else(|| Config::default().data_dir);
        let folder = self.running_in.clone().unwrap_or_else(said);
        let overrides_file = folder.join(overrides::FILE);
        let (overrides, is_unread) = match text {
            Some(text) => (overrides::layer(&overrides_file, text, schema), false),
            None => self.kept(&overrides_file, schema),
        };
        let place = below.len();
        let all = below.into_iter().chain([overrides]).chain(above).collect();
        Layers { all, place, overrides_file, is_unread }
    }

    /// The overrides as they are kept, and whether they could not be read.
    fn kept(&self, file: &Path, schema: &Schema) -> (Layer, bool) {
        match overrides::read(file) {
            Ok(text) => (overrides::layer(file, &text.unwrap_or_default(), schema), false),
            Err(error) if self.is_onlooker && error.kind() == std::io::ErrorKind::PermissionDenied => (Layer::default(), true),
            Err(error) => {
                let mut layer = Layer::default();
                layer.error(Place::File(file.into()), "", format!("cannot be read: {error}"));
                (layer, false)
            }
        }
    }
}

impl File {
    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        Self { path, text }
    }

    fn layer(&self, schema: &Schema) -> Layer {
        match &self.text {
            Ok(text) => document::parse(&self.path, text, schema),
            Err(error) => {
                let mut layer = Layer::default();
                layer.error(Place::File(self.path.clone()), "", format!("cannot read the config file: {error}"));
                layer
            }
        }
    }
}

/// What each source says, the lowest first.
struct Layers {
    all: Vec<Layer>,
    /// The overrides among them.
    place: usize,
    overrides_file: PathBuf,
    is_unread: bool,
}

impl Layers {
    fn overrides(&self) -> &Layer {
        &self.all[self.place]
    }

    /// Who says something about the key that counts more than the overrides.
    fn outranks(&self, key: &str) -> Option<Place> {
        let above = self.all[self.place + 1..].iter().rev();
        above.filter(|layer| layer.places.contains(key)).map(|layer| layer.places.find(key)).next()
    }

    fn places(&self) -> Places {
        let mut all = Places::default();
        for layer in &self.all {
            all.overlay(layer.places.clone());
        }
        all
    }

    fn load(&self, schema: &Schema) -> Result<Loaded, ConfigErrors> {
        let mut errors: Vec<_> = self.all.iter().flat_map(|layer| layer.errors.clone()).collect();
        let places = self.places();
        match merge(&self.all) {
            Ok(config) => {
                let findings = unless_known(validate::errors(&config), &errors, &places);
                errors.extend(findings);
                if errors.is_empty() {
                    return Ok(Loaded { config, overrides: self.seen(schema) });
                }
            }
            Err(error) => errors.push(ConfigError { place: places.find(&error.key), ..error }),
        }
        overrides::add_cure(&mut errors, &self.overrides_file);
        errors.sort();
        errors.dedup();
        Err(ConfigErrors(errors))
    }

    /// The overrides with what is known of them.
    fn seen(&self, schema: &Schema) -> Overrides {
        let values = self.overrides().values.clone();
        let keys = overrides::keys(&values, schema);
        let outranked = keys.iter().filter_map(|key| Some((key.clone(), self.outranks(key)?))).collect();
        Overrides { file: self.overrides_file.clone(), values, keys, outranked, is_unread: self.is_unread }
    }

    /// The overrides after a patch, and the keys that it sets; whether their values are right is not known yet.
    fn patched(
        &self,
        patch: &serde_json::Map<String, serde_json::Value>,
        schema: &Schema,
    ) -> Result<(toml::Table, Vec<String>), Refusal> {
        self.load(schema).map_err(|errors| Refusal::Broken(errors.to_string()))?;
        let read = Patch::read(patch, schema, &|key| self.outranks(key));
        if !read.unknown.is_empty() {
            return Err(Refusal::Wrong(self.as_of_patch(&ConfigErrors(read.unknown))));
        }
        if !read.refused.is_empty() {
            let lines: Vec<_> = read.refused.iter().map(|(key, why)| format!("{key}: {why}")).collect();
            return Err(Refusal::NotChangeable(lines.join("\n")));
        }
        let mut values = self.overrides().values.clone();
        patch::merge(&mut values, patch).map_err(|error| Refusal::Wrong(self.as_of_patch(&ConfigErrors(vec![error]))))?;
        Ok((values, read.set))
    }

    /// Errors for the sender of a patch, who knows nothing of lines in the file that it would become.
    fn as_of_patch(&self, errors: &ConfigErrors) -> String {
        let is_of_patch = |error: &ConfigError| error.place == Place::Default || error.place.is_in(&self.overrides_file);
        let lines = errors
            .0
            .iter()
            .filter(|error| !(error.key.is_empty() && is_of_patch(error)))
            .map(|error| if is_of_patch(error) { format!("{}: {}", error.key, error.message) } else { error.to_string() });
        let lines: Vec<_> = lines.collect();
        if lines.is_empty() { errors.to_string() } else { lines.join("\n") }
    }
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
