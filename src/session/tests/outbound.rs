use std::time::Duration;

use super::super::inflight::{Received, Taken};
use super::*;
use crate::metrics::{Batch, DropReason};
use crate::units::ByteSize;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

/// The sending half of a session with its connection.
struct Line {
    outbound: Outbound,
    writer: Writer,
    out: OutBuffer,
    batch: Batch,
    limits: Limits,
    now: Instant,
    is_online: bool,
}

impl Line {
    fn new(receive_maximum: u16) -> Self {
        let mut line = Self {
            outbound: Outbound::default(),
            writer: writer(V5),
            out: OutBuffer::default(),
            batch: Batch::default(),
            limits: Limits::default(),
            now: Instant::now(),
            is_online: false,
        };
        line.connect(receive_maximum);
        line
    }

    fn connect(&mut self, receive_maximum: u16) {
        self.outbound.connect(receive_maximum);
        self.out = OutBuffer::default();
        self.is_online = true;
    }

    fn cut(&mut self) {
        self.outbound.disconnect();
        self.is_online = false;
    }

    fn deliver(&mut self, payload: &str, qos: QoS) {
        self.deliver_until(payload, qos, None);
    }

    fn deliver_until(&mut self, payload: &str, qos: QoS, expires_at: Option<Instant>) {
        self.deliver_granted(&stored("t", payload.as_bytes(), qos, expires_at), grant(qos));
    }

    fn deliver_granted(&mut self, message: &Message, grant: Grant<'_>) {
        let link = self.is_online.then_some((&mut self.writer, &mut self.out));
        let mut publication = Publication::stored(message);
        self.outbound.deliver(link, &mut publication, grant, &self.limits, self.now, &mut self.batch);
    }

    /// What there is to send, and what was written already.
    fn sent(&mut self) -> Vec<Sent> {
        self.outbound.fill(&mut self.writer, &mut self.out, self.now, &mut self.batch);
        sent(&drain(&mut self.out), self.writer.version)
    }

    /// The Subscription Identifiers of each PUBLISH that there is to send.
    fn sent_identifiers(&mut self) -> Vec<Vec<u32>> {
        self.outbound.fill(&mut self.writer, &mut self.out, self.now, &mut self.batch);
        let identifiers = |packet: &Packet<'_>| match packet {
            Packet::Publish(publish) => publish.properties.subscription_identifiers.to_vec(),
            other => panic!("{other:?}"),
        };
        packets(&drain(&mut self.out), V5).iter().map(identifiers).collect()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.batch.messages_dropped(reason)
    }

    fn puback(&mut self, value: u16) -> bool {
        self.outbound.handle_puback(id(value)).is_some()
    }

    fn pubrec(&mut self, value: u16) -> Received {
        self.outbound.handle_pubrec(id(value), PublishReason::Success)
    }
}

/// `[MQTT-3.3.4-9]`.
#[test]
fn no_more_is_under_way_than_the_client_takes() {
    let mut line = Line::new(2);
    for payload in ["a", "b", "c", "d"] {
        line.deliver(payload, Q1);
    }
    assert_eq!(line.sent(), [first("a", Q1, 1), first("b", Q1, 2)]);
    assert!(!line.outbound.has_room());
    assert!(line.puback(2));
    assert_eq!(line.sent(), [first("c", Q1, 3)]);
    assert!(!line.puback(2), "a second PUBACK of the same packet");
    assert!(!line.puback(99));
    assert_eq!(line.sent(), []);
    assert!(line.puback(1) && line.puback(3));
    assert_eq!(line.sent(), [first("d", Q1, 4)]);
    assert!(line.outbound.has_room());
}

#[test]
fn a_qos_2_exchange_takes_its_place_until_pubcomp() {
    let mut line = Line::new(1);
    line.deliver("a", Q2);
    line.deliver("b", Q2);
    assert_eq!(line.sent(), [first("a", Q2, 1)]);
    assert!(!line.outbound.handle_pubcomp(id(1)), "PUBCOMP before PUBREC");
    assert!(!line.puback(1));
    assert_eq!(line.sent(), []);
    assert!(matches!(line.pubrec(1), Received::Release));
    assert_eq!(line.sent(), []);
    assert!(line.outbound.handle_pubcomp(id(1)));
    assert_eq!(line.sent(), [first("b", Q2, 2)]);
    assert!(matches!(line.outbound.handle_pubrec(id(2), PublishReason::QuotaExceeded), Received::Refused(_)));
    line.deliver("c", Q2);
    assert_eq!(line.sent(), [first("c", Q2, 3)]);
}

