//! The hand-over between those who send to a connection and its own task, under every order in which a few threads can go: loom
//! decides who gets the slot's lock next, and when a socket's write begins and ends. What runs is the broker itself.
//!
//! A slot's lock is all that these threads share, so that to change threads there, at writes and at wakes is to change them
//! anywhere. Where somebody is owed a wake and does not get it all threads come to wait, and loom says so.

mod line;
mod lock;

use std::sync::atomic::{AtomicUsize, Ordering};

use line::Line;
pub(in super::super) use lock::SlotLock;

use super::*;
use crate::broker::handle::{SessionHandle, Slot};
use crate::session::Publication;

/// The broker on the stack of a debug build, in words.
const STACK: usize = 64 << 10;

/// Runs `play` in every order in which threads are stopped so many times where they could have gone on; where one waits it may be
/// followed by any. `LOOM_MAX_PREEMPTIONS` says another number.
fn in_every_order(preemptions: usize, play: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound.get_or_insert(preemptions);
    model.max_branches = 10_000;
    let play = Arc::new(play);
    lock::within_model(|| {
        model.check(move || {
            let play = play.clone();
            spawn(move || play());
        });
    });
}

fn spawn(work: impl FnOnce() + Send + 'static) {
    drop(loom::thread::Builder::new().stack_size(STACK).spawn(work).expect("loom has room for it"));
}

/// A connection that has subscribed to `t`, and those who have to do with it.
struct Play {
    house: House,
    line: Arc<Line>,
    /// How many messages each publisher sends.
    messages: &'static [usize],
    qos: QoS,
    /// Of the session, in seconds.
    expiry: u32,
    /// Threads that are not through.
    running: AtomicUsize,
    /// What must be so when all are through.
    end: fn(&Self),
}

impl Play {
    /// Lets the publishers, those `beside` them, and the connection's own task run.
    fn run(messages: &'static [usize], qos: QoS, set: fn(&Line), beside: Option<fn(&Self)>, end: fn(&Self)) {
        let play = Self::new(messages, qos, 0, 1 + messages.len() + usize::from(beside.is_some()), end);
        let client = play.open(&play.line);
        set(&play.line);
        play.spawn_publishers();
        if let Some(beside) = beside {
            let play = play.clone();
            spawn(move || play.take_part(|| beside(&play)));
        }
        play.take_part(|| play.own(client));
    }

    /// The same, and the connection's own task begins when its client comes back to its session.
    fn come_back(messages: &'static [usize], qos: QoS) {
        let play = Self::new(messages, qos, 60, 1 + messages.len(), Self::is_whole);
        let mut first = play.open(&Line::new(usize::MAX));
        let mut deliveries = Deliveries::default();
        first.lost("cut".into(), play.house.now, &mut deliveries);
        deliveries.flush(&play.house.broker, play.house.now);
        let client = play.dial(&play.line);
        play.spawn_publishers();
        play.take_part(|| play.own(client));
    }

    /// A client subscribes where messages are retained, is cut while they are sent, and comes back meanwhile.
    fn come_back_to_retained() {
        let play = Self::new(&[1], QoS::AtLeastOnce, 60, 2, Self::is_whole);
        let first = Line::new(usize::MAX);
        let mut old = play.dial(&first);
        assert!(play.turn(&mut old, &first));
        play.send(0, true);
        play.send_subscribe(&first);
        play.hear(&mut old, &first);
        first.set_room(0); // What it has been sent it has not seen.
        let client = play.dial(&play.line);
        let beside = play.clone();
        spawn(move || {
            beside.take_part(|| {
                beside.turn(&mut old, &first);
                let mut deliveries = Deliveries::default();
                old.lost("cut".into(), beside.house.now, &mut deliveries);
                deliveries.flush(&beside.house.broker, beside.house.now);
            });
        });
        play.take_part(|| play.own(client));
    }

    fn new(messages: &'static [usize], qos: QoS, expiry: u32, running: usize, end: fn(&Self)) -> Arc<Self> {
        let limits = Limits { max_inflight: 1, ..Limits::default() };
        let (house, line) = (House::with_limits(limits), Line::new(messages.iter().sum()));
        Arc::new(Self { house, line, messages, qos, expiry, running: AtomicUsize::new(running), end })
    }

    fn spawn_publishers(self: &Arc<Self>) {
        for publisher in 0..self.messages.len() {
            let play = self.clone();
            spawn(move || play.take_part(|| play.publish(publisher)));
        }
    }

