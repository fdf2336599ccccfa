use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::Broker;
use super::handle::SessionHandle;
use crate::metrics::Limit;
use crate::packet::DisconnectReason;

/// By what a client is known that may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BanKind {
    ClientId,
    /// The user name that it gives, or that its certificate has.
    Username,
    /// The address that it connects from, without the port.
    #[serde(rename = "peerhost")]
    Address,
}

/// Who may not come in, until when, and who says so. Times are milliseconds since 1970 by the wall clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    #[serde(rename = "as")]
    pub kind: BanKind,
    /// An address is written as the standard library writes it; one that maps IPv4 into IPv6 is written as IPv4.
    #[serde(rename = "who")]
    pub value: Box<str>,
    pub reason: Box<str>,
    pub by: Box<str>,
    pub at: u64,
    /// `None`: for ever.
    pub until: Option<u64>,
}

/// Why a ban could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// `max_bans` are in force.
    #[error("there are as many bans as [limits] max_bans allows")]
    Full,
    #[error("no address like 192.0.2.1 or 2001:db8::1")]
    NoAddress,
    #[error("it must have from 1 to 65535 bytes")]
    Length,
    #[error("it is over already")]
    Past,
}

/// Bytes of a ban's reason, and of the name of who made it; longer ones are cut.
const TEXT_MAX: usize = 256;

/// The bans in force, looked at in each CONNECT: free while there are none. Whoever keeps them over a restart looks at
/// [`Self::revision`].
#[derive(Debug)]
pub struct Bans {
    by_kind: RwLock<[HashMap<Box<str>, Arc<Ban>>; 3]>,
    /// How many there are, for the common case of none.
    count: AtomicUsize,
    max: AtomicUsize,
    revision: AtomicU64,
}

impl Bans {
    pub fn new(max: usize) -> Self {
        Self { by_kind: RwLock::default(), count: AtomicUsize::new(0), max: AtomicUsize::new(max), revision: AtomicU64::new(0) }
    }

    /// More than this are not taken from now on; those that are there stay.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Bans whom `value` means, in place of a ban on the same one. `by` is who says so: a key of the API, or the part of the broker.
    ///
    /// # Errors
    /// If there is no room, `value` is no address where one is due, or `until` is past.
    pub fn add(
        &self,
        kind: BanKind,
        value: &str,
        until: Option<u64>,
        reason: &str,
        by: &str,
        now: u64,
    ) -> Result<Arc<Ban>, BanError> {
        let value = canonical(kind, value)?;
        if until.is_some_and(|until| until <= now) {
            return Err(BanError::Past);
        }
        let (reason, by) = (cut(reason).into(), cut(by).into());
        self.put(Ban { kind, value, reason, by, at: now, until }, now)
    }

    /// A ban that was kept; its bounds were checked when it was made.
    pub fn put(&self, ban: Ban, now: u64) -> Result<Arc<Ban>, BanError> {
        let mut by_kind = self.by_kind.write();
        let max = self.max.load(Ordering::Relaxed);
        let count = |by_kind: &[HashMap<_, _>; 3]| by_kind.iter().map(HashMap::len).sum::<usize>();
        if !by_kind[ban.kind as usize].contains_key(&ban.value) && count(&by_kind) >= max {
            for bans in by_kind.iter_mut() {
                bans.retain(|_, ban| !is_over(ban, now));
            }
            if count(&by_kind) >= max {
                return Err(BanError::Full);
            }
        }
        let ban = Arc::new(ban);
        by_kind[ban.kind as usize].insert(ban.value.clone(), ban.clone());
        self.count.store(count(&by_kind), Ordering::Release);
        self.revision.fetch_add(1, Ordering::Release);
        Ok(ban)
    }

    /// Lets in again; whether there was a ban.
    pub fn remove(&self, kind: BanKind, value: &str) -> bool {
        let Ok(value) = canonical(kind, value) else { return false };
        let mut by_kind = self.by_kind.write();
        let was_there = by_kind[kind as usize].remove(&value).is_some();
        self.count.fetch_sub(usize::from(was_there), Ordering::Release);
        self.revision.fetch_add(u64::from(was_there), Ordering::Release);
        was_there
    }

    /// Forgets those whose time has passed; how many they were.
    pub fn drop_expired(&self, now: u64) -> usize {
        if self.count.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let mut by_kind = self.by_kind.write();
        let before: usize = by_kind.iter().map(HashMap::len).sum();
        for bans in by_kind.iter_mut() {
            bans.retain(|_, ban| !is_over(ban, now));
        }
        let after: usize = by_kind.iter().map(HashMap::len).sum();
        self.count.store(after, Ordering::Release);
        self.revision.fetch_add(u64::from(after < before), Ordering::Release);
        before - after
    }

    /// The ban on one who wants in, if there is one.
    pub fn find(&self, client_id: &str, username: Option<&str>, address: Option<SocketAddr>) -> Option<Arc<Ban>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let by_kind = self.by_kind.read();
        let find = |kind: BanKind, value: &str| by_kind[kind as usize].get(value);
        let of_address = || {
            let bans = &by_kind[BanKind::Address as usize];
            let address = address.filter(|_| !bans.is_empty())?;
            bans.get(address.ip().to_canonical().to_string().as_str())
        };
        let found = find(BanKind::ClientId, client_id)
            .or_else(|| find(BanKind::Username, username?))
            .or_else(of_address)
            .filter(|ban| ban.until.is_none() || !is_over(ban, wall_clock()));
        found.cloned()
    }

    /// The ban on exactly this.
    pub fn get(&self, kind: BanKind, value: &str) -> Option<Arc<Ban>> {
        let value = canonical(kind, value).ok()?;
        let ban = self.by_kind.read()[kind as usize].get(&value).cloned();
        ban.filter(|ban| !is_over(ban, wall_clock()))
    }

    /// All that are in force, by kind and value.
    pub fn all(&self) -> Vec<Arc<Ban>> {
        let now = wall_clock();
        let by_kind = self.by_kind.read();
        let mut all: Vec<_> = by_kind.iter().flat_map(HashMap::values).filter(|ban| !is_over(ban, now)).cloned().collect();
        drop(by_kind);
        all.sort_by(|a, b| (a.kind, &a.value).cmp(&(b.kind, &b.value)));
        all
    }

    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts up with every change.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }
}