/// 4.9: acknowledgements beyond what was sent open no larger window.
#[test]
fn the_window_never_grows_beyond_its_first_size() {
    let mut line = Line::new(2);
    line.deliver("a", Q2);
    line.sent();
    line.pubrec(1);
    line.cut();
    line.connect(2);
    assert_eq!(line.sent(), [Sent::PubRel(1, 0)]);
    assert!(line.outbound.handle_pubcomp(id(1)));
    for _ in 0..5 {
        assert!(!line.outbound.handle_pubcomp(id(1)));
        assert!(!line.puback(1));
        assert!(matches!(line.pubrec(1), Received::Unknown));
    }
    for payload in ["b", "c", "d"] {
        line.deliver(payload, Q1);
    }
    assert_eq!(line.sent().len(), 2);
}

/// `[MQTT-4.4.0-1]`, `[MQTT-4.6.0-1]`, `[MQTT-3.3.1-1]`.
#[test]
fn a_resumed_session_sends_again_what_is_open_in_its_order_and_then_what_waits() {
    let mut line = Line::new(10);
    for (payload, qos) in [("a", Q1), ("b", Q2), ("c", Q1), ("d", Q2)] {
        line.deliver(payload, qos);
    }
    assert_eq!(line.sent().len(), 4);
    line.pubrec(4);
    line.puback(1);
    line.cut();
    line.deliver("e", Q1);
    line.connect(10);
    line.deliver("f", Q1);
    assert_eq!(line.sent(), [Sent::PubRel(4, 0), again("b", Q2, 2), again("c", Q1, 3), first("e", Q1, 5), first("f", Q1, 6)]);
    assert_eq!(line.sent(), [], "once on each connection");
}

#[test]
fn a_smaller_window_after_the_resume_holds_for_what_is_sent_again() {
    let mut line = Line::new(4);
    for payload in ["a", "b", "c"] {
        line.deliver(payload, Q1);
    }
    line.sent();
    line.cut();
    line.connect(1);
    line.deliver("d", Q1);
    assert_eq!(line.sent(), [again("a", Q1, 1)]);
    assert!(line.puback(2), "one that was got on the connection before");
    assert_eq!(line.sent(), [], "it took no place on this one");
    assert!(line.puback(1));
    assert_eq!(line.sent(), [again("c", Q1, 3)]);
    assert!(line.puback(3));
    assert_eq!(line.sent(), [first("d", Q1, 4)]);
}

/// What is sent on this connection and not acknowledged stays within Receive Maximum, exchanges that wait for PUBCOMP included.
#[test]
fn a_resumed_pubrel_takes_a_place_in_the_window() {
    let mut line = Line::new(2);
    line.deliver("a", Q2);
    line.deliver("b", Q2);
    line.sent();
    line.pubrec(1);
    line.pubrec(2);
    line.cut();
    line.connect(2);
    for payload in ["c", "d", "e"] {
        line.deliver(payload, Q2);
    }
    assert_eq!(line.sent(), [Sent::PubRel(1, 0), Sent::PubRel(2, 0)]);
    line.outbound.handle_pubcomp(id(1));
    line.outbound.handle_pubcomp(id(2));
    assert_eq!(line.sent(), [first("c", Q2, 3), first("d", Q2, 4)]);
}

/// Nothing can be sent before the PUBCOMP, so the PUBREL must not wait behind a PUBLISH that was sent before it.
#[test]
fn a_pubrel_is_sent_again_though_the_window_is_full() {
    let mut line = Line::new(2);
    line.deliver("a", Q1);
    line.deliver("b", Q2);
    line.sent();
    line.pubrec(2);
    line.cut();
    line.connect(1);
    assert_eq!(line.sent(), [Sent::PubRel(2, 0)]);
    line.outbound.handle_pubcomp(id(2));
    assert_eq!(line.sent(), [again("a", Q1, 1)]);
}

/// `[MQTT-3.3.2-5]`.
#[test]
fn what_has_expired_in_the_queue_is_dropped_and_counted() {
    let mut line = Line::new(1);
    let soon = line.now + Duration::from_secs(1);
    line.deliver("a", Q1);
    line.deliver_until("b", Q1, Some(soon));
    line.deliver("c", Q1);
    line.sent();
    line.now = soon;
    line.puback(1);
    assert_eq!(line.sent(), [first("c", Q1, 2)]);
    assert_eq!(line.dropped(DropReason::Expired), 1);
    assert!(line.outbound.queue.is_empty());
}

#[test]
fn expired_messages_are_found_though_the_window_is_full() {
    let mut line = Line::new(1);
    let soon = line.now + Duration::from_secs(1);
    line.deliver("a", Q1);
    line.deliver_until("b", Q1, Some(soon));
    line.now = soon;
    assert_eq!(line.sent(), [first("a", Q1, 1)]);
    assert_eq!((line.dropped(DropReason::Expired), line.outbound.queue.len()), (1, 0));
}

