//! The admin port: where it is bound, who may use it, and that it ends last.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::StartError;
use crate::admin::{self, Accept, Access, AdminState, AdminTlsConfig, Pending, Stream};
use crate::auth::ApiKeys;
use crate::cli::exit;
use crate::config::{Config, ConfigSource};
use crate::transport::url::HostPort;
use crate::transport::{TlsAcceptorSlot, TlsConfig};

/// Time for answers that are under way at the end.
const STOP_TIME: Duration = Duration::from_millis(500);

/// Addresses that are bound, and not served yet.
pub struct BoundPort {
    /// `None` where it could not be had, and was not asked for.
    main: Option<TcpListener>,
    metrics: Option<TcpListener>,
    tls: Option<Arc<TlsAcceptorSlot>>,
    pub access: Arc<Access>,
}

/// The admin port as it is served. It outlives the listeners: while clients are sent away it tells that no more may come.
pub struct AdminPort {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    tls: Option<Arc<TlsAcceptorSlot>>,
    access: Arc<Access>,
}

impl BoundPort {
    /// Reads keys and certificates and binds. An API without keys is not served but on loopback.
    pub async fn bind(config: &Config, source: &ConfigSource) -> Result<Self, StartError> {
        let admin = &config.admin;
        let wrong = |cause: String| StartError { code: exit::CONFIG, cause };
        let keys = admin.api.key_file.as_deref().filter(|_| admin.api.enabled).map(load).transpose().map_err(wrong)?;
        let tls = admin.tls.as_ref().map(|tls| TlsAcceptorSlot::new(&tls_config(tls), b"http/1.1")).transpose();
        let tls = tls.map_err(|error| wrong(format!("[admin.tls]: {error}")))?.map(Arc::new);
        let main = bind(&admin.bind, "admin.bind", source).await?;
        let metrics = bind(&admin.metrics_bind, "admin.metrics_bind", source).await?;
        let is_open = admin.api.enabled && keys.is_none();
        if let Some(Ok(address)) = main.as_ref().map(TcpListener::local_addr)
            && is_open
            && !address.ip().is_loopback()
        {
            return Err(wrong(format!("[admin] bind {address}: {}", crate::config::OPEN_API)));
        }
        for (listener, what) in [(&main, "admin listening"), (&metrics, "metrics listening")] {
            if let Some(Ok(address)) = listener.as_ref().map(TcpListener::local_addr) {
                tracing::info!(address = address.to_string(), "{what}");
            }
        }
        Ok(Self { main, metrics, tls, access: Arc::new(Access::new(keys)) })
    }

    /// Whether anybody can ask for figures.
    pub const fn is_there(&self) -> bool {
        self.main.is_some() || self.metrics.is_some()
    }

    /// `state` is that of the main port; the one for metrics has no API.
    pub fn serve(self, state: AdminState) -> AdminPort {
        let (stop, stopping) = watch::channel(false);
        let accept = self.tls.clone().map(accept_tls);
        let plain = AdminState { api: None, accept: None, ..state.clone() };
        let ports = [(self.main, AdminState { accept, ..state }), (self.metrics, plain)];
        let serve = |(listener, state): (Option<TcpListener>, AdminState)| {
            let mut stopping = stopping.clone();
            let shutdown = async move { drop(stopping.wait_for(|stop| *stop).await) };
            Some(tokio::spawn(admin::serve(listener?, state, shutdown)))
        };
        AdminPort { stop, tasks: ports.into_iter().filter_map(serve).collect(), tls: self.tls, access: self.access }
    }
}

impl AdminPort {
    /// Reads keys and certificates again; what cannot be read stays as it was.
    pub fn reload(&self, config: &Config) {
        if let Some(path) = config.admin.api.key_file.as_deref().filter(|_| config.admin.api.enabled) {
            match load(path) {
                Ok(keys) => self.access.replace(keys),
                Err(error) => tracing::error!(error, "API keys stay as they were"),
            }
        }
        if let (Some(slot), Some(tls)) = (&self.tls, &config.admin.tls)
            && let Err(error) = slot.reload(&tls_config(tls))
        {
            tracing::error!(%error, "the admin port's certificate stays as it was");
        }
    }

    pub async fn close(self) {
        let _ = self.stop.send(true); // no receiver, no task
        for task in self.tasks {
            let _ = timeout(STOP_TIME, task).await; // the rest is cut
        }
    }
}

fn load(path: &Path) -> Result<ApiKeys, String> {
    ApiKeys::load(path).map_err(|error| error.to_string())
}

fn tls_config(tls: &AdminTlsConfig) -> TlsConfig {
    TlsConfig {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        more: Vec::new(),
        client_ca: None,
        client_certificates: Default::default(),
        crl: Vec::new(),
        identity: Default::default(),
        min_version: "1.2".into(),
    }
}

/// What is wrong with the certificate of the admin port, if anything is.
pub fn tls_error(config: &Config) -> Option<String> {
    let tls = config.admin.tls.as_ref()?;
    TlsAcceptorSlot::new(&tls_config(tls), b"http/1.1").err().map(|error| format!("[admin.tls]: {error}"))
}

/// What is wrong with the file of API keys, if anything is.
pub fn key_error(config: &Config) -> Option<String> {
    config.admin.api.key_file.as_deref().and_then(|path| load(path).err())
}

fn accept_tls(slot: Arc<TlsAcceptorSlot>) -> Accept {
    Arc::new(move |stream: TcpStream| -> Pending<std::io::Result<Box<dyn Stream>>> {
        let slot = slot.clone();
        Box::pin(async move { slot.accept(stream).await.map(|stream| Box::new(stream) as Box<dyn Stream>) })
    })
}

/// The default admin port may be taken by another broker on this machine: then this one goes without. One that was asked for must
/// be had.
async fn bind(to: &str, key: &str, source: &ConfigSource) -> Result<Option<TcpListener>, StartError> {
    if to == "none" {
        return Ok(None);
    }
    let bound = async {
        let address = HostPort::parse(to, 18083).map_err(|error| error.to_string())?;
        TcpListener::bind(address.to_string()).await.map_err(|error| error.to_string())
    };
    match bound.await {
        Ok(listener) => Ok(Some(listener)),
        Err(cause) if source.sets(key) => {
            let (section, key) = key.split_once('.').unwrap_or(("admin", key));
            Err(StartError { code: exit::CANNOT_BIND, cause: format!("[{section}] {key} {to}: {cause}") })
        }
        Err(cause) => {
            tracing::warn!(bind = to, cause, "no admin port: metrics and health are not served");
            Ok(None)
        }
    }
}
