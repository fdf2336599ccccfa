//! The one place where sessions, routing, rights and what is kept meet. No sockets: bytes come in through [`Client`], and what is to
//! be written waits in each session's outbox.

mod address;
mod asking;
mod author;
mod bans;
mod bridges;
mod client;
mod connect;
mod deliver;
mod door;
mod effects;
mod ending;
mod events;
mod expiry;
mod handle;
mod inflow;
mod inspect;
mod log_limiter;
mod login;
mod login_checks;
mod login_flow;
mod outbox;
mod overload;
mod protection;
mod publish;
mod queues;
mod quotas;
mod rates;
mod recheck;
mod registry;
mod restore;
mod retained;
mod route;
mod router;
mod share;
mod standing;
mod storing;
mod subscribe;
mod supply;
#[cfg(test)]
mod tests;
mod trace;
mod wills;
mod wire_log;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;

pub use address::AddressKey;
pub use bans::{Ban, BanError, BanKind, Bans, Whose, wall_clock};
pub use bridges::BRIDGE_PREFIX;
pub use client::{Client, Written};
pub use deliver::Deliveries;
pub use door::{Admission, Certificate, Door, Origin, Revocations, Rights};
pub use effects::{Effects, Waiter};
pub use ending::{By, Closed};
pub use events::{Event, EventKind};
pub use handle::SessionHandle;
pub use inflow::Inflow;
pub use inspect::{LastEnd, OnlineView, QueuedView, RetainedView, Safe, SessionView};
pub use log_limiter::{LogLimiter, Rate as LogRate};
pub use login_checks::HashingThreads;
pub use outbox::{DirectWrite, SLICES_MAX};
pub use overload::{Overload, OverloadConfig, OverloadGauge, Stage};
pub use protection::{Protection, Watch};
pub use publish::{Matched, Publisher};
pub use queues::{
    AutoCreate, DefineError, Definition as QueueDefinition, OperateError, Origin as QueueOrigin, PeekedMessage, QueueDetails,
    QueueFold, QueueId, QueueSettings, QueueSummary,
};
pub use quotas::Quotas;
pub use rates::{Bucket, Buckets, Flow, Pacing, Rate, Rates, Recent, SharedBuckets};
pub use restore::{Recovered, RightsOf};
pub use trace::{FOLLOWERS_MAX, Follow, Following, TraceLine};

use crate::metrics::Metrics;
use crate::packet::DisconnectReason;
use crate::routing::Strategy;
use crate::session::{Limits, TimerWheel};
use crate::storage::{Clock, Journal, Level};
use expiry::Timer;
use login_checks::LoginChecks;
use queues::Queues;
use quotas::Accounts;
use registry::Registry;
use retained::Retained;
use router::Router;
use trace::Traces;

/// The state that all connections share.
pub struct Broker {
    limits: ArcSwap<Limits>,
    registry: Registry,
    router: Router,
    retained: Retained,
    queues: Queues,
    timers: Mutex<TimerWheel<Timer>>,
    login_checks: LoginChecks,
    pub metrics: Arc<Metrics>,
    pub bans: Bans,
    traces: Traces,
    log_limiter: LogLimiter,
    /// Who comes and goes, for whoever wants to tell it; when nobody keeps up it is dropped.
    events: Option<mpsc::Sender<Event>>,
    /// Where what is to survive is told; `None` where nothing is.
    journal: Option<Arc<Journal<Waiter>>>,
    /// Held for reading while messages go from one session to another.
    hand_overs: RwLock<()>,
    /// How much may come in a second.
    pub pacing: Pacing,
    /// Who has done what too often.
    pub watch: Watch,
    /// What users have.
    pub accounts: Accounts,
    /// What is given up because memory runs short.
    pub overload: Overload,
}

/// What a broker is made of.
#[derive(Debug)]
pub struct BrokerSettings {
    pub limits: Limits,
    pub rates: Rates,
    pub protection: Protection,
    pub quotas: Quotas,
    pub strategy: Strategy,
    /// Passwords checked at the same time, and logins that may wait for that.
    pub password_checks: (usize, usize),
    /// Whose threads they are hashed on; without one, those of the runtime that the clients are served by.
    pub hashing: Option<HashingThreads>,
    pub metrics: Arc<Metrics>,
    pub events: Option<mpsc::Sender<Event>>,
    pub journal: Option<Arc<Journal<Waiter>>>,
    pub queues: QueueSettings,
    /// The journal's, if there is one.
    pub clock: Clock,
}

