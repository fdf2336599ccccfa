//! What strangers and broken clients do too often: failed logins, connections in a loop, two clients under one identifier.

mod config;
mod offender;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub use config::Protection;
use offender::{Offender, Rule};

use super::bans::{Ban, BanKind, Whose, wall_clock};
use super::handle::SessionHandle;
use super::rates::Recent;
use super::{AddressKey, Broker};
use crate::metrics::{Limit, Metrics};

/// Keeps in mind who has done what lately.
#[derive(Debug)]
pub struct Watch {
    protection: ArcSwap<Protection>,
    login_failures: Mutex<Recent<AddressKey, Offender>>,
    connections: Mutex<Recent<Arc<str>, Offender>>,
    takeovers: Mutex<Recent<Arc<str>, Offender>>,
}

impl Protection {
    const fn rule(&self, count: u32, window: Duration) -> Rule {
        Rule { count, window, ban_time: self.ban_time.0, max_ban_time: self.max_ban_time.0 }
    }

    const fn of_logins(&self) -> Rule {
        self.rule(self.login_failures, self.login_failure_window.0)
    }

    const fn of_connections(&self) -> Rule {
        self.rule(self.reconnects, self.reconnect_window.0)
    }

    /// Take-overs are not followed by a ban: the rule says when one more is too many, again and again.
    const fn of_takeovers(&self) -> Rule {
        let window = self.takeover_window.0;
        Rule { count: self.takeovers.saturating_add(1), window, ban_time: Duration::ZERO, max_ban_time: Duration::ZERO }
    }
}

impl Watch {
    pub fn new(protection: Protection) -> Self {
        let max = protection.max_watched;
        Self {
            protection: ArcSwap::from_pointee(protection),
            login_failures: Mutex::new(Recent::new(max)),
            connections: Mutex::new(Recent::new(max)),
            takeovers: Mutex::new(Recent::new(max)),
        }
    }

    /// New rules, from now on.
    pub fn set_protection(&self, protection: Protection) {
        self.login_failures.lock().set_max(protection.max_watched);
        self.connections.lock().set_max(protection.max_watched);
        self.takeovers.lock().set_max(protection.max_watched);
        self.protection.store(Arc::new(protection));
    }

    /// Whether a user gets the client identifier of another one's session.
    pub fn allows_client_id_reuse(&self) -> bool {
        self.protection.load().client_id_reuse
    }

    /// A login from there has failed; how long to ban the address or network for, if that was once too often.
    fn login_failed(&self, key: AddressKey, now: Instant) -> Option<Duration> {
        let protection = self.protection.load();
        if protection.login_failures == 0 {
            return None;
        }
        self.login_failures.lock().seen(&key, || Offender::new(now)).count(&protection.of_logins(), now)
    }

    /// The client was let in; how long to ban its identifier for, if that was once too often for `who` it is. That is asked for only
    /// where it counts.
    fn connects(&self, who: impl FnOnce() -> Box<str>, now: Instant) -> Option<Duration> {
        let protection = self.protection.load();
        if protection.reconnects == 0 {
            return None;
        }
        self.connections.lock().seen(&who().into(), || Offender::new(now)).count(&protection.of_connections(), now)
    }

    /// A connection is about to be pushed out by another one of its client identifier; whether it may be. One that may not is not
    /// counted, so that there is a take-over again when the window is over.
    pub(super) fn may_take_over(&self, registry_key: &Arc<str>, now: Instant) -> bool {
        let protection = self.protection.load();
        if protection.takeovers == 0 {
            return true;
        }
        self.takeovers.lock().seen(registry_key, || Offender::new(now)).may(&protection.of_takeovers(), now)
    }

    /// Forgets those of whom there is nothing to remember. Called now and then.
    pub fn sweep(&self, metrics: &Metrics, now: Instant) {
        let protection = self.protection.load();
        let mut forgotten = 0;
        for (table, rule) in [(&self.connections, protection.of_connections()), (&self.takeovers, protection.of_takeovers())] {
            let mut table = table.lock();
            table.retain(|_, offender| !offender.is_forgiven(&rule, now));
            forgotten += table.take_forgotten();
        }
        let mut failures = self.login_failures.lock();
        failures.retain(|_, offender| !offender.is_forgiven(&protection.of_logins(), now));
        metrics.limit_hits.add(Limit::MaxWatched, forgotten + failures.take_forgotten());
    }

