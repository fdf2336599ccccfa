//! Many threads send to one connection whose peer takes what it likes: no byte is lost, none comes twice, and nothing is left lying
//! because nobody was woken.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::thread::{self, Thread};

use super::simulation::Random;
use super::simulation::network::Socket;
use super::*;
use crate::packet::Peer as Sender;
use crate::session::Publication;

const PUBLISHERS: usize = 3;
/// More than it ever takes: whoever waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Wakes a thread as an executor wakes a task.
struct Alarm {
    is_woken: AtomicBool,
    thread: Thread,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// What the threads share.
#[derive(Default)]
struct Line {
    socket: Arc<Socket>,
    /// What the device has sent.
    inbox: Mutex<Vec<u8>>,
    waker: Mutex<Option<Waker>>,
    is_over: AtomicBool,
}

impl Line {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }
}

/// The connection's own task.
fn own(mut client: Client, line: &Line, house: &House) {
    let alarm = Arc::new(Alarm { is_woken: AtomicBool::new(true), thread: thread::current() });
    let waker = Waker::from(alarm.clone());
    *line.waker.lock() = Some(waker.clone());
    while !line.is_over.load(Ordering::SeqCst) {
        if !alarm.is_woken.swap(false, Ordering::SeqCst) {
            thread::park();
            continue;
        }
        let mut deliveries = Deliveries::default();
        client.poll_login(&mut Context::from_waker(&waker), house.now);
        let bytes = std::mem::take(&mut *line.inbox.lock());
        assert_eq!(client.receive(&bytes, house.now, &mut deliveries), bytes.len());
        deliveries.flush(&house.broker, house.now);
        assert_eq!(client.turn(house.now, !bytes.is_empty(), &mut deliveries), Closed::No);
        let written = client.write(house.now, &mut deliveries, |slices| line.socket.poll_write(slices)).unwrap();
        deliveries.flush(&house.broker, house.now);
        if written == Written::Yield {
            waker.wake_by_ref();
        }
    }
}

fn publish(house: &House, publisher: usize, count: usize, qos: QoS) {
    let mut deliveries = Deliveries::default();
    for number in 0..count {
        let payload = format!("{publisher} {number}");
        let topic = TopicName::new("t").unwrap();
        let view = MessageView { topic, properties: ForwardedProperties::default(), payload: payload.as_bytes() };
        let mut publication = Publication::new(view, qos, false, None, None);
        house.broker.publish(&mut publication, &Publisher::BROKER, house.now, &mut deliveries).unwrap();
        if number % 3 == 0 || number + 1 == count {
            deliveries.flush(&house.broker, house.now);
        }
    }
}

/// The device: makes room in fits and starts, reads, acknowledges. Returns what it got of each publisher.
fn take(line: &Line, seed: u64, total: usize) -> Vec<Vec<usize>> {
    let mut random = Random(seed);
    let mut got = vec![Vec::new(); PUBLISHERS];
    let mut unread = Vec::new();
    let decoder = Decoder {
        version: Some(ProtocolVersion::V5),
        maximum_packet_size: u32::MAX,
        user_properties_max: 0,
        filters_max: 0,
        peer: Sender::Server,
    };
    let began = Instant::now();
    while got.iter().map(Vec::len).sum::<usize>() < total {
        assert!(began.elapsed() < PATIENCE, "something was left lying: {} of {total}", got.iter().map(Vec::len).sum::<usize>());
        let room = [0, 1, 7, 50, 1000, usize::MAX][random.below(6)];
        if line.socket.set_room(room) {
            line.wake();
        }
        if random.below(3) == 0 {
            thread::yield_now();
        }
        unread.extend(line.socket.take_received());
        let mut at = 0;
        let mut acks = Vec::new();
        while let Some((packet, length)) = decoder.decode(&unread[at..]).expect("whole packets, none torn") {
            at += length;
            let Packet::Publish(publish) = packet else { continue };
            let text = std::str::from_utf8(publish.payload).unwrap();
            let (publisher, number) = text.split_once(' ').unwrap();
            got[publisher.parse::<usize>().unwrap()].push(number.parse().unwrap());
            if let Some(id) = publish.delivery.packet_id() {
                encode(&Packet::PubAck(PublishAck::new(id, PublishReason::Success)), ProtocolVersion::V5, &mut acks);
            }
        }
        unread.drain(..at);
        if !acks.is_empty() {
            line.inbox.lock().extend(acks);
            line.wake();
        }
    }
    got
}

