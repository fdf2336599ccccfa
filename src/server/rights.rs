//! Password and ACL files, read for each listener.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::auth::{AclFile, Authenticator, Authorizer, PasswordFile};
use crate::config::Config;
use crate::transport::ListenerConfig;

/// Reads each file once, however many listeners name it.
#[derive(Default)]
pub struct RightsLoader {
    passwords: HashMap<PathBuf, Arc<PasswordFile>>,
    acls: HashMap<PathBuf, Arc<AclFile>>,
}

impl RightsLoader {
    /// Who may come in through `listener`, and what they may do. Anonymous clients are let in where the config says so, or else where
    /// all clients are on this machine and there is no password file.
    pub fn load(
        &mut self,
        config: &Config,
        listener: &ListenerConfig,
        is_loopback: bool,
    ) -> Result<(Authenticator, Authorizer), String> {
        let password_file = listener.password_file.as_ref().or(config.auth.password_file.as_ref());
        let acl_file = listener.acl_file.as_ref().or(config.auth.acl_file.as_ref());
        let passwords = password_file.map(|path| read_once(&mut self.passwords, path, PasswordFile::load)).transpose()?;
        let acl = acl_file.map(|path| read_once(&mut self.acls, path, AclFile::load)).transpose()?;
        let configured = listener.allow_anonymous.or(config.auth.allow_anonymous);
        let allow_anonymous = configured.unwrap_or_else(|| is_loopback && passwords.is_none());
        Ok((Authenticator::new(allow_anonymous, passwords), Authorizer::new(acl)))
    }
}

fn read_once<T, E: Display>(
    known: &mut HashMap<PathBuf, Arc<T>>,
    path: &Path,
    load: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<Arc<T>, String> {
    if let Some(file) = known.get(path) {
        return Ok(file.clone());
    }
    let file = Arc::new(load(path).map_err(|error| error.to_string())?);
    known.insert(path.to_owned(), file.clone());
    Ok(file)
}
