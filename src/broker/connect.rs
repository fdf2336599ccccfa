use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::Broker;
use super::deliver::Deliveries;
use super::door::Door;
use super::effects::{Effects, Waiter};
use super::expiry::Timer;
use super::handle::{Identity, Online, SessionHandle, Stay};
use super::inflow::Inflow;
use super::login::{Refusal, refusal};
use super::outbox::{DirectWrite, Outbox};
use super::quotas::Quota;
use super::registry::{Existing, Opened, registry_key};
use super::share::HandedOn;
use super::standing::Brought;
use super::wills::Will;
use crate::auth::{Principal, Way};
use crate::metrics::{DropReason, Limit};
use crate::packet::{ConnectReason, DisconnectReason, ProtocolVersion, QoS, TopicFilter};
use crate::routing::{Availability, PublisherHash, Subscriber};
use crate::session::{Limits, OutboundAliases, Queued, Writer};

/// Everything that a client which is let in has asked for, within our bounds.
#[derive(Debug)]
pub struct OpenRequest {
    pub principal: Principal,
    pub door: Arc<Door>,
    pub limits: Arc<Limits>,
    pub version: ProtocolVersion,
    pub clean_start: bool,
    /// In seconds; `u32::MAX` is for ever.
    pub expiry_interval: u32,
    pub receive_maximum: u16,
    /// Whether the client itself has said so.
    pub names_receive_maximum: bool,
    pub maximum_packet_size: Option<u32>,
    pub topic_alias_maximum: u16,
    /// In seconds; zero for none.
    pub keep_alive: u16,
    pub will: Option<Will>,
    /// Where the client connects from; `None` on a Unix socket.
    pub address: Option<SocketAddr>,
    pub mount_point: Option<Arc<str>>,
    /// Rights that came with the login.
    pub brought: Brought,
    /// The method that let it in.
    pub by: Way,
    /// When what let it in is over.
    pub valid_until: Option<Instant>,
    /// Which certificate it has shown, where that may be revoked.
    pub certificate: Option<Arc<[u8]>>,
}

/// A connection's hold on its session.
#[derive(Clone, Debug)]
pub struct Hold {
    pub handle: Arc<SessionHandle>,
    pub epoch: u64,
}

static EPOCHS: AtomicU64 = AtomicU64::new(1);

/// A number that no connection, will or session of this process has had before.
pub(super) fn next_epoch() -> u64 {
    EPOCHS.fetch_add(1, Ordering::Relaxed)
}

