use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parking_lot::Mutex;

use crate::broker::{AddressKey, Bucket, Rate, Recent};

/// The bounds on connections of the whole broker; 0 is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateLimits {
    /// Connections that have sent their CONNECT.
    pub connected: usize,
    /// Connections that have not yet.
    pub pending: usize,
    /// Connections of both kinds from one IPv4 address, or one /64 network of IPv6, which is what one subscriber is given.
    pub per_address: usize,
}

/// Which limit a connection met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `[limits] max_connections`: the client is told in CONNACK, 0x89 or 3.
    Connections,
    /// `max_connections` of the listener: told likewise.
    Listener,
    /// `[limits] max_connections_per_address`: closed at once.
    Address,
    /// `[limits] max_pending_connections`: closed at once.
    Pending,
    /// `[rates] address_connection_rate`: closed at once.
    AddressRate,
}

impl Refused {
    pub const ALL: [Self; 5] = [Self::Connections, Self::Listener, Self::Address, Self::Pending, Self::AddressRate];

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::Listener => "listener_max_connections",
            Self::Address => "max_connections_per_address",
            Self::Pending => "max_pending_connections",
            Self::AddressRate => "address_connection_rate",
        }
    }
}

/// Counts connections and holds them to their limits.
///
/// A socket is first *pending*: it costs a descriptor, and its peer is nobody yet; the pending cap and the cap per address are
/// met here, by closing. With a whole CONNECT it is *admitted*: the caps of the listener and of the broker are met there,
/// where the client can be told. So there are never more than both caps together.
pub struct ConnectionGate {
    limits: [AtomicUsize; 3],
    connected: AtomicUsize,
    pending: AtomicUsize,
    /// Only addresses with live connections, so it is bounded by them.
    addresses: Mutex<HashMap<AddressKey, usize>>,
    arrivals: Mutex<Arrivals>,
}

/// How often each address comes.
struct Arrivals {
    rate: Option<Rate>,
    buckets: Recent<AddressKey, Bucket>,
}

/// The connections of one listener that have sent their CONNECT.
#[derive(Debug, Default)]
pub struct ListenerCount {
    /// 0 is no bound.
    limit: usize,
    connected: AtomicUsize,
}

/// A connection's place in the counts; dropping it gives the place back.
pub struct Permit {
    gate: Arc<ConnectionGate>,
    listener: Arc<ListenerCount>,
    address: Option<AddressKey>,
    is_admitted: bool,
}

impl ConnectionGate {
    pub fn new(limits: GateLimits) -> Arc<Self> {
        let gate = Self {
            limits: Default::default(),
            connected: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            addresses: Mutex::default(),
            arrivals: Mutex::new(Arrivals { rate: None, buckets: Recent::new(0) }),
        };
        gate.set_limits(limits);
        Arc::new(gate)
    }

    /// New limits for connections to come; those that are there stay. A first bound per address counts from now on.
    pub fn set_limits(&self, limits: GateLimits) {
        for (slot, limit) in self.limits.iter().zip([limits.connected, limits.pending, limits.per_address]) {
            slot.store(limit, Ordering::Relaxed);
        }
    }

    /// How many connections one address may make in a second, and of how many addresses that is kept in mind.
    pub fn set_address_rate(&self, rate: Option<Rate>, max_tracked: usize) {
        let mut arrivals = self.arrivals.lock();
        arrivals.rate = rate;
        arrivals.buckets.set_max(max_tracked);
    }

    /// Forgets addresses that have not come lately, and tells how many had to be forgotten before, to make room.
    pub fn sweep(&self, now: Instant) -> u64 {
        let buckets = &mut self.arrivals.lock().buckets;
        buckets.retain(|_, bucket| !bucket.is_full(now));
        buckets.take_forgotten()
    }

    pub fn limits(&self) -> GateLimits {
        let [connected, pending, per_address] = self.limits.each_ref().map(|limit| limit.load(Ordering::Relaxed));
        GateLimits { connected, pending, per_address }
    }

