use std::sync::Arc;

use dashmap::{DashMap, Entry};
use foldhash::fast::RandomState;

use super::handle::SessionHandle;
use super::login::Refusal;

/// Which session a client identifier means: one at a time `[MQTT-3.1.4-3]`.
#[derive(Debug)]
pub struct Registry {
    sessions: DashMap<Arc<str>, Arc<SessionHandle>, RandomState>,
}

/// A million sessions are sixteen thousand in each: one is locked for no longer than it takes to copy its pointers.
const SHARDS: usize = 64;

impl Default for Registry {
    fn default() -> Self {
        Self { sessions: DashMap::with_hasher_and_shard_amount(RandomState::default(), SHARDS) }
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
        match self.sessions.entry(key.clone()) {
            Entry::Vacant(entry) => {
                let new = make();
                attach(&new);
                entry.insert(new.clone());
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

    /// A session that was there before the process. Returns the one whose place it takes, if there is one.
    pub fn put(&self, handle: Arc<SessionHandle>) -> Option<Arc<SessionHandle>> {
        self.sessions.insert(handle.registry_key.clone(), handle)
    }

    pub fn get(&self, key: &str) -> Option<Arc<SessionHandle>> {
        self.sessions.get(key).map(|entry| entry.clone())
    }

    /// Forgets a session, unless another one has taken its place.
    pub fn remove(&self, handle: &SessionHandle) -> bool {
        self.sessions.remove_if(&handle.registry_key, |_, there| there.key == handle.key).is_some()
    }

    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Shows each session that is there all the while, once. No lock is held while it is shown.
    pub fn visit(&self, show: impl FnMut(&Arc<SessionHandle>)) {
        self.all().iter().for_each(show);
    }

    /// All sessions as they are now: their pointers, copied shard by shard. For what happens rarely.
    pub fn all(&self) -> Vec<Arc<SessionHandle>> {
        self.sessions.iter().map(|entry| entry.value().clone()).collect()
    }
}