impl Broker {
    /// Takes the session of a client identifier up, or begins a new one `[MQTT-3.1.2-4]`, `[MQTT-3.1.2-5]`, `[MQTT-3.1.2-6]`; `true`
    /// for one that was there.
    pub(super) fn open_session(
        &self,
        mut request: OpenRequest,
        waker: Waker,
        direct: Option<Arc<dyn DirectWrite>>,
        now: Instant,
    ) -> Result<(Hold, bool), Refusal> {
        let key = registry_key(request.mount_point.as_deref(), &request.principal.client_id);
        let there = self.registry.get(&key);
        if self.registry.len() >= request.limits.max_sessions && there.is_none() {
            self.metrics.limit_hits.count(Limit::MaxSessions);
            return Err(NO_SESSION);
        }
        // A session that its client ends with its connection is nobody's business but the process'.
        let journal = self.journal.as_ref().filter(|_| request.expiry_interval > 0);
        if journal.is_some_and(|journal| !journal.has_room()) && there.is_none() {
            self.metrics.storage.refused.increment();
            return Err(DISK_FULL);
        }
        if let Some(there) = &there {
            self.recall_all_from(there);
        }
        let account = self.accounts.of(request.principal.username.as_ref(), request.mount_point.as_ref());
        let full = account.as_ref().and_then(|account| account.full(Quota::Sessions));
        if let Some(limit) = full.filter(|_| there.is_none()) {
            self.metrics.limit_hits.count(limit);
            return Err(NO_SESSION);
        }
        let epoch = next_epoch();
        let mut effects = Effects::default();
        let mut online = Some(Box::new(online(&request, epoch, waker, direct, now)));
        let mut will = request.will.take();
        let mut orphaned = None;
        let decide = |there: &SessionHandle| self.decide(there, &request, now);
        let make = || {
            let identity = Identity {
                principal: request.principal.clone(),
                registry_key: key.clone(),
                mount_point: request.mount_point.clone(),
                listener: request.door.name.clone(),
                account: account.clone(),
            };
            account.iter().for_each(|account| account.add(Quota::Sessions, 1));
            let stored_as = journal.map(|journal| journal.next_session());
            let (rights, limits) = (request.door.rights.clone(), request.limits.clone());
            SessionHandle::new(stored_as, identity, rights, limits, self.stored_level())
        };
        let brought = request.brought.clone();
        let mut has_other_rights = false;
        let attach = |handle: &SessionHandle| {
            if handle.rights.is_personal() {
                has_other_rights = handle.bring(brought);
            }
            handle.lock(|slot| {
                let was_online = slot.evict(DisconnectReason::SessionTakenOver); // [MQTT-3.1.4-3]
                // [MQTT-3.1.3-9]: a delayed will is not published when its session is taken up again; one without delay goes at once.
                let old_will = std::mem::replace(&mut slot.will, will.take().map(Box::new));
                orphaned = old_will.filter(|will| was_online && will.delay_interval == 0);
                slot.expiry_interval = request.expiry_interval;
                if slot.expires_at().is_some() {
                    slot.past_mut().expires_at = None;
                }
                slot.limits = request.limits.clone();
                if !handle.rights.is_unrestricted() {
                    // Those on disk are looked at when they are read.
                    let unreadable = |queued: &Queued| !handle.may_get(queued);
                    let dropped = slot.session.outbound.inflight.discard(unreadable);
                    slot.session.outbound.settle(&dropped);
                    effects.dropped(DropReason::NotAuthorized, dropped.len() as u64);
                }
                slot.session.let_replays_go();
                slot.session.outbound.connect(request.receive_maximum);
                slot.online = online.take();
                handle.store_header(slot, self, &mut effects);
            })
        };
        let mut ends_stored = false;
        let (handle, session_present) = match self.registry.open(&key, decide, make, attach) {
            Opened::Refused(refusal) => return Err(refusal),
            Opened::New(handle) => (handle, false),
            Opened::Resumed(handle) => {
                self.metrics.sessions.resumed.increment();
                if has_other_rights {
                    self.recheck_session(&handle, now); // It may have brought less than before.
                }
                (handle, true)
            }
            Opened::Replaced { new, old } => {
                self.evict(&old);
                self.end_session(&old, now);
                ends_stored = old.stored_as.is_some();
                (new, false)
            }
        };
        if handle.stored_as.is_some() || ends_stored {
            let waiter = Waiter::Opened { handle: handle.clone(), epoch };
            effects.journal.wait(waiter, self.stored_level());
        } else {
            handle.lock(|slot| slot.connection(epoch).into_iter().for_each(|online| online.is_stored = true));
        }
        self.tell_effects(&mut effects);
        if let Some(will) = orphaned {
            self.publish_will(&handle, &will, now);
        }
        let patience = request.limits.slow_consumer_timeout.0;
        let first_look = match request.keep_alive {
            0 => patience,
            seconds => patience.min(Duration::from_millis(u64::from(seconds) * 1500)),
        };
        self.schedule(now + first_look, Timer::Connection(Arc::downgrade(&handle), epoch));
        if request.valid_until.is_some() {
            self.schedule_credentials(&handle, epoch, now);
        }
        Ok((Hold { handle, epoch }, session_present))
    }

