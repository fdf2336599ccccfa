//! Makes the fixture: a broker of few words, which tells the journal at least one of each record.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dunlin::packet::{
    ForwardedProperties, Message, MessageView, PacketId, QoS, RetainHandling, SubscriptionOptions, TopicFilter, TopicName,
};
use dunlin::storage::{
    Body, Committer, FileBackend, Item, Journal, Keeper, Notes, OnlineState, Publisher, PublishingClient, Recipient, Record,
    SessionHeader, StoredWill, Walk, Walker,
};

use crate::{WALL, opened};

const METER: u64 = 1;
const PLC: u64 = 2;
const GONE: u64 = 3;
const ONLINE: u64 = 4;

/// Fills a folder that is empty.
pub(crate) fn make(folder: &Path) {
    let mut committer = opened(folder).committer;
    let house = House::new(committer.journal().clone());
    let filler = house.begin();
    commit(&mut committer);
    house.make_a_hole(filler);
    commit(&mut committer);
    house.fill();
    commit(&mut committer);
    checkpoint(folder, &house, &mut committer);
    house.go_on();
    commit(&mut committer);
    house.settle();
    commit(&mut committer);
}

fn commit(committer: &mut Committer<()>) {
    committer.commit(&mut |_| ()).unwrap();
}

/// What still lives in the segment with the hole moves, and the segment goes.
fn checkpoint(folder: &Path, house: &House, committer: &mut Committer<()>) {
    let keeper = Keeper::new(house.journal.clone(), Arc::new(FileBackend::new(folder)));
    std::thread::scope(|scope| {
        let keeper = scope.spawn(|| drop(keeper.hold(house).unwrap().unwrap()));
        while !keeper.is_finished() {
            commit(committer);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    house.journal.tell(Item::Record(Record::Unretained { topic: "nothing".into() }));
    commit(committer);
}

/// The bodies that live through it all.
struct House {
    journal: Arc<Journal<()>>,
    moved: Arc<Body>,
    shared: Arc<Body>,
    exchanged: Arc<Body>,
    lamp: Arc<Body>,
    door: Arc<Body>,
}

impl House {
    fn new(journal: Arc<Journal<()>>) -> Self {
        let expires_at = journal.clock.instant(WALL + 60_000);
        let properties = b"\x01\x01\x03\0\x0Atext/plain\x26\0\x06tenant\0\x04acme";
        let shared = Message::new(view("jobs/7", properties, b"shared by two"), QoS::ExactlyOnce, false, Some(expires_at));
        Self {
            journal,
            moved: body("meters/3/power", b"it was moved", QoS::AtLeastOnce),
            shared: Body::new(Arc::new(shared)),
            exchanged: body("meters/4/power", "it came once: \u{e9}\0".as_bytes(), QoS::ExactlyOnce),
            lamp: body("state/lamp", b"on", QoS::AtLeastOnce),
            door: body("state/door", b"", QoS::AtMostOnce),
        }
    }

    fn tell(&self, record: Record) {
        self.journal.tell(Item::Record(record));
    }

    fn queue(&self, body: &Arc<Body>, session: u64, sequence: u64, notes: Option<Notes>) {
        body.add(recipient(body, session, sequence, notes)).into_iter().for_each(|item| self.journal.tell(item));
    }

    /// Returns what most of the first segment is.
    fn begin(&self) -> Arc<Body> {
        for (session, header) in [(METER, meter()), (PLC, plc()), (GONE, header("gone")), (ONLINE, header("online"))] {
            self.tell(Record::Session { session, header: Box::new(header) });
        }
        for (session, filter, options, identifier) in subscriptions() {
            self.tell(Record::Subscribed { session, filter, options, identifier });
        }
        self.queue(&self.moved, METER, 0, None);
        let filler = body("meters/3/log", &[b'x'; 4000], QoS::AtLeastOnce);
        self.queue(&filler, METER, 1, None);
        filler
    }

    fn make_a_hole(&self, filler: Arc<Body>) {
        assert!(!filler.settle(METER, 1), "it is written");
        self.tell(Record::Settled { session: METER, sequence: 1 });
    }

    fn fill(&self) {
        self.tell(Record::SessionEnded { session: GONE });
        self.exchanged.came_by(PLC, id(5)).into_iter().for_each(|item| self.journal.tell(item));
        self.queue(&self.exchanged, METER, 2, None);
        self.queue(&self.shared, METER, 3, Some(notes()));
        self.queue(&self.shared, PLC, 0, None);
        for (body, publisher) in [(&self.lamp, client()), (&self.door, Publisher::default())] {
            body.retain(publisher).into_iter().for_each(|item| self.journal.tell(item));
        }
        self.tell(Record::Replaying { session: PLC, filter: filter("plc/#"), from: Some("plc/3".into()) });
    }

    /// All that only the segments tell.
    fn go_on(&self) {
        let session = METER;
        self.tell(Record::Released { session, sequence: 2 });
        self.tell(Record::Received { session: PLC, packet_id: id(65535) });
        self.tell(Record::Received { session: PLC, packet_id: id(6) });
        self.tell(Record::Replaying { session: METER, filter: filter("meters/+/power"), from: None });
        self.tell(Record::Subscribed { session, filter: filter("late"), options: options(QoS::AtMostOnce), identifier: None });
        for number in 4..6 {
            let body = body(&format!("meters/{number}/power"), format!("number {number}").as_bytes(), QoS::AtLeastOnce);
            self.queue(&body, METER, number, None);
        }
        let lost = body("state/window", b"open", QoS::AtLeastOnce);
        lost.retain(client()).into_iter().for_each(|item| self.journal.tell(item));
        // Two threads told of one session, and the older one came second.
        let newer = SessionHeader { revision: 9, first_unsent: 3, ..meter() };
        self.tell(Record::Session { session, header: Box::new(newer) });
        self.tell(Record::Session { session, header: Box::new(SessionHeader { revision: 8, will: None, ..meter() }) });
    }

    fn settle(&self) {
        self.tell(Record::Settled { session: METER, sequence: 4 });
        self.tell(Record::Unreceived { session: PLC, packet_id: id(6) });
        self.tell(Record::Replayed { session: METER, filter: filter("meters/+/power") });
        self.tell(Record::Unsubscribed { session: METER, filter: filter("late") });
        self.tell(Record::Unretained { topic: "state/window".into() });
    }
}

impl Walk for House {
    fn walk(&self, walker: &mut Walker<'_>) {
        for (session, header) in [(METER, meter()), (PLC, plc()), (ONLINE, header("online"))] {
            walker.session(session, &header);
        }
        for (session, filter, options, identifier) in subscriptions() {
            walker.subscription(session, &filter, options, identifier);
        }
        walker.replaying(PLC, &filter("plc/#"), Some("plc/3"));
        walker.received(PLC, id(5));
        walker.waiting(&recipient(&self.moved, METER, 0, None), &self.moved);
        walker.waiting(&recipient(&self.exchanged, METER, 2, None), &self.exchanged);
        walker.waiting(&recipient(&self.shared, METER, 3, Some(notes())), &self.shared);
        walker.waiting(&recipient(&self.shared, PLC, 0, None), &self.shared);
        walker.retained("state/lamp", &client(), &self.lamp);
        walker.retained("state/door", &Publisher::default(), &self.door);
    }
}

fn header(client_id: &str) -> SessionHeader {
    SessionHeader {
        mount_point: None,
        client_id: client_id.into(),
        username: None,
        listener: "0.0.0.0:1883".into(),
        expiry_interval: 3600,
        state: OnlineState::Online,
        will: None,
        next_sequence: 0,
        first_unsent: 0,
        revision: 0,
    }
}

fn meter() -> SessionHeader {
    let will = StoredWill {
        message: Arc::new(Message::new(view("meters/gone", b"\x01\x01", b"bye"), QoS::AtLeastOnce, true, None)),
        delay_interval: 30,
        message_expiry_interval: Some(0),
        due_at: Some(WALL + 30_000),
    };
    let state = OnlineState::Offline { expires_at: Some(WALL + 3_600_000) };
    SessionHeader { username: Some("ada".into()), state, will: Some(will), revision: 7, ..header("meter \u{e9}") }
}

fn plc() -> SessionHeader {
    let state = OnlineState::Offline { expires_at: None };
    let mount_point = Some("tenant".into());
    SessionHeader { mount_point, state, expiry_interval: u32::MAX, next_sequence: 1 << 40, ..header("plc/9") }
}

fn subscriptions() -> [(u64, TopicFilter, SubscriptionOptions, Option<u32>); 3] {
    let handled = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    [
        (METER, filter("meters/+/power"), handled, Some(268_435_455)),
        (METER, filter("$share/pool/jobs/#"), options(QoS::ExactlyOnce), None),
        (PLC, filter("plc/#"), options(QoS::ExactlyOnce), Some(1)),
    ]
}

fn options(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

fn recipient(body: &Arc<Body>, session: u64, sequence: u64, notes: Option<Notes>) -> Recipient {
    Recipient { session, sequence, qos: body.qos(), retain: notes.is_some(), notes: notes.map(Arc::new) }
}

fn notes() -> Notes {
    Notes { identifiers: [7, 300].into_iter().collect(), share: Some(filter("$share/pool/jobs/#")) }
}

fn client() -> Publisher {
    let (client_id, username, listener) = ("switch".into(), Some("ada".into()), "0.0.0.0:8883".into());
    Publisher { client: Some(PublishingClient { client_id, username, listener }) }
}

fn body(topic: &str, payload: &[u8], qos: QoS) -> Arc<Body> {
    Body::new(Arc::new(Message::new(view(topic, b"", payload), qos, false, None)))
}

fn view<'a>(topic: &'a str, properties: &'a [u8], payload: &'a [u8]) -> MessageView<'a> {
    let (topic, properties) = (TopicName::new(topic).unwrap(), ForwardedProperties::read(properties).unwrap());
    MessageView { topic, properties, payload }
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}
