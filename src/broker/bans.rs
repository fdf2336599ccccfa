use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::handle::SessionHandle;
use super::{AddressKey, Broker};
use crate::metrics::Limit;
use crate::packet::DisconnectReason;

/// By what a client is known that may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BanKind {
    ClientId,
    /// The user name that it gives, or that its certificate has.
    Username,
    /// The address that it connects from, without the port, or its /64 network of IPv6.
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
    /// Of a client identifier, if it is banned for these alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Box<Whose>>,
}

/// Whose a client identifier is: others, with another name or in another tenant, may have the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whose {
    /// `None`: of anonymous clients.
    pub username: Option<Box<str>>,
    /// `None`: of clients without one.
    pub mount_point: Option<Box<str>>,
}

impl Ban {
    /// What tells it from others of its kind.
    pub fn key(&self) -> Box<str> {
        self.of.as_ref().map_or_else(|| self.value.clone(), |of| of.key(&self.value))
    }
}

impl Whose {
    pub fn new(username: Option<&str>, mount_point: Option<&str>) -> Self {
        Self { username: username.map(Into::into), mount_point: mount_point.map(Into::into) }
    }

    /// Client identifiers contain no NUL.
    pub fn key(&self, client_id: &str) -> Box<str> {
        format!("{client_id}\0{:?}\0{:?}", self.mount_point, self.username).into()
    }
}