    /// What the session that is there already means for the one who wants in under its identifier.
    fn decide(&self, there: &SessionHandle, request: &OpenRequest, now: Instant) -> Existing {
        let is_same_user = is_same_user(there, request);
        let (existing, pushes_out) = there.lock(|slot| {
            // One whose time has come is over though its timer has not looked yet.
            let has_expired = slot.expires_at().is_some_and(|at| at <= now);
            let is_over = slot.is_ended || has_expired;
            let is_kept = slot.online.is_some() || !is_over && is_someones(there) && !self.watch.allows_client_id_reuse();
            if !is_same_user && is_kept {
                return (Existing::Refuse(ANOTHER_USERS), None);
            }
            // 3.1.4, [MQTT3-3.1.2-6]: a session that was to last no longer than its connection ends with the take-over.
            let ends = is_over || slot.expiry_interval == 0;
            // What another listener has granted is not brought along.
            let has_other_rights = !Arc::ptr_eq(&there.rights, &request.door.rights);
            let is_new = request.clean_start || !is_same_user || has_other_rights || ends;
            let existing = if is_new { Existing::Replace } else { Existing::Resume };
            (existing, slot.online.as_ref().map(|online| online.address))
        });
        let Some(pushed_out) = pushes_out else { return existing };
        if request.door.is_own() || self.watch.may_take_over(&there.registry_key, now) {
            return existing;
        }
        self.metrics.limit_hits.count(Limit::Takeovers);
        if let Some(suppressed) = self.log_limiter.allow("takeovers", now) {
            let client = &*request.principal.client_id;
            let peer = |address: Option<SocketAddr>| address.map_or_else(|| "unix".into(), |address| address.to_string());
            let (newcomer, connected) = (peer(request.address), peer(pushed_out));
            tracing::warn!(client, newcomer, connected, suppressed, "two clients with one identifier push each other out");
        }
        Existing::Refuse(STORM)
    }

    /// Whether this client of this user is connected.
    pub(super) fn is_online(&self, principal: &Principal, mount_point: Option<&str>) -> bool {
        let there = self.registry.get(&registry_key(mount_point, &principal.client_id));
        there.is_some_and(|there| there.principal.username == principal.username && there.lock(|slot| slot.online.is_some()))
    }

    /// Its connection is told to go, and does so when it looks.
    pub(super) fn evict(&self, handle: &SessionHandle) {
        handle.lock(|slot| slot.evict(DisconnectReason::SessionTakenOver));
    }

    /// The connection is over. Its session goes on without it, for as long as was agreed. Returns whether it still was the
    /// session's connection.
    pub(super) fn close_connection(
        &self,
        hold: &Hold,
        expiry_interval: u32,
        publish_will: bool,
        deliveries: &mut Deliveries,
        now: Instant,
    ) -> bool {
        let Hold { handle, epoch } = hold;
        let shares = self.shares_with_others(handle);
        let handing_over = (!shares.is_empty()).then(|| self.hand_overs.read());
        let mut has_memberships = false;
        let Some((will, handed_on)) = handle.lock(|slot| {
            slot.past_mut().evicted.retain(|online| online.epoch != *epoch);
            if !slot.is_online(*epoch) {
                slot.report(&mut deliveries.batch);
                // What the old connection has still acknowledged or published may let the new one send.
                slot.online.as_deref_mut().into_iter().for_each(Online::notify);
                return None;
            }
            slot.online = None;
            has_memberships = slot.has_memberships();
            slot.session.outbound.disconnect();
            slot.expiry_interval = expiry_interval;
            if !publish_will {
                slot.will = None; // [MQTT-3.14.4-3]
            }
            let will = slot.will.take_if(|will| will.delay_interval == 0);
            let mut handed_on = Vec::new();
            if !shares.is_empty() {
                handed_on = slot.session.outbound.take_shared(|share| shares.contains(share));
            }
            if !slot.limits.queue_qos0 && slot.session.outbound.queue.has_at_most_once() {
                let dropped = slot.session.outbound.extract(|queued| queued.qos() != QoS::AtMostOnce);
                deliveries.batch.dropped(DropReason::Offline, dropped.len() as u64);
            }
            slot.report(&mut deliveries.batch);
            Some((will, handed_on))
        }) else {
            return false;
        };
        if let Some(will) = will {
            self.publish_will(handle, &will, now);
        }
        if !handed_on.is_empty() {
            let HandedOn { others, kept } = self.hand_on(handle.key, handed_on, Availability::Online, now, deliveries);
            let left = handle.lock(|slot| {
                if slot.is_ended {
                    return kept;
                }
                slot.session.outbound.settle(&others);
                let is_online = slot.online.is_some();
                for taken in kept {
                    slot.session.outbound.take_back(taken, is_online, &slot.limits, now, &mut deliveries.batch);
                }
                // Its client may be back already.
                slot.online.as_deref_mut().into_iter().for_each(Online::notify);
                slot.report(&mut deliveries.batch);
                Vec::new()
            });
            self.hand_on_or_drop(handle.key, left, now, deliveries);
            deliveries.flush(self, now);
        }
        drop(handing_over);
        if has_memberships {
            self.sync_consumers(handle, deliveries);
        }
        self.schedule_end(handle, expiry_interval, deliveries, now);
        true
    }

