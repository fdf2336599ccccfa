use std::sync::Arc;
use std::time::Instant;

use super::house::{House, OpenDoor, gate_limits, listener_limits, warn_of_expiry};
use super::office::Reloaded;
use super::rights::{Outside, RightsLoader, RightsSource};
use crate::broker::Rights;
use crate::cli::logging;
use crate::config::Config;
use crate::transport::ListenerConfig;
use crate::transport::config::TlsConfig;
use crate::transport::tls::Revoked;

impl House {
    /// Reads the config again and takes over what can be taken over while running; a config with an error changes nothing. Connections
    /// keep the limits that they began with; rights hold at once.
    /// Gives the keys that take effect at the next start only, or what is wrong.
    pub async fn reload(&mut self) -> Reloaded {
        let started = Instant::now();
        let config = match self.source.load() {
            Ok(config) => config,
            Err(errors) => {
                tracing::error!(%errors, "the config has errors; all stays as it was");
                return Err(errors.to_string());
            }
        };
        let unchangeable = self.unchangeable(&config);
        for key in &unchangeable {
            tracing::warn!(key, "a change of this takes effect at the next start");
        }
        if let Err(error) = logging::set_level(&config.log.level) {
            tracing::error!(%error, "the log level stays as it was");
        }
        self.broker.set_limits(config.limits.clone());
        self.gate.set_limits(gate_limits(&config.limits));
        let outside = self.reload_doors(&config);
        self.outside = outside;
        self.broker.configure_queues(&config.queues, config.work_queues.clone(), started);
        self.broker.recheck_rights(started);
        self.bridges.apply(&config).await;
        if let Some(admin) = &self.admin {
            admin.reload(&config);
        }
        self.office.reloaded(&config);
        self.config = config;
        tracing::info!(seconds = started.elapsed().as_secs_f64(), "config reloaded");
        Ok(unchangeable.into_iter().map(String::from).collect())
    }

    fn reload_doors(&self, config: &Config) -> Outside {
        let outside = self.reload_rights(config);
        for listener in &config.listeners {
            let Some(open) = self.doors.get(&listener.name) else { continue };
            open.door.limits.store(listener_limits(&config.limits, listener).into());
            if let (Some(slot), Some(tls)) = (&open.tls, &listener.tls) {
                match slot.reload(tls) {
                    Ok(()) => {
                        open.door.metrics.certificate_expiry.set(slot.expires_at());
                        tracing::info!(listener = listener.name, "certificates read again");
                        warn_of_expiry(&listener.name, slot.expires_at());
                        self.end_revoked(&listener.name, tls);
                    }
                    Err(error) => tracing::error!(listener = listener.name, %error, "certificates stay as they were"),
                }
            }
        }
        outside
    }

    /// Whoever has come in by a certificate that was revoked meanwhile goes.
    fn end_revoked(&self, listener: &str, tls: &TlsConfig) {
        if tls.crl.is_empty() {
            return;
        }
        match Revoked::load(&tls.crl) {
            Ok(revoked) => {
                let ended = self.broker.disconnect_revoked(|certificate| revoked.contains(certificate));
                tracing::info!(listener, ended, "connections with revoked certificates");
            }
            Err(error) => tracing::error!(listener, %error, "revoked certificates are not looked for"),
        }
    }

    /// Listeners that had the same files at the start share their rights, and go on doing so.
    fn reload_rights(&self, config: &Config) -> Outside {
        let mut loader = RightsLoader::new(&config.auth, self.broker.metrics.clone(), self.outside.clone());
        let mut groups: Vec<(&Arc<Rights>, &str, RightsSource)> = Vec::new();
        let mut torn: Vec<&Arc<Rights>> = Vec::new();
        for listener in &config.listeners {
            let Some(OpenDoor { door, context, .. }) = self.doors.get(&listener.name) else { continue };
            let source = RightsSource::of(config, listener, context.is_loopback);
            match groups.iter().find(|(rights, ..)| Arc::ptr_eq(rights, &door.rights)) {
                Some((.., first)) if *first != source => torn.push(&door.rights),
                Some(_) => {}
                None => groups.push((&door.rights, &listener.name, source)),
            }
        }
        for (rights, listener, source) in groups {
            let loaded = if torn.iter().any(|torn| Arc::ptr_eq(torn, rights)) {
                Err("listeners that began with the same users and rights get different ones at the next start".into())
            } else {
                loader.load(&source)
            };
            match loaded {
                Ok((authenticator, authorizer)) => rights.replace(authenticator, authorizer),
                Err(cause) => tracing::error!(listener, cause, "users and rights stay as they were"),
            }
        }
        let (outside, fetchers) = loader.finish();
        fetchers.into_iter().for_each(|fetcher| drop(tokio::spawn(fetcher.run())));
        outside
    }

    /// The keys that differ from the running config and cannot be changed while running.
    fn unchangeable(&self, new: &Config) -> Vec<&'static str> {
        let old = &self.config;
        let fixed = |listeners: &[ListenerConfig]| -> Vec<_> {
            listeners
                .iter()
                .map(|listener| {
                    let ListenerConfig { name, url, versions, mount_point, proxy_protocol, max_connections, .. } = listener;
                    let identity = listener.tls.as_ref().map(|tls| tls.identity);
                    let origins = listener.allowed_origins.clone();
                    let parts = (name.clone(), url.clone(), versions.clone(), mount_point.clone());
                    (parts, *proxy_protocol, *max_connections, identity, origins)
                })
                .collect()
        };
        let changes = [
            ("data_dir", old.data_dir != new.data_dir),
            ("durability", old.durability != new.durability),
            ("server", old.server != new.server),
            ("log.format", old.log.format != new.log.format),
            ("listeners", fixed(&old.listeners) != fixed(&new.listeners)),
            ("auth.max_password_checks", old.auth.max_password_checks != new.auth.max_password_checks),
            ("auth.max_waiting_password_checks", old.auth.max_waiting_password_checks != new.auth.max_waiting_password_checks),
            ("limits.connect_timeout", old.limits.connect_timeout != new.limits.connect_timeout),
            ("shared_subscriptions", old.shared_subscriptions != new.shared_subscriptions),
            ("admin", old.admin != new.admin),
            ("sys", old.sys != new.sys),
        ];
        changes.into_iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| key).collect()
    }
}
