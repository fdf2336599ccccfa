use hashbrown::HashMap;

use super::change::{Change, DedupId, Record};
use super::config::Config;
use super::consumer::Join;
use super::machine::Queue;
use super::tag::Secret;
use super::time::UnixMillis;
use super::topics::Part;
use super::work_queue::first_number;
use super::{AckMode, Key, QueueName, WorkQueue};

/// A queue that is being rebuilt from the changes of its journal.
///
/// Any beginning of the changes gives the queue as it was then. A message may be there again, in a later record that says more: that
/// one counts. What is said of a message that is not here is passed over: the record that brought it in has been cleared away
/// together with the message. So a journal may drop an `Enqueued` once its message has left, and must keep what says that it has left
/// for as long as that `Enqueued` is still there.
#[derive(Clone, Debug)]
pub struct Restore<B> {
    main: Side<B>,
    dead: Side<B>,
}

/// What is known of one part.
#[derive(Clone, Debug)]
struct Side<B> {
    records: HashMap<u64, Record<B>>,
    seen: HashMap<DedupId, UnixMillis>,
    blocked: HashMap<Key, u64>,
    /// Numbers below this may have been given out.
    next_seq: u64,
    is_paused: bool,
}

impl<B> Default for Restore<B> {
    fn default() -> Self {
        Self { main: Side::default(), dead: Side::default() }
    }
}

impl<B> Default for Side<B> {
    fn default() -> Self {
        Self { records: HashMap::new(), seen: HashMap::new(), blocked: HashMap::new(), next_seq: 1, is_paused: false }
    }
}

impl<B: Clone> Restore<B> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next change of the journal.
    pub fn apply(&mut self, part: Part, change: Change<B>) {
        match change {
            Change::Died { seq, letter, blocks } => {
                self.main.blocked.extend(blocks.map(|key| (key, seq)));
                if let Some(record) = self.main.records.remove(&seq) {
                    let dead = Record { leases: record.leases, ..Record::new(record.body, seq, record.size, letter.at) };
                    self.dead.insert(Record { dead: Some(letter), ..dead });
                }
            }
            Change::Redriven { seq, at, unblocks } => {
                // Said even if the message is not here any more: the death that blocked the key is replayed without it, too.
                unblocks.iter().for_each(|key| _ = self.main.blocked.remove(key));
                let Some(record) = self.dead.records.remove(&seq) else { return };
                let key = record.dead.and_then(|letter| letter.key);
                let fresh = Record::new(record.body, seq, record.size, at);
                self.main.insert(Record { key, leases: record.leases, is_first: unblocks.is_some(), ..fresh });
            }
            change => match part {
                Part::Main => self.main.apply(change),
                Part::Dead => self.dead.apply(change),
            },
        }
    }

    /// The bodies of all messages that are here.
    pub fn bodies(&self) -> impl Iterator<Item = &B> {
        let records = self.main.records.values().chain(self.dead.records.values());
        records.map(|record| &record.body)
    }

    /// The same, to be changed.
    pub fn bodies_mut(&mut self) -> impl Iterator<Item = &mut B> {
        let records = self.main.records.values_mut().chain(self.dead.records.values_mut());
        records.map(|record| &mut record.body)
    }

    /// Keeps messages by their bodies, and says how many went.
    pub fn retain_bodies(&mut self, mut keep: impl FnMut(&B) -> bool) -> usize {
        let mut gone = 0;
        for side in [&mut self.main, &mut self.dead] {
            let before = side.records.len();
            side.records.retain(|_, record| keep(&record.body));
            gone += before - side.records.len();
        }
        gone
    }

    /// Messages in the queue, and among its dead letters.
    pub fn counts(&self) -> (usize, usize) {
        (self.main.records.len(), self.dead.records.len())
    }

    /// The same with other bodies; messages for which there is none are left out.
    pub fn map_bodies<C>(self, mut map: impl FnMut(B) -> Option<C>) -> Restore<C> {
        Restore { main: self.main.map_bodies(&mut map), dead: self.dead.map_bodies(&mut map) }
    }

    /// The shortest list of changes that makes this again.
    pub fn snapshot(&self) -> impl Iterator<Item = (Part, Change<B>)> + '_ {
        let main = self.main.snapshot().map(|change| (Part::Main, change));
        main.chain(self.dead.snapshot().map(|change| (Part::Dead, change)))
    }

    /// The queue. `seed` is for jitter and lots. What has become due meanwhile happens with the first `handle_timeout`.
    pub fn finish(mut self, name: QueueName, config: Config, secret: Secret, seed: u64, now: UnixMillis) -> WorkQueue<B> {
        let mut queue = WorkQueue::new(name, config, secret, seed, now);
        // A checkpoint may show one that died meanwhile in both parts. Its death is told behind that, unless a crash or damage took it.
        self.dead.records.keys().for_each(|seq| _ = self.main.records.remove(seq));
        // Behind what the journal knows some numbers may have been given out, and consumers have seen them: their tags and `q-id` must
        // not come to mean other messages. They are few, and a step whose length is left to chance leads past them.
        let step = 1 + (queue.main.random.next() >> 44);
        // Numbers of the dead were given out by the other part; and of one that had none yet, some may be known all the same.
        let next_seq = self.main.next_seq.max(self.dead.next_seq).max(first_number(now)) + step;
        self.main.finish(&mut queue.main);
        self.dead.finish(&mut queue.dead);
        queue.main.next_seq = next_seq;
        queue.main.reserved = next_seq;
        queue
    }
}