/// Why a ban could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// `max_bans` are in force.
    #[error("there are as many bans as [limits] max_bans allows")]
    Full,
    #[error("no address like 192.0.2.1 or 2001:db8::1, and no network like 2001:db8::/64")]
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
        self.put(Ban { kind, value, reason, by, at: now, until, of: None }, now)
    }

    /// A ban that was kept; its bounds were checked when it was made.
    pub fn put(&self, ban: Ban, now: u64) -> Result<Arc<Ban>, BanError> {
        let mut by_kind = self.by_kind.write();
        let max = self.max.load(Ordering::Relaxed);
        let count = |by_kind: &[HashMap<_, _>; 3]| by_kind.iter().map(HashMap::len).sum::<usize>();
        let key = ban.key();
        if !by_kind[ban.kind as usize].contains_key(&key) && count(&by_kind) >= max {
            for bans in by_kind.iter_mut() {
                bans.retain(|_, ban| !is_over(ban, now));
            }
            if count(&by_kind) >= max {
                return Err(BanError::Full);
            }
        }
        let ban = Arc::new(ban);
        by_kind[ban.kind as usize].insert(key, ban.clone());
        self.count.store(count(&by_kind), Ordering::Release);
        self.revision.fetch_add(1, Ordering::Release);
        Ok(ban)
    }

    /// Lets in again, whosever it is; whether there was a ban.
    pub fn remove(&self, kind: BanKind, value: &str) -> bool {
        let Ok(value) = canonical(kind, value) else { return false };
        let mut by_kind = self.by_kind.write();
        let bans = &mut by_kind[kind as usize];
        let before = bans.len();
        bans.retain(|_, ban| ban.value != value);
        let removed = before - bans.len();
        self.count.fetch_sub(removed, Ordering::Release);
        self.revision.fetch_add(u64::from(removed > 0), Ordering::Release);
        removed > 0
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
        // One that is over must not hide another that is not.
        let is_in_force = |ban: &&Arc<Ban>| ban.until.is_none() || !is_over(ban, wall_clock());
        let find = |kind: BanKind, value: &str| by_kind[kind as usize].get(value).filter(is_in_force);
        let of_address = || {
            let address = address.filter(|_| !by_kind[BanKind::Address as usize].is_empty())?;
            names_of(address.ip()).iter().find_map(|name| find(BanKind::Address, name))
        };
        let found = find(BanKind::ClientId, client_id).or_else(|| find(BanKind::Username, username?)).or_else(of_address);
        found.cloned()
    }

    /// Whether a client identifier is banned for these alone.
    pub fn has_own(&self, client_id: &str, username: Option<&str>, mount_point: Option<&str>) -> bool {
        if self.is_empty() {
            return false;
        }
        let by_kind = self.by_kind.read();
        let ban = by_kind[BanKind::ClientId as usize].get(&Whose::new(username, mount_point).key(client_id));
        ban.is_some_and(|ban| !is_over(ban, wall_clock()))
    }

    /// The ban on exactly this, or one on it for some alone.
    pub fn get(&self, kind: BanKind, value: &str) -> Option<Arc<Ban>> {
        let (value, now) = (canonical(kind, value).ok()?, wall_clock());
        let by_kind = self.by_kind.read();
        let bans = &by_kind[kind as usize];
        let is_in_force = |ban: &&Arc<Ban>| !is_over(ban, now);
        let any = || bans.values().find(|ban| ban.value == value && is_in_force(ban));
        bans.get(&value).filter(is_in_force).or_else(any).cloned()
    }

    /// All that are in force, by kind and value.
    pub fn all(&self) -> Vec<Arc<Ban>> {
        let now = wall_clock();
        let by_kind = self.by_kind.read();
        let mut all: Vec<_> = by_kind.iter().flat_map(HashMap::values).filter(|ban| !is_over(ban, now)).cloned().collect();
        drop(by_kind);
        all.sort_by_cached_key(|ban| (ban.kind, ban.key()));
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
            BanKind::Address => address.is_some_and(|address| names_of(address.ip()).iter().any(|name| **name == *ban.value)),
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

/// What an address may be banned as: itself, and its network, which for IPv4 is itself again.
fn names_of(address: IpAddr) -> [String; 2] {
    [address.to_canonical().to_string(), AddressKey::from(address).to_string()]
}

fn canonical(kind: BanKind, value: &str) -> Result<Box<str>, BanError> {
    if kind == BanKind::Address {
        return canonical_address(value).ok_or(BanError::NoAddress);
    }
    if value.is_empty() || value.len() > usize::from(u16::MAX) { Err(BanError::Length) } else { Ok(value.into()) }
}

fn canonical_address(value: &str) -> Option<Box<str>> {
    let Some(network) = value.strip_suffix("/64") else {
        return Some(value.parse::<IpAddr>().ok()?.to_canonical().to_string().into());
    };
    match AddressKey::from(network.parse::<IpAddr>().ok()?) {
        AddressKey::V4(_) => None,
        network @ AddressKey::V6Network(_) => Some(network.to_string().into()),
    }
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
    fn a_ban_that_is_over_hides_none_that_is_in_force() {
        let bans = Bans::new(10);
        bans.add(BanKind::ClientId, "c", Some(5), "", "", 4).unwrap();
        bans.add(BanKind::Username, "u", None, "", "", 4).unwrap();
        assert!(is_banned(&bans, "c", "u", "192.0.2.1:1"));
        bans.add(BanKind::Username, "u", Some(5), "", "", 4).unwrap();
        bans.add(BanKind::Address, "2001:db8::1", Some(5), "", "", 4).unwrap();
        assert!(!is_banned(&bans, "c", "u", "[2001:db8::1]:1"));
        bans.add(BanKind::Address, "2001:db8::/64", None, "", "", 4).unwrap();
        assert!(is_banned(&bans, "c", "u", "[2001:db8::1]:1"));
    }

    #[test]
    fn a_client_identifier_that_is_banned_for_its_own_is_not_for_others() {
        let bans = Bans::new(10);
        for mount_point in [None, Some("t/")] {
            let of = Some(Box::new(Whose::new(Some("alice"), mount_point)));
            let ban =
                Ban { kind: BanKind::ClientId, value: "c".into(), reason: "".into(), by: "".into(), at: 0, until: None, of };
            bans.put(ban, 0).unwrap();
        }
        let has = |client_id, username, mount_point| bans.has_own(client_id, Some(username), mount_point);
        assert!(has("c", "alice", None) && has("c", "alice", Some("t/")));
        assert!(!has("c", "bob", None) && !has("d", "alice", None) && !is_banned(&bans, "c", "alice", "192.0.2.1:1"));
        assert_eq!((bans.all().len(), bans.get(BanKind::ClientId, "c").is_some()), (2, true));
        assert!(bans.remove(BanKind::ClientId, "c") && bans.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_banned_with_all_its_addresses() {
        let bans = Bans::new(10);
        assert_eq!(&*bans.add(BanKind::Address, "2001:db8::7/64", None, "", "", 0).unwrap().value, "2001:db8::/64");
        assert!(is_banned(&bans, "c", "u", "[2001:db8::1]:1") && is_banned(&bans, "c", "u", "[2001:db8::ffff:0:0:1]:1"));
        assert!(!is_banned(&bans, "c", "u", "[2001:db8:0:1::1]:1"));
        for wrong in ["192.0.2.0/64", "::ffff:192.0.2.1/64", "2001:db8::/48", "/64"] {
            assert_eq!(bans.add(BanKind::Address, wrong, None, "", "", 0), Err(BanError::NoAddress), "{wrong}");
        }
        assert!(bans.remove(BanKind::Address, "2001:db8::/64") && bans.is_empty());
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
