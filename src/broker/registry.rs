use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parking_lot::RwLock;

use super::handle::SessionHandle;
use super::login::Refusal;

/// Which session a client identifier means: one at a time `[MQTT-3.1.4-3]`.
///
/// A map in shards, so that it can be walked shard by shard, none of them locked for longer than it takes to copy its pointers.
#[derive(Debug)]
pub struct Registry {
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    len: AtomicUsize,
}

type Shard = HashMap<Arc<str>, Arc<SessionHandle>, RandomState>;

/// A million sessions are four thousand in each.
const SHARDS: usize = 256;

impl Default for Registry {
    fn default() -> Self {
        let hasher = RandomState::default();
        let shards = (0..SHARDS).map(|_| RwLock::new(Shard::with_hasher(hasher.clone()))).collect();
        Self { shards, hasher, len: AtomicUsize::new(0) }
    }
}

/// What the session that is there already means for the one who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The connection goes on with it.
    Resume,
    /// It ends, a new one begins.
    Replace,
    /// It is not to be had.
    Refuse(Refusal),
}

/// What became of an opening.
#[derive(Debug)]
pub enum Opened {
    New(Arc<SessionHandle>),
    /// The old session is still to be ended by the caller.
    Replaced {
        new: Arc<SessionHandle>,
        old: Arc<SessionHandle>,
    },
    Resumed(Arc<SessionHandle>),
    Refused(Refusal),
}

/// The part of a client identifier that no client can choose keeps tenants apart: identifiers contain no NUL.
pub fn registry_key(mount_point: Option<&str>, client_id: &Arc<str>) -> Arc<str> {
    match mount_point {
        None => client_id.clone(),
        Some(mount_point) => format!("{mount_point}\0{client_id}").into(),
    }
}

impl Registry {
    /// Finds or makes the session for `key`. `decide` and `attach` run under the lock of the entry, so that of two clients with one
    /// identifier one is first.
    pub fn open(
        &self,
        key: &Arc<str>,
        decide: impl FnOnce(&SessionHandle) -> Existing,
        make: impl FnOnce() -> Arc<SessionHandle>,
        attach: impl FnOnce(&SessionHandle),
    ) -> Opened {
        match self.shard(key).write().entry(key.clone()) {
            Entry::Vacant(entry) => {
                let new = make();
                attach(&new);
                entry.insert(new.clone());
                self.len.fetch_add(1, Ordering::Relaxed);
                Opened::New(new)
            }
            Entry::Occupied(mut entry) => match decide(entry.get()) {
                Existing::Refuse(refusal) => Opened::Refused(refusal),
                Existing::Resume => {
                    attach(entry.get());
                    Opened::Resumed(entry.get().clone())
                }
                Existing::Replace => {
                    let new = make();
                    attach(&new);
                    let old = entry.insert(new.clone());
                    Opened::Replaced { new, old }
                }
            },
        }
    }

    /// A session that was there before the process.
    pub fn put(&self, handle: Arc<SessionHandle>) {
        let old = self.shard(&handle.registry_key).write().insert(handle.registry_key.clone(), handle.clone());
        self.len.fetch_add(usize::from(old.is_none()), Ordering::Relaxed);
    }

    pub fn get(&self, key: &str) -> Option<Arc<SessionHandle>> {
        self.shard(key).read().get(key).cloned()
    }

    /// Forgets a session, unless another one has taken its place.
    pub fn remove(&self, handle: &SessionHandle) -> bool {
        let mut shard = self.shard(&handle.registry_key).write();
        let is_there = shard.get(&handle.registry_key).is_some_and(|there| there.key == handle.key);
        if is_there {
            shard.remove(&handle.registry_key);
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
        is_there
    }

    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Shows each session that is there all the while, once. No lock is held while it is shown.
    pub fn visit(&self, mut show: impl FnMut(&Arc<SessionHandle>)) {
        let mut taken = Vec::new();
        for shard in &self.shards {
            taken.extend(shard.read().values().cloned());
            taken.drain(..).for_each(|handle| show(&handle));
        }
    }

    /// All sessions as they are now; for what happens rarely.
    pub fn all(&self) -> Vec<Arc<SessionHandle>> {
        self.shards.iter().flat_map(|shard| shard.read().values().cloned().collect::<Vec<_>>()).collect()
    }

    fn shard(&self, key: &str) -> &RwLock<Shard> {
        // Bits that the map of the shard does not look at.
        &self.shards[(self.hasher.hash_one(key) >> 40) as usize % SHARDS]
    }
}
