use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::MutexGuard;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::PIECE;
use super::define::{DefineError, Definition, Origin, filters};
use super::handle::{QueueHandle, QueueState};
use super::records::kind;
use crate::broker::Broker;
use crate::broker::deliver::Deliveries;
use crate::broker::effects::Waiter;
use crate::broker::quotas::Quota;
use crate::packet::Message;
use crate::queue::{Config, Part, Peeked, QueueName, Stats, UnixMillis, Which};
use crate::storage::{Body, Record};

/// Which queue: its name, and the mount point of the clients that it is for, if they have one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueueId {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_point: Option<Box<str>>,
    pub name: QueueName,
}

impl QueueId {
    /// One for clients without a mount point.
    pub const fn plain(name: QueueName) -> Self {
        Self { mount_point: None, name }
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mount_point {
            None => write!(f, "{}", self.name),
            Some(mount_point) => write!(f, "{} at {mount_point}", self.name),
        }
    }
}

/// Why an operator's command did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperateError {
    #[error("there is no queue of this name")]
    NoQueue,
    #[error("there is no such message")]
    NoMessage,
    #[error(transparent)]
    Define(#[from] DefineError),
    #[error("the message cannot be read from the disk")]
    Unreadable,
    #[error("the journal has stopped")]
    Stopped,
}

/// A queue as people see it.
#[derive(Clone, Debug)]
pub struct QueueDetails {
    pub definition: Definition,
    pub stats: Stats,
    pub dead: Stats,
}

/// One consumer.
#[derive(Clone, Debug, Serialize)]
pub struct ConsumerDetails {
    #[serde(rename = "clientid")]
    pub client_id: Arc<str>,
    /// Of the dead letters.
    pub is_of_dead: bool,
    /// What it has subscribed with.
    pub qos: u8,
    /// Unsettled messages that it has.
    pub unsettled: usize,
    pub is_online: bool,
}

/// Consumers of one queue that are shown, so that its lock is not held for long; the figures tell how many there are.
const CONSUMERS_MAX: usize = 1000;
/// Bytes of topics, properties and payloads of messages that are shown in one go; the first one is shown whatever its size.
const PEEK_BYTES: usize = 4 << 20;

/// A message in a queue, with what it says.
#[derive(Clone, Debug)]
pub struct PeekedMessage {
    pub peeked: Peeked<Arc<Body>>,
    pub message: Message,
}

impl Broker {
    /// Which queues there are, by name.
    pub fn queue_ids(&self) -> Vec<QueueId> {
        self.queues.all().iter().map(|queue| queue.id.clone()).collect()
    }

    /// All queues, by name.
    pub fn queues(&self, now: Instant) -> Vec<QueueDetails> {
        let wall = self.queues.moment(now);
        self.queues.all().iter().map(|queue| details(&queue.lock(), wall)).collect()
    }

    /// One queue.
    pub fn queue(&self, id: &QueueId, now: Instant) -> Result<QueueDetails, OperateError> {
        let queue = self.queue_of(id)?;
        let details = details(&queue.lock(), self.queues.moment(now));
        Ok(details)
    }

    /// The consumers of a queue and of its dead letters, in no order; of very many only some.
    pub fn queue_consumers(&self, id: &QueueId) -> Result<Vec<ConsumerDetails>, OperateError> {
        let queue = self.queue_of(id)?;
        let state = queue.lock();
        let some = state.consumers.iter().take(CONSUMERS_MAX).map(|((part, id), consumer)| {
            (*part, consumer.qos as u8, state.work.part(*part).held_by(*id), consumer.session.clone())
        });
        let some: Vec<_> = some.collect();
        drop(state);
        let shown = some.into_iter().map(|(part, qos, unsettled, session)| ConsumerDetails {
            client_id: session.client_id().clone(),
            is_of_dead: part == Part::Dead,
            qos,
            unsettled,
            is_online: session.lock(|slot| slot.online.is_some()),
        });
        Ok(shown.collect())
    }

    /// Makes a queue; done once it is stored.
    pub async fn create_queue(&self, id: QueueId, config: Config, now: Instant) -> Result<(), OperateError> {
        let mut deliveries = Deliveries::default();
        let definition = Definition { id, config, origin: Origin::Operator, owner: None };
        self.define_queue(definition, now, &mut deliveries.batch)?;
        self.stored(deliveries, now).await
    }

    /// Gives a queue other settings; done once they are stored.
    pub async fn update_queue(&self, id: &QueueId, config: Config, now: Instant) -> Result<(), OperateError> {
        let queue = self.queue_of(id)?;
        let mut definition = queue.lock().definition.clone();
        if definition.origin == Origin::File {
            return Err(DefineError::OfFile.into());
        }
        definition.config = Config { name: Some(id.name.clone()), ..config };
        let mut deliveries = Deliveries::default();
        self.redefine_queue(&queue, definition, &mut deliveries.batch)?;
        deliveries.touch(queue.number);
        self.stored(deliveries, now).await
    }

