//! The scenarios, and what they do if nothing is said.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::load_args::{CommonArgs, Defaults, LoadArgs};
use crate::loadtest::{Scenario, Settings, Target, longest_topic};

#[derive(Debug, Subcommand)]
pub(super) enum ScenarioCommand {
    /// Publishers alone.
    Pub(PubArgs),
    /// Subscribers alone, for publishers of another process; until Ctrl-C unless --duration or --limit says otherwise.
    Sub(SubArgs),
    /// Connections: how fast they come, what they cost when they do nothing.
    Conn(ConnArgs),
    /// Pairs of a publisher and a subscriber.
    P2p(PairArgs),
    /// Many publishers, few subscribers, who get everything.
    Fanin(AllArgs),
    /// Few publishers, many subscribers, who get everything.
    Fanout(FanoutArgs),
    /// A shared subscription: each message goes to one of its members.
    Shared(SharedArgs),
    /// A work queue: each message goes to one of its consumers. The broker must have the queue, or let us
    /// make it (dunlin: `[work_queues] auto_create`).
    Queue(QueueArgs),
    /// Retained messages: storing them, and the replay to subscribers who come; cleared at the end.
    Retained(RetainedArgs),
    /// Sessions subscribe and go away, messages are queued for them, they come back.
    Offline(OfflineArgs),
    /// Many wildcard subscriptions, of which each message matches one.
    Wildcards(WildcardArgs),
}

/// Fields that nearly all have.
#[derive(Debug, Args)]
pub(super) struct Basis {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    load: LoadArgs,
    /// Subscribers' sessions outlive their connections; they are ended when all is done.
    #[arg(long, help_heading = "Run")]
    persistent: bool,
}

#[derive(Debug, Args)]
pub(super) struct PubArgs {
    #[command(flatten)]
    basis: Basis,
    /// Publishers.
    #[arg(short, long, default_value_t = 10)]
    count: usize,
    /// Topic; %i is the client's number, %c its identifier, %u the user name.
    #[arg(short, long, default_value = "bench/%i")]
    topic: String,
}

#[derive(Debug, Args)]
pub(super) struct SubArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Subscribers.
    #[arg(short, long, default_value_t = 1)]
    count: usize,
    /// Filter; %i is the client's number, %c its identifier, %u the user name. Can be given several times.
    #[arg(short, long, default_value = "bench/+")]
    topic: Vec<String>,
    /// Messages of all subscribers together.
    #[arg(short = 'L', long, value_name = "MESSAGES")]
    limit: Option<u64>,
    /// Sessions outlive their connections.
    #[arg(long, help_heading = "Run")]
    persistent: bool,
}

#[derive(Debug, Args)]
pub(super) struct ConnArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Connections.
    #[arg(short, long, default_value_t = 1000)]
    count: usize,
}

#[derive(Debug, Args)]
pub(super) struct PairArgs {
    #[command(flatten)]
    basis: Basis,
    /// Pairs.
    #[arg(short, long, default_value_t = 10)]
    count: usize,
}

#[derive(Debug, Args)]
pub(super) struct AllArgs {
    #[command(flatten)]
    basis: Basis,
    /// Publishers.
    #[arg(short, long, visible_alias = "publishers", default_value_t = 50)]
    count: usize,
    /// Subscribers.
    #[arg(long, default_value_t = 1)]
    subscribers: usize,
}

#[derive(Debug, Args)]
pub(super) struct FanoutArgs {
    #[command(flatten)]
    basis: Basis,
    /// Subscribers.
    #[arg(short, long, visible_alias = "subscribers", default_value_t = 200)]
    count: usize,
    /// Publishers.
    #[arg(long, default_value_t = 1)]
    publishers: usize,
}

#[derive(Debug, Args)]
pub(super) struct SharedArgs {
    #[command(flatten)]
    basis: Basis,
    /// Publishers.
    #[arg(short, long, visible_alias = "publishers", default_value_t = 10)]
    count: usize,
    /// Members of the shared subscription.
    #[arg(long, visible_alias = "subscribers", default_value_t = 4)]
    members: usize,
    /// Its name.
    #[arg(long, default_value = "bench")]
    group: String,
}

#[derive(Debug, Args)]
pub(super) struct QueueArgs {
    #[command(flatten)]
    basis: Basis,
    /// Publishers.
    #[arg(short, long, visible_alias = "publishers", default_value_t = 10)]
    count: usize,
    /// Consumers of the queue.
    #[arg(long, default_value_t = 4)]
    consumers: usize,
    /// Its name [default: bench and a number that is new in each run].
    #[arg(long)]
    name: Option<String>,
    /// How consumers subscribe: {name} is the queue's name, {topics} the filter of what is published.
    #[arg(long, default_value = "$queue/{name}/{topics}")]
    filter: String,
    /// Topics of all publishers together, which are the keys of a queue with key = "topic" [default: one for each publisher]
    #[arg(long, value_name = "TOPICS")]
    keys: Option<usize>,
    /// Messages that wait in the queue all the time: they are published before the consumers come.
    #[arg(long, value_name = "MESSAGES", default_value_t = 0)]
    backlog: u64,
}

