//! What was promised to whom: messages with the moments they were sent and accepted, subscriptions with the moments they were asked
//! for, granted and dropped, deliveries; and the judgement over them.
//!
//! Moments are ticks of one clock of the whole test ([`crate::world::World::tick`]), taken by the clients: before they send, and
//! after they have received. So what the model calls certain was certain for a client too.

use std::collections::{HashMap, HashSet};

use dunlin::packet::QoS;

use crate::support::dice::mix;

/// A moment.
pub type Tick = u64;

/// One message: the number of its publisher, and its number among that publisher's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub publisher: usize,
    pub number: usize,
}

/// A message as its publisher knows it.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub qos: QoS,
    pub retain: bool,
    /// A retained message without payload: it clears the topic.
    pub clears: bool,
    pub sent: Tick,
    /// When PUBACK or PUBREC came. A will is accepted with the CONNACK, once it is certain that it is due.
    pub accepted: Option<Tick>,
    /// Whether it is a will, which is published some time after it was accepted.
    pub is_will: bool,
    /// A will that was taken back before it was due.
    pub withdrawn: bool,
    /// Between which kills it was sent, for the report.
    pub cycle: usize,
}

/// One subscription of an audience, from its SUBSCRIBE to its end.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub filter: String,
    pub qos: QoS,
    /// SUBSCRIBE was sent.
    pub asked: Tick,
    /// SUBACK came.
    pub granted: Option<Tick>,
    /// UNSUBSCRIBE was sent, or a CONNECT with a clean start.
    pub dropping: Option<Tick>,
    /// UNSUBACK came, or its CONNACK.
    pub dropped: Option<Tick>,
}

/// A message that came to a subscriber, repetitions of a QoS 2 packet identifier left out.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub key: Key,
    pub qos: QoS,
    /// Which member of a group.
    pub member: usize,
    /// Which of the sessions that the member has had.
    pub session: usize,
    /// Between which kills it came.
    pub cycle: usize,
}

/// A subscriber, or the members of a shared subscription together.
#[derive(Clone, Debug)]
pub struct Audience {
    pub name: String,
    pub is_group: bool,
    pub subscriptions: Vec<Subscription>,
    pub deliveries: Vec<Delivery>,
    /// When its session was last given up on purpose: what was owed before is not any more.
    pub forgotten: Tick,
}

/// All messages of all publishers, by their numbers.
pub type History = Vec<Vec<Message>>;

/// What the judgement found; empty lists are what is hoped for.
#[derive(Debug, Default)]
pub struct Judgement {
    pub deliveries: usize,
    /// Pairs of a message and an audience that had to get it.
    pub owed: usize,
    pub lost: Vec<String>,
    pub doubled: Vec<String>,
    pub disordered: Vec<String>,
    pub uncalled: Vec<String>,
}

impl Subscription {
    /// Whether a message sent at `sent` and accepted at `accepted` must come by this subscription.
    fn must_carry(&self, message: &Message, forgotten: Tick) -> bool {
        let (Some(granted), Some(accepted)) = (self.granted, message.accepted) else { return false };
        granted > forgotten
            && granted < message.sent
            && self.dropping.is_none_or(|dropping| accepted < dropping)
            && matches(&self.filter, &message.topic)
    }

    /// Whether it may: the broker may have seen the two in an order in which the subscription was there.
    fn may_carry(&self, message: &Message) -> bool {
        (message.is_will || message.accepted.is_none_or(|accepted| self.asked < accepted))
            && self.dropped.is_none_or(|dropped| message.sent < dropped)
            && matches(&self.filter, &message.topic)
    }
}

