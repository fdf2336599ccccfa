//! Users and rights, read for each listener.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::Uri;

use crate::auth::jwt::{KeySet, TokenRules, Tokens};
use crate::auth::{
    AclFile, AuthConfig, Authenticator, Authorizer, Hook, JwtConfig, Method, MethodName, PasswordFile, RequiredClaim, Template,
};
use crate::broker::Rights;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::remote::{HttpClient, HttpHook, KeyFetcher};
use crate::transport::ListenerConfig;

/// What the users and rights of a listener are made of. Listeners for which it is the same share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RightsSource {
    methods: Vec<MethodName>,
    password_file: Option<PathBuf>,
    acl_file: Option<PathBuf>,
}

impl RightsSource {
    /// The methods that the config names, or else all that it configures. Then anonymous clients are let in where it says so, or else
    /// where all clients are on this machine and nothing else could let anybody in by name.
    pub fn of(config: &Config, listener: &ListenerConfig, is_loopback: bool) -> Self {
        let auth = &config.auth;
        let password_file = listener.password_file.clone().or_else(|| auth.password_file.clone());
        let acl_file = listener.acl_file.clone().or_else(|| auth.acl_file.clone());
        // What the listener says of anonymous clients itself counts more than what the methods of all do.
        let explicit = match (&listener.methods, listener.allow_anonymous) {
            (Some(methods), _) => Some(methods.clone()),
            (None, None) => auth.methods.clone(),
            (None, Some(is_let_in)) => auth.methods.clone().map(|mut methods| {
                methods.retain(|method| *method != MethodName::Anonymous);
                methods.extend(is_let_in.then_some(MethodName::Anonymous));
                methods
            }),
        };
        let methods = explicit.unwrap_or_else(|| {
            let named = [
                (MethodName::Jwt, auth.jwt.is_some()),
                (MethodName::Password, password_file.is_some()),
                (MethodName::Http, auth.http.as_ref().is_some_and(|http| http.authenticate_url.is_some())),
            ];
            let has_names = named.iter().any(|(_, is_there)| *is_there);
            let configured = listener.allow_anonymous.or(auth.allow_anonymous);
            let allows_anonymous = configured.unwrap_or(is_loopback && !has_names);
            let named = named.into_iter().filter(|(_, is_there)| *is_there).map(|(method, _)| method);
            let anonymous = allows_anonymous.then_some(MethodName::Anonymous);
            [MethodName::Certificate].into_iter().chain(named).chain(anonymous).collect()
        });
        Self { methods, password_file, acl_file }
    }

    /// The listener with all of this in its own table.
    pub fn said_by(self, listener: &ListenerConfig) -> ListenerConfig {
        let Self { methods, password_file, acl_file } = self;
        ListenerConfig { methods: Some(methods), allow_anonymous: None, password_file, acl_file, ..listener.clone() }
    }
}

/// Those outside, and the keys of tokens: one for all listeners.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    tokens: Option<(JwtConfig, Arc<Tokens>)>,
    hook: Option<Arc<dyn Hook>>,
}

/// Reads each file once, however many listeners name it.
pub struct RightsLoader<'a> {
    auth: &'a AuthConfig,
    metrics: Arc<Metrics>,
    /// What was there before a reload: keys from the same URL are taken over.
    before: Outside,
    outside: Outside,
    /// Those that are still to be started.
    fetchers: Vec<KeyFetcher>,
    passwords: HashMap<PathBuf, Arc<PasswordFile>>,
    acls: HashMap<PathBuf, Arc<AclFile>>,
    shared: HashMap<RightsSource, Arc<Rights>>,
}

impl<'a> RightsLoader<'a> {
    pub fn new(auth: &'a AuthConfig, metrics: Arc<Metrics>, before: Outside) -> Self {
        Self {
            auth,
            metrics,
            before,
            outside: Outside::default(),
            fetchers: Vec::new(),
            passwords: HashMap::new(),
            acls: HashMap::new(),
            shared: HashMap::new(),
        }
    }

