use std::borrow::Cow;
use std::time::Instant;

use super::client::Client;
use super::deliver::Deliveries;
use super::events::{Event, EventKind};
use super::inspect::LastEnd;
use super::log_limiter::Rate;
use super::wire_log;
use crate::metrics::{DropReason, Limit, MalformedKind};
use crate::packet::{
    ConnAck, ConnAckProperties, ConnectReason, DisconnectReason, Malformed, MalformedPacket, ProtocolVersion, ReasonCode,
    connect_version,
};
use crate::session::{Phase, Violation};

/// Why and how a connection ends.
#[derive(Debug)]
pub struct End {
    pub reason: ReasonCode,
    pub detail: Cow<'static, str>,
    pub publish_will: bool,
    /// Who ended it.
    pub by: By,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Client,
    Server,
    Network,
}

impl By {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Network => "network",
        }
    }
}

/// How far a connection's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It goes on.
    No,
    /// It goes on until another task has let go of its outbox.
    Soon,
    /// Its session is settled; what is left to write may be written.
    Yes,
}

impl Client {
    /// The network connection is gone, without a word or with an error.
    pub fn lost(&mut self, why: Cow<'static, str>, now: Instant, deliveries: &mut Deliveries) {
        // One that was asked to end, and whose network was faster, ends for the reason that it was asked for.
        let asked = self.hold.as_ref().and_then(|hold| hold.handle.lock(|slot| slot.connection(hold.epoch)?.closing));
        match asked {
            Some(reason) => self.end_with(reason.code(), "".into(), true, By::Server),
            None => self.end_with(ReasonCode(0x80), why, true, By::Network),
        }
        self.settle(now, deliveries);
    }

    /// CONNECT did not come in time.
    pub fn too_late(&mut self) {
        self.broker.metrics.limit_hits.count(Limit::ConnectTimeout);
        self.end_with(ReasonCode(0x80), "no CONNECT in time".into(), false, By::Server);
    }

    /// The broker stops.
    pub fn shut_down(&mut self) {
        self.end_with(DisconnectReason::ServerShuttingDown.code(), "".into(), true, By::Server);
    }

    /// The first reason to end is the one that counts.
    pub(super) fn end_with(&mut self, reason: ReasonCode, detail: Cow<'static, str>, publish_will: bool, by: By) {
        self.end.get_or_insert_with(|| Box::new(End { reason, detail, publish_will, by }));
    }

    /// A packet that can be read but may not come now.
    pub(super) fn violated(&mut self, violation: &Violation, now: Instant) {
        if let Some(limit) = violation.limit {
            self.broker.metrics.limit_hits.count(limit);
        }
        if let Some(kind) = kind_of_violation(violation.reason) {
            self.broker.metrics.malformed_packets.count(kind);
        }
        self.log_bad_input(&violation.to_string(), now);
        if self.connection.phase() == Phase::Authenticating {
            let reason = ConnectReason::from_byte(violation.reason as u8).unwrap_or(ConnectReason::ProtocolError);
            self.refuse(reason, None);
        }
        self.end_with(violation.reason.code(), violation.detail.clone(), true, By::Server);
    }

    /// Bytes that are no packet.
    pub(super) fn malformed(&mut self, bytes: &[u8], malformed: &MalformedPacket, now: Instant) {
        let metrics = &self.broker.metrics;
        metrics.malformed_packets.count(kind(malformed.kind));
        let is_first = self.connection.phase() == Phase::AwaitConnect;
        let limit = match malformed.kind {
            Malformed::UserProperties => Some(Limit::MaxUserProperties),
            Malformed::Filters => Some(Limit::MaxSubscriptions),
            Malformed::TooLarge if self.connection.phase() == Phase::Connected => Some(Limit::MaxPacketSize),
            Malformed::TooLarge => Some(Limit::MaxConnectSize),
            Malformed::Packet
            | Malformed::Protocol
            | Malformed::Version
            | Malformed::TopicName
            | Malformed::TopicFilter
            | Malformed::TopicAlias => None,
        };
        if let Some(limit) = limit {
            metrics.limit_hits.count(limit);
        }
        self.log_bad_input(&malformed.to_string(), now);
        if is_first {
            self.refuse_malformed_connect(bytes, malformed);
        } else if self.connection.phase() == Phase::Authenticating {
            self.refuse(connect_reason(malformed.kind), None);
        }
        self.end_with(malformed.disconnect_reason().code(), malformed.detail.into(), true, By::Server);
    }

    /// A CONNECT that cannot be read is refused in its own language, if that can be told; anything else is just closed.
    fn refuse_malformed_connect(&mut self, bytes: &[u8], malformed: &MalformedPacket) {
        let Some(version) = connect_version(bytes) else { return };
        // [MQTT3-3.1.4-1]: an older client is told nothing but that its version is not spoken here [MQTT3-3.1.2-2].
        if version != ProtocolVersion::V5 && malformed.kind != Malformed::Version {
            return;
        }
        self.connection.assume_version(version);
        let reason = connect_reason(malformed.kind);
        self.refuse(reason, Some(malformed.detail));
    }

    /// Writes a CONNACK that says no. The caller ends the connection.
    pub(super) fn refuse(&mut self, reason: ConnectReason, why: Option<&str>) {
        self.broker.metrics.connacks_sent.count(reason as u8);
        let properties = ConnAckProperties { reason_string: why, ..ConnAckProperties::default() };
        self.connection.refuse(&ConnAck { session_present: false, reason, properties });
    }