    /// Takes a queue away with all that is in it; done once that is stored. Its consumers stay subscribed, for when there is one of its
    /// name again.
    pub async fn delete_queue(&self, id: &QueueId, now: Instant) -> Result<(), OperateError> {
        let queue = self.queue_of(id)?;
        let mut deliveries = Deliveries::default();
        self.delete(&queue, now, &mut deliveries)?;
        self.stored(deliveries, now).await
    }

    fn delete(&self, queue: &Arc<QueueHandle>, now: Instant, deliveries: &mut Deliveries) -> Result<(), OperateError> {
        let mut by_name = self.queues.by_name.write();
        let mut state = queue.lock();
        if state.is_deleted {
            return Err(OperateError::NoQueue);
        }
        if state.definition.origin == Origin::File {
            return Err(DefineError::OfFile.into());
        }
        state.is_deleted = true;
        by_name.remove(&queue.id);
        self.queues.by_number.write().remove(&queue.number);
        drop(by_name);
        let consumers: Vec<_> = state.consumers.drain().collect();
        if self.journal.is_some() {
            let content = [kind::DELETED].as_slice().into();
            deliveries.batch.journal.record(Record::Work { stream: queue.number, body: None, content });
            self.submit(&mut deliveries.batch);
        }
        for (_, consumer) in consumers {
            let filters = consumer.session.lock(|slot| slot.forget_queue(queue));
            filters.iter().for_each(|filter| self.queues.desert(&consumer.session, filter));
        }
        let filters = filters(&state.definition);
        if let Some(account) = &queue.account {
            account.give_back(Quota::Queues, 1);
            account.give_back(Quota::QueuedBytes, std::mem::take(&mut state.reported));
        }
        // Whoever still knows the queue keeps no message alive, and counts none.
        let gone = state.work.take();
        drop(state);
        drop(gone);
        // One of its name may be there already, and have found nobody.
        if self.queues.find(queue.id.mount_point.as_deref(), queue.id.name.as_str()).is_some() {
            self.rejoin_all(&queue.id, now);
        }
        self.unbind(queue, filters.iter());
        self.queues.count.fetch_sub(1, std::sync::atomic::Ordering::AcqRel);
        tracing::info!(queue = %queue.id, "work queue deleted");
        Ok(())
    }

    /// Messages in the order of their age, from the oldest, or from behind the one with the number `after`: `count`, or fewer if they
    /// are large, and whether there are more. May read from the disk.
    pub fn peek(
        &self,
        id: &QueueId,
        part: Part,
        after: Option<u64>,
        count: usize,
    ) -> Result<(Vec<PeekedMessage>, bool), OperateError> {
        let queue = self.queue_of(id)?;
        let mut all = queue.lock().work.part(part).peek(after, count.saturating_add(1));
        let found = all.len();
        let (mut place, mut bytes) = (0, 0);
        all.retain(|peeked| {
            bytes += peeked.size as usize;
            place += 1;
            place <= count && (place == 1 || bytes <= PEEK_BYTES)
        });
        let has_more = all.len() < found;
        Ok((self.with_messages(all)?, has_more))
    }

    /// One message.
    pub fn peek_one(&self, id: &QueueId, part: Part, seq: u64) -> Result<PeekedMessage, OperateError> {
        let queue = self.queue_of(id)?;
        let one = queue.lock().work.part(part).peek_one(seq).ok_or(OperateError::NoMessage)?;
        self.with_messages(vec![one])?.pop().ok_or(OperateError::NoMessage)
    }

    /// Takes out all messages that are there now, and says how many; keys go on that stand still, by dead letters that are gone or, if all
    /// messages go, by any. In pieces, between which others have their turn: if the broker ends before this does, the rest is still
    /// there.
    pub async fn purge(&self, id: &QueueId, part: Part, now: Instant) -> Result<usize, OperateError> {
        let (before, all) = {
            let queue = self.queue_of(id)?;
            let state = queue.lock();
            let part = state.work.part(part);
            (part.next_number(), part.len())
        };
        let purge = |state: &mut QueueState, _, count| state.work.with(part, |queue| queue.purge(before, count));
        let count = self.operate_in_pieces(id, all, now, purge).await?;
        let unblock = |state: &mut QueueState, _, count| match part {
            Part::Main => state.work.with(part, |queue| queue.unblock_some(count)),
            Part::Dead => state.work.unblock_some_of_gone(count),
        };
        self.operate_in_pieces(id, usize::MAX, now, unblock).await?;
        Ok(count)
    }

    /// Takes out one message, whoever has it. A key that a dead letter has stopped goes on.
    pub async fn delete_message(&self, id: &QueueId, part: Part, seq: u64, now: Instant) -> Result<(), OperateError> {
        let delete = |state: &mut QueueState, _| {
            if !state.work.with(part, |queue| queue.delete(seq)) {
                return Err(OperateError::NoMessage);
            }
            state.work.unblock_some_of_gone(usize::from(part == Part::Dead));
            Ok(())
        };
        self.operate(id, now, delete).await
    }

