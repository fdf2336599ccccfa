use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::RwLock;

use super::config::Strategy;
use super::matches::Grant;
use super::subscriber::{Availability, Subscriber};
use super::subscriber_list::{Entry, Members};
use crate::packet::{SharedSubscription, TopicFilter};

/// The members of one `$share/NAME/FILTER`, of which each message goes to one (4.8.2).
///
/// Members and turn lie behind the group's own lock and atomics, so that a pick sees who joined or left after the group was found: a
/// cached match stays right. All subscriptions with the same share name and the same filter are one group `[MQTT-4.8.2-1]`; the same
/// name with another filter is another one.
pub struct SharedGroup<S> {
    whole_filter: TopicFilter,
    subscription: SharedSubscription,
    strategy: Strategy,
    members: RwLock<Members<S>>,
    /// Whose turn it is; for [`Strategy::Random`] the numbers drawn so far.
    turn: AtomicUsize,
    /// The key that [`Strategy::Sticky`] stays with.
    favourite: AtomicU64,
    seed: u64,
}

/// Of whom and of what a message is, hashed by the caller; equal messages, equal hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublisherHash {
    /// Of the publisher's client identifier.
    pub client: u64,
    /// Of the topic.
    pub topic: u64,
}

impl<S: Subscriber> SharedGroup<S> {
    pub(super) fn new(whole_filter: TopicFilter, subscription: SharedSubscription, strategy: Strategy) -> Self {
        let seed = RandomState::default().hash_one(0);
        Self {
            whole_filter,
            subscription,
            strategy,
            members: RwLock::new(Members::new()),
            turn: AtomicUsize::new(0),
            favourite: AtomicU64::new(u64::MAX),
            seed,
        }
    }

    pub fn share_name(&self) -> &str {
        &self.subscription.share_name
    }

    pub const fn filter(&self) -> &TopicFilter {
        &self.subscription.filter
    }

    /// `$share/NAME/FILTER`.
    pub const fn whole_filter(&self) -> &TopicFilter {
        &self.whole_filter
    }

    /// How many members there are, online or not.
    pub fn len(&self) -> usize {
        self.members.read().entries().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Chooses the one receiver, and says how it wants the message: by its own subscription alone.
    ///
    /// Someone online comes before someone whose session waits for its client. Among those online, round-robin and random prefer the
    /// ones with room in their window; sticky and the hashes stay with their choice while it is online, or a full window would tear
    /// apart what belongs together. `may_get` says of a member whether it may be chosen: not the one from which the message comes back,
    /// nor one that may not read it. `None` when there is nobody.
    pub fn pick(&self, publisher: PublisherHash, may_get: impl Fn(&S) -> bool) -> Option<(S, Grant)> {
        self.pick_with(publisher, may_get, |subscriber, grant| (subscriber.clone(), grant))
    }

    /// The same for who makes use of the receiver at once: nobody joins or leaves meanwhile, and nothing is cloned.
    pub fn pick_with<R>(
        &self,
        publisher: PublisherHash,
        may_get: impl Fn(&S) -> bool,
        then: impl FnOnce(&S, Grant) -> R,
    ) -> Option<R> {
        let members = self.members.read();
        let candidates = Candidates { members: &members, may_get: &may_get };
        let chosen = match self.strategy {
            Strategy::RoundRobin => self.next(candidates),
            Strategy::Random => self.any(candidates),
            Strategy::Sticky => self.favourite(candidates),
            Strategy::HashClient => candidates.best(online, publisher.client),
            Strategy::HashTopic => candidates.best(online, publisher.topic),
        }?;
        Some(then(&chosen.subscriber, Grant::of(chosen)))
    }

    /// Whether the member is new.
    pub(super) fn join(&self, entry: Entry<S>) -> bool {
        self.members.write().insert(entry)
    }

    /// Whether it was a member.
    pub(super) fn leave(&self, key: u64) -> bool {
        self.members.write().remove(key)
    }

    fn next<'a>(&self, candidates: Candidates<'a, S>) -> Option<&'a Entry<S>> {
        let start = self.turn.fetch_add(1, Ordering::Relaxed);
        let (skipped, entry) = candidates.first(start, room)?;
        if skipped > 0 {
            // Without this, whoever comes after those skipped would get their turns too.
            self.turn.fetch_add(skipped, Ordering::Relaxed);
        }
        Some(entry)
    }

    fn any<'a>(&self, candidates: Candidates<'a, S>) -> Option<&'a Entry<S>> {
        let drawn = self.draw();
        let lucky = candidates.at(drawn as usize)?;
        if candidates.allows(lucky) && lucky.subscriber.availability() == Availability::Ready {
            return Some(lucky);
        }
        candidates.best(room, drawn)
    }

    fn favourite<'a>(&self, candidates: Candidates<'a, S>) -> Option<&'a Entry<S>> {
        let favourite = candidates.members.get(self.favourite.load(Ordering::Relaxed));
        if let Some(entry) = favourite.filter(|entry| candidates.allows(entry) && online(entry) > 0) {
            return Some(entry);
        }
        // From a random place, or the first member of many groups would become the favourite of all.
        let (_, entry) = candidates.first(self.draw() as usize, online)?;
        self.favourite.store(entry.subscriber.key(), Ordering::Relaxed);
        Some(entry)
    }

    /// A number that nobody outside can foretell.
    fn draw(&self) -> u64 {
        let count = self.turn.fetch_add(1, Ordering::Relaxed) as u64;
        mix(self.seed.wrapping_add(count.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }
}

/// The members that a message may go to.
struct Candidates<'a, S> {
    members: &'a Members<S>,
    may_get: &'a dyn Fn(&S) -> bool,
}

