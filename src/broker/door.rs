use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use super::rates::{Flow, SharedBuckets};
use crate::auth::{Authenticator, Authorizer, Principal};
use crate::metrics::{Limit, ListenerMetrics};
use crate::packet::{ProtocolVersion, TopicFilter, TopicName};
use crate::session::Limits;

/// What the broker knows of a listener: the rules for all who come through it. Replaced as a whole when the config is read again.
#[derive(Debug)]
pub struct Door {
    pub name: Arc<str>,
    pub versions: Vec<ProtocolVersion>,
    /// Put before every topic of its clients; `None` for none.
    pub mount_point: Option<Arc<str>>,
    /// Read again on SIGHUP; a connection keeps those that it began with.
    pub limits: ArcSwap<Limits>,
    pub rights: Arc<Rights>,
    pub metrics: Arc<ListenerMetrics>,
    /// What may come in a second from all its clients together, and what has.
    pub flow: ArcSwap<Flow>,
    pub buckets: SharedBuckets,
}

/// A connection's place among those that there may be. Dropping it gives the place back.
pub trait Admission: Send {
    /// The client has said who it is: it counts as connected from now on, or has met this limit.
    fn admit(&mut self) -> Result<(), Limit>;
}

/// Where a connection comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub door: Arc<Door>,
    /// `None` on a Unix socket.
    pub address: Option<SocketAddr>,
    /// The user name that the client's certificate stands for, verified.
    pub certificate_identity: Option<String>,
    /// The listener takes user names from certificates, and the client's has none that is fit for one.
    pub has_nameless_certificate: bool,
}

impl Origin {
    /// The address for logs.
    pub fn peer(&self) -> String {
        self.address.map_or_else(|| "unix".into(), |address| address.to_string())
    }
}

/// Who may come in and what they may do: shared by the listeners that have the same files, replaced when these are read again.
#[derive(Debug)]
pub struct Rights {
    authenticator: ArcSwap<Authenticator>,
    authorizer: ArcSwap<Authorizer>,
    /// Kept beside the authorizer, for the hot path.
    is_unrestricted: AtomicBool,
}

impl Rights {
    pub fn new(authenticator: Authenticator, authorizer: Authorizer) -> Self {
        let is_unrestricted = AtomicBool::new(authorizer.is_unrestricted());
        Self {
            authenticator: ArcSwap::from_pointee(authenticator),
            authorizer: ArcSwap::from_pointee(authorizer),
            is_unrestricted,
        }
    }

    /// Takes over what was read anew. Those who are connected are looked at again by [`super::Broker::recheck_rights`].
    pub fn replace(&self, authenticator: Authenticator, authorizer: Authorizer) {
        self.is_unrestricted.store(authorizer.is_unrestricted(), Ordering::Release);
        self.authenticator.store(Arc::new(authenticator));
        self.authorizer.store(Arc::new(authorizer));
    }

    pub fn authenticator(&self) -> Arc<Authenticator> {
        self.authenticator.load_full()
    }

    pub fn may_publish(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        (self.is_unrestricted() && !topic.is_dollar()) || self.authorizer.load().may_publish(who, topic)
    }

    pub fn may_read(&self, who: &Principal, topic: TopicName<'_>) -> bool {
        self.is_unrestricted() || self.authorizer.load().may_read(who, topic)
    }

    pub fn may_subscribe(&self, who: &Principal, filter: &TopicFilter) -> bool {
        self.is_unrestricted() || self.authorizer.load().may_subscribe(who, filter)
    }

    pub fn is_unrestricted(&self) -> bool {
        self.is_unrestricted.load(Ordering::Acquire)
    }
}