    /// No message leaves the queue any more, or messages leave it again.
    pub async fn set_paused(&self, id: &QueueId, is_paused: bool, now: Instant) -> Result<(), OperateError> {
        let set = |state: &mut QueueState, _| {
            state.work.with(Part::Main, |queue| if is_paused { queue.pause() } else { queue.resume() });
            Ok(())
        };
        self.operate(id, now, set).await
    }

    /// Puts dead letters back into their queue, and says how many. Many are put back in pieces, as [`Self::purge`] takes them out.
    pub async fn redrive(&self, id: &QueueId, which: Which, now: Instant) -> Result<usize, OperateError> {
        let all = match which {
            Which::One(_) => return self.operate(id, now, |state, wall| Ok(state.work.redrive(which, wall))).await,
            Which::First(count) => count,
            Which::All => self.queue_of(id)?.lock().work.part(Part::Dead).len(),
        };
        let redrive = |state: &mut QueueState, wall, count| state.work.redrive(Which::First(count), wall);
        self.operate_in_pieces(id, all, now, redrive).await
    }

    /// Lets all keys go on that stand still because of a dead message, and says how many.
    pub async fn unblock(&self, id: &QueueId, now: Instant) -> Result<usize, OperateError> {
        let unblock = |state: &mut QueueState, _, count| state.work.with(Part::Main, |queue| queue.unblock_some(count));
        self.operate_in_pieces(id, usize::MAX, now, unblock).await
    }

    /// Does something to up to `all` of what a queue has, and says to how many: `act` to as many as it is told, or to all if there are
    /// fewer. The disk is waited for at the end, and before that if too much waits to be written.
    async fn operate_in_pieces(
        &self,
        id: &QueueId,
        all: usize,
        now: Instant,
        mut act: impl FnMut(&mut QueueState, UnixMillis, usize) -> usize,
    ) -> Result<usize, OperateError> {
        let (queue, mut done) = (self.queue_of(id)?, 0);
        loop {
            let piece = (all - done).min(PIECE as usize);
            let (mut deliveries, count) = self.change(&queue, now, |state, wall| Ok(act(state, wall, piece)))?;
            done += count;
            if count < piece || done == all {
                self.stored(deliveries, now).await?;
                return Ok(done);
            }
            if self.journal.as_ref().is_some_and(|journal| journal.is_behind()) {
                self.stored(deliveries, now).await?;
            } else {
                deliveries.flush(self, now);
                drop(deliveries);
                tokio::task::yield_now().await;
            }
        }
    }

    async fn operate<T>(
        &self,
        id: &QueueId,
        now: Instant,
        act: impl FnOnce(&mut QueueState, UnixMillis) -> Result<T, OperateError>,
    ) -> Result<T, OperateError> {
        let (deliveries, result) = self.change(&self.queue_of(id)?, now, act)?;
        self.stored(deliveries, now).await?;
        Ok(result)
    }

    /// Does something to a queue, and tells the journal. What follows from it is still to be sent off.
    fn change<T>(
        &self,
        queue: &Arc<QueueHandle>,
        now: Instant,
        act: impl FnOnce(&mut QueueState, UnixMillis) -> Result<T, OperateError>,
    ) -> Result<(Deliveries, T), OperateError> {
        let mut deliveries = Deliveries::default();
        let mut state = queue.lock();
        if state.is_deleted {
            return Err(OperateError::NoQueue);
        }
        let result = act(&mut state, self.queues.moment(now));
        state.tell(queue, self.journal.is_some(), &mut deliveries.batch);
        self.submit(&mut deliveries.batch);
        MutexGuard::unlock_fair(state); // The next piece must not come before those who wait.
        deliveries.touch(queue.number);
        Ok((deliveries, result?))
    }

    /// Waits until all that was told before cannot be lost.
    async fn stored(&self, mut deliveries: Deliveries, now: Instant) -> Result<(), OperateError> {
        let safe = self.journal.is_some().then(|| {
            let (tell, safe) = oneshot::channel();
            deliveries.batch.journal.wait(Waiter::Told(tell), self.stored_level());
            safe
        });
        deliveries.flush(self, now);
        drop(deliveries);
        match safe {
            Some(safe) => safe.await.map_err(|_| OperateError::Stopped),
            None => Ok(()),
        }
    }

    fn queue_of(&self, id: &QueueId) -> Result<Arc<QueueHandle>, OperateError> {
        self.queues.find(id.mount_point.as_deref(), id.name.as_str()).ok_or(OperateError::NoQueue)
    }

    fn with_messages(&self, all: Vec<Peeked<Arc<Body>>>) -> Result<Vec<PeekedMessage>, OperateError> {
        let bodies: Vec<_> = all.iter().map(|peeked| peeked.body.clone()).collect();
        let messages = self.messages_of(&bodies).ok_or(OperateError::Unreadable)?;
        Ok(all.into_iter().zip(messages).map(|(peeked, message)| PeekedMessage { peeked, message }).collect())
    }
}

fn details(state: &QueueState, wall: UnixMillis) -> QueueDetails {
    QueueDetails {
        definition: state.definition.clone(),
        stats: state.work.part(Part::Main).stats(wall),
        dead: state.work.part(Part::Dead).stats(wall),
    }
}
