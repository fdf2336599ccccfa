//! What threads have done is told to the journal in the order in which it was done, where that matters.

use super::crashes::Life;
use super::*;
use crate::session::Publication;
use crate::storage::fake::FakeBackend;
use crate::storage::{ConsumerWish, Durability, Item, OnlineState, Record, SessionHeader, open};

fn begin(backend: FakeBackend) -> Life {
    Life::begin_at(WALL, backend, 1 << 20)
}

/// One thread sets or clears a retained message, and its read goes on.
fn set(life: &Life, payload: &str) -> Deliveries {
    let mut deliveries = Deliveries::default();
    let properties = ForwardedProperties::read(&[]).unwrap();
    let view = MessageView { topic: TopicName::new("r").unwrap(), properties, payload: payload.as_bytes() };
    let mut publication = Publication::new(view, QoS::AtLeastOnce, true, None, None);
    life.house.broker.publish(&mut publication, &Publisher::OPERATOR, life.house.now, &mut deliveries).unwrap();
    deliveries
}

/// Each thread told with the rest of its read: an earlier value, told later, was there after a crash in place of the one that was
/// acknowledged, or though it had been cleared.
#[test]
fn of_retained_messages_the_last_one_survives_whichever_thread_is_done_first() {
    for last in ["last", ""] {
        let mut life = begin(FakeBackend::new());
        let mut threads = ["first", "second", last].map(|payload| set(&life, payload));
        for next in [2, 0, 1] {
            threads[next].flush(&life.house.broker, life.house.now);
            life.commit();
        }
        let life = begin(life.backend.kill());
        let retained = life.house.broker.retained_message(TopicName::new("r").unwrap());
        let payload = retained.map(|retained| String::from_utf8_lossy(retained.message.view().payload).into_owned());
        assert_eq!(payload.unwrap_or_default(), last);
    }
}

fn come(life: &mut Life, clean_start: bool) -> (Peer, Vec<Seen>) {
    let properties = ConnectProperties { session_expiry_interval: 3600, ..ConnectProperties::default() };
    let mut peer = life.house.dial(ProtocolVersion::V5);
    let connect = Connect { client_id: "c", clean_start, properties, ..connect(ProtocolVersion::V5) };
    peer.send(&life.house, &Packet::Connect(connect));
    life.commit();
    let seen = peer.receive(&life.house);
    (peer, seen)
}

fn stored_sessions(backend: &FakeBackend) -> Vec<u64> {
    let clock = Clock::new(Instant::now(), WALL);
    let backend = Arc::new(backend.kill());
    let times = (clock, Instant::now as fn() -> Instant);
    let work = Box::new(QueueFold::default());
    let opened = open::<Waiter>(backend, &Durability::default(), None, times, Arc::default(), work, &mut |_, _| ()).unwrap();
    let mut sessions: Vec<_> = opened.state.sessions.keys().copied().collect();
    sessions.sort_unstable();
    sessions
}

#[test]
fn a_session_that_was_replaced_does_not_come_back_by_what_its_connection_tells_late() {
    let mut life = begin(FakeBackend::new());
    let (mut old, _) = come(&mut life, false);
    let mut late = Deliveries::default();
    old.client.lost("cut".into(), life.house.now, &mut late);
    let (_new, seen) = come(&mut life, true);
    assert_eq!(seen, [Seen::ConnAck { present: false, reason: 0 }]);
    late.flush(&life.house.broker, life.house.now);
    life.commit();
    assert_eq!(stored_sessions(&life.backend).len(), 1);
}

/// A crash within a take-over leaves both.
#[test]
fn of_two_sessions_with_one_client_identifier_the_later_one_counts() {
    let mut life = begin(FakeBackend::new());
    let journal = life.house.broker.journal.clone().unwrap();
    let numbers: Vec<_> = (0..40).map(|_| journal.next_session()).collect();
    for session in numbers {
        let header = SessionHeader {
            mount_point: None,
            client_id: "c".into(),
            username: None,
            listener: "test".into(),
            expiry_interval: 3600,
            state: OnlineState::Offline { expires_at: None },
            will: None,
            next_sequence: 0,
            first_unsent: 0,
            revision: 1,
        };
        journal.tell(Item::Record(Record::Session { session, header: Box::new(header) }));
        let (filter, options) = (TopicFilter::new(&format!("t/{session}")).unwrap(), SubscriptionOptions::default());
        let wish = ConsumerWish::default();
        journal.tell(Item::Record(Record::Subscribed { session, filter, options, identifier: None, wish }));
    }
    life.commit();
    let stored = stored_sessions(&life.backend);
    assert_eq!(stored.len(), 40);
    let mut life = begin(life.backend.kill());
    let (mut peer, seen) = come(&mut life, false);
    assert_eq!(seen, [Seen::ConnAck { present: true, reason: 0 }]);
    let mut publisher = life.house.client(ProtocolVersion::V5, "p");
    for session in &stored {
        publisher.publish(&life.house, &format!("t/{session}"), "x", Delivery::AtMostOnce);
    }
    let last = format!("t/{}", stored[39]);
    assert_eq!(peer.receive(&life.house), [got(&last, "x", QoS::AtMostOnce, None)]);
    assert_eq!(stored_sessions(&life.backend), stored[39..], "the others are ended");
}

/// After a crash all that was on its way counts as sent; it counted so for ever.
#[test]
fn what_is_queued_after_a_crash_has_not_been_sent() {
    let mut life = begin(FakeBackend::new());
    let (mut peer, _) = come(&mut life, false);
    peer.subscribe(&life.house, "t", QoS::AtLeastOnce);
    life.commit();
    let mut life = begin(life.backend.kill());
    let (mut peer, _) = come(&mut life, false);
    peer.cut(&life.house);
    life.house.client(ProtocolVersion::V5, "p").publish(&life.house, "t", "new", q1(1));
    life.commit();
    let mut life = begin(life.backend.kill());
    let (_, seen) = come(&mut life, false);
    assert!(matches!(&seen[..], [_, Seen::Publish { payload, dup: false, .. }] if payload == "new"), "{seen:?}");
}

/// The rights may be others again by then.
#[test]
fn a_will_that_was_refused_is_not_tried_again_after_a_restart() {
    let mut life = begin(FakeBackend::new());
    let mut peer = life.house.dial(ProtocolVersion::V5);
    let properties = ConnectProperties { session_expiry_interval: 3600, ..ConnectProperties::default() };
    let will = Will {
        topic: TopicName::new("will").unwrap(),
        payload: b"x",
        qos: QoS::AtLeastOnce,
        retain: true,
        delay_interval: 10,
        message_expiry_interval: None,
        properties: Default::default(),
    };
    let connect = Connect { client_id: "c", will: Some(will), properties, ..connect(ProtocolVersion::V5) };
    peer.send(&life.house, &Packet::Connect(connect));
    life.commit();
    peer.cut(&life.house);
    let nobody = Authorizer::new(Some(Arc::new(AclFile::parse("topic read #\n").unwrap())));
    life.house.door.rights.replace(Authenticator::new(true, None), nobody);
    life.house.pass(Duration::from_secs(11));
    life.commit();
    let mut life = begin(life.backend.kill());
    life.house.pass(Duration::from_secs(11));
    assert!(life.house.broker.retained_message(TopicName::new("will").unwrap()).is_none());
}
