//! The queue from outside: events in, deliveries and changes out.

mod codec;
mod config;
mod consumers;
mod crash;
mod delayed;
mod fuzzy;
mod keys;
mod life;
mod limits;
mod model;
mod operation;
mod told;
mod topics;
mod wheel;

use std::time::Duration;

use super::topics::Settle;
use super::*;
use crate::units::Span;

const START: UnixMillis = UnixMillis(1_700_000_000_000);
const SECRET: Secret = Secret::new(*b"sixteen bytes...");

/// A queue with a clock; bodies are numbers.
struct World {
    queue: WorkQueue<u32>,
    now: UnixMillis,
    journal: Vec<(Part, Change<u32>)>,
}

fn config() -> Config {
    let backoff = Backoff::List(vec![Span::seconds(1), Span::seconds(10)]);
    Config { backoff, ..Config::named(QueueName::new("jobs").unwrap()) }
}

fn world(config: Config) -> World {
    let name = config.name.clone().unwrap();
    World { queue: WorkQueue::new(name, config, SECRET, 7, START), now: START, journal: Vec::new() }
}

fn message(body: u32) -> Enqueue<'static, u32> {
    Enqueue { body, size: 10, key: None, dedup_id: None, delay: Duration::ZERO, expires_at: None }
}

fn join(client: &str) -> Join {
    let ack = AckMode::Puback;
    Join {
        client: client.into(),
        ack,
        is_at_most_once: false,
        prefetch: 10,
        receive_maximum: 10,
        unacknowledged: 0,
        resumes: None,
        is_online: true,
    }
}

impl World {
    fn with<T>(&mut self, act: impl FnOnce(&mut Queue<u32>) -> T) -> T {
        self.with_part(Part::Main, act)
    }

    fn with_part<T>(&mut self, part: Part, act: impl FnOnce(&mut Queue<u32>) -> T) -> T {
        let result = self.queue.with(part, act);
        self.write();
        result
    }

    fn write(&mut self) {
        while let Some(change) = self.queue.poll_change() {
            self.journal.push(change);
        }
    }

    fn enqueue(&mut self, message: Enqueue<'_, u32>) -> Result<Enqueued, Refused> {
        let now = self.now;
        self.with(|queue| queue.enqueue(message, now))
    }

    /// Puts plain messages in.
    fn fill(&mut self, bodies: impl IntoIterator<Item = u32>) {
        bodies.into_iter().for_each(|body| _ = self.enqueue(message(body)).unwrap());
    }

    /// Puts messages of one key in.
    fn fill_key(&mut self, key: &str, bodies: impl IntoIterator<Item = u32>) {
        bodies.into_iter().for_each(|body| _ = self.enqueue(Enqueue { key: Some(key), ..message(body) }).unwrap());
    }

    fn join(&mut self, client: &str) -> ConsumerId {
        self.join_as(join(client))
    }

    fn join_as(&mut self, join: Join) -> ConsumerId {
        self.with(|queue| queue.join(join))
    }

    fn next(&mut self) -> Option<Delivery<u32>> {
        let now = self.now;
        self.with(|queue| queue.poll_delivery(now, |_| true))
    }

    fn next_dead(&mut self) -> Option<Delivery<u32>> {
        let now = self.now;
        self.with_part(Part::Dead, |queue| queue.poll_delivery(now, |_| true))
    }

    fn deliveries(&mut self) -> Vec<Delivery<u32>> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The bodies of all that can be delivered now.
    fn bodies(&mut self) -> Vec<u32> {
        self.deliveries().iter().map(|delivery| delivery.body).collect()
    }

    fn ack(&mut self, delivery: &Delivery<u32>, code: u8) -> Outcome {
        let now = self.now;
        self.with(|queue| queue.acknowledged(delivery.consumer, delivery.lease, code, now))
    }

    fn settle(&mut self, client: &str, delivery: &Delivery<u32>, settle: Settle) -> Result<(), SettleError> {
        let (now, tag) = (self.now, delivery.tag.unwrap());
        self.with(|queue| queue.settle(client, tag, settle, now))
    }

    fn wait(&mut self, millis: u64) {
        self.now = UnixMillis(self.now.0 + millis);
        self.queue.handle_timeout(self.now);
        self.write();
    }

    /// Bodies and stories of the dead letters.
    fn dead(&self) -> Vec<(u32, DeadLetter)> {
        let letters = self.queue.part(Part::Dead).peek(None, 100);
        letters.into_iter().map(|peeked| (peeked.body, (*peeked.dead.unwrap()).clone())).collect()
    }

    fn dead_bodies(&self) -> Vec<u32> {
        self.dead().into_iter().map(|(body, _)| body).collect()
    }

    fn stats(&self) -> Stats {
        self.queue.part(Part::Main).stats(self.now)
    }

    /// All that would be told in a while is in the journal.
    fn tell_leases(&mut self) {
        self.queue.tell_leases();
        self.write();
    }

    /// The process is killed, and starts again with what the journal holds.
    fn restart(&mut self) {
        self.tell_leases();
        self.restart_with(self.journal.len());
    }

    /// The same, with only so many changes written.
    fn restart_with(&mut self, written: usize) {
        self.journal.truncate(written);
        let mut restore = Restore::new();
        self.journal.iter().for_each(|(part, change)| restore.apply(*part, change.clone()));
        let config = self.queue.part(Part::Main).config().clone();
        self.queue = restore.finish(config.name.clone().unwrap(), config, SECRET, 8, self.now);
    }
}