#[derive(Debug, Args)]
pub(super) struct RetainedArgs {
    #[command(flatten)]
    basis: Basis,
    /// Publishers.
    #[arg(short, long, visible_alias = "publishers", default_value_t = 10)]
    count: usize,
    /// Subscribers to whom all is replayed.
    #[arg(long, default_value_t = 10)]
    subscribers: usize,
}

#[derive(Debug, Args)]
pub(super) struct OfflineArgs {
    #[command(flatten)]
    basis: Basis,
    /// Publishers.
    #[arg(short, long, visible_alias = "publishers", default_value_t = 10)]
    count: usize,
    /// Sessions that go away.
    #[arg(long, visible_alias = "subscribers", default_value_t = 100)]
    sessions: usize,
    /// Each message is for all sessions, instead of for one.
    #[arg(long)]
    everyone: bool,
}

#[derive(Debug, Args)]
pub(super) struct WildcardArgs {
    #[command(flatten)]
    basis: Basis,
    /// Subscribers.
    #[arg(short, long, visible_alias = "subscribers", default_value_t = 100)]
    count: usize,
    /// Subscriptions of all of them together.
    #[arg(long, default_value_t = 100_000)]
    subscriptions: usize,
    /// Publishers.
    #[arg(long, default_value_t = 10)]
    publishers: usize,
}

/// What is to be run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) scenario: Scenario,
    pub(super) settings: Settings,
    pub(super) json: Option<PathBuf>,
    pub(super) is_quiet: bool,
}

/// Topics of one run, each of which is a stream whose messages are counted for themselves.
const TOPICS_MAX: u64 = 100_000_000;

const TEN_SECONDS: Defaults = Defaults { limit: None, duration: Some(Duration::from_secs(10)), qos_min: 0, persistent: false };

impl ScenarioCommand {
    pub(super) fn plan(&self) -> Result<Plan, String> {
        match self {
            Self::Pub(args) => args.plan(),
            Self::Sub(args) => args.plan(),
            Self::Conn(args) => args.plan(),
            Self::P2p(args) => args.plan(),
            Self::Fanin(args) => args.plan(),
            Self::Fanout(args) => args.plan(),
            Self::Shared(args) => args.plan(),
            Self::Queue(args) => args.plan(),
            Self::Retained(args) => args.plan(),
            Self::Offline(args) => args.plan(),
            Self::Wildcards(args) => args.plan(),
        }
    }
}

impl Basis {
    fn plan(&self, name: &'static str, scenario: Scenario, defaults: Defaults) -> Result<Plan, String> {
        let settings = self.load.settings(&self.common, self.persistent, defaults)?;
        Ok(self.common.plan(name, scenario, settings))
    }

    /// The same for one whose sessions end with their connections.
    fn plan_without_sessions(&self, name: &'static str, scenario: Scenario, defaults: Defaults) -> Result<Plan, String> {
        if self.persistent {
            return Err(format!("--persistent: {name} has no sessions that outlive their connections"));
        }
        self.plan(name, scenario, defaults)
    }
}

impl CommonArgs {
    fn plan(&self, name: &'static str, scenario: Scenario, settings: Settings) -> Plan {
        Plan { name, scenario, settings, json: self.json.clone(), is_quiet: self.quiet }
    }
}

impl PubArgs {
    fn plan(&self) -> Result<Plan, String> {
        let scenario = Scenario::Publish { publishers: some("--count", self.count)?, topic: self.topic.clone() };
        let plan = self.basis.plan_without_sessions("pub", scenario, TEN_SECONDS)?;
        check_topic(&self.topic, &plan.settings.target, self.count)?;
        Ok(plan)
    }
}

impl SubArgs {
    fn plan(&self) -> Result<Plan, String> {
        let scenario = Scenario::Subscribe { subscribers: some("--count", self.count)?, filters: self.topic.clone() };
        let settings = self.common.settings(self.limit, self.persistent)?;
        self.topic.iter().try_for_each(|topic| check_topic(topic, &settings.target, self.count))?;
        Ok(self.common.plan("sub", scenario, settings))
    }
}

impl ConnArgs {
    fn plan(&self) -> Result<Plan, String> {
        let settings = self.common.settings(None, false)?;
        Ok(self.common.plan("conn", Scenario::Connect { clients: some("--count", self.count)? }, settings))
    }
}

