//! A broker with work queues, and clients that look at all that a delivery says.

use dunlin::packet::{
    Connect, Packet, PacketId, PublishAck, PublishReason, QoS, Subscribe, SubscriptionOptions, TopicFilter, UserPropertiesBuf,
};

use crate::support::client::{Client, V5, connect, delivery, publish};
use crate::support::{Broker, PATIENCE};

pub const LISTENER: &str = "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n";

/// A broker whose config has these tables too.
pub fn broker(tables: &str) -> Broker {
    Broker::with_config(&format!("{LISTENER}{tables}"))
}

/// A broker with the queue `jobs`, bound to `jobs/#`, that retries at once, and has these keys besides.
pub fn jobs(keys: &str) -> Broker {
    broker(&jobs_table(keys))
}

pub fn jobs_table(keys: &str) -> String {
    let backoff = if keys.contains("backoff") { "" } else { "backoff = [\"10ms\"]" };
    format!("[[queues]]\nname = \"jobs\"\nbind = [\"jobs/#\"]\n{backoff}\n{keys}\n")
}

/// A PUBLISH as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Got {
    pub topic: String,
    pub payload: String,
    pub qos: QoS,
    pub id: Option<PacketId>,
    pub dup: bool,
    pub retain: bool,
    pub content_type: Option<String>,
    pub expiry: Option<u32>,
    pub identifiers: Vec<u32>,
    pub properties: Vec<(String, String)>,
}

impl Got {
    pub fn of(publish: &dunlin::packet::Publish<'_>) -> Self {
        Self {
            topic: publish.topic.map(|topic| topic.as_str().to_owned()).unwrap_or_default(),
            payload: String::from_utf8_lossy(publish.payload).into_owned(),
            qos: publish.delivery.qos(),
            id: publish.delivery.packet_id(),
            dup: publish.dup,
            retain: publish.retain,
            content_type: publish.properties.content_type.map(str::to_owned),
            expiry: publish.properties.message_expiry_interval,
            identifiers: publish.properties.subscription_identifiers.to_vec(),
            properties: owned(publish.properties.user_properties.iter()),
        }
    }

    /// A user property, which stands there once at most.
    pub fn property(&self, name: &str) -> Option<&str> {
        let mut found = self.properties.iter().filter(|(there, _)| there == name).map(|(_, value)| &**value);
        let first = found.next();
        assert_eq!(found.next(), None, "{name} stands there once: {self:?}");
        first
    }

    pub fn attempt(&self) -> u32 {
        self.property("q-attempt").expect("a delivery says which attempt it is").parse().unwrap()
    }

    pub fn tag(&self) -> &str {
        self.property("q-tag").expect("a delivery names its lease")
    }

    /// The lease in a topic of `$queue/jobs/$lease/#`, and the topic behind it.
    pub fn lease(&self) -> (&str, &str) {
        let rest = self.topic.strip_prefix("$queue/jobs/$lease/").expect("a topic with a lease");
        rest.split_once('/').expect("the topic behind the lease")
    }
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What the broker says to a PUBLISH or SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub reason: u8,
    pub text: Option<String>,
    pub properties: Vec<(String, String)>,
}

impl Told {
    pub fn is_duplicate(&self) -> bool {
        self.properties.iter().any(|(name, value)| name == "q-duplicate" && value == "1")
    }
}

/// A client of 5.0 with a session that ends with its connection.
pub fn enter(broker: &Broker, id: &str) -> Client {
    Client::connect(broker.address(), V5, id)
}

/// A client of 5.0 whose session is kept, and whether it was there.
pub fn enter_kept(broker: &Broker, id: &str) -> (Client, bool) {
    let mut kept = Connect { client_id: id, clean_start: false, ..connect(V5) };
    kept.properties.session_expiry_interval = 3600;
    Client::connect_with(broker.address(), kept)
}

/// A consumer of this filter with QoS 1.
pub fn consumer(broker: &Broker, id: &str, filter: &str) -> Client {
    let mut client = enter(broker, id);
    client.subscribe(filter, QoS::AtLeastOnce);
    client
}

/// Publishes with QoS 1; what the broker answers.
pub fn tell(client: &mut Client, topic: &str, payload: &str, properties: &[(&str, &str)]) -> Told {
    tell_with(client, topic, payload, properties, |_| ())
}

/// The same with changes to the packet.
pub fn tell_with<'a>(
    client: &mut Client,
    topic: &'a str,
    payload: &'a str,
    properties: &'a [(&str, &str)],
    change: impl FnOnce(&mut dunlin::packet::Publish<'a>),
) -> Told {
    let id = client.packet_id();
    let mut buffer = UserPropertiesBuf::new();
    properties.iter().for_each(|(name, value)| buffer.push(name, value));
    let mut packet = publish(topic, payload, delivery(QoS::AtLeastOnce, id));
    change(&mut packet);
    let mut packet: dunlin::packet::Publish<'_> = packet;
    packet.properties.user_properties = buffer.as_ref();
    client.send(&Packet::Publish(packet));
    client.expect_ahead("PUBACK", |packet| match packet {
        Packet::PubAck(ack) if ack.packet_id == id => Some(told(ack)),
        _ => None,
    })
}