/// Classes of members by what they can take: the higher, the better.
type Rank<S> = fn(&Entry<S>) -> u8;

fn room<S: Subscriber>(entry: &Entry<S>) -> u8 {
    match entry.subscriber.availability() {
        Availability::Ready => BEST,
        Availability::Online => 1,
        Availability::Offline => 0,
    }
}

fn online<S: Subscriber>(entry: &Entry<S>) -> u8 {
    match entry.subscriber.availability() {
        Availability::Ready | Availability::Online => BEST,
        Availability::Offline => 0,
    }
}

const BEST: u8 = 2;

impl<'a, S: Subscriber> Candidates<'a, S> {
    fn allows(&self, entry: &Entry<S>) -> bool {
        (self.may_get)(&entry.subscriber)
    }

    /// The member at a place, counted round and round.
    fn at(&self, place: usize) -> Option<&'a Entry<S>> {
        let entries = self.members.entries();
        entries.get(place.checked_rem(entries.len())?)
    }

    /// The first of the best rank, counted from `start`, and how many were passed over.
    fn first(&self, start: usize, rank: Rank<S>) -> Option<(usize, &'a Entry<S>)> {
        let entries = self.members.entries();
        let (before, after) = entries.split_at(start.checked_rem(entries.len())?);
        let mut found: Option<(u8, usize, &Entry<S>)> = None;
        for (place, entry) in after.iter().chain(before).enumerate().filter(|(_, entry)| self.allows(entry)) {
            match rank(entry) {
                BEST => return Some((place, entry)),
                rank if found.is_none_or(|(best, ..)| rank > best) => found = Some((rank, place, entry)),
                _ => {}
            }
        }
        found.map(|(_, place, entry)| (place, entry))
    }

    /// Of the best rank, the member with the highest hash together with `what` (rendezvous hashing): when a member leaves, only its
    /// share moves.
    fn best(&self, rank: Rank<S>, what: u64) -> Option<&'a Entry<S>> {
        let what = mix(what);
        let allowed = self.members.entries().iter().filter(|entry| self.allows(entry));
        allowed.max_by_key(|entry| (rank(entry), mix(what ^ mix(entry.subscriber.key()))))
    }
}

