//! How many connections each address has, so that no stranger takes the places of health checks and scrapes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::MAX_OF_ADDRESS;

/// The addresses that are connected. This machine's own are not counted: a proxy here speaks for many.
#[derive(Debug, Default)]
pub struct Visitors {
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of an address, until it is dropped.
pub struct Visit {
    visitors: Arc<Visitors>,
    address: IpAddr,
}

impl Visitors {
    /// `None` if the address has all that it may have.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Visit> {
        let address = address.to_canonical();
        if !address.is_loopback() {
            let mut counts = self.counts.lock();
            let count = counts.entry(address).or_default();
            if *count >= MAX_OF_ADDRESS {
                return None;
            }
            *count += 1;
        }
        Some(Visit { visitors: self.clone(), address })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut counts = self.visitors.counts.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_the_places_of_others() {
        let visitors = Arc::new(Visitors::default());
        let enter = |address: &str| visitors.enter(address.parse().unwrap());
        let mut visits: Vec<_> = (0..MAX_OF_ADDRESS).map(|_| enter("192.0.2.1").unwrap()).collect();
        assert!(enter("192.0.2.1").is_none() && enter("::ffff:192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        visits.pop();
        visits.push(enter("192.0.2.1").unwrap());
        drop(visits);
        assert!(visitors.counts.lock().is_empty());
    }

    #[test]
    fn this_machine_is_not_counted() {
        let visitors = Arc::new(Visitors::default());
        let visits: Vec<_> = (0..=MAX_OF_ADDRESS).map(|_| visitors.enter("127.0.0.1".parse().unwrap())).collect();
        assert!(visits.iter().all(Option::is_some) && visitors.counts.lock().is_empty());
    }
}
