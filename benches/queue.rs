//! What a work queue costs: a message in, leased, settled, at depths from one to a million and with one to 100,000 keys.
//! `cargo bench --bench queue`; with `-- --memory`, what each waiting message takes of resident memory instead (Linux).

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use dunlin::queue::{
    AckMode, Config, ConsumerId, DelayedBounds, DelayedMessages, Enqueue, Join, Owner, Part, QueueName, Secret, Showing,
    UnixMillis, WorkQueue,
};
use dunlin::units::{ByteSize, Span};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As large as a message's identifier and its place in the journal.
type Body = [u64; 2];

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const DEPTHS: [usize; 4] = [1, 1_000, 100_000, 1_000_000];
/// What is timed at once: a single turn is too short for the clock.
const BATCH: usize = 1_000;
const KEYS: [usize; 4] = [0, 1, 1_000, 100_000];
/// Messages that a checkpoint shows at once.
const PIECE: u32 = 1_024;

fn main() {
    if std::env::args().any(|argument| argument == "--memory") {
        print_memory();
    } else {
        divan::main();
    }
}

fn config() -> Config {
    Config {
        max_messages: 1 << 31,
        max_bytes: ByteSize(u64::MAX),
        dedup_window: Span::default(),
        ..Config::named(QueueName::new("bench").expect("a valid name"))
    }
}

fn queue() -> WorkQueue<Body> {
    let config = config();
    WorkQueue::new(config.name.clone().expect("it has one"), config, Secret::new([7; 16]), 7, NOW)
}

fn message(number: usize, key: Option<&str>) -> Enqueue<'_, Body> {
    let body = [number as u64; 2];
    Enqueue { body, size: 256, key, dedup_id: None, delay: Duration::ZERO, expires_at: None }
}

fn enqueue(queue: &mut WorkQueue<Body>, number: usize, keys: &[String]) {
    let key = if keys.is_empty() { None } else { Some(keys[number % keys.len()].as_str()) };
    queue.with(Part::Main, |queue| queue.enqueue(message(number, key), NOW)).expect("there is room");
}

fn drain_changes(queue: &mut WorkQueue<Body>) {
    while let Some(change) = queue.poll_change() {
        black_box(change);
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("customer-{number}")).collect()
}

fn filled(depth: usize, keys: &[String]) -> WorkQueue<Body> {
    let mut queue = queue();
    for number in 0..depth {
        enqueue(&mut queue, number, keys);
        drain_changes(&mut queue);
    }
    queue
}

fn join(queue: &mut WorkQueue<Body>, client: &str) -> ConsumerId {
    let (ack, client) = (AckMode::Puback, client.into());
    let join = Join {
        client,
        ack,
        is_at_most_once: false,
        prefetch: 16,
        receive_maximum: 16,
        unacknowledged: 0,
        resumes: None,
        is_online: true,
    };
    queue.with(Part::Main, |queue| queue.join(join))
}

/// One message in, one leased, one settled; eight consumers.
fn turn(queue: &mut WorkQueue<Body>, number: usize, keys: &[String]) {
    enqueue(queue, number, keys);
    let delivery = queue.with(Part::Main, |queue| queue.poll_delivery(NOW, |_| true)).expect("somebody has room");
    queue.with(Part::Main, |queue| queue.acknowledged(delivery.consumer, delivery.lease, 0, NOW));
    drain_changes(queue);
}

fn bench_turn(bencher: Bencher<'_, '_>, depth: usize, keys: usize) {
    let keys = names(keys);
    let mut queue = filled(depth, &keys);
    (0..8).for_each(|number| _ = join(&mut queue, &format!("worker-{number}")));
    let state = RefCell::new((queue, depth));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let (queue, number) = &mut *state.borrow_mut();
        for _ in 0..BATCH {
            *number += 1;
            turn(queue, *number, &keys);
        }
    });
}

#[divan::bench(args = DEPTHS)]
fn enqueue_lease_settle_at_depth(bencher: Bencher<'_, '_>, depth: usize) {
    bench_turn(bencher, depth, 0);
}

#[divan::bench(args = KEYS)]
fn enqueue_lease_settle_with_keys(bencher: Bencher<'_, '_>, keys: usize) {
    bench_turn(bencher, 200_000, keys);
}

#[divan::bench(args = DEPTHS)]
fn enqueue_alone(bencher: Bencher<'_, '_>, depth: usize) {
    let state = RefCell::new((filled(depth, &[]), depth));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let (queue, number) = &mut *state.borrow_mut();
        for _ in 0..BATCH {
            *number += 1;
            enqueue(queue, *number, &[]);
            drain_changes(queue);
        }
    });
}

