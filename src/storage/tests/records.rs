use super::*;
use crate::packet::{PacketId, RetainHandling, SubscriptionOptions, TopicFilter};
use crate::storage::frame::Read;
use crate::storage::record::{Told, put_commit, put_message, put_queued, put_relocated, put_removed, put_retained, put_work};

fn header() -> SessionHeader {
    SessionHeader {
        mount_point: Some("tenant".into()),
        client_id: "é".into(),
        username: Some("user".into()),
        listener: "127.0.0.1:1883".into(),
        expiry_interval: u32::MAX,
        state: OnlineState::Offline { expires_at: Some(WALL) },
        will: Some(StoredWill {
            message: message("will/t", b"bye", QoS::ExactlyOnce),
            delay_interval: 5,
            message_expiry_interval: Some(u32::MAX),
            due_at: Some(WALL),
        }),
        next_sequence: 1 << 40,
        first_unsent: 7,
        revision: 3,
    }
}

/// One of each kind, as it is written and as it is read.
fn all() -> Vec<(Vec<u8>, Told)> {
    let filter = || TopicFilter::new("$share/g/a/+").unwrap();
    let id = PacketId::new(65535).unwrap();
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let place = Place { segment: 300, offset: u32::MAX };
    let to = Place { segment: 301, offset: 24 };
    let notes = Notes { identifiers: [1, 268_435_455].into_iter().collect(), share: Some(filter()) };
    let recipient =
        Recipient { session: 5, sequence: 1 << 50, qos: QoS::ExactlyOnce, retain: true, notes: Some(Arc::new(notes)) };
    let client = PublishingClient { client_id: "p".into(), username: None, listener: "l".into() };
    let publisher = Publisher { client: Some(client) };
    let record = |record: Record, told: Told| {
        let mut out = Vec::new();
        record.put(&mut out);
        (out, told)
    };
    let put = |write: &dyn Fn(&mut Vec<u8>), told: Told| {
        let mut out = Vec::new();
        write(&mut out);
        (out, told)
    };
    let wish = ConsumerWish { is_explicit: Some(true), prefetch: Some(300) };
    let body = message("t", b"payload", QoS::AtLeastOnce);
    vec![
        record(Record::Session { session: 5, header: Box::new(header()) }, Told::Session(5, Box::new(header()))),
        record(Record::SessionEnded { session: 5 }, Told::SessionEnded(5)),
        record(
            Record::Subscribed { session: 5, filter: filter(), options, identifier: Some(9), wish: ConsumerWish::default() },
            Told::Subscribed(5, filter(), options, Some(9), ConsumerWish::default()),
        ),
        record(
            Record::Subscribed { session: 5, filter: filter(), options, identifier: None, wish },
            Told::Subscribed(5, filter(), options, None, wish),
        ),
        record(
            Record::Work { stream: 300, body: None, content: [1, 0, 2].as_slice().into() },
            Told::Work { stream: 300, place: None, content: [1, 0, 2].as_slice().into() },
        ),
        put(&|out| put_work(out, 7, Some(place), &[9]), Told::Work { stream: 7, place: Some(place), content: [9].into() }),
        record(Record::Unsubscribed { session: 5, filter: filter() }, Told::Unsubscribed(5, filter())),
        record(Record::Settled { session: 5, sequence: 6 }, Told::Settled(5, 6)),
        record(Record::Released { session: 5, sequence: 6 }, Told::Released(5, 6)),
        record(Record::Received { session: 5, packet_id: id }, Told::Received(5, id)),
        record(Record::Unreceived { session: 5, packet_id: id }, Told::Unreceived(5, id)),
        record(Record::Unretained { topic: "t".into() }, Told::Unretained("t".into())),
        record(
            Record::Replaying { session: 5, filter: filter(), from: Some("a".into()) },
            Told::Replaying(5, filter(), Some("a".into())),
        ),
        record(Record::Replayed { session: 5, filter: filter() }, Told::Replayed(5, filter())),
        put(&|out| put_queued(out, &recipient, place), Told::Queued(recipient.clone(), place)),
        put(
            &|out| put_retained(out, "t", &publisher, place),
            Told::Retained { place, topic: "t".into(), publisher: publisher.clone() },
        ),
        put(&|out| put_relocated(out, place, to), Told::Relocated { from: place, to }),
        put(&|out| put_commit(out, 24, true), Told::Commit { start: 24, is_synced: true }),
        put(&|out| put_removed(out, 300), Told::Removed(300)),
        put(&|out| frame::put(out, record::kind::BODY, |out| put_message(out, &body, Some(WALL))), Told::Body),
    ]
}

fn read(bytes: &[u8]) -> Option<Told> {
    match frame::read(bytes) {
        Read::Frame(frame) => Told::read(frame.kind, frame.content),
        Read::End | Read::Broken(_) => None,
    }
}

#[test]
fn every_record_is_read_as_it_was_written() {
    for (bytes, told) in all() {
        assert_eq!(read(&bytes), Some(told));
        assert!(frame::may_begin(&bytes));
    }
}

#[test]
fn nothing_else_is_made_of_a_record_that_was_cut_or_changed() {
    for (bytes, told) in all() {
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]), None, "{told:?} cut at {length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&flipped), None, "{told:?} with bit {bit}");
        }
    }
}

#[test]
fn a_content_that_is_cut_short_is_no_record_whatever_its_checksum() {
    for (bytes, told) in all() {
        let Read::Frame(whole) = frame::read(&bytes) else { panic!("a frame") };
        for length in 0..whole.content.len() {
            let read = Told::read(whole.kind, &whole.content[..length]);
            assert!(told == Told::Body || read.is_none_or(|read| read != told), "{told:?} cut at {length}");
        }
    }
}

#[test]
fn no_body_was_copied_backwards_and_no_number_leaves_no_room_for_the_next() {
    let (place, behind) = (Place { segment: 3, offset: 24 }, Place { segment: 3, offset: 25 });
    let relocated = |from, to| {
        let mut out = Vec::new();
        put_relocated(&mut out, from, to);
        read(&out)
    };
    assert!(relocated(place, behind).is_some());
    assert_eq!([relocated(place, place), relocated(behind, place)], [None, None]);
    for (number, is_one) in [((1 << 63) - 1, true), (1 << 63, false), (u64::MAX, false)] {
        let records = [
            Record::SessionEnded { session: number },
            Record::Settled { session: 1, sequence: number },
            Record::Session { session: number, header: Box::new(header()) },
            Record::Session { session: 1, header: Box::new(SessionHeader { next_sequence: number, ..header() }) },
            Record::Work { stream: number, body: None, content: Default::default() },
        ];
        for record in records {
            let mut out = Vec::new();
            record.put(&mut out);
            assert_eq!(read(&out).is_some(), is_one, "{record:?}");
        }
    }
}
