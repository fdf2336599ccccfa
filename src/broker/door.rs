use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::bridges::BRIDGE_PREFIX;
use super::rates::{Flow, SharedBuckets};
use crate::auth::{Asker, Authenticator, Authorizer, Hook, MountPoint, Opinion};
use crate::metrics::{Limit, ListenerMetrics};
use crate::packet::{ProtocolVersion, TopicFilter, TopicName};
use crate::session::Limits;

/// What the broker knows of a listener: the rules for all who come through it. Replaced as a whole when the config is read again.
#[derive(Debug)]
pub struct Door {
    pub name: Arc<str>,
    pub versions: Vec<ProtocolVersion>,
    /// Put before every topic of its clients; `None` for none.
    pub mount_point: Option<MountPoint>,
    /// Read again on SIGHUP; a connection keeps those that it began with.
    pub limits: ArcSwap<Limits>,
    pub rights: Arc<Rights>,
    /// What was revoked since the listener was opened: a handshake may have been done before.
    pub revoked: ArcSwapOption<Box<dyn Revocations>>,
    pub metrics: Arc<ListenerMetrics>,
    /// What may come in a second from all its clients together, and what has.
    pub flow: ArcSwap<Flow>,
    pub buckets: SharedBuckets,
}

impl Door {
    /// It is that of a bridge of this broker, which no stranger comes in by: what protects from strangers does not hold it back.
    pub fn is_own(&self) -> bool {
        self.name.starts_with(BRIDGE_PREFIX)
    }
}

/// Certificates that are not good any more.
pub trait Revocations: Debug + Send + Sync {
    /// Whether this one, in DER, is among them.
    fn contains(&self, certificate: &[u8]) -> bool;
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
    /// What the client's certificate has told, if it has shown one.
    pub certificate: Option<Box<Certificate>>,
}

/// A certificate that was verified.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The user name that it stands for.
    pub identity: Option<String>,
    /// Itself, in DER: it may be revoked while its client is connected.
    pub der: Arc<[u8]>,
    /// The listener takes user names from certificates, and this one has none that is fit for one.
    pub is_nameless: bool,
}

impl Origin {
    /// The client's certificate in DER.
    pub fn certificate_der(&self) -> Option<&Arc<[u8]>> {
        self.certificate.as_ref().map(|certificate| &certificate.der)
    }

    /// Whether the client's certificate is not good any more.
    pub fn is_revoked(&self) -> bool {
        let revoked = self.door.revoked.load();
        let certificate = revoked.as_ref().zip(self.certificate_der());
        certificate.is_some_and(|(revoked, certificate)| revoked.contains(certificate))
    }

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
    /// What must be asked, kept beside the authorizer for the hot path.
    kind: AtomicU8,
    /// How often they were read anew.
    revision: AtomicU64,
}

/// All may be done, but to write to `$SYS`.
const UNRESTRICTED: u8 = 1;
/// Two clients of one name may have different rights.
const PERSONAL: u8 = 2;
/// Somebody outside is asked.
const ASKING: u8 = 4;

fn kind(authorizer: &Authorizer) -> u8 {
    let flag = |is_so: bool, flag: u8| if is_so { flag } else { 0 };
    flag(authorizer.is_unrestricted(), UNRESTRICTED)
        | flag(authorizer.is_personal(), PERSONAL)
        | flag(authorizer.hook().is_some(), ASKING)
}

impl Rights {
    pub fn new(authenticator: Authenticator, authorizer: Authorizer) -> Self {
        let kind = AtomicU8::new(kind(&authorizer));
        Self {
            authenticator: ArcSwap::from_pointee(authenticator),
            authorizer: ArcSwap::from_pointee(authorizer),
            kind,
            revision: AtomicU64::new(0),
        }
    }

    /// Takes over what was read anew. Those who are connected are looked at again by [`super::Broker::recheck_rights`].
    pub fn replace(&self, authenticator: Authenticator, authorizer: Authorizer) {
        self.kind.store(kind(&authorizer), Ordering::Release);
        self.authenticator.store(Arc::new(authenticator));
        self.authorizer.store(Arc::new(authorizer));
        self.revision.fetch_add(1, Ordering::Release);
    }

    /// Whether somebody outside is asked what clients may do.
    pub fn asks(&self) -> bool {
        self.kind.load(Ordering::Acquire) & ASKING != 0
    }

    /// Counts up when they are read anew.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub fn authenticator(&self) -> Arc<Authenticator> {
        self.authenticator.load_full()
    }

    pub fn on_publish(&self, asker: &Asker<'_>, topic: TopicName<'_>) -> Opinion {
        self.authorizer.load().on_publish(asker, topic)
    }

    pub fn may_read(&self, asker: &Asker<'_>, topic: TopicName<'_>) -> bool {
        self.is_unrestricted() || self.authorizer.load().on_read(asker, topic)
    }

    pub fn on_subscribe(&self, asker: &Asker<'_>, filter: &TopicFilter) -> Opinion {
        self.authorizer.load().on_subscribe(asker, filter)
    }

    /// Who is asked what the files leave open.
    pub fn hook(&self) -> Option<Arc<dyn Hook>> {
        self.authorizer.load().hook().cloned()
    }

    pub fn is_unrestricted(&self) -> bool {
        self.kind.load(Ordering::Acquire) & UNRESTRICTED != 0
    }

    /// Whether two clients of one name may have different rights.
    pub fn is_personal(&self) -> bool {
        self.kind.load(Ordering::Acquire) & PERSONAL != 0
    }

    /// Whether somebody outside is asked.
    pub fn is_asking(&self) -> bool {
        self.kind.load(Ordering::Acquire) & ASKING != 0
    }
}