    /// Who may come in, and what they may do. The error names the file and its line.
    pub fn load(&mut self, source: &RightsSource) -> Result<(Authenticator, Authorizer), String> {
        let RightsSource { methods, password_file, acl_file } = source;
        let mut chain = Vec::new();
        for method in methods {
            chain.push(match method {
                MethodName::Certificate => Method::Certificate,
                MethodName::Anonymous => Method::Anyone,
                MethodName::Password => {
                    let path = password_file.as_ref().ok_or("the method \"password\" needs a password_file")?;
                    Method::Passwords(read_once(&mut self.passwords, path, PasswordFile::load)?)
                }
                MethodName::Jwt => Method::Tokens(self.tokens()?),
                MethodName::Http => Method::Hook(self.hook()?.ok_or("the method \"http\" needs [auth.http]")?),
            });
        }
        let acl = acl_file.as_ref().map(|path| read_once(&mut self.acls, path, AclFile::load)).transpose()?;
        let authenticator = Authenticator::of(chain);
        let hook = self.hook()?.filter(|hook| hook.authorizes());
        let authorizer = Authorizer::new(acl).with_others(authenticator.takes_grants(), hook);
        Ok((authenticator, authorizer))
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

    /// Those outside that were made, and what keeps their keys fresh, to be run.
    pub fn finish(self) -> (Outside, Vec<KeyFetcher>) {
        // Where nothing could be made, what was there goes on.
        let Outside { tokens, hook } = self.outside;
        (Outside { tokens: tokens.or(self.before.tokens), hook: hook.or(self.before.hook) }, self.fetchers)
    }

    fn hook(&mut self) -> Result<Option<Arc<dyn Hook>>, String> {
        let Some(config) = &self.auth.http else { return Ok(None) };
        if self.outside.hook.is_none() {
            self.outside.hook = Some(Arc::new(HttpHook::new(config, self.metrics.clone())?));
        }
        Ok(self.outside.hook.clone())
    }

    fn tokens(&mut self) -> Result<Arc<Tokens>, String> {
        let config = self.auth.jwt.as_ref().ok_or("the method \"jwt\" needs [auth.jwt]")?;
        if let Some((_, tokens)) = &self.outside.tokens {
            return Ok(tokens.clone());
        }
        let tokens = Arc::new(Tokens::new(token_rules(config)?, fixed_keys(config)?, config.jwks_url.is_some()));
        if let Some(url) = &config.jwks_url {
            let url: Uri = url.parse().map_err(|error| format!("[auth.jwt] jwks_url: {error}"))?;
            let size_max = usize::try_from(config.max_jwks_size.0).unwrap_or(usize::MAX);
            let client = HttpClient::new(config.ca_file.as_deref(), config.timeout.0, size_max, 1)?;
            let before = self.before.tokens.as_ref().filter(|(before, _)| before.jwks_url == config.jwks_url);
            if let Some((_, before)) = before {
                tokens.inherit(before);
            }
            let times = (config.refresh.0, config.max_stale.0);
            self.fetchers.push(KeyFetcher::new(&tokens, client, url, times, self.metrics.clone()));
        }
        self.outside.tokens = Some((config.clone(), tokens.clone()));
        Ok(tokens)
    }
}

fn token_rules(config: &JwtConfig) -> Result<TokenRules, String> {
    let required = config.claims.iter().map(|RequiredClaim { name, value }| {
        let template = Template::parse(value).map_err(|error| format!("[[auth.jwt.claims]] {name}: {error}"))?;
        Ok((name.clone(), template))
    });
    Ok(TokenRules {
        algorithms: config.algorithms.clone(),
        user_claim: config.user_claim.clone(),
        acl_claim: config.acl_claim.clone(),
        required: required.collect::<Result<_, String>>()?,
        leeway: config.leeway.0.as_secs() + u64::from(config.leeway.0.subsec_nanos() > 0),
        require_expiry: config.require_expiry,
    })
}

fn fixed_keys(config: &JwtConfig) -> Result<KeySet, String> {
    let secret = config.secret_file.as_deref().map(KeySet::load_secret);
    let public = config.public_keys.iter().map(|path| KeySet::load_pem(path));
    let set = config.jwks_file.as_deref().map(KeySet::load_jwks);
    let mut all = KeySet::default();
    for keys in secret.into_iter().chain(public).chain(set) {
        all = all.and(keys.map_err(|error| error.to_string())?);
    }
    Ok(all)
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
