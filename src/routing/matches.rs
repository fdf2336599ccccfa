use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::shared_subscription::SharedGroup;
use super::subscriber::Subscriber;
use super::subscriber_list::{Entry, SubscriberList};
use crate::packet::{QoS, TopicName};

/// Who gets a message of one topic: each recipient once, and one member of each group.
#[derive(Clone)]
pub struct Matches<S> {
    pub recipients: Box<[Recipient<S>]>,
    pub groups: Box<[Arc<SharedGroup<S>>]>,
}

/// A subscriber, and what its matching subscriptions come to together.
#[derive(Clone)]
pub struct Recipient<S> {
    pub subscriber: S,
    pub grant: Grant,
    own: OwnGrant,
}

/// How a recipient wants the message. Of overlapping subscriptions: the highest QoS `[MQTT-3.3.4-2]`, all their identifiers
/// `[MQTT-3.3.4-3]`, `[MQTT-3.3.4-4]`, RETAIN as it was published if one of them asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    pub qos: QoS,
    pub retain_as_published: bool,
    /// One for each matching subscription that has one, so an identifier can be there twice (3.3.4).
    pub identifiers: SmallVec<[u32; 1]>,
}

/// What is left when the recipient is the publisher.
#[derive(Clone)]
enum OwnGrant {
    /// No subscription is No Local.
    Same,
    /// All are.
    Nothing,
    /// Some are; this is the rest.
    Less(Box<Grant>),
}

/// Up to here, recipients are compared one by one; above, a map finds them.
const FEW: usize = 8;

impl<S> Matches<S> {
    pub const fn is_empty(&self) -> bool {
        self.recipients.is_empty() && self.groups.is_empty()
    }

    /// Bytes it takes in memory, roughly: what a cache counts.
    pub(super) fn size(&self) -> usize {
        let identifiers: usize = self.recipients.iter().map(Recipient::identifiers_on_heap).sum();
        size_of::<Self>() + size_of_val(&*self.recipients) + size_of_val(&*self.groups) + identifiers * size_of::<u32>()
    }
}

impl<S> Default for Matches<S> {
    fn default() -> Self {
        Self { recipients: Box::default(), groups: Box::default() }
    }
}

impl<S: Subscriber> Recipient<S> {
    /// What applies when `publisher_key` is the session that published: if it is this one, its No Local subscriptions fall away
    /// `[MQTT-3.8.3-3]`. `None` when nothing is left.
    pub fn grant_for(&self, publisher_key: Option<u64>) -> Option<&Grant> {
        match &self.own {
            OwnGrant::Same => Some(&self.grant),
            _ if publisher_key != Some(self.subscriber.key()) => Some(&self.grant),
            OwnGrant::Nothing => None,
            OwnGrant::Less(grant) => Some(grant),
        }
    }

    fn new(entry: &Entry<S>) -> Self {
        let own = if entry.no_local { OwnGrant::Nothing } else { OwnGrant::Same };
        Self { subscriber: entry.subscriber.clone(), grant: Grant::of(entry), own }
    }

    /// One more subscription of the same subscriber matches.
    fn merge(&mut self, entry: &Entry<S>) {
        self.own = match (std::mem::replace(&mut self.own, OwnGrant::Same), entry.no_local) {
            (OwnGrant::Same, false) => OwnGrant::Same,
            (OwnGrant::Same, true) => OwnGrant::Less(Box::new(self.grant.clone())),
            (OwnGrant::Nothing, false) => OwnGrant::Less(Box::new(Grant::of(entry))),
            (OwnGrant::Less(mut rest), false) => {
                rest.merge(entry);
                OwnGrant::Less(rest)
            }
            (own @ (OwnGrant::Nothing | OwnGrant::Less(_)), true) => own,
        };
        self.grant.merge(entry);
    }
}

impl<S> Recipient<S> {
    fn identifiers_on_heap(&self) -> usize {
        let rest = if let OwnGrant::Less(grant) = &self.own { grant.identifiers.len() } else { 0 };
        rest + if self.grant.identifiers.spilled() { self.grant.identifiers.capacity() } else { 0 }
    }
}

impl Grant {
    pub(super) fn of<S>(entry: &Entry<S>) -> Self {
        Self {
            qos: entry.qos,
            retain_as_published: entry.retain_as_published,
            identifiers: entry.identifier.map(Into::into).into_iter().collect(),
        }
    }

    fn merge<S>(&mut self, entry: &Entry<S>) {
        self.qos = self.qos.max(entry.qos);
        self.retain_as_published |= entry.retain_as_published;
        self.identifiers.extend(entry.identifier.map(u32::from));
    }
}

/// The subscribers of all matching filters, each once.
pub(super) fn merge<S: Subscriber>(lists: &[&SubscriberList<S>], topic: TopicName<'_>) -> Matches<S> {
    let groups = lists.iter().flat_map(|list| list.groups()).cloned().collect();
    let entries = || lists.iter().flat_map(|list| list.entries()).filter(|entry| entry.reaches(topic));
    let recipients = match lists.iter().map(|list| list.entries().len()).sum() {
        count if lists.len() == 1 => take_all(entries(), count),
        0..=FEW => merge_few(entries()),
        _ => merge_many(entries()),
    };
    Matches { recipients, groups }
}

/// Of one list, which has each subscriber once.
fn take_all<'a, S: Subscriber + 'a>(entries: impl Iterator<Item = &'a Entry<S>>, count: usize) -> Box<[Recipient<S>]> {
    let mut recipients = Vec::with_capacity(count);
    recipients.extend(entries.map(Recipient::new));
    recipients.into()
}

fn merge_few<'a, S: Subscriber + 'a>(entries: impl Iterator<Item = &'a Entry<S>>) -> Box<[Recipient<S>]> {
    let mut recipients: Vec<Recipient<S>> = Vec::with_capacity(FEW);
    for entry in entries {
        let key = entry.subscriber.key();
        match recipients.iter_mut().find(|recipient| recipient.subscriber.key() == key) {
            Some(recipient) => recipient.merge(entry),
            None => recipients.push(Recipient::new(entry)),
        }
    }
    recipients.into()
}

fn merge_many<'a, S: Subscriber + 'a>(entries: impl Iterator<Item = &'a Entry<S>>) -> Box<[Recipient<S>]> {
    let mut recipients: Vec<Recipient<S>> = Vec::new();
    let mut places: HashMap<u64, usize, RandomState> = HashMap::default();
    for entry in entries {
        let place = *places.entry(entry.subscriber.key()).or_insert(recipients.len());
        match recipients.get_mut(place) {
            Some(recipient) => recipient.merge(entry),
            None => recipients.push(Recipient::new(entry)),
        }
    }
    recipients.into()
}
