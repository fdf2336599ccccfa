//! Password and ACL files, read for each listener.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::auth::{AclFile, Authenticator, Authorizer, PasswordFile};
use crate::broker::Rights;
use crate::config::Config;
use crate::transport::ListenerConfig;

/// What the users and rights of a listener are made of. Listeners for which it is the same share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RightsSource {
    password_file: Option<PathBuf>,
    acl_file: Option<PathBuf>,
    allow_anonymous: bool,
}

impl RightsSource {
    /// Anonymous clients are let in where the config says so, or else where all clients are on this machine and there is no password
    /// file.
    pub fn of(config: &Config, listener: &ListenerConfig, is_loopback: bool) -> Self {
        let password_file = listener.password_file.clone().or_else(|| config.auth.password_file.clone());
        let acl_file = listener.acl_file.clone().or_else(|| config.auth.acl_file.clone());
        let configured = listener.allow_anonymous.or(config.auth.allow_anonymous);
        let allow_anonymous = configured.unwrap_or_else(|| is_loopback && password_file.is_none());
        Self { password_file, acl_file, allow_anonymous }
    }
}

/// Reads each file once, however many listeners name it.
#[derive(Default)]
pub struct RightsLoader {
    passwords: HashMap<PathBuf, Arc<PasswordFile>>,
    acls: HashMap<PathBuf, Arc<AclFile>>,
    shared: HashMap<RightsSource, Arc<Rights>>,
}

impl RightsLoader {
    /// Who may come in, and what they may do. The error names the file and its line.
    pub fn load(&mut self, source: &RightsSource) -> Result<(Authenticator, Authorizer), String> {
        let RightsSource { password_file, acl_file, allow_anonymous } = source;
        let passwords =
            password_file.as_ref().map(|path| read_once(&mut self.passwords, path, PasswordFile::load)).transpose()?;
        let acl = acl_file.as_ref().map(|path| read_once(&mut self.acls, path, AclFile::load)).transpose()?;
        Ok((Authenticator::new(*allow_anonymous, passwords), Authorizer::new(acl)))
    }

    /// The same, shared by all who have the same source.
    pub fn share(&mut self, source: RightsSource) -> Result<Arc<Rights>, String> {
        if let Some(rights) = self.shared.get(&source) {
            return Ok(rights.clone());
        }
        let (authenticator, authorizer) = self.load(&source)?;
        let rights = Arc::new(Rights::new(authenticator, authorizer));
        self.shared.insert(source, rights.clone());
        Ok(rights)
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