    /// Takes a new socket in, as pending.
    pub fn enter(self: &Arc<Self>, listener: &Arc<ListenerCount>) -> Result<Permit, Refused> {
        take(&self.pending, self.limits().pending, Refused::Pending)?;
        Ok(Permit { gate: self.clone(), listener: listener.clone(), address: None, is_admitted: false })
    }

    fn hold_to_rate(&self, key: AddressKey, now: Instant) -> Result<(), Refused> {
        let Arrivals { rate, buckets } = &mut *self.arrivals.lock();
        match rate {
            Some(rate) if !buckets.seen(&key, || Bucket::new(now)).try_take(*rate, now) => Err(Refused::AddressRate),
            _ => Ok(()),
        }
    }

    /// Connections that have sent their CONNECT.
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    /// Connections that have not yet.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }
}

impl ListenerCount {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, connected: AtomicUsize::new(0) })
    }

    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }
}

impl Permit {
    /// Counts the connection for its address: at accept, or behind a proxy when it has told the address. Once only.
    pub fn count_address(&mut self, address: IpAddr, now: Instant) -> Result<(), Refused> {
        debug_assert!(self.address.is_none(), "a connection has one address");
        let key = AddressKey::from(address);
        self.gate.hold_to_rate(key, now)?;
        let limit = self.gate.limits().per_address;
        if limit == 0 {
            return Ok(());
        }
        let mut addresses = self.gate.addresses.lock();
        let count = addresses.entry(key).or_insert(0);
        if *count >= limit {
            return Err(Refused::Address);
        }
        *count += 1;
        self.address = Some(key);
        Ok(())
    }