impl<B> Side<B> {
    fn map_bodies<C>(self, map: &mut impl FnMut(B) -> Option<C>) -> Side<C> {
        let with_body = |(seq, record): (u64, Record<B>)| {
            let mut kept = None;
            let record = record.map_body(|body| kept = map(body));
            kept.map(|body| (seq, record.map_body(|()| body)))
        };
        Side {
            records: self.records.into_iter().filter_map(with_body).collect(),
            seen: self.seen,
            blocked: self.blocked,
            next_seq: self.next_seq,
            is_paused: self.is_paused,
        }
    }
}

impl<B: Clone> Side<B> {
    fn snapshot(&self) -> impl Iterator<Item = Change<B>> + '_ {
        let numbers = (self.next_seq > 1).then_some(Change::Reserved { until: self.next_seq });
        let seen = self.seen.iter().map(|(id, at)| Change::Seen { id: *id, at: *at });
        let records = self.records.values().map(|record| Change::Enqueued(record.clone()));
        let blocked = self.blocked.iter().map(|(key, by)| Change::KeyBlocked { key: *key, by: *by });
        numbers.into_iter().chain(self.is_paused.then_some(Change::Paused)).chain(seen).chain(records).chain(blocked)
    }

    fn insert(&mut self, record: Record<B>) {
        self.next_seq = self.next_seq.max(record.seq + 1);
        if let Some(id) = record.dedup_id {
            self.see(id, record.enqueued_at);
        }
        self.records.insert(record.seq, record);
    }

    /// The latest time counts: an identifier may come again once its window is over, while its first message is still here.
    fn see(&mut self, id: DedupId, at: UnixMillis) {
        self.seen.entry(id).and_modify(|there| *there = at.max(*there)).or_insert(at);
    }

    fn apply(&mut self, change: Change<B>) {
        match change {
            Change::Enqueued(record) => self.insert(record),
            Change::Seen { id, at } => self.see(id, at),
            Change::Reserved { until } => self.next_seq = self.next_seq.max(until),
            Change::Paused => self.is_paused = true,
            Change::Resumed => self.is_paused = false,
            Change::KeyBlocked { key, by } => _ = self.blocked.insert(key, by),
            Change::KeyUnblocked { key } => _ = self.blocked.remove(&key),
            Change::Settled { seq, .. } | Change::Dropped { seq, .. } => _ = self.records.remove(&seq),
            Change::Leased { .. } | Change::Extended { .. } | Change::Returned { .. } => self.apply_to_lease(change),
            // Moves between the parts: dealt with before.
            Change::Died { .. } | Change::Redriven { .. } => {}
        }
    }

    fn apply_to_lease(&mut self, change: Change<B>) {
        let Some(record) = change.seq().and_then(|seq| self.records.get_mut(&seq)) else { return };
        match change {
            Change::Leased { number, attempts, client, deadline, .. } => {
                record.attempts = attempts;
                record.leases = number;
                record.is_first = true;
                record.last_client = Some(client.clone());
                record.lease = Some((client, deadline));
            }
            Change::Extended { deadline, .. } => {
                if let Some((_, until)) = &mut record.lease {
                    *until = deadline;
                }
            }
            Change::Returned { attempts, busy, not_before, code, .. } => {
                record.attempts = attempts;
                record.busy = busy;
                record.not_before = Some(not_before);
                record.last_code = code;
                record.lease = None;
            }
            _ => {}
        }
    }

    fn finish(self, queue: &mut Queue<B>) {
        queue.is_paused = self.is_paused;
        queue.ready.blocked = self.blocked.into_iter().collect();
        let mut seen: Vec<_> = self.seen.into_iter().collect();
        seen.sort_unstable_by_key(|(_, at)| *at);
        let max = queue.config.dedup_max_ids;
        seen.into_iter().for_each(|(id, at)| queue.dedup.insert(id, at, max));
        let mut records: Vec<_> = self.records.into_values().collect();
        records.sort_unstable_by_key(|record| (record.enqueued_at, record.seq));
        records.iter().for_each(|record| _ = queue.add(record));
        // By age they are told apart, by their place they stand in line.
        records.sort_unstable_by_key(place_of);
        let mut holders = HashMap::new();
        for record in records {
            let holder = record.lease.map(|(client, deadline)| {
                let holder = *holders.entry(client.clone()).or_insert_with(|| queue.add_absent(client));
                (holder, deadline)
            });
            queue.place_again(record.seq, holder);
        }
    }
}

/// The order in which messages stood: those that a consumer has or had keep their place before later ones of their key.
fn place_of<B>(record: &Record<B>) -> (u8, UnixMillis, u64) {
    let rank = match record {
        Record { lease: Some(_), .. } => 0,
        Record { is_first: true, .. } => 1,
        _ => 2,
    };
    (rank, record.not_before.map_or(record.enqueued_at, |at| at.max(record.enqueued_at)), record.seq)
}

impl<B: Clone> Queue<B> {
    /// Stands for a client that had messages before the restart, until it is back.
    fn add_absent(&mut self, client: std::sync::Arc<str>) -> u32 {
        let join = Join {
            client,
            ack: AckMode::Puback,
            is_at_most_once: false,
            prefetch: u16::MAX,
            receive_maximum: u16::MAX,
            unacknowledged: 0,
            resumes: None,
            is_online: false,
        };
        self.add_consumer(&join, true)
    }

    /// Puts a message in its line, or gives it back to the consumer that had it.
    fn place_again(&mut self, seq: u64, holder: Option<(u32, UnixMillis)>) {
        let Some(id) = self.entries.find(seq) else { return };
        if let Some((consumer, deadline)) = holder {
            self.hold(id, consumer, deadline);
        }
        self.ready.place(&mut self.entries, id);
    }
}
