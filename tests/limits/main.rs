//! Every bound of `[limits]`, `[rates]`, `[quotas]`, `[protection]` and `[overload]`: reached exactly, all is fine; one over, what the config documents happens and is counted, and a client
//! beside it notices nothing.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod connections;
mod overload;
mod packets;
mod protection;
mod queues;
mod quotas;
mod rates;
mod store;
mod told;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use dunlin::packet::{Connect, ConnectProperties, PacketId, QoS};

use tempfile::TempDir;

use support::client::{V5, connect};
use support::{Broker, Client, eventually};

/// A broker with these keys of `[limits]`, and someone on it who must not notice anything.
struct Bounded {
    broker: Broker,
    bystander: Client,
}

impl Bounded {
    fn new(limits: &str) -> Self {
        Self::with_tables(&format!("[limits]\n{limits}"))
    }

    /// One listener, and these tables.
    fn with_tables(tables: &str) -> Self {
        Self::with_config(&format!("[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n{tables}"))
    }

    fn with_config(config: &str) -> Self {
        Self::with_config_in(tempfile::tempdir().unwrap(), config)
    }

    fn with_config_in(folder: TempDir, config: &str) -> Self {
        let broker = Broker::with_config_in(folder, config);
        let mut bystander = Client::connect(broker.address(), V5, "by");
        bystander.subscribe("by", QoS::ExactlyOnce);
        Self { broker, bystander }
    }

    fn address(&self) -> SocketAddr {
        self.broker.address()
    }

    fn client(&self, client_id: &str) -> Client {
        Client::connect(self.address(), V5, client_id)
    }

    /// How often the limit was counted.
    fn hits(&self, limit: &str) -> f64 {
        self.broker.metric(&format!(r#"dunlin_limit_hits_total{{limit="{limit}"}}"#))
    }

    fn assert_hits(&self, limit: &str, expected: u32) {
        eventually(&format!("{limit} is counted"), || self.hits(limit) >= f64::from(expected));
        assert_eq!(self.hits(limit), f64::from(expected), "{limit}");
    }

    /// Messages that were dropped for this reason.
    fn dropped(&self, reason: &str) -> f64 {
        self.broker.metric(&format!(r#"dunlin_messages_dropped_total{{reason="{reason}"}}"#))
    }

    /// The bystander is served as ever.
    fn assert_bystander_unharmed(&mut self) {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            self.bystander.publish("by", "fine", qos);
            if let Some(id) = self.bystander.expect_message("by", "fine").packet_id() {
                self.bystander.puback(id);
            }
        }
        self.bystander.expect_nothing();
    }
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

/// A 5.0 CONNECT that goes on with its session and keeps it for an hour.
fn keeping(client_id: &str) -> Connect<'_> {
    let properties = ConnectProperties { session_expiry_interval: 3600, ..Default::default() };
    Connect { client_id, clean_start: false, properties, ..connect(V5) }
}

/// The client goes without its will; the broker has settled its session.
fn leave(mut client: Client) {
    client.send_bytes(&[0xE0, 0]);
    client.expect_close();
}

/// A limit that is not in this list has no test yet.
#[test]
fn every_limit_is_tested() {
    let tested = [
        "address_byte_rate",
        "address_connection_rate",
        "address_message_rate",
        "auth_http_max_cached", // tests/login
        "auth_http_max_cached_logins",
        "auth_http_max_waiting",
        "client_byte_rate",
        "client_message_rate",
        "connect_timeout",
        "listener_byte_rate",
        "listener_connection_rate",
        "listener_max_connections",
        "listener_message_rate",
        "login_failures",
        "max_bans",
        "max_client_id_length",
        "max_connect_size",
        "max_connections",
        "max_connections_per_address",
        "max_delayed_bytes",    // tests/queues
        "max_delayed_messages", // tests/queues
        "max_inflight",
        "max_keep_alive",
        "max_packet_size",
        "max_pending_connections",
        "max_queued_bytes",
        "max_queued_messages",
        "max_queues", // tests/queues
        "max_retained_bytes",
        "max_retained_messages",
        "max_session_expiry",
        "max_sessions",
        "max_subscriptions",
        "max_topic_aliases_out",
        "max_topic_length",
        "max_topic_levels",
        "max_tracked",
        "max_user_properties",
        "max_watched",
        "max_write_buffer",
        "receive_maximum",
        "reconnects",
        "refuse_connections_at",
        "refuse_publishes_at",
        "shed_at",
        "slow_consumer_timeout",
        "takeovers",
        "tenant_connections",
        "tenant_delayed_messages",
        "tenant_queued_bytes",
        "tenant_queues",
        "tenant_retained_messages",
        "tenant_sessions",
        "tenant_subscriptions",
        "topic_alias_maximum",
        "user_byte_rate",
        "user_connections",
        "user_delayed_messages",
        "user_message_rate",
        "user_queued_bytes",
        "user_queues",
        "user_retained_messages",
        "user_sessions",
        "user_subscriptions",
    ];
    let (_, body) = Broker::start().get("/metrics");
    let label = |line: &str| Some(line.strip_prefix(r#"dunlin_limit_hits_total{limit=""#)?.split_once('"')?.0.to_owned());
    let counted: BTreeSet<String> = body.lines().filter_map(label).collect();
    assert_eq!(counted, tested.map(String::from).into());
}