    /// The CONNECT is there: the connection is pending no more, whether it is let in or not.
    pub fn admit(&mut self) -> Result<(), Refused> {
        if self.is_admitted {
            return Ok(());
        }
        take(&self.listener.connected, self.listener.limit, Refused::Listener)?;
        if let Err(refused) = take(&self.gate.connected, self.gate.limits().connected, Refused::Connections) {
            give_back(&self.listener.connected);
            return Err(refused);
        }
        give_back(&self.gate.pending);
        self.is_admitted = true;
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.is_admitted {
            give_back(&self.gate.connected);
            give_back(&self.listener.connected);
        } else {
            give_back(&self.gate.pending);
        }
        if let Some(key) = self.address
            && let Entry::Occupied(mut count) = self.gate.addresses.lock().entry(key)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

fn take(count: &AtomicUsize, limit: usize, refused: Refused) -> Result<(), Refused> {
    let next = |count: usize| (limit == 0 || count < limit).then_some(count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_err(|_| refused)?;
    Ok(())
}

fn give_back(count: &AtomicUsize) {
    let before = count.fetch_sub(1, Ordering::Relaxed);
    debug_assert!(before > 0, "a place is given back once");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn gate(connected: usize, pending: usize, per_address: usize) -> Arc<ConnectionGate> {
        ConnectionGate::new(GateLimits { connected, pending, per_address })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_pending_cap_holds_until_a_connect_makes_room() {
        let (gate, listener) = (gate(0, 2, 0), ListenerCount::new(0));
        let mut first = gate.enter(&listener).unwrap();
        let second = gate.enter(&listener).unwrap();
        assert_eq!(gate.enter(&listener).err(), Some(Refused::Pending));
        first.admit().unwrap();
        first.admit().unwrap();
        let third = gate.enter(&listener).unwrap();
        assert_eq!((gate.pending(), gate.connected(), listener.connected()), (2, 1, 1));
        drop((first, second, third));
        assert_eq!((gate.pending(), gate.connected(), listener.connected()), (0, 0, 0));
    }

    #[test]
    fn the_broker_and_each_listener_have_their_own_cap_at_connect() {
        let (gate, small, large) = (gate(3, 0, 0), ListenerCount::new(1), ListenerCount::new(0));
        let admit = |listener| {
            let mut permit = gate.enter(listener).unwrap();
            permit.admit().map(|()| permit)
        };
        let first = admit(&small).unwrap();
        assert_eq!(admit(&small).err(), Some(Refused::Listener));
        let rest = [admit(&large).unwrap(), admit(&large).unwrap()];
        assert_eq!(admit(&large).err(), Some(Refused::Connections));
        drop(first);
        assert!(admit(&small).is_ok());
        drop(rest);
        assert_eq!((gate.pending(), gate.connected(), small.connected(), large.connected()), (0, 0, 0, 0));
    }

    #[test]
    fn a_refused_connect_keeps_its_pending_place_until_it_is_gone() {
        let (gate, listener) = (gate(1, 0, 0), ListenerCount::new(0));
        let mut first = gate.enter(&listener).unwrap();
        first.admit().unwrap();
        let mut second = gate.enter(&listener).unwrap();
        assert_eq!(second.admit(), Err(Refused::Connections));
        assert_eq!(gate.pending(), 1);
        drop(second);
        assert_eq!((gate.pending(), gate.connected(), listener.connected()), (0, 1, 1));
    }

    #[test]
    fn addresses_are_counted_exactly_for_ipv4_and_by_network_for_ipv6() {
        let (gate, listener) = (gate(0, 0, 1), ListenerCount::new(0));
        let enter = |address| {
            let mut permit = gate.enter(&listener).unwrap();
            permit.count_address(ip(address), Instant::now()).map(|()| permit)
        };
        let _held = [enter("192.0.2.1").unwrap(), enter("192.0.2.2").unwrap(), enter("2001:db8:0:1::1").unwrap()];
        assert_eq!(enter("192.0.2.1").err(), Some(Refused::Address));
        assert_eq!(enter("::ffff:192.0.2.1").err(), Some(Refused::Address), "the same address, mapped");
        assert_eq!(enter("2001:db8:0:1:ffff::9").err(), Some(Refused::Address), "the same /64");
        assert!(enter("2001:db8:0:2::1").is_ok());
    }

    #[test]
    fn an_address_without_connections_is_forgotten() {
        let (gate, listener) = (gate(0, 0, 2), ListenerCount::new(0));
        for last in 0..=255 {
            let mut permit = gate.enter(&listener).unwrap();
            permit.count_address(IpAddr::from([192, 0, 2, last]), Instant::now()).unwrap();
        }
        assert_eq!((gate.addresses.lock().len(), gate.pending()), (0, 0));
    }

    #[test]
    fn new_limits_hold_for_connections_to_come() {
        let (gate, listener) = (gate(0, 1, 0), ListenerCount::new(0));
        let _first = gate.enter(&listener).unwrap();
        gate.set_limits(GateLimits { pending: 2, ..GateLimits::default() });
        let _second = gate.enter(&listener).unwrap();
        assert_eq!(gate.enter(&listener).err(), Some(Refused::Pending));
    }

    #[test]
    fn an_address_that_comes_too_often_is_refused_and_others_are_not() {
        let (gate, listener, start) = (gate(0, 0, 0), ListenerCount::new(0), Instant::now());
        let second = Duration::from_secs(1);
        gate.set_address_rate(Rate::new(2, second), 10);
        let enter = |last, now| gate.enter(&listener).unwrap().count_address(IpAddr::from([192, 0, 2, last]), now);
        assert_eq!([0, 0, 0].map(|_| enter(1, start).is_ok()), [true, true, false]);
        assert_eq!(enter(2, start), Ok(()));
        assert_eq!(enter(1, start), Err(Refused::AddressRate));
        assert_eq!(enter(1, start + second / 2), Ok(()));
        for last in 3..=255 {
            enter(last, start).unwrap();
        }
        assert!(gate.arrivals.lock().buckets.count() <= 10);
        assert!(gate.sweep(start + second * 3) > 200);
        assert_eq!(gate.arrivals.lock().buckets.count(), 0);
    }
}
