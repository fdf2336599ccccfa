//! What was changed over the admin API: a layer between the config file and the environment, kept in the data directory.
//!
//! It lies over the file, so that a change holds when the file is read again, and under the environment and the flags: those are said
//! by whoever starts this very process, and win over the file for the same reason.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::changeable::by_api;
use super::document;
use super::error::{ConfigError, Place};
use super::layer::Layer;
use super::schema::{Schema, Shape};
use super::validate::Warning;

/// The file in the data directory.
pub(super) const FILE: &str = "config-overrides.toml";

const HEAD: &str = "# What was changed over the admin API (PATCH /api/v1/config, `dunlin ctl config`). It is read after the config file\n\
                    # and before the environment. To go back to what the config file says: remove this file, and reload.\n\n";

/// What is to be done about a file that the broker cannot start with.
const CURE: &str =
    "this file has what was changed over the admin API: put it right, or remove it to go on with the config file alone";

/// What lies over the config file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Where it is kept; there is no file where nothing is overridden.
    pub file: PathBuf,
    pub values: Table,
    /// The keys in it, `limits.max_inflight`.
    pub keys: Vec<String>,
    /// Those that do not hold, since the environment or a flag says otherwise.
    pub outranked: Vec<(String, Place)>,
    /// The file is there, and this user may not read it; for onlookers only, a broker does not start so.
    pub is_unread: bool,
}

impl Overrides {
    /// What of them does not hold.
    pub fn warnings(&self) -> Vec<Warning> {
        let outranked = self.outranked.iter().map(|(key, place)| Warning {
            key: key.clone(),
            message: format!("it was changed over the admin API, but {place} says otherwise and counts more"),
        });
        let unread = self.is_unread.then(|| Warning {
            key: self.file.display().to_string(),
            message: "this user may not read what was changed over the admin API: it is left out here".into(),
        });
        outranked.chain(unread).collect()
    }
}

/// The text of the file, if there is one.
pub(super) fn read(file: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads `text` as if it stood in `file`. Keys that only a config file may set are errors.
pub(super) fn layer(file: &Path, text: &str, schema: &Schema) -> Layer {
    let mut layer = document::parse(file, text, schema);
    for key in keys(&layer.values, schema) {
        if let Err(why) = by_api(schema, &key.split('.').collect::<Vec<_>>()) {
            let place = layer.places.find(&key);
            layer.error(place, &key, why);
        }
    }
    layer
}

/// The text to keep; none if nothing is overridden.
pub(super) fn text(values: &Table) -> Option<String> {
    (!values.is_empty()).then(|| format!("{HEAD}{}", toml::to_string(values).expect("a table is TOML")))
}

/// The keys that have a value, by their whole names.
pub(super) fn keys(values: &Table, schema: &Schema) -> Vec<String> {
    let mut all = Vec::new();
    collect(values, schema, &mut Vec::new(), &mut all);
    all
}

fn collect<'a>(values: &'a Table, schema: &Schema, names: &mut Vec<&'a str>, all: &mut Vec<String>) {
    for (name, value) in values {
        names.push(name);
        match (schema.shape(names), value) {
            (Some(Shape::Table(_)), Value::Table(inner)) => collect(inner, schema, names, all),
            _ => all.push(names.join(".")),
        }
        names.pop();
    }
}