impl PairArgs {
    fn plan(&self) -> Result<Plan, String> {
        self.basis.plan("p2p", Scenario::Pairs { pairs: some("--count", self.count)? }, TEN_SECONDS)
    }
}

impl AllArgs {
    fn plan(&self) -> Result<Plan, String> {
        let (publishers, subscribers) = (some("--count", self.count)?, some("--subscribers", self.subscribers)?);
        self.basis.plan("fanin", Scenario::All { publishers, subscribers }, TEN_SECONDS)
    }
}

impl FanoutArgs {
    fn plan(&self) -> Result<Plan, String> {
        let (publishers, subscribers) = (some("--publishers", self.publishers)?, some("--count", self.count)?);
        self.basis.plan("fanout", Scenario::All { publishers, subscribers }, TEN_SECONDS)
    }
}

impl SharedArgs {
    fn plan(&self) -> Result<Plan, String> {
        let (publishers, consumers) = (some("--count", self.count)?, some("--members", self.members)?);
        let filter = format!("$share/{}/{{topics}}", self.group);
        self.basis.plan(
            "shared",
            Scenario::Consumers { publishers, consumers, filter, topics: publishers, backlog: 0 },
            TEN_SECONDS,
        )
    }
}

impl QueueArgs {
    fn plan(&self) -> Result<Plan, String> {
        let (publishers, consumers) = (some("--count", self.count)?, some("--consumers", self.consumers)?);
        let name = self.name.clone().unwrap_or_else(|| format!("bench-{:08x}", rand::random::<u32>()));
        let filter = self.filter.replace("{name}", &name);
        let defaults = Defaults { qos_min: 1, ..TEN_SECONDS };
        let topics = some("--keys", self.keys.unwrap_or(publishers))?;
        if topics < publishers {
            return Err("--keys: each publisher needs one".into());
        }
        let backlog = self.backlog;
        self.basis.plan("queue", Scenario::Consumers { publishers, consumers, filter, topics, backlog }, defaults)
    }
}

impl RetainedArgs {
    fn plan(&self) -> Result<Plan, String> {
        let (publishers, subscribers) = (some("--count", self.count)?, some("--subscribers", self.subscribers)?);
        let defaults = Defaults { limit: Some(10_000), qos_min: 1, ..Defaults::default() };
        let mut plan =
            self.basis.plan_without_sessions("retained", Scenario::Retained { publishers, subscribers }, defaults)?;
        let load = &mut plan.settings.load;
        (load.retain, load.duration, load.warmup) = (true, None, Duration::ZERO);
        load.limit = load.limit.or(defaults.limit);
        if load.limit.is_some_and(|limit| limit < publishers as u64) {
            return Err("--limit: each publisher needs a message".into());
        }
        check_topics("--limit", load.limit.unwrap_or(0))?;
        Ok(plan)
    }
}

impl OfflineArgs {
    fn plan(&self) -> Result<Plan, String> {
        let (publishers, sessions) = (some("--count", self.count)?, some("--sessions", self.sessions)?);
        let defaults = Defaults { limit: Some(100_000), qos_min: 1, persistent: true, ..Defaults::default() };
        self.basis.plan("offline", Scenario::Offline { publishers, sessions, everyone: self.everyone }, defaults)
    }
}

impl WildcardArgs {
    fn plan(&self) -> Result<Plan, String> {
        let (publishers, subscribers) = (some("--publishers", self.publishers)?, some("--count", self.count)?);
        let subscriptions = self.subscriptions;
        check_topics("--subscriptions", subscriptions as u64)?;
        if subscriptions < publishers.max(subscribers) {
            return Err("--subscriptions: each client needs one".into());
        }
        let scenario = Scenario::Wildcards { publishers, subscribers, subscriptions };
        self.basis.plan_without_sessions("wildcards", scenario, TEN_SECONDS)
    }
}

/// A number of clients: at least one, and no more than there could be ports for.
fn some(flag: &str, count: usize) -> Result<usize, String> {
    if (1..=10_000_000).contains(&count) { Ok(count) } else { Err(format!("{flag} {count}: from 1 to 10,000,000")) }
}

fn check_topics(flag: &str, count: u64) -> Result<(), String> {
    if count <= TOPICS_MAX { Ok(()) } else { Err(format!("{flag} {count}: at most 100,000,000")) }
}

/// A topic or filter has two bytes for its length, whatever stands for %i, %c and %u.
fn check_topic(topic: &str, target: &Target, clients: usize) -> Result<(), String> {
    let length = longest_topic(topic, target, clients);
    if length <= usize::from(u16::MAX) { Ok(()) } else { Err(format!("--topic: {length} bytes are too long for MQTT")) }
}
