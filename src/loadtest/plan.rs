//! Which clients a scenario needs, and what each of them publishes or is to get.

use std::ops::Range;

use super::settings::{Scenario, Settings, Target};

/// One client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientPlan {
    /// Clients of the same lane are on the same thread.
    pub(super) lane: usize,
    pub(super) role: RolePlan,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RolePlan {
    Publisher(Vec<StreamPlan>),
    Subscriber { filters: Vec<String>, book: BookPlan },
    Idle,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamPlan {
    pub(super) id: u32,
    pub(super) topic: String,
    /// How many of our clients get each message.
    pub(super) receivers: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BookPlan {
    /// All messages of these streams.
    Own(Range<u32>),
    /// A share of the messages of these streams, as one of so many consumers.
    Shared { streams: Range<u32>, consumers: usize, member: usize },
    /// Whatever comes; what does not may be another's, if subscribers share.
    Open { is_shared: bool },
}

pub(super) fn plan(scenario: &Scenario, settings: &Settings, run: u32) -> Vec<ClientPlan> {
    let root = &format!("bench/{run:08x}");
    match scenario {
        Scenario::Publish { publishers, topic } => {
            let topic = |number| replaced(topic, &settings.target, run, 'p', number);
            (0..*publishers).map(|number| publisher(number, vec![stream(number, topic(number), 0)])).collect()
        }
        Scenario::Subscribe { subscribers, filters } => {
            let all = |number| filters.iter().map(move |filter| replaced(filter, &settings.target, run, 's', number));
            (0..*subscribers).map(|number| open_subscriber(number, all(number).collect())).collect()
        }
        Scenario::Connect { clients } => (0..*clients).map(|lane| ClientPlan { lane, role: RolePlan::Idle }).collect(),
        Scenario::Pairs { pairs } => self::pairs(*pairs, root),
        Scenario::All { publishers, subscribers } => all(*publishers, *subscribers, root),
        Scenario::Consumers { publishers, consumers, filter, topics, .. } => {
            self::consumers(*publishers, *consumers, filter, *topics, root)
        }
        Scenario::Retained { publishers, subscribers } => {
            retained(*publishers, *subscribers, settings.load.limit.unwrap_or(0), root)
        }
        Scenario::Offline { publishers, sessions, everyone: true } => all(*publishers, *sessions, root),
        Scenario::Offline { publishers, sessions, everyone: false } => offline(*publishers, *sessions, root),
        Scenario::Wildcards { publishers, subscribers, subscriptions } => {
            wildcards(*publishers, *subscribers, *subscriptions, root)
        }
    }
}

/// Of messages that members or consumers share each sees a part, and cannot know what it misses.
fn open_subscriber(lane: usize, filters: Vec<String>) -> ClientPlan {
    let is_shared = filters.iter().any(|filter| filter.starts_with("$share/") || filter.starts_with("$queue/"));
    subscriber(lane, filters, BookPlan::Open { is_shared })
}

/// Bytes of the longest topic or filter that a text becomes for one of so many clients.
pub fn longest_topic(text: &str, target: &Target, clients: usize) -> usize {
    replaced(text, target, 0, 'p', clients.saturating_sub(1)).len()
}

/// `%i` is the client's number, `%c` its identifier, `%u` the user name.
fn replaced(text: &str, target: &Target, run: u32, kind: char, number: usize) -> String {
    let id = client_id(target, run, kind, number);
    let number = (target.first + number).to_string();
    text.replace("%i", &number).replace("%c", &id).replace("%u", target.user.as_deref().unwrap_or(""))
}

/// With a prefix of the user's it is known beforehand, without one it is new in each run.
pub(super) fn client_id(target: &Target, run: u32, kind: char, number: usize) -> String {
    let number = target.first + number;
    match target.prefix.as_str() {
        "" => format!("bench-{run:08x}-{kind}{number}"),
        prefix => format!("{prefix}{kind}{number}"),
    }
}

fn pairs(pairs: usize, root: &str) -> Vec<ClientPlan> {
    let topic = |pair| format!("{root}/{pair}");
    let receivers = (0..pairs).map(|pair| subscriber(pair, vec![topic(pair)], BookPlan::Own(range(pair, 1))));
    let senders = (0..pairs).map(|pair| publisher(pair, vec![stream(pair, topic(pair), 1)]));
    receivers.chain(senders).collect()
}

fn all(publishers: usize, subscribers: usize, root: &str) -> Vec<ClientPlan> {
    // With one publisher an exact filter does, and is what a fan-out usually is.
    let filter = if publishers == 1 { format!("{root}/0") } else { format!("{root}/+") };
    let book = BookPlan::Own(range(0, publishers));
    let receivers = (0..subscribers).map(|number| subscriber(number, vec![filter.clone()], book.clone()));
    let senders = senders(publishers, subscribers, root);
    receivers.chain(senders).collect()
}

/// All consumers are on one thread, where they share a book. Topics are dealt out to the publishers.
fn consumers(publishers: usize, consumers: usize, filter: &str, topics: usize, root: &str) -> Vec<ClientPlan> {
    let filter = filter.replace("{topics}", &format!("{root}/+"));
    let book = |member| BookPlan::Shared { streams: range(0, topics), consumers, member };
    let receivers = (0..consumers).map(|member| subscriber(0, vec![filter.clone()], book(member)));
    let own = |number: usize| (number..topics).step_by(publishers);
    let one = |topic: usize| stream(topic, format!("{root}/{topic}"), 1);
    let senders = (0..publishers).map(|number| publisher(number, own(number).map(one).collect()));
    receivers.chain(senders).collect()
}

fn senders(publishers: usize, receivers: usize, root: &str) -> impl Iterator<Item = ClientPlan> {
    (0..publishers).map(move |number| publisher(number, vec![stream(number, format!("{root}/{number}"), receivers)]))
}

/// Each publisher sends one message to each of its topics.
fn retained(publishers: usize, subscribers: usize, messages: u64, root: &str) -> Vec<ClientPlan> {
    let messages = usize::try_from(messages).unwrap_or(usize::MAX);
    let book = BookPlan::Own(range(0, messages));
    let receivers = (0..subscribers).map(|number| subscriber(number, vec![format!("{root}/#")], book.clone()));
    let topic = |message: usize| format!("{root}/{}/{}", message / 100, message % 100);
    let own = |number: usize| (number..messages).step_by(publishers);
    let senders = (0..publishers)
        .map(|number| publisher(number, own(number).map(|message| stream(message, topic(message), 0)).collect()));
    receivers.chain(senders).collect()
}

/// Each message is for one session; each publisher serves some sessions, or each session some publishers.
fn offline(publishers: usize, sessions: usize, root: &str) -> Vec<ClientPlan> {
    let mut streams = vec![Vec::new(); publishers];
    let mut clients = Vec::new();
    let mut next = 0;
    for session in 0..sessions {
        let first = next;
        for publisher in (session % publishers..publishers).step_by(sessions) {
            streams[publisher].push(stream(next, format!("{root}/{session}/{publisher}"), 1));
            next += 1;
        }
        let book = BookPlan::Own(range(first, next - first));
        clients.push(subscriber(session, vec![format!("{root}/{session}/+")], book));
    }
    clients.extend(streams.into_iter().enumerate().map(|(number, streams)| publisher(number, streams)));
    clients
}

/// Filters have a `+` in the middle and a `#` at the end. Publishers go through their topics in no order, so that no message
/// finds what it needs where the one before it did.
fn wildcards(publishers: usize, subscribers: usize, subscriptions: usize, root: &str) -> Vec<ClientPlan> {
    let filter = |index: usize| format!("{root}/{}/+/{}/#", index / 1000, index % 1000);
    let topic = |index: usize| format!("{root}/{}/x/{}/y", index / 1000, index % 1000);
    let start = |number: usize| subscriptions * number / subscribers;
    let receivers = (0..subscribers).map(|number| {
        let own = start(number)..start(number + 1);
        subscriber(number, own.clone().map(filter).collect(), BookPlan::Own(range(own.start, own.len())))
    });
    let senders = (0..publishers).map(|number| {
        let mut own: Vec<_> = (number..subscriptions).step_by(publishers).collect();
        own.sort_by_key(|index| scattered(*index));
        publisher(number, own.into_iter().map(|index| stream(index, topic(index), 1)).collect())
    });
    receivers.chain(senders).collect()
}

/// A number that looks like chance and is the same in each run.
const fn scattered(index: usize) -> u64 {
    (index as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

const fn publisher(lane: usize, streams: Vec<StreamPlan>) -> ClientPlan {
    ClientPlan { lane, role: RolePlan::Publisher(streams) }
}

const fn subscriber(lane: usize, filters: Vec<String>, book: BookPlan) -> ClientPlan {
    ClientPlan { lane, role: RolePlan::Subscriber { filters, book } }
}

fn stream(id: usize, topic: String, receivers: usize) -> StreamPlan {
    StreamPlan { id: number(id), topic, receivers }
}

fn range(first: usize, count: usize) -> Range<u32> {
    number(first)..number(first + count)
}

fn number(value: usize) -> u32 {
    u32::try_from(value).expect("sizes are checked to be below four milliards")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each stream how many of the books hold it.
    fn held(clients: &[ClientPlan], stream: u32) -> usize {
        let holds = |client: &&ClientPlan| match &client.role {
            RolePlan::Subscriber { book: BookPlan::Own(streams), .. } => streams.contains(&stream),
            RolePlan::Subscriber { book: BookPlan::Shared { streams, member: 0, .. }, .. } => streams.contains(&stream),
            _ => false,
        };
        clients.iter().filter(holds).count()
    }

    fn streams(clients: &[ClientPlan]) -> Vec<StreamPlan> {
        let mut all = Vec::new();
        for client in clients {
            if let RolePlan::Publisher(streams) = &client.role {
                assert!(!streams.is_empty(), "each publisher has something to do");
                all.extend(streams.clone());
            }
        }
        all.sort_by_key(|stream| stream.id);
        all
    }

    #[test]
    fn each_stream_is_there_once_and_held_by_its_receivers() {
        let plans = [
            pairs(3, "r"),
            all(2, 5, "r"),
            all(1, 3, "r"),
            consumers(4, 3, "$share/g/{topics}", 4, "r"),
            consumers(4, 3, "$queue/q/{topics}", 10, "r"),
            offline(3, 10, "r"),
            offline(10, 3, "r"),
            offline(4, 4, "r"),
            wildcards(2, 3, 1000, "r"),
        ];
        for clients in &plans {
            let streams = streams(clients);
            for (index, stream) in streams.iter().enumerate() {
                assert_eq!(stream.id as usize, index);
                assert_eq!(held(clients, stream.id), stream.receivers, "{stream:?}");
            }
        }
    }

    #[test]
    fn retained_messages_are_dealt_out_and_everyone_wants_all() {
        let clients = retained(3, 2, 10, "r");
        let streams = streams(&clients);
        assert_eq!(streams.len(), 10);
        assert!(streams.iter().all(|stream| held(&clients, stream.id) == 2));
    }

    #[test]
    fn a_scenario_has_as_many_clients_as_it_says() {
        let (filter, topics, backlog) = (String::new(), 10, 0);
        for (clients, scenario) in [
            (pairs(3, "r"), Scenario::Pairs { pairs: 3 }),
            (all(2, 5, "r"), Scenario::All { publishers: 2, subscribers: 5 }),
            (retained(3, 2, 10, "r"), Scenario::Retained { publishers: 3, subscribers: 2 }),
            (offline(3, 10, "r"), Scenario::Offline { publishers: 3, sessions: 10, everyone: false }),
            (wildcards(2, 3, 1000, "r"), Scenario::Wildcards { publishers: 2, subscribers: 3, subscriptions: 1000 }),
            (consumers(4, 3, "q", topics, "r"), Scenario::Consumers { publishers: 4, consumers: 3, filter, topics, backlog }),
        ] {
            assert_eq!(scenario.clients(), clients.len(), "{scenario:?}");
        }
    }

    #[test]
    fn who_shares_with_others_cannot_know_what_is_lost() {
        for (filter, shares) in [("a/#", false), ("$share/g/a", true), ("$queue/q", true), ("$SYS/#", false)] {
            let client = open_subscriber(0, vec!["b".into(), filter.into()]);
            let RolePlan::Subscriber { book, .. } = client.role else { panic!("no subscriber") };
            assert_eq!(book, BookPlan::Open { is_shared: shares }, "{filter}");
        }
    }

    #[test]
    fn filters_of_consumers_name_the_topics() {
        let clients = consumers(1, 1, "$queue/q/{topics}", 1, "run");
        let RolePlan::Subscriber { filters, .. } = &clients[0].role else { panic!("no subscriber") };
        assert_eq!(filters, &["$queue/q/run/+"]);
    }
}