impl Audience {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), is_group: false, subscriptions: Vec::new(), deliveries: Vec::new(), forgotten: 0 }
    }

    /// The messages that it must have got in the end.
    pub fn owed(&self, history: &History) -> HashSet<Key> {
        let must_come = |message: &Message| {
            !message.withdrawn && self.subscriptions.iter().any(|subscription| subscription.must_carry(message, self.forgotten))
        };
        all(history).filter(|(_, message)| must_come(message)).map(|(key, _)| key).collect()
    }

    /// Adds what is wrong with its deliveries.
    pub fn judge(&self, history: &History, judgement: &mut Judgement) {
        let owed = self.owed(history);
        let came: HashSet<Key> = self.deliveries.iter().map(|delivery| delivery.key).collect();
        judgement.owed += owed.len();
        judgement.deliveries += self.deliveries.len();
        let mut lost: Vec<_> = owed.difference(&came).copied().collect();
        lost.sort_unstable();
        judgement.lost.extend(lost.into_iter().map(|key| self.describe(history, key)));
        self.judge_repetitions(history, judgement);
        self.judge_order(history, judgement);
        self.judge_calls(history, judgement);
    }

    /// A message that was delivered with QoS 2 does not come again: to a session, and among the members of a group.
    fn judge_repetitions(&self, history: &History, judgement: &mut Judgement) {
        let mut once = HashSet::new();
        for delivery in &self.deliveries {
            let session = if self.is_group { 0 } else { delivery.session };
            if once.contains(&(delivery.key, session)) {
                judgement.doubled.push(self.describe(history, delivery.key));
            }
            if delivery.qos == QoS::ExactlyOnce {
                once.insert((delivery.key, session));
            }
        }
    }

    /// [MQTT-4.6.0-6]: for one publisher, topic and QoS, messages come for the first time in the order in which they were sent. Not to
    /// the members of a group: one that leaves hands on what it had, to others who have got later ones already.
    ///
    /// A kill may come between: a QoS 1 message reached a subscriber that had just come, was not acknowledged, and is sent again with
    /// one before it that the subscriber had missed. Then it is the second time that is in order.
    fn judge_order(&self, history: &History, judgement: &mut Judgement) {
        if self.is_group {
            return;
        }
        let mut came = HashSet::new();
        let mut highest: HashMap<_, &Delivery> = HashMap::new();
        for (place, delivery) in self.deliveries.iter().enumerate() {
            let message = &history[delivery.key.publisher][delivery.key.number];
            if !came.insert((delivery.key, delivery.session)) {
                continue;
            }
            let qos = (message.qos as u8, delivery.qos as u8);
            let before = highest.entry((delivery.session, delivery.key.publisher, &message.topic, qos)).or_insert(delivery);
            if before.key.number <= delivery.key.number {
                *before = delivery;
                continue;
            }
            let comes_again = || self.deliveries[place..].iter().any(|later| later.key == before.key);
            if before.cycle == delivery.cycle || !comes_again() {
                judgement.disordered.push(format!(
                    "after number {}: {}",
                    before.key.number,
                    self.describe(history, delivery.key)
                ));
            }
        }
    }

    /// Nothing comes that was not subscribed to, and with the QoS of the highest subscription that was there.
    fn judge_calls(&self, history: &History, judgement: &mut Judgement) {
        for delivery in &self.deliveries {
            let message = &history[delivery.key.publisher][delivery.key.number];
            let highest = |carries: &dyn Fn(&&Subscription) -> bool| {
                let granted = self.subscriptions.iter().filter(carries).map(|subscription| subscription.qos);
                granted.map(|qos| (qos as u8).min(message.qos as u8)).max()
            };
            let certain = highest(&|subscription| subscription.must_carry(message, self.forgotten));
            let possible = highest(&|subscription| subscription.may_carry(message));
            if message.withdrawn || possible.is_none() {
                judgement.uncalled.push(self.describe(history, delivery.key));
            } else if possible < Some(delivery.qos as u8) || certain > Some(delivery.qos as u8) {
                judgement.uncalled.push(format!("with {:?}: {}", delivery.qos, self.describe(history, delivery.key)));
            }
        }
    }

    fn describe(&self, history: &History, key: Key) -> String {
        let message = &history[key.publisher][key.number];
        let times = self.deliveries.iter().filter(|delivery| delivery.key == key);
        let came: Vec<_> =
            times.map(|delivery| (delivery.member, delivery.session, delivery.qos as u8, delivery.cycle)).collect();
        format!(
            "{} for {}: {} QoS {}, sent in cycle {} at {}, accepted {:?}; came to (member, session, QoS, cycle) {came:?}",
            name_of(key),
            self.name,
            message.topic,
            message.qos as u8,
            message.cycle,
            message.sent,
            message.accepted,
        )
    }
}

impl Judgement {
    pub fn is_clean(&self) -> bool {
        [&self.lost, &self.doubled, &self.disordered, &self.uncalled].iter().all(|wrong| wrong.is_empty())
    }

    /// What is wrong, some of each kind.
    pub fn report(&self) -> String {
        let kinds = [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("out of order", &self.disordered),
            ("uncalled for", &self.uncalled),
        ];
        let some = |(kind, list): (&str, &Vec<String>)| {
            let shown: String = list.iter().take(10).map(|line| format!("  {line}\n")).collect();
            if list.is_empty() { String::new() } else { format!("{kind}: {}\n{shown}", list.len()) }
        };
        kinds.into_iter().map(some).collect()
    }
}

pub fn all(history: &History) -> impl Iterator<Item = (Key, &Message)> {
    history.iter().enumerate().flat_map(|(publisher, messages)| {
        messages.iter().enumerate().map(move |(number, message)| (Key { publisher, number }, message))
    })
}

fn name_of(key: Key) -> String {
    format!("{}.{}", key.publisher, key.number)
}

/// The payload of a message: its key, and filler that depends on it, so that a body that was mixed up is seen.
pub fn payload(key: Key) -> Vec<u8> {
    let mut payload = format!("{}.", name_of(key)).into_bytes();
    let mut filler = mix((key.publisher as u64) << 32 | key.number as u64);
    let length = match filler % 256 {
        0 => 20_000 + filler % 20_000,
        1..16 => filler % 4000,
        _ => filler % 200,
    };
    for _ in 0..length / 8 {
        filler = mix(filler);
        payload.extend(filler.to_le_bytes());
    }
    payload
}

