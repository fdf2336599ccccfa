//! Every series of `/metrics`: its name, what it tells, where its value is. A new figure is a new line here.

use std::sync::Arc;

use super::prometheus::{Reading, Registration};
use crate::metrics::{
    Authentication, BridgeDrop, BridgeMetrics, Denied, DropReason, Family, HookResult, KeyFetch, Kind, Limit, ListenerMetrics,
    MalformedKind, Metrics, PacketType, Reasons, VERSIONS,
};
use crate::packet::ReasonCode;

const CONNECTIONS: &str = "dunlin_connections";
const PENDING: &str = "dunlin_connections_pending";
const ACCEPTED: &str = "dunlin_connections_total";
const HANDSHAKES: &str = "dunlin_handshake_failures_total";
const CERTIFICATES: &str = "dunlin_certificate_expiry_timestamp_seconds";
const BRIDGE_CONNECTED: &str = "dunlin_bridge_connected";
const BRIDGE_MESSAGES: &str = "dunlin_bridge_messages_total";
const BRIDGE_DROPPED: &str = "dunlin_bridge_messages_dropped_total";
const BRIDGE_RECONNECTS: &str = "dunlin_bridge_reconnects_total";
const CONNACKS: &str = "dunlin_connacks_sent_total";
const DISCONNECTS_SENT: &str = "dunlin_disconnects_sent_total";
const DISCONNECTS_RECEIVED: &str = "dunlin_disconnects_received_total";

/// The series that are there from the start.
pub(super) fn register(to: &mut Registration<'_>) {
    to.describe_gauge("dunlin_build_info", "Always 1; the version is in the label.");
    to.gauge("dunlin_build_info", &[("version", env!("CARGO_PKG_VERSION"))], |_| 1.0);
    to.describe_gauge(CONNECTIONS, "Connections that are open and connected, by listener and protocol version.");
    to.describe_gauge(PENDING, "Connections whose CONNECT has not been accepted yet.");
    to.describe_counter(
        ACCEPTED,
        "Connections that have come through their handshakes (TLS, WebSocket, PROXY), whatever became of them.",
    );
    to.describe_counter(HANDSHAKES, "TLS, WebSocket and PROXY protocol handshakes that failed.");
    to.describe_gauge(CERTIFICATES, "When the first of a listener's certificates ends, in seconds since 1970.");
    to.describe_gauge(BRIDGE_CONNECTED, "1 while a bridge is connected to the other broker.");
    to.describe_counter(
        BRIDGE_MESSAGES,
        "Messages that went over a bridge, by direction; those that were sent again included.",
    );
    to.describe_counter(BRIDGE_DROPPED, "Messages that were to go over a bridge and did not, by reason.");
    to.describe_counter(BRIDGE_RECONNECTS, "Connections of a bridge that ended or could not be had.");
    to.describe_counter(CONNACKS, "CONNACKs sent, by reason code; those of older clients by the 5.0 code of the same meaning.");
    to.describe_counter(DISCONNECTS_SENT, "Connections that the broker ended, by reason code.");
    to.describe_counter(DISCONNECTS_RECEIVED, "DISCONNECTs received, by reason code.");
    sessions(to);
    traffic(to);
    causes(to);
    storage(to);
    overload(to);
    process(to);
}

/// The series of one listener.
pub(super) fn register_listener(to: &mut Registration<'_>, listener: &Arc<ListenerMetrics>) {
    let name = listener.name();
    for (index, version) in VERSIONS.into_iter().enumerate() {
        let of = listener.clone();
        to.gauge(CONNECTIONS, &[("listener", name), ("version", version)], move |_| of.connected()[index] as f64);
    }
    let of = listener.clone();
    to.gauge(PENDING, &[("listener", name)], move |_| of.pending.get() as f64);
    let of = listener.clone();
    to.counter(ACCEPTED, &[("listener", name)], move |_| of.accepted.get());
    let of = listener.clone();
    to.counter(HANDSHAKES, &[("listener", name)], move |_| of.handshake_failures.get());
    // Known before the listener is: a series of zeros would be an alarm where there is no certificate.
    if listener.certificate_expiry.get() > 0 {
        let of = listener.clone();
        to.gauge(CERTIFICATES, &[("listener", name)], move |_| of.certificate_expiry.get() as f64);
    }
}