    /// The will's delay and the session's expiry begin to run `[MQTT-3.1.2-8]`.
    fn schedule_end(&self, handle: &Arc<SessionHandle>, expiry_interval: u32, deliveries: &mut Deliveries, now: Instant) {
        if expiry_interval == 0 {
            self.end_session(handle, now);
            return;
        }
        handle.lock(|slot| {
            if slot.online.is_none() {
                slot.past_mut().expires_at = (expiry_interval != u32::MAX).then(|| now + seconds(expiry_interval));
                if let Some(will) = &mut slot.will {
                    will.due_at = Some(now + seconds(will.delay_interval));
                }
                handle.store_header(slot, self, &mut deliveries.batch);
            }
        });
        self.schedule_session(handle, now);
    }

    /// The shared subscriptions of a session that have another member online.
    fn shares_with_others(&self, handle: &SessionHandle) -> Vec<TopicFilter> {
        let shares: Vec<TopicFilter> = handle.lock(|slot| {
            slot.session.subscriptions.keys().filter(|filter| filter.as_str().starts_with("$share/")).cloned().collect()
        });
        shares.into_iter().filter(|share| self.has_other_member_online(handle, share)).collect()
    }

    fn has_other_member_online(&self, handle: &SessionHandle, share: &TopicFilter) -> bool {
        let hash = PublisherHash { client: handle.key, topic: 0 };
        self.router
            .group(share)
            .and_then(|group| group.pick(hash, |member| member.key() != handle.key))
            .is_some_and(|(receiver, _)| receiver.availability() != Availability::Offline)
    }
}

const NO_SESSION: Refusal = refusal(ConnectReason::QuotaExceeded, "there are as many sessions as there may be");
const DISK_FULL: Refusal =
    refusal(ConnectReason::QuotaExceeded, "the disk is full: no session that outlives its connection can begin");
const ANOTHER_USERS: Refusal = refusal(ConnectReason::NotAuthorized, "the client identifier belongs to another user");
const STORM: Refusal =
    refusal(ConnectReason::ConnectionRateExceeded, "another client with the same client identifier is connected");

/// An anonymous session belongs to nobody.
fn is_someones(there: &SessionHandle) -> bool {
    there.principal.username.is_some()
}

/// Listeners with different password files have different users, even if one name is in both.
fn is_same_user(there: &SessionHandle, request: &OpenRequest) -> bool {
    let (rights, others) = (&there.rights, &request.door.rights);
    there.principal.username == request.principal.username
        && (Arc::ptr_eq(rights, others) || rights.authenticator().has_users_of(&others.authenticator()))
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

fn online(request: &OpenRequest, epoch: u64, waker: Waker, direct: Option<Arc<dyn DirectWrite>>, now: Instant) -> Online {
    let aliases = outbound_aliases(request.topic_alias_maximum, request.limits.max_topic_aliases_out);
    let writer = Writer {
        version: request.version,
        maximum_packet_size: request.maximum_packet_size,
        aliases: aliases.map(Box::new),
        mount_point: request.mount_point.clone(),
    };
    Online {
        epoch,
        writer,
        outbox: Outbox::new(direct),
        is_dirty: false,
        is_notified: false,
        waker,
        closing: None,
        answers: None,
        last_received: now,
        keep_alive: request.keep_alive,
        address: request.address,
        inflow: Inflow::new(now),
        by: request.by,
        stay: stay(request),
        receive_maximum: request.names_receive_maximum.then_some(request.receive_maximum),
        holds_work: false,
        lacks_room: false,
        is_stored: false,
        is_welcomed: false,
    }
}

fn stay(request: &OpenRequest) -> Option<Box<Stay>> {
    let (valid_until, certificate) = (request.valid_until, request.certificate.clone());
    let may_end = valid_until.is_some() || certificate.is_some();
    may_end.then(|| Box::new(Stay { valid_until, timer_at: None, certificate }))
}

fn outbound_aliases(maximum_of_client: u16, maximum: u16) -> Option<OutboundAliases> {
    match maximum_of_client.min(maximum) {
        0 => None,
        lower if lower < maximum_of_client => Some(OutboundAliases::new(lower).within_own_bound()),
        lower => Some(OutboundAliases::new(lower)),
    }
}