/// Which message a payload is of; `None` if it is none of ours, or not as it was sent.
pub fn key_of(bytes: &[u8]) -> Option<Key> {
    let mut parts = bytes.splitn(3, |byte| *byte == b'.');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
    let key = Key { publisher: number()?, number: number()? };
    (payload(key) == bytes).then_some(key)
}

/// Whether a filter covers a topic (4.7), said once more than in the broker, in another way.
pub fn matches(filter: &str, topic: &str) -> bool {
    match (filter.split_once('/'), topic.split_once('/')) {
        _ if filter == "#" => true,
        (Some((level, filter)), Some((name, topic))) => (level == "+" || level == name) && matches(filter, topic),
        (Some((level, "#")), None) => level == "+" || level == topic,
        (None, None) => filter == "+" || filter == topic,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_cover_what_the_specification_says() {
        for (filter, topic) in [("a/#", "a"), ("a/#", "a/b/c"), ("+/b", "a/b"), ("#", "a/b"), ("a/+/c", "a/b/c"), ("a", "a")] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [("a/+", "a"), ("a/b", "a"), ("a", "a/b"), ("+", "a/b"), ("a/+/c", "a/b/d")] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn a_payload_tells_its_message_and_whether_it_is_whole() {
        for number in 0..1000 {
            let key = Key { publisher: 3, number };
            let mut bytes = payload(key);
            assert_eq!(key_of(&bytes), Some(key));
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            assert_eq!(key_of(&bytes), None);
        }
    }

    fn message(qos: QoS, sent: Tick, accepted: Option<Tick>) -> Message {
        Message {
            topic: "a".into(),
            qos,
            retain: false,
            clears: false,
            sent,
            accepted,
            is_will: false,
            withdrawn: false,
            cycle: 0,
        }
    }

    fn delivery(number: usize, qos: QoS) -> Delivery {
        Delivery { key: Key { publisher: 0, number }, qos, member: 0, session: 0, cycle: 0 }
    }

    fn judge(messages: Vec<Message>, subscription: (Tick, Option<Tick>), deliveries: Vec<Delivery>) -> [usize; 4] {
        let mut audience = Audience::new("s");
        let (granted, dropped) = subscription;
        audience.subscriptions.push(Subscription {
            filter: "a".into(),
            qos: QoS::ExactlyOnce,
            asked: granted - 1,
            granted: Some(granted),
            dropping: dropped,
            dropped: dropped.map(|tick| tick + 1),
        });
        audience.deliveries = deliveries;
        let mut judgement = Judgement::default();
        audience.judge(&vec![messages], &mut judgement);
        [&judgement.lost, &judgement.doubled, &judgement.disordered, &judgement.uncalled].map(Vec::len)
    }

    /// A judge that never finds anything would be no proof.
    #[test]
    fn the_judge_sees_what_is_lost_doubled_out_of_order_and_uncalled_for() {
        let (one, two) = (QoS::AtLeastOnce, QoS::ExactlyOnce);
        let sent = || vec![message(two, 10, Some(11)), message(two, 12, Some(13)), message(one, 14, None)];
        let steady = (5, None);
        assert_eq!(judge(sent(), steady, vec![delivery(0, two), delivery(1, two)]), [0, 0, 0, 0]);
        assert_eq!(judge(sent(), steady, vec![delivery(0, two), delivery(1, two), delivery(2, one)]), [0, 0, 0, 0]);
        assert_eq!(judge(sent(), steady, vec![delivery(1, two), delivery(2, one)]), [1, 0, 0, 0], "0 is lost");
        assert_eq!(judge(sent(), steady, vec![delivery(1, two), delivery(0, two)]), [0, 0, 1, 0], "1 came before 0");
        assert_eq!(judge(sent(), steady, vec![delivery(0, two), delivery(1, two), delivery(0, two)]), [0, 1, 0, 0]);
        assert_eq!(judge(sent(), steady, vec![delivery(0, two), delivery(1, one)]), [0, 0, 0, 1], "1 with QoS 1");
        let later = |delivery| Delivery { cycle: 1, ..delivery };
        let sent_again = || vec![message(one, 10, Some(20)), message(one, 12, Some(21))];
        assert_eq!(judge(sent_again(), steady, vec![delivery(1, one), delivery(0, one), delivery(1, one)]), [0, 0, 1, 0]);
        assert_eq!(judge(sent_again(), steady, vec![delivery(1, one), later(delivery(0, one))]), [0, 0, 1, 0]);
        let killed = vec![delivery(1, one), later(delivery(0, one)), later(delivery(1, one))];
        assert_eq!(judge(sent_again(), steady, killed), [0, 0, 0, 0], "1 was sent again, behind 0");
        assert_eq!(judge(sent(), (12, None), vec![]), [0, 0, 0, 0], "accepted while the subscription was on its way");
        assert_eq!(judge(sent(), (12, None), vec![delivery(0, two)]), [0, 0, 0, 1], "accepted before it was asked for");
        assert_eq!(judge(sent(), (5, Some(8)), vec![delivery(0, two)]), [0, 0, 0, 1], "dropped before it was sent");
        assert_eq!(judge(sent(), (5, Some(12)), vec![]), [1, 0, 0, 0], "0 was accepted before, 1 was not");
    }
}
