use std::sync::Arc;

use super::admin_port::{key_error, tls_error};
use super::rights::{Outside, RightsLoader, RightsSource};
use crate::config::Config;
use crate::transport::tls::server_config;

/// What is wrong with the files that a config names, beyond their not being there: each file is read as at the start.
pub fn file_errors(config: &Config) -> Vec<String> {
    let mut loader = RightsLoader::new(&config.auth, Arc::default(), Outside::default());
    let mut errors = Vec::new();
    for listener in &config.listeners {
        // Whether it is on loopback decides about anonymous clients only, not about files.
        let rights = loader.load(&RightsSource::of(config, listener, false)).err();
        let tls = listener.tls.as_ref().and_then(|tls| server_config(tls).err());
        errors.extend(rights);
        errors.extend(tls.map(|error| format!("listener {:?}: {error}", listener.name)));
    }
    errors.extend(tls_error(config));
    errors.extend(key_error(config));
    errors.sort();
    errors.dedup();
    errors
}
