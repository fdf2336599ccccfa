//! What was in the journal becomes sessions and retained messages again, before the first client is let in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Broker;
use super::author::Authors;
use super::door::Rights;
use super::handle::{Identity, Receiver, SessionHandle, Slot};
use super::queues::{QueueFold, consumer_filter};
use super::quotas::Quota;
use super::registry::registry_key;
use super::standing::Brought;
use super::wills::Will;
use crate::auth::Principal;
use crate::packet::Message;
use crate::routing;
use crate::session::{EXCHANGES_MAX, ExchangeState, Numbering, Queued, Replay, Subscription};
use crate::storage::{Body, EntryState, OnlineState, Place, SessionState, State};

/// What recovery has found, and whose rights its listeners have.
#[derive(Debug)]
pub struct Recovered<'a> {
    pub state: State,
    pub bodies: HashMap<Place, Arc<Body>>,
    pub messages: HashMap<Place, Message>,
    /// Goes up with every start.
    pub starts: u64,
    /// The rights at the listener of a name.
    pub rights: &'a dyn RightsOf,
}

/// Knows the listeners.
pub trait RightsOf: std::fmt::Debug {
    /// Those of a listener that is gone are decided by whoever knows the others.
    fn rights_of(&self, listener: &str) -> Arc<Rights>;

    /// Where a client's topics lie, if that follows from the listener and who it is.
    fn mount_point_of(&self, _listener: &str, _principal: &Principal) -> Option<Arc<str>> {
        None
    }
}

/// Numbers that are passed over at the start: messages may have been sent under them that were lost with the crash.
const SEQUENCE_GAP: u64 = 1024;

impl Broker {
    /// Takes over what was stored. Wills and expiry of sessions that were online when the process ended count from now.
    pub fn restore(self: &Arc<Self>, recovered: Recovered<'_>, now: Instant) {
        let Recovered { state, mut bodies, mut messages, starts, rights } = recovered;
        let fold = state.work.into_any().downcast::<QueueFold>().map(|fold| *fold).unwrap_or_default();
        let mut authors = Authors::new(rights, &self.accounts);
        self.restore_queues(fold, &bodies, &mut authors, now);
        let mut sessions: Vec<_> = state.sessions.into_iter().collect();
        // Of two with one client identifier, as a crash within a take-over leaves them, the later one counts.
        sessions.sort_unstable_by_key(|(number, _)| *number);
        let mut displaced = Vec::new();
        for (number, session) in sessions {
            displaced.extend(self.restore_session(number, session, (&bodies, starts), rights, now));
        }
        self.end_absent_consumers(now);
        for (topic, retained) in state.retained {
            let (body, message) = (bodies.remove(&retained.place), messages.remove(&retained.place));
            let (Some(body), Some(message)) = (body, message) else { continue };
            debug_assert_eq!(message.topic().as_str(), &*topic);
            self.restore_retained(message, body, authors.of_retained(retained.publisher, &topic));
        }
        for old in &displaced {
            self.end_session(old, now);
        }
    }