/// The series of one bridge.
pub(super) fn register_bridge(to: &mut Registration<'_>, bridge: &Arc<BridgeMetrics>) {
    let name = bridge.name();
    let of = bridge.clone();
    to.gauge(BRIDGE_CONNECTED, &[("bridge", name)], move |_| of.connected.get() as f64);
    let of = bridge.clone();
    to.counter(BRIDGE_MESSAGES, &[("bridge", name), ("direction", "out")], move |_| of.sent.get());
    let of = bridge.clone();
    to.counter(BRIDGE_MESSAGES, &[("bridge", name), ("direction", "in")], move |_| of.received.get());
    let of = bridge.clone();
    to.counter(BRIDGE_RECONNECTS, &[("bridge", name)], move |_| of.reconnects.get());
    for reason in BridgeDrop::ALL {
        let of = bridge.clone();
        to.counter(BRIDGE_DROPPED, &[("bridge", name), ("reason", reason.name())], move |_| of.drops(reason));
    }
}

/// What a reason code is called, depending on its packet.
type NameOf = fn(ReasonCode) -> &'static str;

/// The figures whose series appear when their reason code is first counted.
pub(super) fn reasons(metrics: &Metrics) -> [(&'static str, &Reasons, NameOf); 3] {
    [
        (CONNACKS, &metrics.connacks_sent, ReasonCode::name),
        (DISCONNECTS_SENT, &metrics.disconnects_sent, ReasonCode::name_in_disconnect),
        (DISCONNECTS_RECEIVED, &metrics.disconnects_received, ReasonCode::name_in_disconnect),
    ]
}

fn sessions(to: &mut Registration<'_>) {
    to.describe_gauge("dunlin_sessions", "Sessions, by whether their client is connected.");
    to.gauge("dunlin_sessions", &[("state", "online")], |now| now.metrics.sessions.online.get() as f64);
    to.gauge("dunlin_sessions", &[("state", "offline")], |now| now.metrics.sessions.offline.get() as f64);
    counter(to, "dunlin_sessions_resumed_total", "CONNECTs that found their session.", |now| {
        now.metrics.sessions.resumed.get()
    });
    counter(to, "dunlin_sessions_taken_over_total", "Connections ended by a new one of the same client identifier.", |now| {
        now.metrics.sessions.taken_over.get()
    });
    counter(to, "dunlin_sessions_expired_total", "Sessions whose expiry interval has passed.", |now| {
        now.metrics.sessions.expired.get()
    });
    gauge(to, "dunlin_subscriptions", "Subscriptions, shared ones too.", |now| now.metrics.subscriptions.get());
    gauge(to, "dunlin_shared_subscriptions", "Subscriptions under $share.", |now| now.metrics.shared_subscriptions.get());
    gauge(to, "dunlin_retained_messages", "Retained messages.", |now| now.metrics.retained_messages.get());
    gauge(to, "dunlin_retained_bytes", "Bytes of the retained messages.", |now| now.metrics.retained_bytes.get());
    gauge(to, "dunlin_queued_messages", "Messages that wait in the queues of sessions.", |now| now.traffic.queued_messages());
    gauge(to, "dunlin_queued_bytes", "Bytes that wait in the queues of sessions.", |now| now.traffic.queued_bytes());
    gauge(to, "dunlin_inflight_messages", "QoS 1 and 2 messages that clients have not acknowledged yet.", |now| {
        now.traffic.inflight_messages()
    });
    gauge(to, "dunlin_delayed_messages", "Messages that wait for the time of their $delayed topic.", |now| {
        now.metrics.delayed_messages.get()
    });
    gauge(to, "dunlin_delayed_bytes", "Bytes of those messages.", |now| now.metrics.delayed_bytes.get());
    counter(
        to,
        "dunlin_queue_refusals_total",
        "Publishes and subscriptions to topics of work queues that asked for what is not, or not theirs.",
        |now| now.metrics.queue_refusals.get(),
    );
    counter(to, "dunlin_wills_published_total", "Will messages published.", |now| now.metrics.wills_published.get());
}

fn traffic(to: &mut Registration<'_>) {
    to.describe_counter("dunlin_packets_received_total", "Control packets received, by type.");
    to.describe_counter("dunlin_packets_sent_total", "Control packets sent, by type.");
    for &kind in PacketType::ALL {
        to.counter("dunlin_packets_received_total", &[("type", kind.name())], move |now| now.traffic.packets_received(kind));
        to.counter("dunlin_packets_sent_total", &[("type", kind.name())], move |now| now.traffic.packets_sent(kind));
    }
    to.describe_counter("dunlin_publishes_received_total", "PUBLISH packets received, by QoS.");
    to.describe_counter("dunlin_publishes_sent_total", "PUBLISH packets sent, by QoS.");
    for (qos, label) in [(0, "0"), (1, "1"), (2, "2")] {
        to.counter("dunlin_publishes_received_total", &[("qos", label)], move |now| now.traffic.publishes_received(qos));
        to.counter("dunlin_publishes_sent_total", &[("qos", label)], move |now| now.traffic.publishes_sent(qos));
    }
    counter(to, "dunlin_received_bytes_total", "Bytes of MQTT received.", |now| now.traffic.total_bytes_received());
    counter(to, "dunlin_sent_bytes_total", "Bytes of MQTT sent.", |now| now.traffic.total_bytes_sent());
    counter(to, "dunlin_payload_received_bytes_total", "Bytes of payload in PUBLISH packets received.", |now| {
        now.traffic.payload_bytes_received()
    });
    counter(to, "dunlin_payload_sent_bytes_total", "Bytes of payload in PUBLISH packets sent.", |now| {
        now.traffic.payload_bytes_sent()
    });
    to.describe_counter("dunlin_messages_dropped_total", "Messages that did not reach a subscriber, by reason.");
    for &reason in DropReason::ALL {
        to.counter("dunlin_messages_dropped_total", &[("reason", reason.name())], move |now| {
            now.traffic.messages_dropped(reason)
        });
    }
}

fn causes(to: &mut Registration<'_>) {
    family::<Authentication>(to, "dunlin_authentications_total", "Logins, by how they ended.", "result", |metrics| {
        &metrics.authentications
    });
    family::<Denied>(to, "dunlin_authorization_denied_total", "What clients wanted and were not let.", "action", |metrics| {
        &metrics.authorization_denied
    });
    family::<HookResult>(
        to,
        "dunlin_auth_http_requests_total",
        "Questions to [auth.http], by what became of them.",
        "result",
        |metrics| &metrics.hook_requests,
    );
    family::<KeyFetch>(to, "dunlin_auth_jwks_fetches_total", "Requests for the keys of tokens.", "result", |metrics| {
        &metrics.key_fetches
    });
    family::<Limit>(to, "dunlin_limit_hits_total", "How often a limit of the config was hit.", "limit", |metrics| {
        &metrics.limit_hits
    });
    family::<MalformedKind>(
        to,
        "dunlin_malformed_packets_total",
        "Packets that broke the protocol, by kind.",
        "kind",
        |metrics| &metrics.malformed_packets,
    );
}

fn storage(to: &mut Registration<'_>) {
    to.describe_gauge("dunlin_storage_bytes", "Bytes on disk: of the segments, of what lives in them, of the checkpoint.");
    to.gauge("dunlin_storage_bytes", &[("kind", "segments")], |now| now.metrics.storage.segment_bytes.get() as f64);
    to.gauge("dunlin_storage_bytes", &[("kind", "live")], |now| now.metrics.storage.live_bytes.get() as f64);
    to.gauge("dunlin_storage_bytes", &[("kind", "checkpoint")], |now| now.metrics.storage.checkpoint_bytes.get() as f64);
    let recent = "Bytes of memory for messages that are on disk, and that work queues hand out soon.";
    gauge(to, "dunlin_storage_recent_bytes", recent, |now| now.metrics.storage.recent_bytes.get());
    gauge(to, "dunlin_storage_segments", "Files of the journal.", |now| now.metrics.storage.segments.get());
    to.describe_gauge("dunlin_storage_recovery_seconds", "Time that reading the journal took at the start.");
    to.gauge("dunlin_storage_recovery_seconds", &[], |now| now.metrics.storage.recovery_milliseconds.get() as f64 / 1000.0);
    counter(
        to,
        "dunlin_storage_refused_total",
        "Messages, sessions, subscriptions and work queues refused because the disk was full.",
        |now| now.metrics.storage.refused.get(),
    );
    counter(to, "dunlin_storage_bodies_read_total", "Message bodies read back from disk.", |now| {
        now.metrics.storage.bodies_read.get()
    });
}

fn overload(to: &mut Registration<'_>) {
    let help = "What is given up: 0 nothing, 1 QoS 0 to slow subscribers, 2 also new connections, 3 also big publishes.";
    gauge(to, "dunlin_overload_stage", help, |now| now.metrics.overload.stage.get());
    gauge(to, "dunlin_overload_memory_max_bytes", "Memory that the stages are measured against; 0 for none.", |now| {
        now.metrics.overload.memory_max.get()
    });
    to.describe_gauge("dunlin_runtime_delay_seconds", "The longest that a task had to wait for its turn in the last second.");
    to.gauge("dunlin_runtime_delay_seconds", &[], |now| now.metrics.overload.delay_microseconds.get() as f64 / 1e6);
    gauge(to, "dunlin_tracked_rates", "Users and addresses whose rates are kept in mind.", |now| {
        now.metrics.tracked_rates.get()
    });
    gauge(
        to,
        "dunlin_watched",
        "Addresses and client identifiers whose failed logins, connections or take-overs are kept in mind.",
        |now| now.metrics.watched.get(),
    );
}

fn process(to: &mut Registration<'_>) {
    gauge(to, "process_resident_memory_bytes", "Resident memory.", |now| now.process.resident_bytes);
    gauge(to, "process_virtual_memory_bytes", "Virtual memory.", |now| now.process.virtual_bytes);
    gauge(to, "process_open_fds", "Open file descriptors.", |now| now.process.open_fds);
    gauge(to, "process_max_fds", "The limit on open file descriptors; 0 for none.", |now| now.process.max_fds);
    gauge(to, "process_threads", "Threads.", |now| now.process.threads);
    to.describe_gauge("process_start_time_seconds", "When the process started, in seconds since 1970.");
    to.gauge("process_start_time_seconds", &[], |now| now.process.start_time_seconds);
    gauge(to, "dunlin_runtime_workers", "Worker threads of the runtime.", |now| now.runtime.workers as u64);
    gauge(to, "dunlin_runtime_tasks", "Tasks that are alive; each connection is one.", |now| now.runtime.tasks as u64);
    gauge(to, "dunlin_runtime_queued_tasks", "Tasks that wait in the runtime's global queue.", |now| now.runtime.queued as u64);
}

fn counter(
    to: &mut Registration<'_>,
    name: &'static str,
    help: &'static str,
    read: impl Fn(&Reading<'_>) -> u64 + Send + 'static,
) {
    to.describe_counter(name, help);
    to.counter(name, &[], read);
}

fn gauge(
    to: &mut Registration<'_>,
    name: &'static str,
    help: &'static str,
    read: impl Fn(&Reading<'_>) -> u64 + Send + 'static,
) {
    to.describe_gauge(name, help);
    to.gauge(name, &[], move |now| read(now) as f64);
}

fn family<K: Kind + Send>(
    to: &mut Registration<'_>,
    name: &'static str,
    help: &'static str,
    label: &'static str,
    of: fn(&Metrics) -> &Family<K>,
) {
    to.describe_counter(name, help);
    for &kind in K::ALL {
        to.counter(name, &[(label, kind.name())], move |now| of(now.metrics).get(kind));
    }
}