/// The finalizer of SplitMix64: every bit of the input moves every bit of the output.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::routing::Subscription;
    use crate::routing::test_subscriber::Client;

    fn group(strategy: Strategy, clients: &[Client]) -> SharedGroup<Client> {
        let whole = TopicFilter::new("$share/g/a").unwrap();
        let parts = whole.shared().unwrap().unwrap();
        let group = SharedGroup::new(whole, parts, strategy);
        for client in clients {
            assert!(group.join(Entry::new(client.clone(), Subscription::default())));
        }
        group
    }

    fn clients(count: u64) -> Vec<Client> {
        (0..count).map(Client::new).collect()
    }

    fn pick(group: &SharedGroup<Client>, number: u64) -> Option<u64> {
        group.pick(PublisherHash { client: number / 100, topic: number }, |_| true).map(|(client, _)| client.key())
    }

    /// How many of `count` messages each member gets.
    fn shares(group: &SharedGroup<Client>, count: u64) -> HashMap<u64, usize> {
        let mut shares = HashMap::new();
        (0..count).for_each(|number| *shares.entry(pick(group, number).unwrap()).or_default() += 1);
        shares
    }

    const ALL: [Strategy; 5] =
        [Strategy::RoundRobin, Strategy::Random, Strategy::Sticky, Strategy::HashClient, Strategy::HashTopic];

    #[test]
    fn an_empty_group_picks_nobody() {
        for strategy in ALL {
            assert_eq!(pick(&group(strategy, &[]), 0), None);
        }
    }

    #[test]
    fn an_excluded_member_is_not_picked() {
        for strategy in ALL {
            let group = group(strategy, &clients(2));
            let nobody = PublisherHash { client: 0, topic: 0 };
            (0..20).for_each(|_| assert_eq!(group.pick(nobody, |client| client.key() != 0).unwrap().0.key(), 1));
            group.leave(1);
            assert!(group.pick(nobody, |client| client.key() != 0).is_none());
        }
    }

    #[test]
    fn offline_members_are_picked_only_when_nobody_is_online() {
        for strategy in ALL {
            let clients = clients(5);
            let group = group(strategy, &clients);
            clients.iter().for_each(|client| client.set(Availability::Offline));
            assert!(pick(&group, 0).is_some());
            clients[3].set(Availability::Online);
            assert_eq!(shares(&group, 100), HashMap::from([(3, 100)]), "{strategy:?}");
            clients[3].set(Availability::Ready);
            assert_eq!(shares(&group, 100), HashMap::from([(3, 100)]), "{strategy:?}");
        }
    }

    #[test]
    fn round_robin_and_random_pass_over_full_windows() {
        for strategy in [Strategy::RoundRobin, Strategy::Random] {
            let clients = clients(3);
            let group = group(strategy, &clients);
            clients[1].set(Availability::Online);
            assert_eq!(shares(&group, 100).get(&1), None);
            clients.iter().for_each(|client| client.set(Availability::Online));
            assert_eq!(shares(&group, 1000).len(), 3);
        }
    }

    #[test]
    fn sticky_and_hashes_stay_with_a_member_whose_window_is_full() {
        for strategy in [Strategy::Sticky, Strategy::HashClient, Strategy::HashTopic] {
            let clients = clients(4);
            let group = group(strategy, &clients);
            let chosen = pick(&group, 0).unwrap();
            clients[chosen as usize].set(Availability::Online);
            assert_eq!(pick(&group, 0), Some(chosen), "{strategy:?}");
            clients[chosen as usize].set(Availability::Offline);
            assert_ne!(pick(&group, 0), Some(chosen), "{strategy:?}");
        }
    }

    #[test]
    fn round_robin_gives_equal_shares_to_those_who_are_ready() {
        let clients = clients(5);
        let group = group(Strategy::RoundRobin, &clients);
        assert!(shares(&group, 500).values().all(|&share| share == 100));
        clients[1].set(Availability::Offline);
        clients[2].set(Availability::Online);
        assert_eq!(shares(&group, 300), HashMap::from([(0, 100), (3, 100), (4, 100)]));
    }

    #[test]
    fn random_gives_about_equal_shares_to_those_who_are_ready() {
        let clients = clients(5);
        let group = group(Strategy::Random, &clients);
        clients[1].set(Availability::Offline);
        let shares = shares(&group, 4000);
        assert_eq!(shares.len(), 4);
        assert!(shares.values().all(|share| (850..1150).contains(share)), "{shares:?}");
    }

    #[test]
    fn sticky_stays_until_its_member_leaves() {
        let group = group(Strategy::Sticky, &clients(5));
        let first = pick(&group, 0).unwrap();
        assert_eq!(shares(&group, 50), HashMap::from([(first, 50)]));
        group.leave(first);
        let second = pick(&group, 0).unwrap();
        assert_ne!(first, second);
        group.join(Entry::new(Client::new(first), Subscription::default()));
        assert_eq!(shares(&group, 50), HashMap::from([(second, 50)]));
    }

    #[test]
    fn hash_client_and_hash_topic_look_at_their_own_hash_only() {
        let whole = |strategy| group(strategy, &clients(8));
        let by_client = whole(Strategy::HashClient);
        assert!((0..100).all(|number| pick(&by_client, number) == pick(&by_client, 0)));
        assert_eq!(shares(&by_client, 10_000).len(), 8);
        let by_topic = whole(Strategy::HashTopic);
        assert!(shares(&by_topic, 8000).values().all(|share| (800..1200).contains(share)));
    }

    #[test]
    fn a_member_that_leaves_moves_only_its_own_share() {
        let group = group(Strategy::HashTopic, &clients(5));
        let before: Vec<_> = (0..1000).map(|number| pick(&group, number).unwrap()).collect();
        group.leave(2);
        for (number, before) in (0..).zip(before) {
            let after = pick(&group, number).unwrap();
            assert!(after == before || before == 2 && after != 2);
        }
    }

    #[test]
    fn the_identifier_is_that_of_the_chosen_members_subscription() {
        let group = group(Strategy::RoundRobin, &[]);
        for key in 0..3 {
            let subscription = Subscription { identifier: Some(key as u32 + 10), ..Default::default() };
            group.join(Entry::new(Client::new(key), subscription));
        }
        for _ in 0..3 {
            let (client, grant) = group.pick(PublisherHash { client: 0, topic: 0 }, |_| true).unwrap();
            assert_eq!(grant.identifiers.as_slice(), [client.key() as u32 + 10]);
        }
    }
}