    /// Returns the session that it takes the place of, if there is one.
    fn restore_session(
        self: &Arc<Self>,
        number: u64,
        session: SessionState,
        (bodies, starts): (&HashMap<Place, Arc<Body>>, u64),
        rights: &dyn RightsOf,
        now: Instant,
    ) -> Option<Arc<SessionHandle>> {
        let SessionState { header, subscriptions, entries, received, replays, next_sequence } = session;
        if header.state == OnlineState::Online && header.expiry_interval == 0 {
            return None; // It was to last no longer than its connection.
        }
        let principal = Principal { client_id: header.client_id, username: header.username };
        let key = registry_key(header.mount_point.as_deref(), &principal.client_id);
        let rights = rights.rights_of(&header.listener);
        let (mount_point, listener) = (header.mount_point, header.listener);
        let account = self.accounts.of(principal.username.as_ref(), mount_point.as_ref());
        if let Some(account) = &account {
            account.add(Quota::Sessions, 1);
            account.add(Quota::Subscriptions, subscriptions.len() as u64);
        }
        let identity = Identity { principal, registry_key: key, mount_point, listener, account };
        let handle = SessionHandle::new(Some(number), identity, rights, self.limits(), self.stored_level());
        // Only a session at a listener where rights are brought along may have had any.
        if handle.rights.is_personal() {
            handle.bring(Brought::Unknown);
        }
        let displaced = self.registry.put(handle.clone());
        let mut change = self.router.change();
        let mut consumes = Vec::new();
        for (filter, (options, identifier, wish)) in &subscriptions {
            if consumer_filter(filter).is_some() {
                consumes.push((filter.clone(), Subscription { options: *options, identifier: *identifier, wish: *wish }));
                continue;
            }
            let entry = routing::Subscription { options: *options, identifier: *identifier };
            change.index.subscribe(filter, Receiver::Session(handle.clone()), entry);
        }
        drop(change);
        let mut effects = super::Effects::default();
        handle.lock(|slot| {
            let all = subscriptions.into_iter();
            slot.session.subscriptions =
                all.map(|(filter, (options, identifier, wish))| (filter, Subscription { options, identifier, wish })).collect();
            slot.session.replays = replays.into_iter().map(|(filter, from)| Replay { filter, from, is_held: false }).collect();
            for id in received {
                slot.session.receive(id);
                slot.session.owned(id);
            }
            let was_online = header.state == OnlineState::Online;
            let next = next_sequence + SEQUENCE_GAP;
            // No more than that: what is queued from now on has not been sent.
            let unsent = if was_online { next } else { header.first_unsent.min(next) };
            slot.session.outlast(Numbering::starting(number, next, unsent));
            restore_entries(slot, entries, bodies, unsent);
            // Identifiers of what was not stored before must not mean something else at once.
            slot.session.outbound.inflight.begin_at(Numbering::free_id(starts));
            slot.revision = header.revision;
            slot.expiry_interval = header.expiry_interval;
            slot.past_mut().expires_at = match header.state {
                OnlineState::Offline { expires_at } => expires_at.map(|at| self.instant_of(at, now)),
                OnlineState::Online if header.expiry_interval == u32::MAX => None,
                OnlineState::Online => Some(now + Duration::from_secs(header.expiry_interval.into())),
            };
            slot.will = header.will.map(|stored| {
                let due = stored.due_at.map(|at| self.instant_of(at, now));
                let due = due.unwrap_or_else(|| now + Duration::from_secs(stored.delay_interval.into()));
                Box::new(Will::restored(&stored, due))
            });
            if was_online {
                handle.store_header(slot, self, &mut effects);
            }
            slot.report(&mut effects);
        });
        self.tell_effects(&mut effects);
        for (filter, subscription) in consumes {
            self.rejoin(&handle, &filter, subscription, now);
        }
        self.schedule_session(&handle, now);
        displaced
    }

    fn instant_of(&self, wall: u64, now: Instant) -> Instant {
        self.journal.as_ref().map_or(now, |journal| journal.clock.instant(wall))
    }
}

/// Those that may have been sent before are sent again first, as such; PUBREL is due where PUBREC had come.
fn restore_entries(
    slot: &mut Slot,
    entries: std::collections::BTreeMap<u64, EntryState>,
    bodies: &HashMap<Place, Arc<Body>>,
    unsent: u64,
) {
    let window = usize::from(slot.limits.max_inflight).min(EXCHANGES_MAX);
    let outbound = &mut slot.session.outbound;
    for (sequence, entry) in entries {
        match entry {
            EntryState::Released => outbound.inflight.restore(sequence, ExchangeState::Released(Some(sequence))),
            EntryState::Waiting(recipient, place) => {
                let Some(body) = bodies.get(&place) else { continue };
                let queued = Queued::recovered(body.clone(), recipient);
                let is_free = outbound.inflight.get(Numbering::packet_id(sequence)).is_none();
                if sequence < unsent && is_free && outbound.queue.is_empty() && outbound.inflight.len() < window {
                    outbound.inflight.restore(sequence, ExchangeState::Published(queued));
                } else {
                    outbound.queue.put(queued);
                }
            }
        }
    }
}
