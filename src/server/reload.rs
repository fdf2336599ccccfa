use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::check::file_errors;
use super::house::{House, OpenDoor, gate_limits, listener_flow, listener_limits, warn_of_expiry};
use super::kept_file;
use super::office::Reloaded;
use super::rights::{Outside, RightsLoader, RightsSource};
use crate::admin::{ConfigChanged, ConfigRefusal};
use crate::broker::{Door, Revocations, Rights};
use crate::cli::logging;
use crate::config::{Change, Changed, Config, Loaded, fixed_changes, keep_fixed};
use crate::transport::ListenerConfig;
use crate::transport::config::TlsConfig;
use crate::transport::tls::Revoked;

impl House {
    /// Reads the config again and takes over what can be taken over while running; an error in it, or in a file that it names, changes
    /// nothing. Rights and limits hold at once; connections keep what was negotiated with them.
    /// Gives the keys that take effect at the next start only, or what is wrong.
    pub async fn reload(&mut self) -> Reloaded {
        let started = Instant::now();
        let source = self.source.read_again();
        let loaded = match source.load_all() {
            Ok(loaded) => loaded,
            Err(errors) => return refused(errors.to_string()),
        };
        // A right that is taken away must not look gone while the file that says so cannot be read.
        let errors = file_errors(&loaded.config);
        if !errors.is_empty() {
            return refused(errors.join("\n"));
        }
        let unchangeable = self.unchangeable(&loaded.config);
        for key in &unchangeable {
            tracing::warn!(key, "a change of this takes effect at the next start");
        }
        for warning in loaded.overrides.warnings() {
            tracing::warn!("{warning}");
        }
        self.tell_of_left_over(&loaded.config);
        self.source = source;
        self.take_over(loaded, true, started).await;
        tracing::info!(seconds = started.elapsed().as_secs_f64(), "config reloaded");
        Ok(unchangeable.into_iter().map(String::from).collect())
    }

    /// Makes a change of the overrides: checked as at a start, then on disk, then in force. The config file counts as it was when it was last
    /// read. On an error nothing has changed.
    pub async fn change(&mut self, change: &Change) -> Result<ConfigChanged, ConfigRefusal> {
        let started = Instant::now();
        let Changed { loaded, text, set, taken_back } = self.source.with_change(change)?;
        self.check_files(&loaded.config)?;
        self.keep(&loaded.overrides.file, text).await?;
        let overridden = loaded.overrides.keys.clone();
        // A level that was set for the time being goes on, unless this is about it.
        let sets_level = set.iter().chain(&taken_back).any(|key| key == "log.level");
        self.take_over(loaded, sets_level, started).await;
        tracing::info!(?set, ?taken_back, seconds = started.elapsed().as_secs_f64(), "config changed");
        Ok(ConfigChanged { set, taken_back, overridden })
    }

    /// Errors in files, and combinations of keys, that are found out when they are used; those that are there already do not hold up a
    /// change of something else.
    fn check_files(&self, config: &Config) -> Result<(), ConfigRefusal> {
        // Of what was read last: a listener that waits for the next start is not in force yet.
        let before = self.source.load_all().map(|loaded| file_errors(&loaded.config)).unwrap_or_default();
        let new: Vec<_> = file_errors(config).into_iter().filter(|error| !before.contains(error)).collect();
        if new.is_empty() { Ok(()) } else { Err(ConfigRefusal::Wrong(new.join("\n"))) }
    }

    async fn keep(&self, file: &Path, text: Option<String>) -> Result<(), ConfigRefusal> {
        let path = file.to_path_buf();
        let kept = tokio::task::spawn_blocking(move || {
            let (folder, name) = (path.parent().unwrap_or_else(|| Path::new(".")), path.file_name().unwrap_or_default());
            let name = name.to_string_lossy();
            match text {
                Some(text) => kept_file::replace(folder, &name, text.as_bytes()),
                None => kept_file::remove(folder, &name),
            }
        });
        let kept = kept.await.map_err(std::io::Error::other).and_then(|kept| kept);
        kept.map_err(|error| ConfigRefusal::NotKept(format!("{}: {error}", file.display())))
    }

