//! What a PUBLISH costs the broker from the read buffer to the index, with no `[rates]` and held to some that are never reached: the
//! first is what is not configured, the others what it would cost. `cargo bench --bench rates`

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use dunlin::auth::{Authenticator, Authorizer};
use dunlin::broker::{
    Admission, Broker, BrokerSettings, Buckets, Client, Deliveries, Door, Origin, Protection, Quotas, Rates, Rights,
};
use dunlin::metrics::{Limit, Metrics};
use dunlin::packet::{
    Connect, ConnectProperties, Delivery, Packet, ProtocolVersion, Publish, PublishProperties, TopicName, encode,
};
use dunlin::routing::Strategy;
use dunlin::session::Limits;
use dunlin::storage::Clock;
use dunlin::units::ByteSize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// Packets of one read.
const PACKETS: usize = 100;
/// Out of reach.
const RATE: u64 = 1_000_000_000_000;

/// Whose rates are set.
#[derive(Clone, Copy, Debug)]
enum Held {
    Nobodys,
    Clients,
    ClientsAddressesAndListeners,
}

struct Anyone;

impl Admission for Anyone {
    fn admit(&mut self) -> Result<(), Limit> {
        Ok(())
    }
}

fn rates(held: Held) -> Rates {
    let (rate, bytes) = (RATE, ByteSize(RATE));
    let none = Rates::default();
    match held {
        Held::Nobodys => none,
        Held::Clients => Rates { client_message_rate: rate, client_byte_rate: bytes, ..none },
        Held::ClientsAddressesAndListeners => Rates {
            client_message_rate: rate,
            client_byte_rate: bytes,
            address_message_rate: rate,
            address_byte_rate: bytes,
            ..none
        },
    }
}

fn broker(rates: &Rates, now: Instant) -> Arc<Broker> {
    let settings = BrokerSettings {
        limits: Limits::default(),
        rates: rates.clone(),
        protection: Protection::default(),
        quotas: Quotas::default(),
        strategy: Strategy::RoundRobin,
        password_checks: (1, 1),
        hashing: None,
        metrics: Arc::new(Metrics::default()),
        events: None,
        journal: None,
        queues: Default::default(),
        clock: Clock::new(now, 1_700_000_000_000),
    };
    Broker::new(settings, now)
}

/// A client that is let in.
fn client(held: Held, now: Instant) -> (Arc<Broker>, Client) {
    let rates = rates(held);
    let broker = broker(&rates, now);
    let of_listener = match held {
        Held::ClientsAddressesAndListeners => rates.flow(RATE, ByteSize(RATE)),
        Held::Nobodys | Held::Clients => Default::default(),
    };
    let door = Arc::new(Door {
        name: "bench".into(),
        versions: vec![ProtocolVersion::V5],
        mount_point: None,
        limits: ArcSwap::from_pointee(Limits::default()),
        rights: Arc::new(Rights::new(Authenticator::new(true, None), Authorizer::new(None))),
        revoked: Default::default(),
        metrics: broker.metrics.listener("bench"),
        flow: ArcSwap::from_pointee(of_listener),
        buckets: Buckets::shared(now),
    });
    let origin = Origin { door, address: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000))), certificate: None };
    let mut client = Client::new(broker.clone(), origin, None, Box::new(Anyone));
    let connect = Connect {
        version: ProtocolVersion::V5,
        clean_start: true,
        keep_alive: 0,
        client_id: "bench",
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    };
    receive(&broker, &mut client, &bytes_of(&Packet::Connect(connect)), now);
    assert!(client.is_connected());
    (broker, client)
}

fn bytes_of(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, ProtocolVersion::V5, &mut bytes);
    bytes
}

fn publish() -> Packet<'static> {
    Packet::Publish(Publish {
        dup: false,
        retain: false,
        delivery: Delivery::AtMostOnce,
        topic: TopicName::new("sensors/hall-7/machine-42/temperature").ok(),
        properties: PublishProperties::default(),
        payload: &[b'x'; 64],
    })
}

fn receive(broker: &Broker, client: &mut Client, bytes: &[u8], now: Instant) {
    let mut deliveries = Deliveries::default();
    assert_eq!(client.receive(bytes, now, &mut deliveries), bytes.len());
    deliveries.flush(broker, now);
}

/// Nobody has subscribed: what is left is what each message costs in any case.
#[divan::bench(args = [Held::Nobodys, Held::Clients, Held::ClientsAddressesAndListeners])]
fn a_publish_held_to_rates(bencher: Bencher<'_, '_>, held: Held) {
    let now = Instant::now();
    let (broker, mut client) = client(held, now);
    let bytes = bytes_of(&publish()).repeat(PACKETS);
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| receive(&broker, &mut client, black_box(&bytes), now));
}
