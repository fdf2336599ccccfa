use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::asking::Question;
use super::connect::Hold;
use super::deliver::Deliveries;
use super::door::{Admission, Origin};
use super::ending::{By, Closed, End};
use super::handle::SessionHandle;
use super::login_flow::LoginState;
use super::outbox::{DirectWrite, SLICES_MAX};
use super::queues::names_bound_queue;
use super::quotas::ConnectionPlace;
use super::rates::Pace;
use super::route::Routed;
use super::{Broker, wire_log};
use crate::metrics::{Limit, OpenConnection, PacketType};
use crate::packet::{Decoder, DisconnectReason, Packet, Peer, ProtocolVersion, PublishReason, QoS, ReasonCode};
use crate::session::{AckToken, Action, Connection, InboundPublish, Note, OutBuffer, Session, SessionCell, Violation};
use crate::storage::Record;

/// The broker's side of one connection: bytes in, bytes out, no socket. The transport feeds what it reads to [`Self::receive`], calls
/// [`Self::turn`] once per wake, and lets [`Self::write`] write.
pub struct Client {
    pub(super) broker: Arc<Broker>,
    pub(super) origin: Origin,
    pub(super) connection: Connection,
    pub(super) hold: Option<Hold>,
    pub(super) login: LoginState,
    /// What is asked for the packet that comes next.
    pub(super) question: Option<Box<Question>>,
    pub(super) direct: Option<Arc<dyn DirectWrite>>,
    pub(super) waker: Waker,
    /// What is written while there is no session to hold an outbox: before CONNACK and after the end.
    pub(super) local: Option<Box<OutBuffer>>,
    pub(super) end: Option<Box<End>>,
    pub(super) version: Option<ProtocolVersion>,
    pub(super) admission: Box<dyn Admission>,
    pub(super) open: OpenConnection,
    /// When the oldest PUBLISH was read whose acknowledgement has not been written.
    ack_since: Option<Instant>,
    /// CONNACK has gone to the outbox.
    pub(super) is_welcomed: bool,
    /// Bytes taken in all.
    received: u64,
    /// The rates that it is held to, if any.
    pub(super) pace: Option<Box<Pace>>,
    /// Its place among the connections of its user, where those are counted.
    pub(super) place: Option<ConnectionPlace>,
    /// It has become a consumer of work queues, which begins once SUBACK has gone to the outbox.
    has_joined: bool,
}

/// What writing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// There is nothing more to write.
    All,
    /// The peer takes nothing now.
    Blocked,
    /// There is more, and others should have their turn first.
    Yield,
}

/// The session of a connection; packets reach it only once there is one.
pub(super) struct Held<'a>(pub(super) Option<&'a SessionHandle>);

impl SessionCell for Held<'_> {
    fn with<R>(&self, work: impl FnOnce(&mut Session) -> R) -> R {
        let handle = self.0.expect("a connection that has sent CONNACK holds a session");
        handle.with(work)
    }
}

/// Rounds of writing before others have their turn.
const WRITE_ROUNDS: usize = 16;

impl Client {
    /// `direct` is for plain sockets, which others may write to as well.
    pub fn new(
        broker: Arc<Broker>,
        origin: Origin,
        direct: Option<Arc<dyn DirectWrite>>,
        admission: Box<dyn Admission>,
    ) -> Self {
        let open = origin.door.metrics.accept();
        let limits = origin.door.limits.load_full();
        let connection = Connection::new(limits);
        Self {
            broker,
            origin,
            connection,
            hold: None,
            login: LoginState::None,
            question: None,
            direct,
            waker: Waker::noop().clone(),
            local: None,
            end: None,
            version: None,
            admission,
            open,
            ack_since: None,
            is_welcomed: false,
            received: 0,
            pace: None,
            place: None,
            has_joined: false,
        }
    }

    /// Whose client it is.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// CONNECT has been accepted.
    pub fn is_connected(&self) -> bool {
        self.hold.is_some()
    }

