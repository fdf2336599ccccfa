use super::config::AckMode;
use super::consumer::{Consumer, ConsumerId, Join};
use super::entry::State;
use super::machine::Queue;
use super::stats::Cause;
use super::tag::Lease;
use super::time::UnixMillis;

impl<B: Clone> Queue<B> {
    /// A consumer joins. After a restart it gets back the leases that its client had, whose deadlines went on; and what it has not
    /// finished since it retired.
    pub fn join(&mut self, join: Join) -> ConsumerId {
        let index = self.absent_of(&join).unwrap_or_else(|| self.add_consumer(&join, false));
        let consumer = self.consumers.get_mut(index);
        consumer.ack = join.ack;
        consumer.is_at_most_once = join.is_at_most_once;
        consumer.prefetch = join.prefetch.max(1);
        consumer.receive_maximum = join.receive_maximum.max(1);
        consumer.packets = consumer.packets.max(join.unacknowledged);
        consumer.is_online = join.is_online;
        let id = consumer.id;
        self.consumers.set_present(index);
        self.consumers.refresh(index);
        id
    }

    /// Its window has changed: another `q-prefetch`, or another Receive Maximum of a new connection.
    pub fn set_window(&mut self, consumer: ConsumerId, prefetch: u16, receive_maximum: u16) {
        self.change(consumer, |consumer| {
            consumer.prefetch = prefetch.max(1);
            consumer.receive_maximum = receive_maximum.max(1);
        });
    }

    /// From now on something else settles its messages.
    pub fn set_ack(&mut self, consumer: ConsumerId, ack: AckMode) {
        self.change(consumer, |consumer| consumer.ack = ack);
    }

    /// Its connection is lost or back, and its session is kept. Its leases run on to their deadlines; while it is away it gets nothing.
    pub fn set_online(&mut self, consumer: ConsumerId, is_online: bool) {
        self.change(consumer, |consumer| consumer.is_online = is_online);
    }

    /// Nothing is delivered to it until this is taken back: for a connection whose buffer is full.
    pub fn set_on_hold(&mut self, consumer: ConsumerId, is_on_hold: bool) {
        self.change(consumer, |consumer| consumer.is_on_hold = is_on_hold);
    }

    /// Whether its connection's window is also used by others: then it is asked for room before each delivery.
    pub fn set_shared(&mut self, consumer: ConsumerId, shares_window: bool) {
        self.change(consumer, |consumer| consumer.shares_window = shares_window);
    }

    /// Its subscription is over, and its session is not: it gets nothing more, and what it was sent it may finish within its leases. If
    /// it joins again before that, it may go on as this consumer.
    pub fn retire(&mut self, consumer: ConsumerId) {
        if let Some(index) = self.consumers.find(consumer) {
            self.consumers.retire(index);
            self.let_go(consumer);
        }
    }

    /// One that only stands for leases goes with the last of them, and with the last packet that may be acknowledged.
    pub(super) fn let_go(&mut self, consumer: ConsumerId) {
        let Some(index) = self.consumers.find(consumer) else { return };
        let Consumer { is_absent, held, packets, .. } = self.consumers.get(index);
        if *is_absent && held.is_empty() && *packets == 0 {
            let name = self.consumers.remove(index).name;
            self.names.release(name);
        }
    }

    /// Its session has ended. What it had has failed.
    pub fn leave(&mut self, consumer: ConsumerId, now: UnixMillis) {
        let now = self.advance(now);
        let Some(index) = self.consumers.find(consumer) else { return };
        self.consumers.get_mut(index).is_online = false;
        self.consumers.set_present(index); // so that it does not go with its last message
        self.consumers.refresh(index);
        // Oldest first: without a key they come back in this order.
        let mut held = self.consumers.get(index).held.clone();
        held.sort_unstable_by_key(|id| self.entries.slab[*id].seq);
        for id in held {
            self.fail(id, Cause::SessionEnd, None, now);
        }
        let name = self.consumers.remove(index).name;
        self.names.release(name);
    }

    /// After a restart, once all sessions that are kept have joined: the others ended with the process, and what they had has failed.
    pub fn end_absent(&mut self, now: UnixMillis) {
        let absent: Vec<_> = self.consumers.absent().map(|index| self.consumers.get(index).id).collect();
        for consumer in absent {
            self.leave(consumer, now);
        }
    }

    /// Whether a lease goes on.
    pub fn is_leased(&self, lease: Lease) -> bool {
        self.entries.find(lease.seq).is_some_and(|id| {
            let entry = &self.entries.slab[id];
            entry.state == State::Leased && self.entries.course_of(entry).leases == lease.number
        })
    }

    /// Whether it is there, be it to finish what it has.
    pub fn is_consumer(&self, consumer: ConsumerId) -> bool {
        self.consumers.find(consumer).is_some()
    }

    /// Unsettled messages that a consumer has.
    pub fn held_by(&self, consumer: ConsumerId) -> usize {
        self.consumers.find(consumer).map_or(0, |index| self.consumers.get(index).held.len())
    }

    pub(super) fn add_consumer(&mut self, join: &Join, is_absent: bool) -> u32 {
        let consumer = Consumer {
            id: ConsumerId(0),
            client: join.client.clone(),
            name: self.names.hold(&join.client),
            place: self.place_of(&join.client),
            ack: join.ack,
            is_at_most_once: join.is_at_most_once,
            prefetch: join.prefetch.max(1),
            receive_maximum: join.receive_maximum.max(1),
            is_online: join.is_online,
            is_on_hold: false,
            shares_window: false,
            is_absent,
            is_retired: false,
            held: Vec::new(),
            packets: join.unacknowledged,
            halvings: 0,
            failures: 0,
            rests_until: None,
            ended_by_word: Vec::new(),
            rank: None,
        };
        self.consumers.insert(consumer)
    }

    /// Who stands for the leases that it had. Those that somebody has retired are his.
    fn absent_of(&self, join: &Join) -> Option<u32> {
        let resumed = join.resumes.and_then(|consumer| self.consumers.find(consumer));
        let of_client = |index: &u32| {
            let absent = self.consumers.get(*index);
            !absent.is_retired && absent.client == join.client
        };
        resumed.filter(|index| self.consumers.get(*index).is_absent).or_else(|| self.consumers.absent().find(of_client))
    }

    fn change(&mut self, consumer: ConsumerId, act: impl FnOnce(&mut Consumer)) {
        if let Some(index) = self.consumers.find(consumer) {
            act(self.consumers.get_mut(index));
            self.consumers.refresh(index);
        }
    }
}