impl Broker {
    /// Bans, and ends the connections that the ban is on, with 0x98 (Administrative action). Returns how many these were. The caller
    /// sees to it that the ban is kept.
    ///
    /// # Errors
    /// As [`Bans::add`].
    pub fn ban(&self, kind: BanKind, value: &str, until: Option<u64>, reason: &str, by: &str) -> Result<usize, BanError> {
        let ban = self.bans.add(kind, value, until, reason, by, wall_clock()).inspect_err(|error| {
            if *error == BanError::Full {
                self.metrics.limit_hits.count(Limit::MaxBans);
            }
        })?;
        let is_meant = |handle: &SessionHandle, address: Option<SocketAddr>| match ban.kind {
            BanKind::ClientId => *handle.principal.client_id == *ban.value,
            BanKind::Username => handle.principal.username.as_deref() == Some(&ban.value),
            BanKind::Address => address.is_some_and(|address| address.ip().to_canonical().to_string() == *ban.value),
        };
        let mut ended = 0;
        self.registry.visit(|handle| {
            handle.lock(|slot| {
                let Some(online) = slot.online.as_mut().filter(|online| is_meant(handle, online.address)) else { return };
                online.close(DisconnectReason::AdministrativeAction);
                ended += 1;
            });
        });
        Ok(ended)
    }
}

/// Milliseconds since 1970.
pub fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn is_over(ban: &Ban, now: u64) -> bool {
    ban.until.is_some_and(|until| until <= now)
}

fn canonical(kind: BanKind, value: &str) -> Result<Box<str>, BanError> {
    if kind == BanKind::Address {
        let address: IpAddr = value.parse().map_err(|_| BanError::NoAddress)?;
        return Ok(address.to_canonical().to_string().into());
    }
    if value.is_empty() || value.len() > usize::from(u16::MAX) { Err(BanError::Length) } else { Ok(value.into()) }
}

fn cut(text: &str) -> &str {
    let end = (0..=TEXT_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u64 = u64::MAX;

    fn is_banned(bans: &Bans, client_id: &str, username: &str, address: &str) -> bool {
        bans.find(client_id, Some(username), Some(address.parse().unwrap())).is_some()
    }

    #[test]
    fn a_client_is_found_by_each_of_its_names() {
        let bans = Bans::new(10);
        let none = "192.0.2.1:1000";
        assert!(!is_banned(&bans, "c", "u", none));
        bans.add(BanKind::ClientId, "c", None, "", "", 0).unwrap();
        bans.add(BanKind::Username, "u", Some(FAR), "", "", 0).unwrap();
        bans.add(BanKind::Address, "::ffff:192.0.2.9", None, "", "", 0).unwrap();
        assert!(
            is_banned(&bans, "c", "x", none) && is_banned(&bans, "x", "u", none) && is_banned(&bans, "x", "x", "192.0.2.9:1")
        );
        assert!(is_banned(&bans, "x", "x", "[::ffff:192.0.2.9]:1"));
        assert!(!is_banned(&bans, "u", "c", none));
        assert!(bans.remove(BanKind::Address, "192.0.2.9") && !bans.remove(BanKind::Address, "192.0.2.9"));
        assert!(!is_banned(&bans, "x", "x", "192.0.2.9:1"));
        assert_eq!(bans.len(), 2);
    }

    #[test]
    fn one_whose_time_has_passed_holds_nobody_back_and_makes_room() {
        let bans = Bans::new(2);
        bans.add(BanKind::ClientId, "past", Some(5), "", "", 4).unwrap();
        bans.add(BanKind::ClientId, "for ever", None, "", "", 4).unwrap();
        assert_eq!(bans.all().len(), 1);
        assert!(bans.find("past", None, None).is_none());
        assert_eq!(bans.add(BanKind::ClientId, "third", None, "", "", 4), Err(BanError::Full));
        bans.add(BanKind::ClientId, "third", None, "", "", 5).unwrap();
        assert_eq!(bans.add(BanKind::ClientId, "fourth", None, "", "", 5), Err(BanError::Full));
        bans.add(BanKind::ClientId, "third", Some(FAR), "", "", 5).unwrap();
        assert_eq!((bans.len(), bans.drop_expired(6)), (2, 0));
    }

    #[test]
    fn every_change_is_a_revision_and_what_is_wrong_is_none() {
        let bans = Bans::new(10);
        assert_eq!(bans.add(BanKind::Address, "host", None, "", "", 0), Err(BanError::NoAddress));
        assert_eq!(bans.add(BanKind::ClientId, "", None, "", "", 0), Err(BanError::Length));
        assert_eq!(bans.add(BanKind::ClientId, "c", Some(3), "", "", 3), Err(BanError::Past));
        assert!(!bans.remove(BanKind::ClientId, "c"));
        assert_eq!(bans.revision(), 0);
        bans.add(BanKind::ClientId, "c", None, &"ä".repeat(200), "", 0).unwrap();
        assert_eq!(bans.get(BanKind::ClientId, "c").unwrap().reason.len(), 256);
        bans.remove(BanKind::ClientId, "c");
        assert_eq!(bans.revision(), 2);
    }
}