    /// The version, once the client is let in.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.hold.as_ref().and(self.version)
    }

    /// Whether bytes may be given now: not while a login is looked at, nor while too much waits to be acknowledged, nor while the
    /// client has sent more than its rate.
    pub fn takes_bytes(&self) -> bool {
        let is_waiting = || self.broker.journal.as_ref().is_some_and(|journal| journal.is_behind()) && self.connection.owes();
        self.end.is_none()
            && !self.is_logging_in()
            && !self.connection.is_congested()
            && self.paused_until().is_none()
            && !is_waiting()
    }

    /// Until when it takes no bytes because the client has sent more than its rate.
    pub fn paused_until(&self) -> Option<Instant> {
        self.pace.as_ref().and_then(|pace| pace.paused_until())
    }

    /// Takes bytes again if the time has come.
    pub fn resume(&mut self, now: Instant) {
        if let Some(pace) = &mut self.pace {
            pace.resume(now);
        }
    }

    /// A login is being looked at, or a right, and packets wait for that.
    pub fn is_logging_in(&self) -> bool {
        self.login.is_pending() || self.is_asking()
    }

    /// Whether `bytes` begin with a whole packet, or what can be none.
    pub fn holds_packet(&self, bytes: &[u8]) -> bool {
        self.decoder().frame_length(bytes).map_or(true, |length| length.is_some_and(|length| length <= bytes.len()))
    }

    /// How many bytes the packet that `bytes` begins with has, if that is known.
    pub fn packet_length(&self, bytes: &[u8]) -> Option<usize> {
        self.decoder().frame_length(bytes).ok().flatten()
    }

    /// Takes as many whole packets as `bytes` holds; returns how many bytes they were.
    pub fn receive(&mut self, bytes: &[u8], now: Instant, deliveries: &mut Deliveries) -> usize {
        if self.is_taken_over() {
            return bytes.len();
        }
        let mut consumed = 0;
        while consumed < bytes.len() && self.takes_bytes() {
            let rest = &bytes[consumed..];
            match self.decoder().decode(rest) {
                Ok(None) => break,
                Ok(Some((ref packet, _))) if self.must_ask(packet, now) => break,
                Ok(Some((ref packet, length))) => {
                    consumed += length;
                    if let Some(kind) = PacketType::of_first_byte(rest[0]) {
                        deliveries.batch.packet_received(kind);
                    }
                    if self.broker.traces.is_on() {
                        self.trace_packet(packet);
                    }
                    if let Some(pace) = &mut self.pace
                        && let Some(limit) = pace.spend(matches!(packet, Packet::Publish(_)), length, now)
                    {
                        deliveries.batch.limit_hit(limit, 1);
                    }
                    let handle = self.hold.as_ref().map(|hold| &*hold.handle);
                    let handled = match self.connection.handle_packet(packet, &Held(handle)) {
                        Ok(action) => self.act(action, now, deliveries),
                        Err(violation) => Err(violation),
                    };
                    if let Err(violation) = handled {
                        self.violated(&violation, now);
                    }
                }
                Err(malformed) => {
                    self.malformed(rest, &malformed, now);
                    break;
                }
            }
        }
        self.received += consumed as u64;
        deliveries.batch.bytes_received(consumed);
        consumed
    }

    /// What may come now: a client that is let in may send larger packets than a stranger.
    fn decoder(&self) -> Decoder {
        Decoder {
            version: self.connection.version(),
            maximum_packet_size: self.connection.packet_size_max(),
            user_properties_max: self.connection.limits().max_user_properties,
            filters_max: self.connection.limits().filters_per_packet(),
            peer: Peer::Client,
        }
    }

    pub(super) fn append_local(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.local.get_or_insert_default().append(bytes);
        }
    }

    /// What an old connection still has to say is not heard: the new one has been told anew what the acknowledgements are for.
    fn is_taken_over(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| !hold.handle.lock(|slot| slot.is_online(hold.epoch)))
    }

    fn act(&mut self, action: Action<'_>, now: Instant, deliveries: &mut Deliveries) -> Result<(), Violation> {
        match action {
            Action::None => {}
            Action::Settled(queued, reason) => {
                if let Some(work) = queued.work() {
                    work.answer_seen(reason as u8);
                    deliveries.touch(work.errand().queue);
                }
            }
            Action::Publish(publish) => {
                if self.broker.traces.is_on() {
                    self.trace_publish(&publish);
                }
                self.publish(&publish, now, deliveries)?;
            }
            Action::Released(token, packet_id) => {
                if let Some(session) = self.stored_as() {
                    deliveries.batch.journal.record(Record::Unreceived { session, packet_id });
                }
                self.answer_once_safe(token, deliveries);
            }
            Action::Repeated(token) => self.answer_once_safe(token, deliveries),
            Action::Release(token, sequence) => {
                if let Some(session) = self.stored_as() {
                    deliveries.batch.journal.record(Record::Released { session, sequence });
                }
                self.answer_once_safe(token, deliveries);
            }
            Action::Connect(connect) => {
                self.version = Some(connect.version);
                self.begin_login(connect, now);
            }
            Action::Authenticate(auth) => self.continue_login(auth, now)?,
            Action::Subscribe(subscribe) => {
                if let Some(hold) = &self.hold {
                    let limits = self.connection.limits();
                    let (reasons, why) = self.broker.subscribe(&hold.handle, subscribe, limits, now, &mut deliveries.batch);
                    self.has_joined |= hold.handle.lock(|slot| slot.has_memberships());
                    let token = self.connection.subscribe_done(subscribe.packet_id, reasons, why);
                    // A queue that it may have made outlives its session.
                    let waits = self.stored_as().is_some() || names_bound_queue(subscribe);
                    self.answer_once(waits, token, deliveries);
                }
            }
            Action::Unsubscribe(unsubscribe) => {
                if let Some(hold) = &self.hold {
                    let reasons = self.broker.unsubscribe(&hold.handle, unsubscribe, now, &mut deliveries.batch);
                    let token = self.connection.unsubscribe_done(unsubscribe.packet_id, reasons);
                    self.answer_once_safe(token, deliveries);
                }
            }
            Action::Disconnect { reason, publish_will, limit } => {
                if let Some(limit) = limit {
                    self.broker.metrics.limit_hits.count(limit);
                }
                self.broker.metrics.disconnects_received.count(reason as u8);
                self.end_with(reason.code(), "".into(), publish_will, By::Client);
            }
        }
        Ok(())
    }

    fn stored_as(&self) -> Option<u64> {
        self.hold.as_ref().and_then(|hold| hold.handle.stored_as)
    }

    /// Answers at once, or, in a session that outlives the process, once what was told so far cannot be lost.
    fn answer_once_safe(&mut self, token: AckToken, deliveries: &mut Deliveries) {
        self.answer_once(self.stored_as().is_some(), token, deliveries);
    }

    fn answer_once(&mut self, is_stored: bool, token: AckToken, deliveries: &mut Deliveries) {
        let Some(hold) = &self.hold else { return };
        if is_stored && self.broker.journal.is_some() {
            let level = self.broker.stored_level();
            deliveries.batch.answer_later(level, (&hold.handle, hold.epoch), token, PublishReason::Success);
        } else {
            self.connection.publish_done(token, PublishReason::Success, &Held(Some(&hold.handle)));
        }
    }

    fn publish(&mut self, publish: &InboundPublish<'_>, now: Instant, deliveries: &mut Deliveries) -> Result<(), Violation> {
        let Self { broker, connection, hold: Some(hold), ack_since, .. } = self else { return Ok(()) };
        let handle = &hold.handle;
        let qos = publish.packet.delivery.qos();
        deliveries.batch.publish_received(qos as u8, publish.packet.payload.len());
        let routed = match Broker::special(publish.topic()) {
            _ if broker.overload.refuses_publish(publish.packet.payload.len()) => {
                broker.metrics.limit_hits.count(Limit::RefusePublishesAt);
                Routed::at_once(PublishReason::QuotaExceeded)
            }
            Some(special) => broker.route_special((handle, hold.epoch), publish, special, now, deliveries),
            None => broker.route((handle, hold.epoch), publish, now, deliveries),
        };
        let Routed { mut answer, wait, is_settling } = routed;
        if is_settling && connection.version() != Some(ProtocolVersion::V5) {
            answer = PublishReason::Success.into(); // It has no code for "no", and no message was lost.
        }
        let reason = answer.reason;
        // An older client has no code for "no": it keeps the message and finds out by the close. A missing right is
        // acknowledged all the same [MQTT3-3.3.5-2].
        let is_refused = reason.is_error() && reason != PublishReason::NotAuthorized;
        if is_refused && qos != QoS::AtMostOnce && connection.version() != Some(ProtocolVersion::V5) {
            let why = if let Note::Reason(why) = answer.note { why } else { "a message that could not be kept" };
            if let Some(id) = publish.packet.delivery.packet_id().filter(|_| qos == QoS::ExactlyOnce) {
                handle.lock(|slot| slot.session.release(id)); // Sent again, it is no repetition.
            }
            return Err(Violation {
                reason: DisconnectReason::QuotaExceeded,
                detail: why.into(),
                limit: None, // Counted where it was met.
            });
        }
        if let Some(token) = publish.ack {
            ack_since.get_or_insert(now);
            match wait {
                Some(level) => deliveries.batch.answer_later(level, (handle, hold.epoch), token, answer),
                None => connection.publish_done(token, answer, &Held(Some(handle))),
            }
        }
        Ok(())
    }

    /// Once per wake, after what was read was given in: takes what others have asked for, and hands on what is to be written.
    pub fn turn(&mut self, now: Instant, has_received: bool, deliveries: &mut Deliveries) -> Closed {
        self.take_answers();
        if self.connection.owes_too_much() {
            let detail = "an answer over the client's Maximum Packet Size";
            self.end_with(DisconnectReason::PacketTooLarge.code(), detail.into(), true, By::Server);
        }
        if !self.may_speak() {
            return Closed::No;
        }
        let output = self.connection.take_output();
        wire_log::count_sent(&output, &mut deliveries.batch);
        let Some(hold) = &self.hold else {
            self.append_local(&output);
            return if self.end.is_some() { self.finish(now, deliveries) } else { Closed::No };
        };
        let (next_ack, owes_suback) = (self.connection.next_ack(), self.connection.owes_suback());
        let (is_welcomed, mut has_come_back, mut has_room) = (self.is_welcomed, false, false);
        let told = hold.handle.lock(|slot| {
            let is_current = slot.is_online(hold.epoch);
            let online = slot.connection(hold.epoch)?;
            online.is_notified = false;
            if has_received {
                online.last_received = now;
                online.inflow.set(self.received, now);
            }
            if !output.is_empty() {
                online.outbox.buffer.append(&output);
            }
            // Under the same lock: what others send comes behind CONNACK [MQTT-3.2.0-1].
            let was_welcomed = std::mem::replace(&mut online.is_welcomed, is_welcomed);
            has_come_back = is_welcomed && !was_welcomed && slot.has_memberships();
            let online = slot.connection(hold.epoch)?;
            let asked = online.closing;
            let is_broken = online.outbox.is_broken;
            if is_current {
                slot.session.outbound.acknowledged_before(next_ack);
                if !owes_suback {
                    slot.session.let_replays_go();
                }
                if asked.is_none() {
                    slot.fill(now, &mut deliveries.batch);
                }
                has_room = asked.is_none() && self.end.is_none() && slot.ends_lack_of_room();
            }
            slot.report(&mut deliveries.batch);
            Some((asked, is_broken, is_current && slot.has_more_to_fetch()))
        });
        let has_joined = !owes_suback && std::mem::take(&mut self.has_joined);
        if has_come_back || has_joined {
            self.broker.sync_consumers(&hold.handle, deliveries);
        }
        if has_room {
            self.broker.share_room(&hold.handle, now, deliveries);
        }
        match told {
            Some((Some(reason), ..)) => self.end_with(reason.code(), "".into(), true, By::Server),
            Some((None, true, _)) => self.end_with(ReasonCode(0x80), "write failed".into(), true, By::Network),
            Some((None, false, true)) => self.broker.supply(&hold.handle, hold.epoch, now, &mut deliveries.batch),
            Some((None, false, false)) | None => {}
        }
        if self.end.is_some() { self.finish(now, deliveries) } else { Closed::No }
    }

    /// Whether what there is to say may leave: CONNACK not before what it promises cannot be lost, and nothing before CONNACK. A
    /// connection that ends before that ends without a word.
    fn may_speak(&mut self) -> bool {
        let Some(hold) = self.hold.as_ref().filter(|_| !self.is_welcomed) else { return true };
        let (is_stored, closing) = hold.handle.lock(|slot| {
            let Some(online) = slot.connection(hold.epoch) else { return (true, None) };
            online.is_notified = false;
            (online.is_stored, online.closing)
        });
        self.is_welcomed = is_stored;
        if let Some(reason) = closing.filter(|_| !is_stored) {
            self.end_with(reason.code(), "".into(), true, By::Server);
        }
        if !is_stored && self.end.is_some() {
            drop(self.connection.take_output());
        }
        is_stored || self.end.is_some()
    }

    /// Acknowledgements whose answer came later than their packet.
    fn take_answers(&mut self) {
        let Some(hold) = &self.hold else { return };
        let answers = hold.handle.lock(|slot| {
            let online = slot.connection(hold.epoch)?;
            online.is_notified = false; // Under the same lock: an answer that comes from here on wakes us again.
            online.answers.take()
        });
        let Some(answers) = answers else { return };
        for (token, answer) in *answers {
            self.connection.publish_done(token, answer, &Held(Some(&hold.handle)));
        }
    }

    /// Remembers the task to wake, and asks for the result of a login that is under way. Returns whether it was decided just now, so
    /// that bytes can be given again.
    pub fn poll_login(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if !self.waker.will_wake(cx.waker()) {
            self.waker = cx.waker().clone();
        }
        let was_pending = self.is_logging_in();
        self.poll_answer(cx, now);
        self.poll_question(cx, now);
        was_pending && !self.is_logging_in()
    }

    /// Writes what there is through `write`, which answers as `poll_write` does.
    pub fn write(
        &mut self,
        now: Instant,
        deliveries: &mut Deliveries,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> io::Result<Written> {
        for _ in 0..WRITE_ROUNDS {
            let Some(hold) = &self.hold else {
                let Some(local) = &mut self.local else { return Ok(Written::All) };
                let is_done = write_some(local, &mut write)?;
                return Ok(if is_done { Written::All } else { Written::Blocked });
            };
            let (mut is_written, mut has_room) = (false, false);
            let taken = hold.handle.lock(|slot| {
                let is_current = slot.is_online(hold.epoch);
                is_written = is_current && slot.connection(hold.epoch)?.ends_hold(); // By senders.
                has_room = is_current && slot.ends_lack_of_room();
                let online = slot.connection(hold.epoch)?;
                Some((online.outbox.take_or_wait()?, online.outbox.waiting_since.take()))
            });
            if is_written {
                self.broker.end_hold(&hold.handle, deliveries);
            }
            if has_room {
                self.broker.share_room(&hold.handle, now, deliveries);
            }
            let Some((mut taken, waiting_since)) = taken else { return Ok(Written::All) };
            let before = taken.len();
            let result = write_some(&mut taken, &mut write);
            let is_progress = taken.len() < before;
            if let Some(since) = waiting_since.filter(|_| is_progress) {
                self.broker.metrics.latency.publish_to_delivery.record(since.elapsed().as_secs_f64());
            }
            if is_progress && let Some(since) = self.ack_since.take() {
                self.broker.metrics.latency.publish_to_ack.record(since.elapsed().as_secs_f64());
            }
            let has_more = hold.handle.lock(|slot| {
                let is_current = slot.is_online(hold.epoch);
                let outbox = &mut slot.connection(hold.epoch)?.outbox;
                outbox.give_back(taken);
                outbox.blocked_since = match (&result, outbox.blocked_since) {
                    (Ok(false), Some(since)) if !is_progress => Some(since),
                    (Ok(false), _) => Some(now),
                    _ => None,
                };
                let mut ends_hold = false;
                if is_current && matches!(result, Ok(true)) {
                    slot.fill(now, &mut deliveries.batch);
                    slot.report(&mut deliveries.batch);
                    ends_hold = slot.connection(hold.epoch).is_some_and(|online| std::mem::take(&mut online.holds_work));
                }
                Some((is_current && slot.has_more_to_fetch(), ends_hold))
            });
            if has_more.is_some_and(|(_, ends_hold)| ends_hold) {
                self.broker.end_hold(&hold.handle, deliveries);
            }
            if !result? {
                return Ok(Written::Blocked);
            }
            if has_more.is_some_and(|(has_more, _)| has_more) {
                self.broker.supply(&hold.handle, hold.epoch, now, &mut deliveries.batch);
            }
        }
        Ok(Written::Yield)
    }
}

/// Writes until all is written (`true`) or the peer takes nothing more (`false`).
fn write_some(buffer: &mut OutBuffer, write: &mut impl FnMut(&[IoSlice<'_>]) -> Poll<io::Result<usize>>) -> io::Result<bool> {
    while !buffer.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = buffer.slices(&mut slices);
        match write(&slices[..used]) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => buffer.advance(count),
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    Ok(true)
}
