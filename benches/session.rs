//! What a session does for each message: given to receivers, acknowledged by them, queued while they are away; and the buffer that it is
//! written to. `cargo bench --bench session`

use std::io::IoSlice;
use std::time::Instant;

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use dunlin::metrics::Batch;
use dunlin::packet::{ForwardedProperties, MessageView, PacketId, ProtocolVersion, QoS, TopicName};
use dunlin::session::{Grant, Limits, OutBuffer, Outbound, Publication, Writer};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

const TOPIC: &str = "sensors/hall-7/machine-42/temperature";
/// Of a PUBLISH with QoS 1: behind its first byte, a byte of length, and the topic.
const PACKET_ID_AT: usize = 2 + 2 + TOPIC.len();

fn main() {
    divan::main();
}

/// The sending half of a session whose client is there.
struct Line {
    outbound: Outbound,
    writer: Writer,
    out: OutBuffer,
}

impl Line {
    fn new() -> Self {
        let mut outbound = Outbound::default();
        outbound.connect(u16::MAX);
        let writer = Writer { version: ProtocolVersion::V311, maximum_packet_size: None, aliases: None, mount_point: None };
        Self { outbound, writer, out: OutBuffer::default() }
    }

    /// The identifier of the one packet that is in the buffer, which the client takes.
    fn take(&mut self) -> Option<PacketId> {
        let mut slices = [IoSlice::new(&[])];
        self.out.slices(&mut slices);
        let id = slices[0].get(PACKET_ID_AT..).and_then(<[u8]>::first_chunk).map(|id| u16::from_be_bytes(*id));
        self.out.advance(self.out.len());
        id.and_then(PacketId::new)
    }
}

fn message() -> MessageView<'static> {
    let topic = TopicName::new(TOPIC).expect("it is a topic");
    MessageView { topic, properties: ForwardedProperties::default(), payload: &[b'x'; 64] }
}

fn given_to(bencher: Bencher<'_, '_>, receivers: usize, qos: QoS) {
    let mut lines: Vec<_> = (0..receivers).map(|_| Line::new()).collect();
    let (limits, now, mut batch, mut scratch) = (Limits::default(), Instant::now(), Batch::default(), None);
    bencher.counter(ItemsCount::new(receivers)).bench_local(|| {
        let mut publication = Publication::new(message(), qos, false, None, scratch.take());
        let grant = Grant { qos, ..Grant::default() };
        for Line { outbound, writer, out } in &mut lines {
            outbound.deliver(Some((writer, out)), &mut publication, grant, &limits, now, &mut batch);
        }
        scratch = publication.into_scratch();
        for line in &mut lines {
            let id = line.take().filter(|_| qos == QoS::AtLeastOnce);
            id.map(|id| line.outbound.handle_puback(id).expect("it was sent"));
        }
    });
}

/// Written into the buffers of so many receivers, which take it.
#[divan::bench(args = [1, 50, 200])]
fn qos_0_to(bencher: Bencher<'_, '_>, receivers: usize) {
    given_to(bencher, receivers, QoS::AtMostOnce);
}

/// The same, and acknowledged by each.
#[divan::bench(args = [1, 50, 200])]
fn qos_1_to(bencher: Bencher<'_, '_>, receivers: usize) {
    given_to(bencher, receivers, QoS::AtLeastOnce);
}

/// A thousand messages for one who is away, and letting go of them.
#[divan::bench]
fn queued_in_memory(bencher: Bencher<'_, '_>) {
    const COUNT: usize = 1000;
    let (limits, now, mut batch) = (Limits::default(), Instant::now(), Batch::default());
    let grant = Grant { qos: QoS::AtLeastOnce, ..Grant::default() };
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
        let mut outbound = Outbound::default();
        for _ in 0..COUNT {
            let mut publication = Publication::new(message(), QoS::AtLeastOnce, false, None, None);
            outbound.deliver(None, &mut publication, grant, &limits, now, &mut batch);
        }
        black_box(&outbound);
    });
}

/// A hundred small packets in a buffer that goes in one write.
#[divan::bench]
fn buffer_of_small_packets(bencher: Bencher<'_, '_>) {
    let mut out = OutBuffer::default();
    bencher.counter(ItemsCount::new(100usize)).bench_local(|| {
        (0..100).for_each(|_| out.append(black_box(&[7; 105])));
        write(&mut out);
    });
}

/// Ten packets whose payload goes by reference.
#[divan::bench]
fn buffer_of_large_packets(bencher: Bencher<'_, '_>) {
    let (mut out, payload) = (OutBuffer::default(), Bytes::from(vec![7; 16 * 1024]));
    bencher.counter(ItemsCount::new(10usize)).bench_local(|| {
        for _ in 0..10 {
            out.append(black_box(&[7; 41]));
            out.append_shared(payload.clone());
        }
        write(&mut out);
    });
}

fn write(out: &mut OutBuffer) {
    let mut slices = [IoSlice::new(&[]); 64];
    while !out.is_empty() {
        let used = out.slices(&mut slices);
        let count = black_box(&slices[..used]).iter().map(|slice| slice.len()).sum();
        slices = [IoSlice::new(&[]); 64];
        out.advance(count);
    }
}