    /// Lets a config hold that is right, as far as it can while running.
    async fn take_over(&mut self, mut loaded: Loaded, sets_level: bool, started: Instant) {
        let named: HashSet<String> = loaded.config.listeners.iter().map(|listener| listener.name.clone()).collect();
        loaded.config = self.in_force(&loaded.config);
        let config = &loaded.config;
        if sets_level {
            if let Err(error) = logging::set_level(&config.log.level) {
                tracing::error!(%error, "the log level stays as it was");
            }
            self.office.set_shown_level(&config.log.level);
        }
        self.broker.set_limits(config.limits.clone());
        self.gate.set_limits(gate_limits(&config.limits));
        self.broker.watch.set_protection(config.protection.clone());
        self.overload.store(config.overload.clone().into());
        self.broker.pacing.set_rates(config.rates.clone());
        let per_address = config.rates.connections(config.rates.address_connection_rate);
        self.gate.set_address_rate(per_address, config.rates.max_tracked);
        let outside = self.reload_doors(config, &named);
        self.broker.set_session_limits(|name| self.doors.get(name).map(|open| open.door.limits.load_full()));
        self.outside = outside;
        self.broker.configure_queues(&config.queues, config.work_queues.clone(), started);
        self.broker.recheck_rights(started);
        self.bridges.apply(config).await;
        if let Some(admin) = &self.admin {
            admin.reload(config);
        }
        self.office.reloaded(&loaded, self.source.changeable());
        self.config = loaded.config;
    }

    /// The config as it holds once `new` is read: with what takes effect at a start only as it was, and with the listeners that are open.
    fn in_force(&self, new: &Config) -> Config {
        let listeners = self.config.listeners.iter().map(|running| {
            match new.listeners.iter().find(|listener| listener.name == running.name) {
                Some(listener) => with_fixed_of(running, listener),
                None => self.left_over(running, new),
            }
        });
        Config { listeners: listeners.collect(), ..keep_fixed(&self.config, new) }
    }

    /// A listener that the config names no more, with users and rights of its own, so that a change of `[auth]` opens it no wider. If it
    /// has them together with one that is named, they are that one's.
    fn left_over(&self, running: &ListenerConfig, new: &Config) -> ListenerConfig {
        let Some(open) = self.doors.get(&running.name) else { return running.clone() };
        let of_sharer = new.listeners.iter().find_map(|listener| {
            let sharer = self.doors.get(&listener.name).filter(|sharer| Arc::ptr_eq(&sharer.door.rights, &open.door.rights))?;
            Some(RightsSource::of(new, listener, sharer.context.is_loopback))
        });
        let own = || RightsSource::of(&self.config, running, open.context.is_loopback);
        of_sharer.unwrap_or_else(own).said_by(running)
    }

    /// Doors that the config names no more stay open, which whoever took them out hardly expects.
    fn tell_of_left_over(&self, new: &Config) {
        let is_named = |name: &str| new.listeners.iter().any(|listener| listener.name == name);
        for listener in self.config.listeners.iter().filter(|listener| !is_named(&listener.name)) {
            tracing::error!(
                listener = listener.name,
                "the config does not name this listener any more: it stays open until the next start, with the users and rights it had"
            );
        }
    }

    fn reload_doors(&self, config: &Config, named: &HashSet<String>) -> Outside {
        let outside = self.reload_rights(config, named);
        for listener in &config.listeners {
            let Some(open) = self.doors.get(&listener.name) else { continue };
            open.door.limits.store(listener_limits(&config.limits, listener).into());
            open.door.flow.store(listener_flow(&config.rates, listener).into());
            if let (Some(slot), Some(tls)) = (&open.tls, &listener.tls) {
                match slot.reload(tls) {
                    Ok(()) => {
                        open.door.metrics.certificate_expiry.set(slot.expires_at());
                        tracing::info!(listener = listener.name, "certificates read again");
                        warn_of_expiry(&listener.name, slot.expires_at());
                        self.end_revoked(&open.door, tls);
                    }
                    Err(error) => tracing::error!(listener = listener.name, %error, "certificates stay as they were"),
                }
            }
        }
        outside
    }

    /// Whoever has come in by a certificate that was revoked meanwhile goes, and whoever has only shown one does not come in.
    fn end_revoked(&self, door: &Door, tls: &TlsConfig) {
        if tls.crl.is_empty() {
            door.revoked.store(None);
            return;
        }
        let listener = &*door.name;
        match Revoked::load(&tls.crl) {
            Ok(revoked) => {
                let revoked: Arc<Box<dyn Revocations>> = Arc::new(Box::new(revoked));
                // First: who is let in after this looks there, who was let in before is found here.
                door.revoked.store(Some(revoked.clone()));
                let ended = self.broker.disconnect_revoked(|certificate| revoked.contains(certificate));
                tracing::info!(listener, ended, "connections with revoked certificates");
            }
            Err(error) => tracing::error!(listener, %error, "revoked certificates are not looked for"),
        }
    }

