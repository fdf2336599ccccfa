//! The one place where sessions, routing, rights and what is kept meet. No sockets: bytes come in through [`Client`], and what is to
//! be written waits in each session's outbox.

mod bans;
mod client;
mod connect;
mod deliver;
mod door;
mod effects;
mod ending;
mod events;
mod expiry;
mod handle;
mod inspect;
mod log_limiter;
mod login;
mod login_flow;
mod outbox;
mod pace;
mod publish;
mod recheck;
mod registry;
mod restore;
mod retained;
mod router;
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

pub use bans::{Ban, BanError, BanKind, Bans, wall_clock};
pub use client::{Client, Written};
pub use deliver::Deliveries;
pub use door::{Admission, Door, Origin, Rights};
pub use effects::{Effects, Waiter};
pub use ending::{By, Closed};
pub use events::{Event, EventKind};
pub use handle::SessionHandle;
pub use inspect::{LastEnd, OnlineView, QueuedView, RetainedView, Safe, SessionView};
pub use log_limiter::{LogLimiter, Rate};
pub use outbox::{DirectWrite, SLICES_MAX};
pub use pace::Pace;
pub use publish::{Matched, Publisher};
pub use restore::{Recovered, RightsOf};
pub use trace::{FOLLOWERS_MAX, Follow, Following, TraceLine};

use crate::metrics::Metrics;
use crate::packet::DisconnectReason;
use crate::routing::Strategy;
use crate::session::{Limits, TimerWheel};
use crate::storage::{Journal, Level};
use expiry::Timer;
use login::PasswordChecks;
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
    timers: Mutex<TimerWheel<Timer>>,
    password_checks: PasswordChecks,
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
}

/// What a broker is made of.
#[derive(Debug)]
pub struct BrokerSettings {
    pub limits: Limits,
    pub strategy: Strategy,
    /// Passwords checked at the same time, and logins that may wait for that.
    pub password_checks: (usize, usize),
    pub metrics: Arc<Metrics>,
    pub events: Option<mpsc::Sender<Event>>,
    pub journal: Option<Arc<Journal<Waiter>>>,
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
            timers: Mutex::new(TimerWheel::new(now)),
            password_checks: PasswordChecks::new(running_max, waiting_max),
            metrics: settings.metrics,
            log_limiter: LogLimiter::default(),
            events: settings.events,
            journal: settings.journal,
            hand_overs: RwLock::default(),
        });
        broker.schedule(now, Timer::RetainedExpiry);
        broker
    }

    /// The limits that hold for all; listeners may have their own.
    pub fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }

    /// New limits, for those who connect from now on and for what is shared.
    pub fn set_limits(&self, limits: Limits) {
        self.bans.set_max(limits.max_bans);
        self.limits.store(Arc::new(limits));
    }

    /// Brings the gauges of what is kept up to date: called before they are read.
    pub fn measure(&self) {
        let (subscriptions, shared) = self.router.counts();
        self.metrics.subscriptions.set(subscriptions as u64);
        self.metrics.shared_subscriptions.set(shared as u64);
        let (messages, bytes) = self.retained.counts();
        self.metrics.retained_messages.set(messages as u64);
        self.metrics.retained_bytes.set(bytes as u64);
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

    /// What sessions survive that outlive their connection.
    fn stored_level(&self) -> Level {
        self.journal.as_ref().map_or(Level::Memory, |journal| journal.session_level())
    }

    /// Sessions that have a connection now.
    pub fn online(&self) -> u64 {
        self.metrics.sessions.online.get()
    }
}