fn told(ack: &PublishAck<'_>) -> Told {
    Told { reason: ack.reason as u8, text: ack.reason_string.map(str::to_owned), properties: owned(ack.user_properties.iter()) }
}

/// Publishes these payloads with QoS 1 to one topic.
pub fn fill(client: &mut Client, topic: &str, payloads: &[&str]) {
    for payload in payloads {
        assert_eq!(client.publish(topic, payload, QoS::AtLeastOnce), 0, "{payload} is taken");
    }
}

/// Subscribes with user properties; what the SUBACK says of its one filter.
pub fn subscribe(client: &mut Client, filter: &str, qos: QoS, properties: &[(&str, &str)]) -> Told {
    let packet_id = client.packet_id();
    let mut buffer = UserPropertiesBuf::new();
    properties.iter().for_each(|(name, value)| buffer.push(name, value));
    client.send(&Packet::Subscribe(Subscribe {
        packet_id,
        subscription_identifier: None,
        user_properties: buffer.as_ref(),
        filters: vec![(TopicFilter::new(filter).expect("a filter"), SubscriptionOptions { qos, ..Default::default() })],
    }));
    client.expect_ahead("SUBACK", |packet| match packet {
        Packet::SubAck(ack) if ack.packet_id == packet_id => Some(Told {
            reason: ack.reasons[0] as u8,
            text: ack.reason_string.map(str::to_owned),
            properties: owned(ack.user_properties.iter()),
        }),
        _ => None,
    })
}

/// The next packet is a PUBLISH.
pub fn take(client: &mut Client) -> Got {
    client.expect_publish(Got::of)
}

/// What was told by now, and who has what, is on disk. First leases are told 10 ms after they began; what is told is written at the latest
/// with what is acknowledged after it.
pub fn let_be_written(broker: &Broker) {
    std::thread::sleep(std::time::Duration::from_millis(100));
    enter(broker, "writer").retain("elsewhere", "x");
}

/// All that has been sent to a client until now.
pub fn drain(client: &mut Client) -> Vec<Got> {
    client.send(&Packet::PingReq);
    let mut all = Vec::new();
    loop {
        let next = client.expect("a message or PINGRESP", |packet| match packet {
            Packet::Publish(publish) => Some(Some(Got::of(publish))),
            Packet::PingResp => Some(None),
            _ => None,
        });
        match next {
            Some(got) => all.push(got),
            None => return all,
        }
    }
}

pub fn payloads(all: &[Got]) -> Vec<&str> {
    all.iter().map(|got| &*got.payload).collect()
}

pub fn ack(client: &mut Client, got: &Got) {
    client.puback(got.id.expect("a message with an identifier"));
}

/// Answers with a reason code: by PUBACK, or by PUBREC where the message came with QoS 2.
pub fn refuse(client: &mut Client, got: &Got, code: u8) {
    let reason = PublishReason::from_byte(code).expect("a code of PUBACK");
    let answer = PublishAck::new(got.id.expect("a message with an identifier"), reason);
    client.send(&match got.qos {
        QoS::ExactlyOnce => Packet::PubRec(answer),
        _ => Packet::PubAck(answer),
    });
}

/// Takes and acknowledges messages until one has this payload; the payloads of all, in their order.
pub fn work_until(client: &mut Client, last: &str) -> Vec<String> {
    let mut done = Vec::new();
    loop {
        let got = take(client);
        ack(client, &got);
        done.push(got.payload);
        if done.last().is_some_and(|payload| payload == last) {
            return done;
        }
    }
}

/// The client says goodbye, and the broker has settled its session.
pub fn leave(mut client: Client) {
    client.send_bytes(&[0xE0, 0]);
    client.expect_close();
}

/// All that the broker had to write until now is written, and what waited for that has gone out.
pub fn settle_down(broker: &Broker) {
    enter(broker, "").retain("settled", "down");
}

/// The queue has no message that a consumer could get: a fresh one gets a new message as the first.
pub fn assert_empty(broker: &Broker, filter: &str, topic: &str) {
    let mut fresh = consumer(broker, "", filter);
    let mut publisher = enter(broker, "");
    fill(&mut publisher, topic, &["probe"]);
    let got = take(&mut fresh);
    assert_eq!(got.payload, "probe", "nothing else was there");
    ack(&mut fresh, &got);
    leave(fresh);
}

/// Waits until `look` gives something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