impl Broker {
    pub fn new(settings: BrokerSettings, now: Instant) -> Arc<Self> {
        let (running_max, waiting_max) = settings.password_checks;
        let broker = Arc::new(Self {
            bans: Bans::new(settings.limits.max_bans),
            traces: Traces::default(),
            limits: ArcSwap::from_pointee(settings.limits),
            registry: Registry::default(),
            router: Router::new(settings.strategy),
            retained: Retained::default(),
            queues: Queues::new(settings.queues, settings.clock, now),
            timers: Mutex::new(TimerWheel::new(now)),
            login_checks: LoginChecks::new(running_max, waiting_max, settings.hashing),
            metrics: settings.metrics,
            log_limiter: LogLimiter::default(),
            events: settings.events,
            journal: settings.journal,
            hand_overs: RwLock::default(),
            pacing: Pacing::new(settings.rates),
            watch: Watch::new(settings.protection),
            accounts: Accounts::new(&settings.quotas),
            overload: Overload::default(),
        });
        broker.schedule(now, Timer::RetainedExpiry);
        broker
    }

    /// The limits that hold for all; listeners may have their own.
    pub fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }

    /// New limits, for what is shared and for those who connect from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.bans.set_max(limits.max_bans);
        self.limits.store(Arc::new(limits));
    }

    /// New limits for the sessions that are there: what each may keep. `of` tells those of the listener that a session was made at.
    /// What was negotiated with a connection stays as it is until the next one.
    pub fn set_session_limits(&self, of: impl Fn(&str) -> Option<Arc<Limits>>) {
        for handle in self.registry.all() {
            if let Some(limits) = of(&handle.listener) {
                handle.lock(|slot| slot.limits = limits);
            }
        }
    }

    /// Brings the gauges of what is kept up to date: called before they are read.
    pub fn measure(&self, now: Instant) {
        self.measure_queues(now);
        let (subscriptions, shared) = self.router.counts();
        self.metrics.subscriptions.set(subscriptions as u64);
        self.metrics.shared_subscriptions.set(shared as u64);
        let (messages, bytes) = self.retained.counts();
        self.metrics.retained_messages.set(messages as u64);
        self.metrics.retained_bytes.set(bytes as u64);
        self.metrics.tracked_rates.set(self.pacing.tracked() as u64);
        self.metrics.watched.set(self.watch.watched() as u64);
        let online = self.metrics.sessions.online.get();
        self.metrics.sessions.offline.set((self.registry.len() as u64).saturating_sub(online));
    }

    /// Asks all connections to end.
    pub fn disconnect_all(&self, reason: DisconnectReason) {
        for handle in self.registry.all() {
            handle.lock(|slot| {
                if let Some(online) = &mut slot.online {
                    online.close(reason);
                }
            });
        }
    }

    /// Asks the connections to end whose certificate, in DER, is revoked. Returns how many.
    pub fn disconnect_revoked(&self, is_revoked: impl Fn(&[u8]) -> bool) -> usize {
        let sessions = self.registry.all();
        let ends = |handle: &Arc<SessionHandle>| {
            let certificate = handle.lock(|slot| slot.online.as_ref().and_then(|online| online.certificate().cloned()));
            let Some(certificate) = certificate.filter(|certificate| is_revoked(certificate)) else { return false };
            handle.lock(|slot| {
                let online = slot.online.as_mut().filter(|online| online.certificate() == Some(&certificate));
                online.is_some_and(|online| {
                    online.close(DisconnectReason::NotAuthorized);
                    true
                })
            })
        };
        sessions.iter().filter(|handle| ends(handle)).count()
    }

    /// What sessions survive that outlive their connection.
    fn stored_level(&self) -> Level {
        self.journal.as_ref().map_or(Level::Memory, |journal| journal.session_level())
    }

    /// Sessions that have a connection now.
    pub fn online(&self) -> u64 {
        self.metrics.sessions.online.get()
    }
}
