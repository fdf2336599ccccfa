use super::test_subscriber::Client;
use super::*;
use crate::packet::{QoS, SubscriptionOptions, TopicFilter, TopicName};

pub(super) fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

pub(super) fn topic(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

pub(super) fn index() -> Index<Client> {
    Index::new(Strategy::RoundRobin)
}

fn at_qos(qos: QoS) -> Subscription {
    Subscription { options: SubscriptionOptions { qos, ..Default::default() }, identifier: None }
}

pub(super) fn with_identifier(identifier: u32) -> Subscription {
    Subscription { identifier: Some(identifier), ..Default::default() }
}

fn no_local(qos: QoS, identifier: u32) -> Subscription {
    Subscription { options: SubscriptionOptions { qos, no_local: true, ..Default::default() }, identifier: Some(identifier) }
}

/// The keys of the recipients of a topic.
fn recipients(index: &Index<Client>, name: &str) -> Vec<u64> {
    let mut keys: Vec<_> = index.matches(topic(name)).recipients.iter().map(|recipient| recipient.subscriber.key()).collect();
    keys.sort_unstable();
    keys
}

/// Somebody with a mount point.
#[derive(Clone)]
struct Tenant(u64, &'static str);

impl Subscriber for Tenant {
    fn key(&self) -> u64 {
        self.0
    }

    fn availability(&self) -> Availability {
        Availability::Ready
    }

    fn root(&self) -> Option<&str> {
        Some(self.1)
    }
}

#[test]
fn wildcards_behind_a_mount_point_reach_what_they_would_reach_without_it() {
    let topics = ["t", "t/", "t/a", "t//", "t//a", "t/$x", "t/$x/a", "t$x", "tt", "$x", "t/a/$x"];
    let rests = ["#", "+", "+/a", "+/#", "/#", "/+", "a", "a/+", "a/#", "$x/#", "$x/+", "$x"];
    for root in ["t/", "t"] {
        for rest in rests {
            let Ok(whole) = TopicFilter::new(&format!("{root}{rest}")) else { continue };
            let (mut mounted, mut plain) = (Index::new(Strategy::RoundRobin), index());
            mounted.subscribe(&whole, Tenant(1, root), Subscription::default());
            plain.subscribe(&filter(rest), Client::new(1), Subscription::default());
            let shared = filter(&format!("$share/g/{whole}"));
            mounted.subscribe(&shared, Tenant(1, root), Subscription::default());
            for name in topics {
                let own = name.strip_prefix(root).filter(|own| !own.is_empty());
                let wanted = own.is_some_and(|own| !recipients(&plain, own).is_empty());
                let matches = mounted.matches(topic(name));
                assert_eq!(!matches.recipients.is_empty(), wanted, "{whole} and {name}");
                let is_shared = !matches.groups.is_empty() && reaches(Some(root), &whole, topic(name));
                assert_eq!(is_shared, wanted, "{shared} and {name}");
            }
        }
    }
}

/// An index in which each filter is subscribed by the client with its number.
fn index_of(filters: &[&str]) -> Index<Client> {
    let mut index = index();
    for (key, text) in (0..).zip(filters) {
        assert!(index.subscribe(&filter(text), Client::new(key), Subscription::default()));
    }
    index
}

#[test]
fn wildcards_match_as_chapter_4_7_says() {
    let index = index_of(&["sport/#", "#", "+/tennis", "+", "/+", "sport/tennis", "sport/+/#", "+/+/+"]);
    assert_eq!(recipients(&index, "sport"), [0, 1, 3]);
    assert_eq!(recipients(&index, "sport/tennis"), [0, 1, 2, 5, 6]);
    assert_eq!(recipients(&index, "/tennis"), [1, 2, 4]);
    assert_eq!(recipients(&index, "sport//"), [0, 1, 6, 7]);
    assert_eq!(recipients(&index, "sport/tennis/é/x"), [0, 1, 6]);
}

#[test]
fn wildcards_at_the_first_level_do_not_reach_dollar_topics() {
    let index = index_of(&["#", "+/broker", "+/#", "$SYS/#", "$SYS/+", "$SYS/broker", "+"]);
    assert_eq!(recipients(&index, "$SYS/broker"), [3, 4, 5]);
    assert_eq!(recipients(&index, "$SYS"), [3]);
}

#[test]
fn subscribing_again_replaces() {
    let mut index = index();
    let client = Client::new(1);
    for text in ["a/b", "a/+", "$share/g/a/+"] {
        assert!(index.subscribe(&filter(text), client.clone(), at_qos(QoS::AtMostOnce)));
        assert!(!index.subscribe(&filter(text), client.clone(), at_qos(QoS::ExactlyOnce)));
    }
    assert_eq!((index.len(), index.shared_len()), (3, 1));
    let matches = index.matches(topic("a/b"));
    assert_eq!(matches.recipients[0].grant.qos, QoS::ExactlyOnce);
    let (_, grant) = matches.groups[0].pick(PublisherHash { client: 0, topic: 0 }, |_| true).unwrap();
    assert_eq!(grant.qos, QoS::ExactlyOnce);
}

#[test]
fn overlapping_subscriptions_are_one_recipient_with_the_highest_qos_and_all_identifiers() {
    let mut index = index();
    let client = Client::new(1);
    let with = |qos, identifier| Subscription { identifier, ..at_qos(qos) };
    index.subscribe(&filter("a/b"), client.clone(), with(QoS::AtMostOnce, Some(7)));
    index.subscribe(&filter("a/+"), client.clone(), with(QoS::ExactlyOnce, None));
    index.subscribe(&filter("a/#"), client.clone(), with(QoS::AtLeastOnce, Some(9)));
    index.subscribe(&filter("#"), client, with(QoS::AtMostOnce, Some(7)));
    let [recipient] = &*index.matches(topic("a/b")).recipients else { panic!("one recipient") };
    let mut identifiers = recipient.grant.identifiers.to_vec();
    identifiers.sort_unstable();
    assert_eq!((recipient.grant.qos, identifiers), (QoS::ExactlyOnce, vec![7, 7, 9]));
}

#[test]
fn retain_as_published_holds_if_one_overlapping_subscription_asks_for_it() {
    let mut index = index();
    let client = Client::new(1);
    let asking = SubscriptionOptions { retain_as_published: true, ..Default::default() };
    index.subscribe(&filter("a/b"), client.clone(), Subscription::default());
    index.subscribe(&filter("a/+"), client, Subscription { options: asking, identifier: None });
    assert!(index.matches(topic("a/b")).recipients[0].grant.retain_as_published);
}

#[test]
fn no_local_subscriptions_fall_away_for_the_publisher_itself_only() {
    let mut index = index();
    let (all, some, none) = (Client::new(1), Client::new(2), Client::new(3));
    index.subscribe(&filter("a"), all.clone(), no_local(QoS::ExactlyOnce, 1));
    index.subscribe(&filter("#"), all, no_local(QoS::AtLeastOnce, 2));
    index.subscribe(&filter("a"), some.clone(), no_local(QoS::ExactlyOnce, 1));
    index.subscribe(&filter("+"), some.clone(), with_identifier(2));
    index.subscribe(&filter("#"), some, with_identifier(3));
    index.subscribe(&filter("a"), none, with_identifier(1));
    let matches = index.matches(topic("a"));
    let by_key = |key| matches.recipients.iter().find(|recipient| recipient.subscriber.key() == key).unwrap();
    let identifiers = |recipient: &Recipient<Client>, publisher| {
        recipient.grant_for(publisher).map(|grant| grant.identifiers.iter().sum::<u32>())
    };
    assert_eq!([Some(1), Some(2), None].map(|publisher| identifiers(by_key(1), publisher)), [None, Some(3), Some(3)]);
    assert_eq!([Some(2), Some(1), None].map(|publisher| identifiers(by_key(2), publisher)), [Some(5), Some(6), Some(6)]);
    assert_eq!(by_key(2).grant_for(Some(2)).unwrap().qos, QoS::AtMostOnce);
    assert_eq!(by_key(3).grant_for(Some(3)), Some(&by_key(3).grant));
}

#[test]
fn many_overlapping_recipients_are_merged_too() {
    let mut index = index();
    for key in 0..100 {
        let client = Client::new(key);
        index.subscribe(&filter("a/b"), client.clone(), with_identifier(1));
        index.subscribe(&filter("a/+"), client, with_identifier(2));
    }
    let matches = index.matches(topic("a/b"));
    assert_eq!(matches.recipients.len(), 100);
    assert!(matches.recipients.iter().all(|recipient| recipient.grant.identifiers.len() == 2));
}

#[test]
fn a_group_is_one_share_name_and_one_filter() {
    let mut index = index();
    for (key, text) in (0..).zip(["$share/g/a", "$share/g/a", "$share/h/a", "$share/g/+", "a"]) {
        index.subscribe(&filter(text), Client::new(key), Subscription::default());
    }
    let matches = index.matches(topic("a"));
    let mut groups: Vec<_> =
        matches.groups.iter().map(|group| (group.share_name(), group.filter().as_str(), group.len())).collect();
    groups.sort_unstable();
    assert_eq!(groups, [("g", "+", 1), ("g", "a", 2), ("h", "a", 1)]);
    assert_eq!(recipients(&index, "a"), [4]);
    assert_eq!((index.len(), index.shared_len()), (5, 4));
}

#[test]
fn members_that_come_and_go_are_seen_through_old_matches() {
    let mut index = index();
    let nobody = PublisherHash { client: 0, topic: 0 };
    let shared = filter("$share/g/a/+");
    index.subscribe(&shared, Client::new(1), Subscription::default());
    let matches = index.matches(topic("a/b"));
    let generation = index.generation();
    index.subscribe(&shared, Client::new(2), Subscription::default());
    assert!(index.unsubscribe(&shared, 1));
    assert_eq!(index.generation(), generation);
    assert_eq!(matches.groups[0].pick(nobody, |_| true).unwrap().0.key(), 2);
    assert!(index.unsubscribe(&shared, 2));
    assert!(matches.groups[0].pick(nobody, |_| true).is_none());
    assert!(index.generation() > generation && index.matches(topic("a/b")).is_empty());
}

#[test]
fn groups_of_one_filter_leave_in_any_order() {
    let mut index = index();
    let name = |n: u64| filter(&format!("$share/g{n}/a"));
    (0..50).for_each(|n| assert!(index.subscribe(&name(n), Client::new(n), Subscription::default())));
    for n in (0..50).step_by(3).chain((0..50).filter(|n| n % 3 != 0)) {
        assert!(index.unsubscribe(&name(n), n));
        let left = index.matches(topic("a")).groups;
        assert!(left.iter().all(|group| group.len() == 1) && left.len() == index.shared_len());
    }
    assert_eq!(index.occupancy(), [0; 7]);
}

#[test]
fn unknown_and_broken_filters_change_nothing() {
    let mut index = index_of(&["a/b", "a/+"]);
    let generation = index.generation();
    for text in ["a", "a/b/c", "+", "a/+/+", "a/#", "x/#", "$share/g/a", "$share/g", "$share"] {
        assert!(!index.unsubscribe(&filter(text), 0), "{text}");
    }
    assert!(!index.unsubscribe(&filter("a/+"), 0));
    assert!(!index.subscribe(&filter("$share/g"), Client::new(3), Subscription::default()));
    assert_eq!((index.len(), index.generation()), (2, generation + 1)); // one look at a list that is there
}

#[test]
fn everything_is_freed_when_all_unsubscribe() {
    let texts =
        ["a", "a/b", "a/+", "a/#", "#", "+/+/c/d/e/#", "+/+/c/d", "//", "/+/", "$share/g/x/+/y", "$share/g/x", "$share/h/x"];
    let mut index = index();
    let clients: Vec<_> = (0..40).map(Client::new).collect();
    for client in &clients {
        texts.iter().for_each(|text| assert!(index.subscribe(&filter(text), client.clone(), Subscription::default())));
    }
    for client in &clients {
        texts.iter().for_each(|text| assert!(index.unsubscribe(&filter(text), client.key())));
        assert_eq!(client.clones(), 1);
    }
    assert_eq!((index.occupancy(), index.len(), index.shared_len()), ([0; 7], 0, 0));
}

#[test]
fn a_filter_with_very_many_subscribers_takes_no_walk_for_each() {
    // A walk for each would be 10^10 comparisons: this test would not end in time.
    let mut index = index();
    let count = 100_000;
    for text in ["a/+", "a/b", "$share/g/a"].map(filter) {
        (0..count).for_each(|key| assert!(index.subscribe(&text, Client::new(key), Subscription::default())));
        (0..count).for_each(|key| assert!(index.unsubscribe(&text, key)));
    }
    assert_eq!(index.occupancy(), [0; 7]);
}

#[test]
fn filters_built_to_explode_cost_no_more_than_their_nodes() {
    // All 2^12 filters of + and a over twelve levels match one topic; each node is visited once, each filter found once.
    let mut index = index();
    let client = Client::new(1);
    for bits in 0..1 << 12 {
        let levels: Vec<_> = (0..12).map(|level| if bits >> level & 1 == 0 { "+" } else { "a" }).collect();
        index.subscribe(&filter(&levels.join("/")), client.clone(), with_identifier(bits + 1));
    }
    let [recipient] = &*index.matches(topic("a/a/a/a/a/a/a/a/a/a/a/a")).recipients else { panic!("one recipient") };
    assert_eq!(recipient.grant.identifiers.len(), 1 << 12);
    // A chain as long as the filter has levels, beside all of the others.
    let deep = format!("{}/#", vec!["+"; 128].join("/"));
    index.subscribe(&filter(&deep), Client::new(2), Subscription::default());
    assert_eq!(recipients(&index, &vec!["a"; 128].join("/")), [2]);
}

#[test]
fn the_deepest_filter_and_topic_are_walked_without_recursion() {
    let mut index = index();
    let slashes = "/".repeat(0xFFFF - 1);
    let deep = filter(&format!("{slashes}#"));
    index.subscribe(&deep, Client::new(1), Subscription::default());
    assert_eq!(recipients(&index, &slashes), [1]);
    assert!(index.unsubscribe(&deep, 1));
    assert_eq!(index.occupancy(), [0; 7]);
}