    /// Ends the connection as was decided: the session is settled first, then the client is told.
    pub(super) fn finish(&mut self, now: Instant, deliveries: &mut Deliveries) -> Closed {
        if let Some(hold) = &self.hold {
            let rest = hold.handle.lock(|slot| match slot.connection(hold.epoch) {
                Some(online) => online.outbox.take_rest(),
                None => Some(Default::default()),
            });
            let Some(rest) = rest else { return Closed::Soon };
            self.local.get_or_insert_default().append_buffer(rest);
        }
        if let Some(End { reason, detail, by: By::Server, .. }) = self.end.as_deref()
            && self.connection.phase() == Phase::Connected
            && self.is_welcomed // [MQTT-3.2.0-1]: CONNACK is the first packet, or there is none.
            && let Some(reason) = DisconnectReason::from_byte(reason.0)
        {
            self.broker.metrics.disconnects_sent.count(reason as u8);
            self.connection.disconnect(reason, Some(&**detail).filter(|detail| !detail.is_empty()));
        }
        let output = self.connection.take_output();
        wire_log::count_sent(&output, &mut deliveries.batch);
        self.append_local(&output);
        self.settle(now, deliveries);
        Closed::Yes
    }

    /// Lets go of the session: its will, its expiry, its queue take their course.
    fn settle(&mut self, now: Instant, deliveries: &mut Deliveries) {
        let Some(hold) = self.hold.take() else { return };
        self.place = None;
        let broker = self.broker.clone();
        let (reason, detail, publish_will, by) = match &self.end {
            Some(end) => (end.reason, end.detail.clone(), end.publish_will, end.by),
            None => (ReasonCode(0x80), "".into(), true, By::Network),
        };
        hold.handle.lock(|slot| slot.past_mut().last_end = Some(LastEnd { at: now, reason, by }));
        broker.metrics.sessions.online.decrement();
        if reason == DisconnectReason::SessionTakenOver.code() {
            broker.metrics.sessions.taken_over.increment();
        }
        if reason == DisconnectReason::QuotaExceeded.code() && by == By::Server && detail.is_empty() {
            broker.metrics.dropped(DropReason::SlowConsumer, 1);
        }
        let expiry = self.connection.session_expiry_interval();
        broker.close_connection(&hold, expiry, publish_will, deliveries, now);
        let client = hold.handle.client_id();
        self.trace_event(client, "disconnected", Some(reason), &detail);
        if let Some(suppressed) = broker.log_limiter.allow_at(Rate::OFTEN, "disconnected", now) {
            let by = by.name();
            tracing::info!(
                client = &**client,
                user = hold.handle.principal.username.as_deref(),
                peer = self.origin.peer(),
                listener = &*self.origin.door.name,
                version = self.version.map(tracing::field::display),
                by,
                reason = format_args!("{} (0x{:02x})", reason.name_in_disconnect(), reason.0),
                detail = &*detail,
                suppressed,
                "disconnected"
            );
        }
        broker.tell(Event {
            client_id: client.clone(),
            username: hold.handle.principal.username.clone(),
            address: self.origin.address,
            version: self.version.unwrap_or(ProtocolVersion::V311),
            kind: EventKind::Disconnected { reason },
        });
    }

    fn log_bad_input(&self, cause: &str, now: Instant) {
        if let Some(suppressed) = self.broker.log_limiter.allow("bad input", now) {
            let client = self.hold.as_ref().map(|hold| &**hold.handle.client_id());
            tracing::warn!(
                client,
                peer = self.origin.peer(),
                listener = &*self.origin.door.name,
                cause,
                suppressed,
                "bad input"
            );
        }
    }
}

const fn connect_reason(kind: Malformed) -> ConnectReason {
    match kind {
        Malformed::Packet => ConnectReason::MalformedPacket,
        Malformed::Protocol | Malformed::TopicAlias => ConnectReason::ProtocolError,
        Malformed::Version => ConnectReason::UnsupportedProtocolVersion,
        Malformed::TooLarge => ConnectReason::PacketTooLarge,
        Malformed::TopicName | Malformed::TopicFilter => ConnectReason::TopicNameInvalid,
        Malformed::UserProperties | Malformed::Filters => ConnectReason::QuotaExceeded,
    }
}

/// Packets that can be read and break the protocol; others only go over what was agreed.
const fn kind_of_violation(reason: DisconnectReason) -> Option<MalformedKind> {
    match reason {
        DisconnectReason::MalformedPacket => Some(MalformedKind::Packet),
        DisconnectReason::ProtocolError => Some(MalformedKind::Protocol),
        DisconnectReason::TopicAliasInvalid => Some(MalformedKind::TopicAlias),
        DisconnectReason::TopicNameInvalid => Some(MalformedKind::TopicName),
        DisconnectReason::TopicFilterInvalid => Some(MalformedKind::TopicFilter),
        DisconnectReason::PacketTooLarge => Some(MalformedKind::TooLarge),
        _ => None,
    }
}

const fn kind(kind: Malformed) -> MalformedKind {
    match kind {
        Malformed::Packet => MalformedKind::Packet,
        Malformed::Protocol => MalformedKind::Protocol,
        Malformed::Version => MalformedKind::Version,
        Malformed::TooLarge => MalformedKind::TooLarge,
        Malformed::TopicName => MalformedKind::TopicName,
        Malformed::TopicFilter => MalformedKind::TopicFilter,
        Malformed::TopicAlias => MalformedKind::TopicAlias,
        Malformed::UserProperties | Malformed::Filters => MalformedKind::Quota,
    }
}