    fn take_part(&self, part: impl FnOnce()) {
        part();
        if self.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            (self.end)(self);
        }
    }

    /// A client over `line` that has sent CONNECT.
    fn dial(&self, line: &Arc<Line>) -> Client {
        let house = &self.house;
        line.socket.set_room(usize::MAX);
        let mut connect = Connect { client_id: "to", clean_start: false, ..connect(ProtocolVersion::V5) };
        connect.properties.session_expiry_interval = self.expiry;
        encode(&Packet::Connect(connect), ProtocolVersion::V5, &mut line.device.lock().sent);
        Client::new(house.broker.clone(), house.origin(), Some(line.clone()), Box::new(Anyone))
    }

    /// One that was let in and has subscribed.
    fn open(&self, line: &Arc<Line>) -> Client {
        let mut client = self.dial(line);
        self.send_subscribe(line);
        assert!(self.turn(&mut client, line));
        client
    }

    fn send_subscribe(&self, line: &Line) {
        let options = SubscriptionOptions { qos: self.qos, ..SubscriptionOptions::default() };
        let subscribe = Packet::Subscribe(subscription("t", options, None));
        encode(&subscribe, ProtocolVersion::V5, &mut line.device.lock().sent);
    }

    /// The connection's own task, until the device has what it expects or the connection has ended.
    fn own(&self, mut client: Client) {
        while self.turn(&mut client, &self.line) && !self.line.device.lock().is_done {
            self.line.alarm.wait();
        }
    }

    /// One turn of it, as the driver does it. Returns whether the connection goes on.
    fn turn(&self, client: &mut Client, line: &Arc<Line>) -> bool {
        let house = &self.house;
        let has_heard = self.hear(client, line);
        let mut deliveries = Deliveries::default();
        let closed = client.turn(house.now, has_heard, &mut deliveries);
        let written = client.write(house.now, &mut deliveries, |slices| line.poll_write(slices));
        deliveries.flush(&house.broker, house.now);
        match written {
            Ok(Written::Yield) => line.wake(),
            Ok(Written::All | Written::Blocked) => {}
            Err(_) => {
                client.lost("write failed".into(), house.now, &mut deliveries);
                deliveries.flush(&house.broker, house.now);
                return false;
            }
        }
        closed != Closed::Yes
    }

    /// Takes what the device has sent. Returns whether that was anything.
    fn hear(&self, client: &mut Client, line: &Line) -> bool {
        let house = &self.house;
        let waker = Waker::from(line.alarm.clone());
        let mut deliveries = Deliveries::default();
        client.poll_login(&mut Context::from_waker(&waker), house.now);
        let bytes = std::mem::take(&mut line.device.lock().sent);
        client.receive(&bytes, house.now, &mut deliveries);
        deliveries.flush(&house.broker, house.now);
        !bytes.is_empty()
    }

    fn publish(&self, publisher: usize) {
        self.send(publisher, false);
    }

    fn send(&self, publisher: usize, retain: bool) {
        let Self { house, .. } = self;
        for number in 0..self.messages[publisher] {
            let payload = format!("{publisher} {number}");
            let topic = TopicName::new("t").unwrap();
            let view = MessageView { topic, properties: ForwardedProperties::default(), payload: payload.as_bytes() };
            let mut publication = Publication::new(view, self.qos, retain, None, None);
            let mut deliveries = Deliveries::default();
            house.broker.publish(&mut publication, &Publisher::BROKER, house.now, &mut deliveries).unwrap();
            deliveries.flush(&house.broker, house.now);
        }
    }

    fn session(&self) -> Option<Arc<SessionHandle>> {
        self.house.broker.registry.get("to")
    }

    /// All came, and nothing is left.
    fn is_whole(&self) {
        self.line.device.lock().check(self.messages, true);
        self.session().expect("it is online").lock(|slot| {
            assert!(slot.session.outbound.queue.is_empty());
            assert!(slot.online.as_ref().unwrap().outbox.is_empty());
        });
    }

    /// The device got whole packets, and this as the last of them.
    fn said_goodbye(&self, reason: Option<u8>) {
        let device = self.line.device.lock();
        device.check(self.messages, false);
        assert_eq!(device.goodbye, reason);
    }

    fn has_ended(&self, goodbye: Option<u8>) {
        self.said_goodbye(goodbye);
        assert!(self.session().is_none(), "the connection holds its session");
    }
}

#[test]
fn what_many_append_is_written_once_and_in_order() {
    in_every_order(3, || Play::run(&[2, 1], QoS::AtMostOnce, |_| {}, None, Play::is_whole));
}

#[test]
fn a_window_that_opens_while_another_writes_is_used() {
    in_every_order(2, || Play::run(&[2, 1], QoS::AtLeastOnce, |_| {}, None, Play::is_whole));
}

#[test]
fn a_socket_that_blocks_is_left_to_its_own_task() {
    fn block(line: &Line) {
        line.set_room(5);
    }
    fn make_room(play: &Play) {
        if play.line.set_room(usize::MAX) {
            play.line.wake();
        }
    }
    in_every_order(2, || Play::run(&[1, 1], QoS::AtMostOnce, block, Some(make_room), Play::is_whole));
}

/// Found one that was written between two looks at the slot, of which the first said that CONNACK may leave and the second wrote it.
#[test]
fn what_is_sent_to_a_client_that_comes_back_is_behind_its_connack() {
    in_every_order(3, || Play::come_back(&[1, 1], QoS::AtLeastOnce));
}

/// Found a step of retained messages that looked at the slot for the old connection, and wrote for the new one, before its CONNACK.
#[test]
fn retained_messages_under_way_to_a_client_that_comes_back_are_behind_its_connack() {
    in_every_order(3, Play::come_back_to_retained);
}

/// Found a sender that wrote between the last look at the outbox and the end of the session: behind DISCONNECT, or into a packet of
/// which the rest was still to be written.
#[test]
fn a_close_while_another_writes_waits_for_it_and_is_the_last_word() {
    fn close(play: &Play) {
        let close = |slot: &mut Slot| slot.online.as_mut().expect("it is online").close(DisconnectReason::AdministrativeAction);
        play.session().expect("it is there").lock(close);
    }
    in_every_order(3, || Play::run(&[2], QoS::AtMostOnce, Line::never_done, Some(close), |play| play.has_ended(Some(0x98))));
}

#[test]
fn a_take_over_while_another_writes_is_the_last_word() {
    fn take_over(play: &Play) {
        play.house.broker.evict(&play.session().expect("it is there"));
    }
    in_every_order(3, || {
        Play::run(&[2], QoS::AtMostOnce, Line::never_done, Some(take_over), |play| play.said_goodbye(Some(0x8E)))
    });
}

#[test]
fn a_write_that_fails_ends_the_connection() {
    in_every_order(3, || Play::run(&[1, 1], QoS::AtMostOnce, Line::fail, None, |play| play.has_ended(None)));
}