/// `[MQTT-3.1.2-25]`: as if it had been sent and acknowledged.
#[test]
fn a_message_too_large_for_the_client_is_dropped_and_its_place_is_free_again() {
    let mut line = Line::new(1);
    line.writer.maximum_packet_size = Some(20);
    let large = "x".repeat(30);
    for qos in [Q0, Q1, Q2] {
        line.deliver(&large, qos);
        line.outbound.deliver_later(
            &mut Publication::stored(&stored("t", large.as_bytes(), qos, None)),
            grant(qos),
            None,
            &line.limits,
            line.now,
            &mut line.batch,
        );
    }
    line.deliver("a", Q1);
    let seen = line.sent();
    assert!(matches!(&seen[..], [Sent::Publish { payload, .. }] if payload == "a"), "{seen:?}");
    assert_eq!(line.dropped(DropReason::TooLarge), 6);
    assert_eq!(line.outbound.inflight.len(), 1);
}

#[test]
fn a_message_that_has_become_too_large_for_the_client_is_not_sent_again() {
    let mut line = Line::new(2);
    line.deliver(&"x".repeat(30), Q2);
    line.deliver("b", Q1);
    line.sent();
    line.cut();
    line.connect(2);
    line.writer.maximum_packet_size = Some(20);
    assert_eq!(line.sent(), [again("b", Q1, 2)]);
    assert_eq!((line.dropped(DropReason::TooLarge), line.outbound.inflight.len()), (1, 1));
}

#[test]
fn qos_0_does_not_wait_for_a_place_in_the_window_but_keeps_its_own_order() {
    let mut line = Line::new(1);
    line.deliver("a", Q1);
    line.deliver("b", Q1);
    line.deliver("now", Q0);
    let zero = |payload: &str| Sent::Publish { payload: payload.into(), qos: Q0, dup: false, id: None };
    assert_eq!(line.sent(), [first("a", Q1, 1), zero("now")]);
    line.puback(1);
    assert_eq!(line.sent(), [first("b", Q1, 2)]);
}

#[test]
fn qos_0_waits_for_nobody_who_is_offline_unless_it_is_told_to() {
    let mut line = Line::new(1);
    line.cut();
    line.deliver("a", Q0);
    assert_eq!((line.dropped(DropReason::Offline), line.outbound.queue.len()), (1, 0));
    line.limits.queue_qos0 = true;
    line.deliver("b", Q0);
    line.connect(1);
    assert_eq!(line.sent().len(), 1);
}

#[test]
fn a_full_write_buffer_drops_qos_0_and_keeps_the_rest() {
    let mut line = Line::new(10);
    line.limits.max_write_buffer = ByteSize(10);
    line.deliver("0123456789", Q0);
    line.deliver("lost", Q0);
    line.deliver("kept", Q1);
    assert_eq!(line.dropped(DropReason::WriteBufferFull), 1);
    assert_eq!(line.sent().len(), 2);
}

#[test]
fn a_peer_that_reads_slowly_leaves_messages_in_the_queue() {
    let mut line = Line::new(100);
    let payload = "x".repeat(10_000);
    for _ in 0..20 {
        line.deliver(&payload, Q1);
    }
    assert!(line.out.len() < 80_000, "{} bytes are unwritten", line.out.len());
    assert_eq!(line.outbound.inflight.len() + line.outbound.queue.len(), 20);
    let mut seen = 0;
    while !line.outbound.queue.is_empty() || !line.out.is_empty() {
        seen += line.sent().len();
    }
    assert_eq!(seen, 20);
}

#[test]
fn each_message_that_finds_no_room_is_counted_under_the_bound_that_it_met() {
    for (messages_max, bytes_max, reason) in [(2, 1000, DropReason::QueueFull), (100, 25, DropReason::QueueBytes)] {
        for policy in [QueuePolicy::DropNew, QueuePolicy::DropOldest] {
            let mut line = Line::new(1);
            line.limits.max_queued_messages = messages_max;
            line.limits.max_queued_bytes = ByteSize(bytes_max);
            line.limits.queue_policy = policy;
            line.cut();
            for payload in ["0123456789", "1123456789", "2123456789", "3123456789"] {
                line.deliver(payload, Q1);
            }
            assert_eq!((line.dropped(reason), line.outbound.queue.len()), (2, 2), "{reason:?} {policy:?}");
            line.connect(10);
            let Sent::Publish { payload, .. } = &line.sent()[0] else { panic!("a PUBLISH") };
            assert_eq!(payload.starts_with('0'), policy == QueuePolicy::DropNew);
        }
    }
}

/// Writes down what it gets back.
#[derive(Debug, Default)]
struct Lender(parking_lot::Mutex<Vec<(u64, Fate)>>);

