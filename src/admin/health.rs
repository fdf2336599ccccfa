use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

/// What must hold before a load balancer may send clients here. Each condition begins unmet, so name them all before `serve` is called.
#[derive(Debug, Default)]
pub struct Readiness(RwLock<Vec<Arc<Condition>>>);

/// One named condition; whoever knows about it keeps it and says when it is met.
#[derive(Debug)]
pub struct Condition {
    name: &'static str,
    met: AtomicBool,
}

impl Readiness {
    /// The condition of that name, made unmet at its first call.
    pub fn condition(&self, name: &'static str) -> Arc<Condition> {
        let mut conditions = self.0.write();
        if let Some(known) = conditions.iter().find(|condition| condition.name == name) {
            return known.clone();
        }
        let condition = Arc::new(Condition { name, met: AtomicBool::new(false) });
        conditions.push(condition.clone());
        condition
    }

    /// The names of the conditions that are not met; empty when ready.
    pub fn unmet(&self) -> Vec<&'static str> {
        self.0.read().iter().filter(|condition| !condition.is_met()).map(|condition| condition.name).collect()
    }
}

impl Condition {
    /// Says whether it holds now; it may change any number of times.
    pub fn set(&self, met: bool) {
        self.met.store(met, Ordering::Release);
    }

    pub fn is_met(&self) -> bool {
        self.met.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_while_every_condition_holds() {
        let readiness = Readiness::default();
        let (listeners, storage) = (readiness.condition("listeners"), readiness.condition("storage"));
        assert_eq!(readiness.unmet(), ["listeners", "storage"]);
        listeners.set(true);
        assert_eq!(readiness.unmet(), ["storage"]);
        readiness.condition("storage").set(true);
        assert!(storage.is_met());
        assert!(readiness.unmet().is_empty());
        storage.set(false);
        assert_eq!(readiness.unmet(), ["storage"]);
    }
}