#[divan::bench(args = DEPTHS)]
fn fail_and_come_again(bencher: Bencher<'_, '_>, depth: usize) {
    let mut queue = filled(depth, &[]);
    queue.set_config(Config { max_deliveries: 0, ..config() });
    // Alone: where there are others, one that fails everything rests.
    join(&mut queue, "worker");
    let state = RefCell::new((queue, NOW));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let (queue, now) = &mut *state.borrow_mut();
        for _ in 0..BATCH {
            *now = now.plus(Duration::from_millis(10));
            queue.handle_timeout(*now);
            if let Some(delivery) = queue.with(Part::Main, |queue| queue.poll_delivery(*now, |_| true)) {
                queue.with(Part::Main, |queue| queue.acknowledged(delivery.consumer, delivery.lease, 0x80, *now));
            }
            drain_changes(queue);
        }
    });
}

/// What a checkpoint holds a queue's lock for: one piece of it, as records.
#[divan::bench(args = DEPTHS)]
fn show_a_piece(bencher: Bencher<'_, '_>, depth: usize) {
    let mut queue = filled(depth, &[]);
    let (mut showing, mut bytes) = (Showing::new(), Vec::new());
    bencher.counter(ItemsCount::new(PIECE)).bench_local(|| {
        bytes.clear();
        let has_more = queue.show(&mut showing, PIECE, |_, change| {
            change.map_body(|_| ()).write(&mut bytes);
            true
        });
        if !has_more {
            showing = Showing::new();
        }
    });
}

/// A delayed message in, another one out, with so many between them.
#[divan::bench(args = DEPTHS)]
fn delayed_in_and_out(bencher: Bencher<'_, '_>, depth: usize) {
    let mut delayed = DelayedMessages::<_, Owner>::new(bounds(), NOW);
    let at = |number: usize| UnixMillis(NOW.0 + 10 * number as u64);
    (0..depth).for_each(|number| _ = delayed.schedule([0_u64; 2], 256, at(number), None));
    let state = RefCell::new((delayed, 0));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let (delayed, number) = &mut *state.borrow_mut();
        for _ in 0..BATCH {
            black_box(delayed.poll_due(at(*number)));
            let _ = delayed.schedule([0; 2], 256, at(*number + depth), None);
            *number += 1;
            while delayed.poll_change().is_some() {}
        }
    });
}

const fn bounds() -> DelayedBounds {
    DelayedBounds { messages_max: u64::MAX, bytes_max: u64::MAX }
}

const COUNT: usize = 1_000_000;

const SHAPES: [(&str, fn()); 6] = [
    ("waiting message, no key", || keep(filled(COUNT, &[]))),
    ("waiting message, 100,000 keys", || keep(filled(COUNT, &names(100_000)))),
    ("waiting message, a key each", || fill_with(|number| Some(number.to_string()), Duration::ZERO)),
    ("waiting message, delayed", || fill_with(|_| None, Duration::from_secs(3600))),
    ("deduplication identifier", remember),
    ("delayed message of an ordinary topic", delay),
];

/// Each shape in a process of its own: memory that one gave back would be there for the next.
fn print_memory() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--memory").skip(1);
    if let Some((name, make)) = arguments.next().and_then(|number| SHAPES.get(number.parse::<usize>().ok()?)) {
        let before = resident();
        make();
        return println!("{name:<40} {:>4} B each, of which its place takes 16", (resident() - before) / COUNT);
    }
    let program = std::env::current_exe().expect("this program");
    for number in 0..SHAPES.len() {
        let child = std::process::Command::new(&program).args(["--memory", &number.to_string()]).status();
        assert!(child.expect("this program starts again").success());
    }
}

/// What is to be measured stays to the end of the process.
fn keep<T>(made: T) {
    std::mem::forget(made);
}

fn fill_with(key: impl Fn(usize) -> Option<String>, delay: Duration) {
    let mut queue = queue();
    for number in 0..COUNT {
        let key = key(number);
        let message = Enqueue { delay, ..message(number, key.as_deref()) };
        queue.with(Part::Main, |queue| queue.enqueue(message, NOW)).expect("there is room");
        drain_changes(&mut queue);
    }
    keep(queue);
}

fn remember() {
    let mut queue = queue();
    queue.set_config(Config { dedup_window: Span::seconds(300), dedup_max_ids: 1 << 31, ..config() });
    let client = "display".into();
    let display = Join {
        client,
        is_at_most_once: true,
        ack: AckMode::Puback,
        prefetch: 1,
        receive_maximum: 1,
        unacknowledged: 0,
        resumes: None,
        is_online: true,
    };
    queue.with(Part::Main, |queue| queue.join(display));
    for number in 0..COUNT {
        let id = number.to_string();
        let message = Enqueue { dedup_id: Some(&id), ..message(number, None) };
        queue.with(Part::Main, |queue| queue.enqueue(message, NOW)).expect("there is room");
        queue.with(Part::Main, |queue| queue.poll_delivery(NOW, |_| true));
        drain_changes(&mut queue);
    }
    keep(queue);
}

fn delay() {
    let mut delayed = DelayedMessages::<_, Owner>::new(bounds(), NOW);
    for number in 0..COUNT {
        delayed.schedule([0_u64; 2], 256, UnixMillis(NOW.0 + number as u64), None).expect("there is room");
        while delayed.poll_change().is_some() {}
    }
    keep(delayed);
}

/// Bytes of memory that this process has.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
}