/// Tells how to go on, if anything is wrong with the file.
pub(super) fn add_cure(errors: &mut Vec<ConfigError>, file: &Path) {
    if errors.iter().any(|error| error.place.is_in(file)) {
        errors.push(ConfigError { place: Place::File(file.into()), key: String::new(), message: CURE.into() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::config::{Change, Changed, ConfigSource, Flags, Refusal};

    /// A folder with a config file and a data directory.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(config: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("data")).unwrap();
            fs::write(folder.path().join("dunlin.toml"), format!("data_dir = \"data\"\n{config}")).unwrap();
            Self(folder)
        }

        fn source(&self) -> ConfigSource {
            self.source_with(&[], Flags::default())
        }

        fn source_with(&self, variables: &[(&str, &str)], flags: Flags) -> ConfigSource {
            ConfigSource::new(Some(self.0.path().join("dunlin.toml")), flags).with_environment(variables)
        }

        fn overrides(&self) -> PathBuf {
            self.0.path().join("data").join(FILE)
        }

        fn keep(&self, text: &str) {
            fs::write(self.overrides(), text).unwrap();
        }

        /// The errors as shown, with the folder cut away.
        fn errors(&self) -> Vec<String> {
            let folder = format!("{}/", self.0.path().display());
            self.source().load().unwrap_err().to_string().lines().map(|line| line.replace(&folder, "")).collect()
        }

        fn change(&self, patch: Json) -> Result<Changed, Refusal> {
            self.source().with_change(&Change::Patch(patch.as_object().unwrap().clone()))
        }

        /// Makes a change as the server does.
        fn make(&self, patch: Json) -> Changed {
            let changed = self.change(patch).unwrap();
            match &changed.text {
                Some(text) => self.keep(text),
                None => drop(fs::remove_file(self.overrides())),
            }
            changed
        }
    }

    #[test]
    fn overrides_lie_over_the_file_and_under_environment_and_flags() {
        let place =
            Folder::new("[limits]\nmax_inflight = 1\nmax_subscriptions = 1\nmax_sessions = 1\n[log]\nlevel = \"error\"\n");
        place.keep("[limits]\nmax_inflight = 2\nmax_subscriptions = 2\n[log]\nlevel = \"warn\"\n");
        let flags = Flags { log_level: Some("debug".into()), ..Flags::default() };
        let loaded = place.source_with(&[("DUNLIN__LIMITS__MAX_SUBSCRIPTIONS", "3")], flags).load_all().unwrap();
        let limits = &loaded.config.limits;
        assert_eq!((limits.max_sessions, limits.max_inflight, limits.max_subscriptions), (1, 2, 3));
        assert_eq!(loaded.config.log.level, "debug");
        assert_eq!(loaded.overrides.keys, ["limits.max_inflight", "limits.max_subscriptions", "log.level"]);
        let outranked: Vec<_> = loaded.overrides.outranked.iter().map(|(key, place)| format!("{key} {place}")).collect();
        assert_eq!(outranked, ["limits.max_subscriptions DUNLIN__LIMITS__MAX_SUBSCRIPTIONS", "log.level --log-level"]);
        assert_eq!(loaded.warnings().len(), 2);
    }

    #[test]
    fn a_change_is_kept_added_to_and_taken_back() {
        let place = Folder::new("[limits]\nmax_inflight = 1\n");
        let changed = place.make(json!({"limits": {"max_inflight": 7, "max_packet_size": "64KiB"}}));
        assert_eq!((changed.set.len(), changed.taken_back.len()), (2, 0));
        assert_eq!(place.source().load().unwrap(), changed.loaded.config);
        place.make(json!({"auth": {"http": {"timeout": null}}, "log": {"level": "debug"}}));
        let changed = place.make(json!({"limits": {"max_inflight": null, "max_sessions": null}}));
        assert_eq!(changed.taken_back, ["limits.max_inflight"]);
        assert_eq!(changed.loaded.overrides.keys, ["limits.max_packet_size", "log.level"]);
        assert_eq!(changed.loaded.config.limits.max_inflight, 1);
        let reset = place.source().with_change(&Change::Reset).unwrap();
        assert_eq!((reset.text, reset.taken_back), (None, vec!["limits.max_packet_size".into(), "log.level".into()]));
        assert_eq!(place.make(json!({"limits": null, "log": null})).text, None);
    }

    #[test]
    fn a_wrong_change_is_told_as_in_a_file() {
        let place = Folder::new("[limits]\nmax_inflight = 1\n");
        let wrong = |patch| match place.change(patch) {
            Err(Refusal::Wrong(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            wrong(json!({"limits": {"max_infligt": 1}})),
            "limits.max_infligt: unknown key; did you mean \"max_inflight\"?"
        );
        assert_eq!(
            wrong(json!({"limits": {"max_inflight": "many", "max_packet_size": "64 potatoes"}})),
            "limits.max_inflight: found the text \"many\", expected a whole number from 0 to 65535\n\
             limits.max_packet_size: \"64 potatoes\" is no size; write it like \"64KiB\" or \"1MiB\""
        );
        assert_eq!(wrong(json!({"limits": 3})), "limits: found a number, expected a table");
        assert_eq!(wrong(json!({"limits": {"max_infligt": null}})), wrong(json!({"limits": {"max_infligt": {}}})));
        assert!(wrong(json!({"log": {"level": "loud"}})).starts_with("log.level: \"loud\" is none of "));
        assert!(wrong(json!({"limits": {"max_inflight": u64::MAX}})).contains("too large"));
        assert!(wrong(json!({"auth": {"methods": ["jwt"]}})).contains("\"jwt\" needs [auth.jwt]"));
        assert!(!place.overrides().exists());
    }

    #[test]
    fn what_cannot_be_changed_is_refused_by_its_key() {
        let place = Folder::new("");
        let refused = |patch| match place.change(patch) {
            Err(Refusal::NotChangeable(why)) => why,
            other => panic!("{other:?}"),
        };
        let why = refused(json!({"server": {"worker_threads": 3}, "limits": {"max_inflight": 3}}));
        assert!(why.starts_with("server.worker_threads: ") && why.contains("config file") && why.contains("start"), "{why}");
        for (patch, key) in [
            (json!({"listeners": [{"name": "a"}]}), "listeners: "),
            (json!({"auth": {"acl_file": "/etc/shadow"}}), "auth.acl_file: "),
            (json!({"auth": {"http": {"authenticate_url": "http://elsewhere/"}}}), "auth.http.authenticate_url: "),
            (json!({"quotas": null}), "quotas: "),
        ] {
            assert!(refused(patch).starts_with(key), "{key}");
        }
        let source = place.source_with(&[("DUNLIN__LOG__LEVEL", "info")], Flags::default());
        let patch = json!({"log": {"level": "debug"}}).as_object().unwrap().clone();
        let why = format!("{:?}", source.with_change(&Change::Patch(patch)).unwrap_err());
        assert!(why.contains("log.level: DUNLIN__LOG__LEVEL sets it"), "{why}");
        assert!(
            !source.changeable().contains(&"log.level".into()) && place.source().changeable().contains(&"log.level".into())
        );
    }

    #[test]
    fn a_broken_file_is_told_with_its_line_and_how_to_go_on() {
        let place = Folder::new("");
        for (text, error) in [
            ("[limits]\nmax_infligt = 3\n", "data/config-overrides.toml:2: limits.max_infligt: unknown key; did you mean"),
            ("[limits]\nmax_subscriptions = 0\n", "data/config-overrides.toml:2: limits.max_subscriptions: "),
            ("[server]\nworker_threads = 3\n", "data/config-overrides.toml:2: server.worker_threads: it cannot change while"),
            ("[limits\n", "data/config-overrides.toml:1: this is no TOML: "),
        ] {
            place.keep(text);
            let errors = place.errors();
            assert!(errors[0].starts_with(error) && errors[1].contains("remove it to go on"), "{errors:?}");
        }
        assert!(matches!(place.change(json!({})), Err(Refusal::Broken(_))));
        assert!(place.source().with_change(&Change::Reset).is_ok(), "it can be taken back all the same");
        fs::remove_file(place.overrides()).unwrap();
        fs::create_dir(place.overrides()).unwrap();
        assert!(place.errors()[0].contains("config-overrides.toml: cannot be read: "));
    }

    #[test]
    fn another_data_dir_is_for_the_next_start() {
        let place = Folder::new("");
        place.keep("[limits]\nmax_inflight = 2\n");
        let source = place.source().running_in(&place.0.path().join("data"));
        fs::write(place.0.path().join("dunlin.toml"), "data_dir = \"other\"\n").unwrap();
        let loaded = source.read_again().load_all().unwrap();
        assert_eq!((loaded.config.limits.max_inflight, loaded.overrides.file), (2, place.overrides()));
        assert!(place.source().load_all().unwrap().overrides.keys.is_empty());
    }

    #[test]
    fn the_config_file_counts_as_it_was_read_until_it_is_read_again() {
        let place = Folder::new("[limits]\nmax_inflight = 1\n");
        let source = place.source();
        fs::write(place.0.path().join("dunlin.toml"), "data_dir = \"data\"\n[limits]\nmax_infl").unwrap();
        let patch = Change::Patch(json!({"log": {"level": "debug"}}).as_object().unwrap().clone());
        assert_eq!(source.with_change(&patch).unwrap().loaded.config.limits.max_inflight, 1);
        assert!(matches!(source.read_again().with_change(&patch), Err(Refusal::Broken(_))));
    }
}
