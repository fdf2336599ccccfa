use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use dunlin::packet::{Connect, QoS};
use tempfile::TempDir;

use crate::support::client::{V5, V311, connect};
use crate::support::{Broker, Client, eventually};

/// A broker under attack, with a healthy pair of clients on it that must notice nothing, and what it used before.
pub struct Siege {
    pub broker: Broker,
    is_over: Arc<AtomicBool>,
    passed: Arc<AtomicU32>,
    pair: Option<JoinHandle<()>>,
    memory: usize,
    descriptors: usize,
    tasks: f64,
}

/// What an allocator keeps, caches fill, and a debug build wastes. What leaks in these tests leaks more.
const MEMORY_SLACK: usize = 48 << 20;

impl Siege {
    /// A broker with a TCP listener and a Unix socket, and these further lines of config.
    pub fn lay(config: &str) -> Self {
        Self::lay_in(tempfile::tempdir().unwrap(), config)
    }

    /// The same, in a folder where files have been put already.
    pub fn lay_in(folder: TempDir, config: &str) -> Self {
        let listeners = "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n\
                         [[listeners]]\nname = \"unix\"\nurl = \"unix://@DIR@/door\"\nallow_anonymous = true\n";
        let broker = Broker::with_config_in(folder, &format!("{listeners}\n{config}"));
        let door = broker.folder.path().join("door");
        let (mut subscriber, mut publisher) = (dial(&door), dial(&door));
        subscriber.log_in(Connect { client_id: "healthy-sub", ..connect(V5) });
        publisher.version = V311;
        publisher.log_in(Connect { client_id: "healthy-pub", ..connect(V311) });
        subscriber.subscribe("healthy/#", QoS::AtLeastOnce);
        // The figures of the start are those of a broker that has worked already.
        (0..50).for_each(|number| pass_one(&mut publisher, &mut subscriber, number));
        eventually("both are counted", || online(&broker) == 2.0);
        let (memory, descriptors, tasks) = (broker.resident(), broker.descriptors(), tasks(&broker));
        let is_over = Arc::new(AtomicBool::new(false));
        let passed = Arc::new(AtomicU32::new(0));
        let (stop, passes) = (is_over.clone(), passed.clone());
        let pair = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                pass_one(&mut publisher, &mut subscriber, passes.fetch_add(1, Ordering::Relaxed));
            }
            subscriber.expect_nothing();
            publisher.expect_nothing();
        });
        Self { broker, is_over, passed, pair: Some(pair), memory, descriptors, tasks }
    }

    pub fn address(&self) -> SocketAddr {
        self.broker.address()
    }

    /// A connection that takes no port, for attacks that need many.
    pub fn dial(&self) -> Client {
        dial(&self.door())
    }

    /// Where such connections go.
    pub fn door(&self) -> PathBuf {
        self.broker.folder.path().join("door")
    }

    pub fn connect(&self, client_id: &str) -> Client {
        Client::connect(self.address(), V5, client_id)
    }

    pub fn metric(&self, series: &str) -> f64 {
        self.broker.metric(series)
    }

    pub fn hits(&self, limit: &str) -> f64 {
        self.metric(&format!(r#"dunlin_limit_hits_total{{limit="{limit}"}}"#))
    }

    /// While the attack goes on, the broker has not taken more than so many bytes for it.
    pub fn assert_memory_below(&self, more: usize) {
        let now = self.broker.resident();
        assert!(
            now < self.memory + MEMORY_SLACK + more,
            "{} MiB more than at the start",
            now.saturating_sub(self.memory) >> 20
        );
    }

    /// Between two attacks: the pair is served, the broker is ready, and its log tells of no error.
    pub fn assert_unharmed(&mut self) {
        assert!(self.broker.is_running());
        self.await_pair();
        let (status, why) = self.broker.get("/readyz");
        assert!(status.contains(" 200 "), "{why}");
        let bad = |line: &&String| line.contains("panicked") || line.contains("\"level\":\"ERROR\"");
        assert_eq!(self.broker.log_lines().iter().find(bad), None);
    }

    /// Some more of the pair's messages come, behind all that the attack has left.
    fn await_pair(&self) {
        let passed = self.passed.load(Ordering::Relaxed);
        eventually("the healthy pair is served", || self.passed.load(Ordering::Relaxed) >= passed + 3);
    }

    /// The attackers are gone: the pair has noticed nothing, and nothing of the attack is left. Returns the broker without clients.
    pub fn lift(mut self) -> Broker {
        self.await_pair();
        self.is_over.store(true, Ordering::Relaxed);
        self.pair.take().expect("it is lifted once").join().expect("the healthy pair noticed nothing");
        assert!(self.broker.is_running());
        eventually("only healthy connections are left", || online(&self.broker) == 0.0);
        // The pair has gone too: two descriptors and two tasks fewer.
        eventually("descriptors are given back", || self.broker.descriptors() <= self.descriptors);
        eventually("tasks are given back", || tasks(&self.broker) <= self.tasks);
        eventually("memory is given back", || self.broker.resident() < self.memory + MEMORY_SLACK);
        let panicked = self.broker.log_lines().iter().find(|line| line.contains("panicked")).cloned();
        assert_eq!(panicked, None);
        self.broker
    }
}

/// A connection to a Unix socket.
pub fn dial(door: &Path) -> Client {
    Client::over(UnixStream::connect(door).expect("the door is open"), V5)
}

fn online(broker: &Broker) -> f64 {
    broker.metric(r#"dunlin_sessions{state="online"}"#)
}

fn tasks(broker: &Broker) -> f64 {
    broker.metric("dunlin_runtime_tasks")
}

fn pass_one(publisher: &mut Client, subscriber: &mut Client, number: u32) {
    let text = number.to_string();
    publisher.publish("healthy/0", &text, QoS::AtMostOnce);
    subscriber.expect_message("healthy/0", &text);
    publisher.reuse_packet_ids();
    publisher.publish("healthy/1", &text, QoS::AtLeastOnce);
    let id = subscriber.expect_message("healthy/1", &text).packet_id().expect("QoS 1");
    subscriber.puback(id);
}
