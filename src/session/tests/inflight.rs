use std::collections::HashSet;

use super::super::inflight::{ExchangeState, Inflight, Received};
use super::*;

fn open(inflight: &mut Inflight, qos: QoS) -> PacketId {
    inflight.open(queued("x", qos), PacketId::FIRST).unwrap()
}

#[test]
fn identifiers_begin_with_1_and_one_in_use_is_passed_over_after_a_whole_turn() {
    let mut inflight = Inflight::default();
    let kept = open(&mut inflight, QoS::AtLeastOnce);
    assert_eq!(kept, id(1));
    for expected in 2..=u16::MAX {
        let next = open(&mut inflight, QoS::AtLeastOnce);
        assert_eq!(next, id(expected));
        assert!(inflight.acknowledge(next).is_some());
    }
    assert_eq!(open(&mut inflight, QoS::AtLeastOnce), id(2));
}

#[test]
fn all_identifiers_can_be_in_use_at_once_and_no_more() {
    let mut inflight = Inflight::default();
    let ids: HashSet<_> = (0..u16::MAX).map(|_| open(&mut inflight, QoS::AtLeastOnce)).collect();
    assert_eq!(ids.len(), usize::from(u16::MAX));
    assert!(inflight.is_full());
    assert_eq!(inflight.open(queued("x", QoS::AtLeastOnce), PacketId::FIRST), None);
    inflight.acknowledge(id(777)).unwrap();
    assert_eq!(open(&mut inflight, QoS::AtLeastOnce), id(777));
}

#[test]
fn acknowledgements_of_another_kind_change_nothing() {
    let mut inflight = Inflight::default();
    let (once, twice) = (open(&mut inflight, QoS::AtLeastOnce), open(&mut inflight, QoS::ExactlyOnce));
    assert!(inflight.acknowledge(twice).is_none());
    assert!(matches!(inflight.receive(once, PublishReason::Success), Received::Unknown));
    assert!(matches!(inflight.receive(once, PublishReason::QuotaExceeded), Received::Unknown));
    assert!(inflight.complete(once).is_none());
    assert!(inflight.complete(twice).is_none(), "PUBCOMP before PUBREC");
    assert!(inflight.acknowledge(id(9)).is_none());
    assert_eq!(inflight.len(), 2);
    assert!(matches!(inflight.get(twice).unwrap().state, ExchangeState::Published(_)));
}

#[test]
fn a_second_pubrec_asks_for_pubrel_again_and_refuses_nothing_more() {
    let mut inflight = Inflight::default();
    let id = open(&mut inflight, QoS::ExactlyOnce);
    for reason in [PublishReason::Success, PublishReason::Success, PublishReason::QuotaExceeded] {
        assert!(matches!(inflight.receive(id, reason), Received::Release));
    }
    assert!(inflight.acknowledge(id).is_none());
    assert!(inflight.complete(id).is_some());
    assert!(inflight.complete(id).is_none());
    assert!(inflight.is_empty());
}

/// `[MQTT-4.6.0-1]` for PUBLISH, `[MQTT-4.6.0-4]` for PUBREL.
#[test]
fn the_order_is_that_of_publish_and_pubrel_whatever_the_identifiers() {
    let mut inflight = Inflight::default();
    let ids: Vec<_> = (0..6).map(|_| open(&mut inflight, QoS::ExactlyOnce)).collect();
    inflight.receive(ids[4], PublishReason::Success);
    inflight.receive(ids[1], PublishReason::Success);
    inflight.receive(ids[3], PublishReason::QuotaExceeded);
    inflight.receive(ids[4], PublishReason::Success);
    assert_eq!(inflight.in_order(), [ids[0], ids[2], ids[5], ids[4], ids[1]]);
}

#[test]
fn only_unacknowledged_messages_of_qos_1_are_taken_out() {
    let mut inflight = Inflight::default();
    for (payload, qos) in [("a", QoS::AtLeastOnce), ("b", QoS::ExactlyOnce), ("c", QoS::AtLeastOnce), ("d", QoS::AtLeastOnce)] {
        inflight.open(queued(payload, qos), PacketId::FIRST).unwrap();
    }
    let taken = inflight.extract(|queued| queued.message().unwrap().view().payload != b"c");
    let payloads: Vec<_> = taken.iter().map(|taken| taken.queued.message().unwrap().view().payload.to_vec()).collect();
    assert_eq!(payloads, [b"a", b"d"]);
    assert_eq!(inflight.in_order(), [id(2), id(3)]);
    // One whose identifier is in use by now has lost its place.
    inflight.open(queued("e", QoS::AtLeastOnce), PacketId::FIRST).unwrap();
    inflight.begin(id(1), queued("f", QoS::AtLeastOnce));
    let put_back: Vec<_> = taken.into_iter().map(|taken| inflight.put_back(taken).is_ok()).collect();
    assert_eq!(put_back, [false, true]);
    assert_eq!(inflight.in_order(), [id(2), id(3), id(4), id(5), id(1)]);
}