fn run(qos: QoS, count: usize, seed: u64) {
    let limits = Limits {
        max_queued_messages: usize::MAX,
        max_write_buffer: crate::units::ByteSize(u64::MAX),
        max_inflight: 5,
        ..Limits::default()
    };
    let house = House::with_limits(limits);
    let line = Line::default();
    let client = Client::new(house.broker.clone(), house.origin(), Some(line.socket.clone()), Box::new(Anyone));
    let mut opening = Vec::new();
    encode(&Packet::Connect(Connect { client_id: "to", ..connect(ProtocolVersion::V5) }), ProtocolVersion::V5, &mut opening);
    let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
    encode(&Packet::Subscribe(subscription("t", options, None)), ProtocolVersion::V5, &mut opening);
    line.inbox.lock().extend(opening);
    thread::scope(|scope| {
        scope.spawn(|| own(client, &line, &house));
        while house.broker.router.counts().0 == 0 {
            thread::yield_now();
        }
        for publisher in 0..PUBLISHERS {
            let house = &house;
            scope.spawn(move || publish(house, publisher, count, qos));
        }
        let got = thread::Builder::new().spawn_scoped(scope, || take(&line, seed, PUBLISHERS * count)).unwrap().join();
        line.is_over.store(true, Ordering::SeqCst);
        line.wake();
        for (publisher, got) in got.unwrap().into_iter().enumerate() {
            assert!(got.into_iter().eq(0..count), "messages of publisher {publisher}");
        }
    });
    let to = house.broker.registry.get("to").unwrap();
    to.lock(|slot| {
        assert!(slot.session.outbound.queue.is_empty());
        assert!(slot.online.as_ref().unwrap().outbox.is_empty());
    });
}

#[test]
fn what_many_threads_send_to_one_connection_arrives_in_order() {
    for seed in 0..8 {
        run(QoS::AtMostOnce, 2000, seed);
    }
}

#[test]
fn a_window_that_many_threads_fill_never_stands_still() {
    for seed in 0..8 {
        run(QoS::AtLeastOnce, 1000, seed);
    }
}

/// A socket that runs something while a sender writes to it.
struct Interrupted {
    socket: Socket,
    while_writing: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl DirectWrite for Interrupted {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> std::io::Result<usize> {
        let interruption = self.while_writing.lock().take();
        interruption.into_iter().for_each(|run| run());
        self.socket.try_write(slices)
    }
}

#[test]
fn a_connection_that_ends_while_another_writes_for_it_waits_and_is_woken() {
    let house = House::new();
    let socket = Arc::new(Interrupted { socket: Socket::default(), while_writing: Mutex::default() });
    socket.socket.set_room(usize::MAX);
    let client = Client::new(house.broker.clone(), house.origin(), Some(socket.clone()), Box::new(Anyone));
    let client = Arc::new(Mutex::new(client));
    let alarm = Arc::new(Alarm { is_woken: AtomicBool::new(false), thread: thread::current() });
    let mut deliveries = Deliveries::default();
    let mut opening = Vec::new();
    encode(&Packet::Connect(connect(ProtocolVersion::V5)), ProtocolVersion::V5, &mut opening);
    let options = SubscriptionOptions::default();
    encode(&Packet::Subscribe(subscription("t", options, None)), ProtocolVersion::V5, &mut opening);
    {
        let mut client = client.lock();
        client.poll_login(&mut Context::from_waker(&Waker::from(alarm.clone())), house.now);
        client.receive(&opening, house.now, &mut deliveries);
        assert_eq!(client.turn(house.now, true, &mut deliveries), Closed::No);
        client.write(house.now, &mut deliveries, |slices| socket.socket.poll_write(slices)).unwrap();
    }
    socket.socket.take_received();
    let (ending, now) = (client.clone(), house.now);
    *socket.while_writing.lock() = Some(Box::new(move || {
        let mut client = ending.lock();
        client.shut_down();
        assert_eq!(client.turn(now, false, &mut Deliveries::default()), Closed::Soon);
    }));
    publish(&house, 0, 1, QoS::AtMostOnce);
    assert!(alarm.is_woken.load(Ordering::SeqCst), "nobody was woken");
    let mut client = client.lock();
    assert_eq!(client.turn(house.now, false, &mut deliveries), Closed::Yes);
    client.write(house.now, &mut deliveries, |slices| socket.socket.poll_write(slices)).unwrap();
    assert_eq!(socket.socket.take_received(), b"\x30\x07\0\x01t\x000 0\xE0\x01\x8B");
}
