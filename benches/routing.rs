//! What a match costs, from a thousand to a million subscriptions. `cargo bench --bench routing`; with `-- --memory`, what each
//! subscription and each retained topic takes of resident memory instead (Linux).

use std::hint::black_box;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use divan::Bencher;
use dunlin::packet::{TopicFilter, TopicName};
use dunlin::routing::{Availability, Index, MatchCache, Matches, Retainable, RetainedTree, Strategy, Subscriber, Subscription};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

fn main() {
    if std::env::args().any(|argument| argument == "--memory") {
        print_memory();
    } else {
        // Made before the clock runs.
        LazyLock::force(&INDEXES);
        LazyLock::force(&RETAINED);
        divan::main();
    }
}

/// As large as the broker's: an enum around a counted pointer.
#[derive(Clone)]
enum Receiver {
    Session(Arc<u64>),
    #[expect(dead_code, reason = "it makes the enum as large as the broker's")]
    Peer(Arc<u64>),
}

impl Subscriber for Receiver {
    fn key(&self) -> u64 {
        let (Self::Session(key) | Self::Peer(key)) = self;
        **key
    }

    fn availability(&self) -> Availability {
        Availability::Ready
    }
}

fn receiver(key: usize) -> Receiver {
    Receiver::Session(Arc::new(key as u64))
}

/// Every second device has a filter with a wildcard, the others one without.
fn filter(number: usize) -> TopicFilter {
    let last = if number.is_multiple_of(2) { "+" } else { "command" };
    TopicFilter::new(&format!("site{}/device/{number}/{last}", number % 1000)).expect("a valid filter")
}

fn topic(number: usize) -> String {
    format!("site{}/device/{number}/command", number % 1000)
}

fn name(topic: &str) -> TopicName<'_> {
    TopicName::new(topic).expect("a valid topic")
}

fn index_of(size: usize) -> Index<Receiver> {
    let mut index = Index::new(Strategy::RoundRobin);
    (0..size).for_each(|number| _ = index.subscribe(&filter(number), receiver(number), Subscription::default()));
    index
}

/// What is retained: nothing but its topic.
struct Kept(Box<str>);

impl Retainable for Kept {
    fn topic(&self) -> TopicName<'_> {
        name(&self.0)
    }

    fn topic_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn retained_of(size: usize) -> RetainedTree<Kept> {
    let mut tree = RetainedTree::new();
    (0..size).for_each(|number| _ = tree.insert(Kept(topic(number).into())));
    tree
}

static INDEXES: LazyLock<[Index<Receiver>; 3]> = LazyLock::new(|| SIZES.map(index_of));
static RETAINED: LazyLock<[RetainedTree<Kept>; 3]> = LazyLock::new(|| SIZES.map(retained_of));

fn of_size<T>(all: &'static [T; 3], size: usize) -> &'static T {
    &all[SIZES.iter().position(|&known| known == size).expect("one of the sizes")]
}

/// Topics in an order that no cache of the machine foresees.
fn scattered(size: usize) -> impl FnMut() -> String {
    let mut number = 1_usize;
    move || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        topic((number >> 33) % size)
    }
}

/// The same topic again and again, from the index itself.
#[divan::bench(args = SIZES, sample_size = 1000)]
fn match_hot(bencher: Bencher<'_, '_>, size: usize) {
    let (index, topic) = (of_size(&INDEXES, size), topic(8));
    bencher.bench_local(|| index.matches(name(black_box(&topic))));
}

/// Topics all over the index.
#[divan::bench(args = SIZES, sample_size = 1000)]
fn match_cold(bencher: Bencher<'_, '_>, size: usize) {
    let index = of_size(&INDEXES, size);
    bencher.with_inputs(scattered(size)).bench_local_refs(|topic| index.matches(name(topic)));
}

/// A topic that nobody subscribed to.
#[divan::bench(args = SIZES)]
fn match_nothing(bencher: Bencher<'_, '_>, size: usize) {
    let index = of_size(&INDEXES, size);
    bencher.bench_local(|| index.matches(name(black_box("site8/device/none/of/these"))));
}

fn look(cache: &mut MatchCache<Receiver>, index: &Index<Receiver>, topic: TopicName<'_>) -> Rc<Matches<Receiver>> {
    cache.lookup(index.generation(), topic, || (index.generation(), index.matches(topic)))
}

/// The same topic again and again, through the cache.
#[divan::bench(args = SIZES)]
fn cached_hot(bencher: Bencher<'_, '_>, size: usize) {
    let (index, topic, mut cache) = (of_size(&INDEXES, size), topic(8), MatchCache::default());
    let topic = name(&topic);
    (0..2).for_each(|_| drop(look(&mut cache, index, topic)));
    bencher.bench_local(|| look(&mut cache, index, black_box(topic)));
}

/// A thousand topics in turn, through the cache.
#[divan::bench(args = SIZES, sample_size = 1000)]
fn cached_thousand(bencher: Bencher<'_, '_>, size: usize) {
    let (index, mut cache) = (of_size(&INDEXES, size), MatchCache::default());
    let topics: Vec<_> = (0..1000).map(topic).collect();
    topics.iter().chain(&topics).for_each(|topic| drop(look(&mut cache, index, name(topic))));
    let mut turn = topics.iter().cycle();
    bencher.bench_local(|| look(&mut cache, index, name(turn.next().expect("a cycle"))));
}