impl Returns for Lender {
    fn returned(&self, errand: Errand, fate: Fate, _: bool) {
        self.0.lock().push((errand.seq, fate));
    }
}

#[test]
fn what_was_lent_tells_what_became_of_it_however_the_session_ends() {
    let lender = Arc::new(Lender::default());
    let mut line = Line::new(3);
    for seq in 1..=5 {
        let errand = Errand { queue: 1, is_dead: false, consumer: 1, seq, number: 1 };
        let work = Work::new(stored("t", b"work", Q1, None), errand, lender.clone());
        let link = Some((&mut line.writer, &mut line.out));
        line.outbound.deliver_work(link, work, grant(Q1), line.now, &mut line.batch);
    }
    let acknowledged = line.outbound.handle_puback(id(2)).unwrap();
    acknowledged.work().unwrap().answer(0x80);
    drop(acknowledged);
    line.outbound = Outbound::default();
    let mut told = std::mem::take(&mut *lender.0.lock());
    told.sort_unstable_by_key(|(seq, _)| *seq);
    let fates = [Fate::Unanswered, Fate::Answered(0x80), Fate::Unanswered, Fate::Unsent, Fate::Unsent];
    assert_eq!(told, (1..).zip(fates).collect::<Vec<_>>());
}

#[test]
fn a_pubrec_to_a_packet_of_qos_1_keeps_nothing_that_was_lent() {
    let lender = Arc::new(Lender::default());
    let mut line = Line::new(3);
    let errand = Errand { queue: 1, is_dead: false, consumer: 1, seq: 1, number: 1 };
    let work = Work::new(stored("t", b"work", Q1, None), errand, lender.clone());
    let link = Some((&mut line.writer, &mut line.out));
    line.outbound.deliver_work(link, work, grant(Q1), line.now, &mut line.batch);
    assert!(matches!(line.pubrec(1), Received::Unknown));
    let acknowledged = line.outbound.handle_puback(id(1)).unwrap();
    acknowledged.work().unwrap().answer(0);
    drop(acknowledged);
    assert_eq!(*lender.0.lock(), [(1, Fate::Answered(0))]);
}

/// Whether they leave at once, wait, or are sent again, and of more subscriptions than have a place in the session `[MQTT-3.3.4-3]`.
#[test]
fn identifiers_go_with_their_messages() {
    let mut line = Line::new(3);
    for identifier in 1..=40 {
        let message = stored("t", b"x", Q1, None);
        line.deliver_granted(&message, Grant { qos: Q1, identifiers: &[identifier, 7], ..Grant::default() });
    }
    assert_eq!(line.sent_identifiers(), [[1, 7], [2, 7], [3, 7]]);
    line.cut();
    line.connect(3);
    assert_eq!(line.sent_identifiers(), [[1, 7], [2, 7], [3, 7]]);
    for acknowledged in 1..=40 {
        assert!(line.puback(acknowledged));
        let next = u32::from(acknowledged) + 3;
        assert_eq!(line.sent_identifiers(), if next <= 40 { vec![vec![next, 7]] } else { vec![] });
    }
    // Nobody has a place any more: others can have it.
    let message = stored("t", b"x", Q1, None);
    line.deliver_granted(&message, Grant { qos: Q1, identifiers: &[99], ..Grant::default() });
    assert_eq!(line.sent_identifiers(), [[99]]);
}

#[test]
fn what_a_share_group_gave_is_taken_out_with_its_notes_and_the_rest_stays() {
    let [ours, other] = ["$share/ours/t", "$share/other/t"].map(|filter| TopicFilter::new(filter).unwrap());
    let mut line = Line::new(2);
    for (payload, share) in [("a", Some(&ours)), ("b", None), ("c", Some(&other)), ("d", Some(&ours))] {
        let message = stored("t", payload.as_bytes(), Q1, None);
        line.deliver_granted(&message, Grant { qos: Q1, identifiers: &[5], share, ..Grant::default() });
    }
    assert_eq!(line.sent_identifiers(), [[5], [5]]);
    let taken = line.outbound.take_shared(|share| *share == ours);
    let told = |Taken { queued, .. }: &Taken| (queued.message().unwrap().view().payload.to_vec(), queued.share().cloned());
    assert_eq!(taken.iter().map(told).collect::<Vec<_>>(), ["a", "d"].map(|p| (p.into(), Some(ours.clone()))));
    // Those that nobody else may get come back, and are told apart from the others as before.
    line.cut();
    for taken in taken {
        line.outbound.take_back(taken, false, &line.limits, line.now, &mut line.batch);
    }
    line.connect(9);
    assert_eq!(line.sent(), [again("a", Q1, 1), again("b", Q1, 2), first("c", Q1, 3), first("d", Q1, 4)]);
    assert_eq!(line.outbound.take_shared(|_| true).len(), 3);
}