    /// Listeners that had the same files at the start share their rights, and go on doing so. One that is not `named` any more does not lose
    /// the server that is asked what its clients may do.
    fn reload_rights(&self, config: &Config, named: &HashSet<String>) -> Outside {
        let mut loader = RightsLoader::new(&config.auth, self.broker.metrics.clone(), self.outside.clone());
        for Shared { rights, listener, source, is_torn } in self.shared_rights(config) {
            let loaded = if is_torn {
                Err("listeners that began with the same users and rights get different ones at the next start".into())
            } else {
                loader.load(&source)
            };
            let is_named = |name: &String| self.doors.get(name).is_some_and(|open| Arc::ptr_eq(&open.door.rights, rights));
            match loaded {
                Ok((_, authorizer)) if authorizer.hook().is_none() && rights.asks() && !named.iter().any(is_named) => {
                    tracing::error!(listener, "users and rights stay as they were: the config names this listener no more");
                }
                Ok((authenticator, authorizer)) => rights.replace(authenticator, authorizer),
                Err(cause) => tracing::error!(listener, cause, "users and rights stay as they were"),
            }
        }
        let (outside, fetchers) = loader.finish();
        fetchers.into_iter().for_each(|fetcher| drop(tokio::spawn(fetcher.run())));
        outside
    }

    /// All users and rights, and what the config makes of them.
    fn shared_rights<'a>(&'a self, config: &'a Config) -> Vec<Shared<'a>> {
        let mut all: Vec<Shared<'_>> = Vec::new();
        for listener in &config.listeners {
            let Some(OpenDoor { door, context, .. }) = self.doors.get(&listener.name) else { continue };
            let (rights, source) = (&door.rights, RightsSource::of(config, listener, context.is_loopback));
            match all.iter_mut().find(|shared| Arc::ptr_eq(shared.rights, rights)) {
                Some(shared) => shared.is_torn |= shared.source != source,
                None => all.push(Shared { rights, listener: &listener.name, source, is_torn: false }),
            }
        }
        all
    }

    /// The keys that differ from the config in force and cannot be changed while running.
    fn unchangeable(&self, new: &Config) -> Vec<&'static str> {
        let fixed = |listeners: &[ListenerConfig]| -> Vec<_> {
            let mut all: Vec<_> = listeners
                .iter()
                .map(|listener| {
                    let ListenerConfig { name, url, versions, mount_point, proxy_protocol, .. } = listener;
                    let identity = listener.tls.as_ref().map(|tls| tls.identity);
                    let origins = listener.allowed_origins.clone();
                    let parts = (name.clone(), url.clone(), versions.clone(), mount_point.clone());
                    let bounds = (listener.max_connections, listener.connection_rate);
                    (parts, *proxy_protocol, bounds, identity, origins)
                })
                .collect();
            // In which order they stand means nothing.
            all.sort_by(|(one, ..), (other, ..)| one.cmp(other));
            all
        };
        let mut changes = fixed_changes(&self.config, new);
        let is_torn = self.shared_rights(&self.in_force(new)).iter().any(|shared| shared.is_torn);
        if is_torn || fixed(&self.config.listeners) != fixed(&new.listeners) {
            changes.push("listeners");
        }
        changes
    }
}

/// Users and rights that some listeners have together, as they had the same files at the start.
struct Shared<'a> {
    rights: &'a Arc<Rights>,
    /// One of them.
    listener: &'a str,
    source: RightsSource,
    /// The config gives others of them others.
    is_torn: bool,
}

/// Tells the log what is wrong, and whoever asked.
fn refused(errors: String) -> Reloaded {
    tracing::error!(%errors, "the config has errors; all stays as it was");
    Err(errors)
}

/// A listener as it holds: what it began with, and of the new config what can change.
fn with_fixed_of(running: &ListenerConfig, new: &ListenerConfig) -> ListenerConfig {
    let tls = running.tls.as_ref().map(|running| match &new.tls {
        Some(new) => TlsConfig { identity: running.identity, ..new.clone() },
        None => running.clone(),
    });
    ListenerConfig {
        url: running.url.clone(),
        versions: running.versions.clone(),
        mount_point: running.mount_point.clone(),
        proxy_protocol: running.proxy_protocol,
        max_connections: running.max_connections,
        connection_rate: running.connection_rate,
        allowed_origins: running.allowed_origins.clone(),
        tls,
        ..new.clone()
    }
}