/// More topics than the cache holds.
#[divan::bench(args = SIZES, sample_size = 1000)]
fn cached_scattered(bencher: Bencher<'_, '_>, size: usize) {
    let (index, mut cache) = (of_size(&INDEXES, size), MatchCache::default());
    bencher.with_inputs(scattered(size)).bench_local_refs(|topic| look(&mut cache, index, name(topic)));
}

/// One message to ten thousand subscribers of one filter, not cached.
#[divan::bench]
fn match_wide(bencher: Bencher<'_, '_>) {
    let mut index = Index::new(Strategy::RoundRobin);
    let filter = TopicFilter::new("alarm/#").expect("a valid filter");
    (0..10_000).for_each(|number| _ = index.subscribe(&filter, receiver(number), Subscription::default()));
    bencher.bench_local(|| index.matches(name(black_box("alarm/fire"))));
}

/// All 2^14 filters of `+` and `a` over fourteen levels, of one client.
#[divan::bench]
fn match_exploding(bencher: Bencher<'_, '_>) {
    let mut index = Index::new(Strategy::RoundRobin);
    let client = receiver(0);
    for bits in 0..1 << 14 {
        let levels: Vec<_> = (0..14).map(|level| if bits >> level & 1 == 0 { "+" } else { "a" }).collect();
        index.subscribe(&TopicFilter::new(&levels.join("/")).expect("valid"), client.clone(), Subscription::default());
    }
    let topic = ["a"; 14].join("/");
    bencher.bench_local(|| index.matches(name(black_box(&topic))));
}

/// A subscription made and taken back, in an index of this size.
#[divan::bench(args = SIZES)]
fn subscribe_and_unsubscribe(bencher: Bencher<'_, '_>, size: usize) {
    let (mut index, receiver, mut number) = (index_of(size), receiver(size), size);
    let inputs = || {
        number += 1;
        filter(number)
    };
    bencher.with_inputs(inputs).bench_local_refs(|filter| {
        index.subscribe(filter, receiver.clone(), Subscription::default());
        index.unsubscribe(filter, receiver.key())
    });
}

/// The value of a retained topic replaced.
#[divan::bench(args = SIZES)]
fn retained_replace(bencher: Bencher<'_, '_>, size: usize) {
    let mut tree = retained_of(size);
    bencher.with_inputs(scattered(size)).bench_local_refs(|topic| tree.insert(Kept(topic.as_str().into())));
}

/// `#` over all retained topics; the time is for all of them.
#[divan::bench(args = SIZES, sample_count = 10)]
fn retained_all(bencher: Bencher<'_, '_>, size: usize) {
    bencher.bench_local(|| visit(of_size(&RETAINED, size), "#"));
}

/// One branch: `site8/device/+/command`, a thousandth of all.
#[divan::bench(args = SIZES)]
fn retained_branch(bencher: Bencher<'_, '_>, size: usize) {
    bencher.bench_local(|| visit(of_size(&RETAINED, size), "site8/device/+/command"));
}

/// One topic of each branch: a thousand seeks.
#[divan::bench(args = SIZES)]
fn retained_across(bencher: Bencher<'_, '_>, size: usize) {
    bencher.bench_local(|| visit(of_size(&RETAINED, size), "+/device/8/command"));
}

fn visit(tree: &RetainedTree<Kept>, filter: &str) -> usize {
    let mut count = 0;
    tree.visit(&TopicFilter::new(filter).expect("a valid filter"), |_, _| {
        count += 1;
        ControlFlow::Continue(())
    });
    count
}

const COUNT: usize = 1_000_000;

/// What is made a million times for [`print_memory`], and its name.
const SHAPES: [(&str, fn()); 5] = [
    ("device/N/# (level names and all)", || hold(subscribe(|n| format!("device/{n}/#")))),
    ("siteN%1000/device/N/+", || hold(subscribe(|n| format!("site{}/device/{n}/+", n % 1000)))),
    ("siteN%1000/N/1000/+/state", || hold(subscribe(|n| format!("site{}/{}/+/state", n % 1000, n / 1000)))),
    ("siteN%1000/device/N/command (the filter included)", || hold(subscribe(topic))),
    ("retained siteN%1000/device/N/command (the topic included)", || hold(retained_of(COUNT))),
];

/// Prints what each shape takes; each is made in a process of its own, since freed memory would be used again.
fn print_memory() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--memory").skip(1);
    if let Some((name, make)) = arguments.next().and_then(|number| SHAPES.get(number.parse::<usize>().ok()?)) {
        let before = resident();
        make();
        return println!("{name:<52} {:>4} B each", (resident() - before) / COUNT);
    }
    let program = std::env::current_exe().expect("this program");
    for number in 0..SHAPES.len() {
        let child = std::process::Command::new(&program).args(["--memory", &number.to_string()]).status();
        assert!(child.expect("this program starts again").success());
    }
}

fn subscribe(filter: impl Fn(usize) -> String) -> Index<Receiver> {
    let (mut index, one) = (Index::new(Strategy::RoundRobin), receiver(0));
    for number in 0..COUNT {
        let filter = TopicFilter::new(&filter(number)).expect("a valid filter");
        index.subscribe(&filter, one.clone(), Subscription::default());
    }
    index
}

/// Keeps a value until the process ends.
fn hold<T>(value: T) {
    std::mem::forget(value);
}

/// Resident memory of this process in bytes, with pages of 4 KiB.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}