    /// Addresses and client identifiers of which something is remembered.
    pub fn watched(&self) -> usize {
        self.login_failures.lock().count() + self.connections.lock().count() + self.takeovers.lock().count()
    }
}

impl Broker {
    /// A login has failed because of what the client has shown, or not shown.
    pub(super) fn login_has_failed(&self, address: Option<SocketAddr>, now: Instant) {
        let Some(address) = address else { return };
        let source = AddressKey::from(address.ip());
        let Some(time) = self.watch.login_failed(source, now) else { return };
        self.ban_for(BanKind::Address, &source.to_string(), None, time, Limit::LoginFailures, now);
    }

    /// A client was let in; whether it has come so often that it is banned now. Whoever was refused does not count, and others whose
    /// identifier is the same are not banned: nobody can have others banned.
    pub(super) fn comes_too_often(&self, handle: &SessionHandle, now: Instant) -> bool {
        let whose = || Whose::new(handle.principal.username.as_deref(), handle.mount_point.as_deref());
        let Some(time) = self.watch.connects(|| whose().key(handle.client_id()), now) else { return false };
        self.ban_for(BanKind::ClientId, handle.client_id(), Some(whose()), time, Limit::Reconnects, now);
        true
    }

    fn ban_for(&self, kind: BanKind, who: &str, of: Option<Whose>, time: Duration, limit: Limit, now: Instant) {
        self.metrics.limit_hits.count(limit);
        let at = wall_clock();
        let until = Some(at.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)));
        let reason = match limit {
            Limit::LoginFailures => "failed logins",
            _ => "connections in a loop",
        };
        let (value, by, of) = (who.into(), "protection".into(), of.map(Box::new));
        let result = self.bans.put(Ban { kind, value, reason: reason.into(), by, at, until, of }, at);
        if result.is_err() {
            self.metrics.limit_hits.count(Limit::MaxBans);
        }
        if let Some(suppressed) = self.log_limiter.allow("banned", now) {
            let error = result.err().map(|error| error.to_string());
            tracing::warn!(?kind, who, ?time, reason, error, suppressed, "banned");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Span;

    const SECOND: Duration = Duration::from_secs(1);

    fn source(address: &str) -> AddressKey {
        AddressKey::from(address.parse::<std::net::IpAddr>().unwrap())
    }

    fn watch(change: impl FnOnce(&mut Protection)) -> Watch {
        let mut protection = Protection::default();
        change(&mut protection);
        Watch::new(protection)
    }

    #[test]
    fn nothing_is_remembered_where_nothing_is_configured() {
        let (watch, now) = (watch(|protection| protection.takeovers = 0), Instant::now());
        for _ in 0..1000 {
            assert_eq!(watch.login_failed(source("192.0.2.1"), now), None);
            assert_eq!(watch.connects(|| "c".into(), now), None);
            assert!(watch.may_take_over(&"c".into(), now));
        }
        assert_eq!(watch.watched(), 0);
    }

    #[test]
    fn a_network_that_guesses_is_one_whatever_address_it_uses() {
        let (watch, now) = (watch(|protection| protection.login_failures = 3), Instant::now());
        let from = |address: &str| watch.login_failed(source(address), now);
        assert_eq!(["2001:db8::1", "2001:db8::2"].map(from), [None, None]);
        assert_eq!(from("192.0.2.1"), None);
        assert_eq!(from("2001:db8::3"), Some(SECOND * 60));
    }

    #[test]
    fn a_storm_of_take_overs_is_damped_and_not_stopped_for_ever() {
        let (watch, start, key) = (watch(|protection| protection.takeovers = 3), Instant::now(), Arc::from("c"));
        let may = |seconds: u32| watch.may_take_over(&key, start + SECOND * seconds);
        assert_eq!([0, 1, 2, 3, 4, 9].map(may), [true, true, true, false, false, false]);
        assert_eq!([10, 10, 10, 10].map(may), [true, true, true, false]);
        assert!(watch.may_take_over(&"d".into(), start));
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let (watch, start) =
            (watch(|protection| (protection.login_failures, protection.max_watched) = (3, 100)), Instant::now());
        let metrics = Metrics::default();
        for number in 0..10_000_u32 {
            watch.login_failed(AddressKey::V4(number.to_be_bytes()), start);
            assert!(watch.watched() <= 100);
        }
        watch.sweep(&metrics, start + Span::seconds(3600).0);
        assert_eq!(watch.watched(), 0);
        assert!(metrics.limit_hits.get(Limit::MaxWatched) > 9000);
    }
}
