//! Which keys can change while the broker runs, and which of those the admin API may change.

use toml::Value;

use super::Config;
use super::print::is_secret;
use super::schema::{Names, Schema, Shape, is_path};

/// Keys, and sections with all their keys, that take effect at a start only. `[[listeners]]` has some of its own besides.
const FIXED: [&str; 12] = [
    "data_dir",
    "durability",
    "server",
    "log.format",
    "auth.max_password_checks",
    "auth.max_waiting_password_checks",
    "limits.connect_timeout",
    "quotas",
    "rates.burst",
    "shared_subscriptions",
    "admin",
    "sys",
];

/// The keys of both configs that differ and take effect at a start only.
pub fn fixed_changes(old: &Config, new: &Config) -> Vec<&'static str> {
    let [old, new] = [old, new].map(|config| Value::try_from(config).expect("a config is TOML"));
    let at = |config: &Value, key: &str| key.split('.').try_fold(config.clone(), |value, name| value.get(name).cloned());
    FIXED.into_iter().filter(|key| at(&old, key) != at(&new, key)).collect()
}

/// What holds once `new` is read: keys that take effect at a start only are as they were in `running`. `[[listeners]]` is left to who
/// has opened them.
pub fn keep_fixed(running: &Config, new: &Config) -> Config {
    let mut config = new.clone();
    config.data_dir.clone_from(&running.data_dir);
    config.durability.clone_from(&running.durability);
    config.server.clone_from(&running.server);
    config.log.format = running.log.format;
    config.auth.max_password_checks = running.auth.max_password_checks;
    config.auth.max_waiting_password_checks = running.auth.max_waiting_password_checks;
    config.limits.connect_timeout = running.limits.connect_timeout;
    config.quotas.clone_from(&running.quotas);
    config.rates.burst = running.rates.burst;
    config.shared_subscriptions.clone_from(&running.shared_subscriptions);
    config.admin.clone_from(&running.admin);
    config.sys.clone_from(&running.sys);
    config
}

/// Whether the admin API may change the key; if not, why.
///
/// What names files or servers is not for it: with a key of the API one could make the broker read a file and tell of it in an error,
/// or send its clients' passwords elsewhere. Neither are tables in a list: a patch replaces a list as a whole, and would freeze in
/// the overrides what the file says of all others in it.
pub(super) fn by_api(schema: &Schema, names: &Names<'_>) -> Result<(), &'static str> {
    let path = names.join(".");
    let is_fixed = |key: &&str| path.strip_prefix(*key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if FIXED.iter().any(is_fixed) {
        return Err("it cannot change while the broker runs: set it in the config file, and start the broker again");
    }
    let is_in_list = (1..=names.len()).any(|length| matches!(schema.shape(&names[..length]), Some(Shape::Tables(_))));
    if is_in_list {
        return Err("tables in a list stand in the config file only: change them there, and let it be read again");
    }
    let last = names.last().copied().unwrap_or_default();
    let names_file = matches!(schema.shape(names), Some(Shape::Leaf(value)) if is_path(value));
    if names_file || last.ends_with("_url") || is_secret(last) {
        return Err(
            "what names files or servers, or is secret, stands in the config file only: change it there, and let it be read again",
        );
    }
    Ok(())
}

/// All keys that the admin API may change.
pub(super) fn all_by_api(schema: &Schema) -> Vec<String> {
    let mut all = Vec::new();
    collect(schema, schema.root(), &mut Vec::new(), &mut all);
    all
}

fn collect<'a>(schema: &'a Schema, table: &'a toml::Table, names: &mut Vec<&'a str>, all: &mut Vec<String>) {
    for name in table.keys() {
        names.push(name);
        match schema.shape(names) {
            Some(Shape::Table(inner)) => collect(schema, inner, names, all),
            Some(Shape::Leaf(_)) if by_api(schema, names).is_ok() => all.push(names.join(".")),
            _ => {}
        }
        names.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fixed_key_is_one() {
        let schema = Schema::new();
        for key in FIXED {
            assert!(schema.shape(&key.split('.').collect::<Vec<_>>()).is_some(), "{key}");
        }
    }

    #[test]
    fn what_needs_a_start_is_told_by_its_key() {
        let old = Config::default();
        let mut new = old.clone();
        assert!(fixed_changes(&old, &new).is_empty());
        new.limits.connect_timeout = crate::units::Span::seconds(3);
        new.limits.max_inflight = 3;
        new.sys.node = "other".into();
        new.data_dir = "elsewhere".into();
        assert_eq!(fixed_changes(&old, &new), ["data_dir", "limits.connect_timeout", "sys"]);
    }

    #[test]
    fn every_fixed_key_stays_as_it_was_and_the_others_do_not() {
        let old = Config::default();
        let mut new = old.clone();
        new.data_dir = "elsewhere".into();
        new.durability.max_unwritten.0 += 1;
        new.server.worker_threads = 3;
        new.log.format = crate::config::LogFormat::Json;
        new.auth.max_password_checks += 1;
        new.auth.max_waiting_password_checks += 1;
        new.limits.connect_timeout = crate::units::Span::seconds(3);
        new.quotas.user_connections += 1;
        new.rates.burst = crate::units::Span::seconds(3);
        new.shared_subscriptions.strategy = crate::routing::Strategy::Random;
        new.admin.dashboard = !old.admin.dashboard;
        new.sys.node = "other".into();
        new.limits.max_inflight = 3;
        assert_eq!(fixed_changes(&old, &new), FIXED, "a key is missing above");
        let held = keep_fixed(&old, &new);
        assert!(fixed_changes(&old, &held).is_empty());
        assert_eq!(held.limits.max_inflight, 3);
    }

    #[test]
    fn the_api_changes_what_can_change_and_leads_nowhere() {
        let schema = Schema::new();
        let may = |key: &str| by_api(&schema, &key.split('.').collect::<Vec<_>>()).is_ok();
        for key in ["log.level", "limits.max_inflight", "auth.allow_anonymous", "auth.http.timeout", "overload.shed_at"] {
            assert!(may(key), "{key}");
        }
        for key in [
            "log.format",
            "server.worker_threads",
            "limits.connect_timeout",
            "auth.acl_file",
            "auth.http.authenticate_url",
            "auth.jwt.public_keys",
            "auth.jwt.claims",
            "listeners",
            "listeners.message_rate",
            "bridges.password",
        ] {
            assert!(!may(key), "{key}");
        }
        let all = all_by_api(&schema);
        assert!(all.contains(&"rates.client_message_rate".into()) && all.len() > 50, "{all:?}");
        assert!(!all.iter().any(|key| key.contains("file") || key.contains("url")), "{all:?}");
    }
}
