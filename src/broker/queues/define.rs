use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::handle::QueueHandle;
use super::operate::QueueId;
use super::records;
use crate::broker::handle::Receiver;
use crate::broker::quotas::{Account, Quota};
use crate::broker::{Broker, Effects};
use crate::packet::{QoS, SubscriptionOptions, TopicFilter};
use crate::queue::{Config, WorkQueue};
use crate::routing::Subscription;
use crate::storage::Record;

/// A queue as it was made: what is stored of it besides its messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    #[serde(flatten)]
    pub id: QueueId,
    pub config: Config,
    pub origin: Origin,
    /// The user whose client has made it, if it was one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Box<str>>,
}

/// Who made a queue, and so who may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The configuration file, where it is changed too.
    File,
    /// An operator, by REST or the command line.
    Operator,
    /// A client, by subscribing.
    Client,
}

/// Why a queue is not made or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefineError {
    #[error("there are as many queues as [work_queues] max_queues, or [quotas], allows")]
    TooMany,
    #[error("there is a queue of this name")]
    Exists,
    #[error("the configuration file defines it: change it there and reload")]
    OfFile,
    #[error("{key}: {message}")]
    Wrong { key: &'static str, message: String },
    #[error("the disk is full")]
    NoRoom,
}

impl Broker {
    /// Makes a queue, and binds it.
    pub(super) fn define_queue(
        &self,
        definition: Definition,
        now: std::time::Instant,
        effects: &mut Effects,
    ) -> Result<Arc<QueueHandle>, DefineError> {
        check(&definition.config)?;
        if self.journal.as_ref().is_some_and(|journal| !journal.has_room()) {
            return Err(DefineError::NoRoom);
        }
        let queues = &self.queues;
        let max = queues.settings.read().max_queues;
        let mut by_name = queues.by_name.write();
        if by_name.contains_key(&definition.id) {
            return Err(DefineError::Exists);
        }
        if by_name.len() >= max && definition.origin != Origin::File {
            self.metrics.limit_hits.count(crate::metrics::Limit::MaxQueues);
            return Err(DefineError::TooMany);
        }
        let account = self.account_of(&definition);
        if definition.origin == Origin::Client {
            account.as_ref().map_or(Ok(()), |account| account.take(Quota::Queues)).map_err(|limit| {
                self.metrics.limit_hits.count(limit);
                DefineError::TooMany
            })?;
        } else {
            account.iter().for_each(|account| account.add(Quota::Queues, 1));
        }
        let number = queues.next_number.fetch_add(1, Ordering::Relaxed);
        let (name, config) = (definition.id.name.clone(), definition.config.clone());
        let (secret, wall) = (queues.secret.read().of_queue(number), queues.wall(now));
        let mut work = WorkQueue::new(name, config, secret, rand::random(), wall);
        work.number_from(wall);
        let queue = QueueHandle::new(number, definition, work, account, queues);
        // Told before anybody can find it.
        let state = queue.lock();
        if self.journal.is_some() {
            let content = records::content_of_definition(&state.definition);
            effects.journal.record(Record::Work { stream: number, body: None, content: content.into() });
            self.submit(effects);
        }
        let filters = filters(&state.definition);
        drop(state);
        by_name.insert(queue.id.clone(), queue.clone());
        queues.by_number.write().insert(number, queue.clone());
        drop(by_name);
        self.bind(&queue, &filters);
        queues.count.fetch_add(1, Ordering::AcqRel);
        self.rejoin_all(&queue.id, now);
        tracing::info!(queue = %queue.id, bind = ?filters, "work queue made");
        Ok(queue)
    }

    /// Whose totals a queue counts towards.
    pub(super) fn account_of(&self, definition: &Definition) -> Option<Arc<Account>> {
        let (owner, mount_point) = (definition.owner.as_deref(), definition.id.mount_point.as_deref());
        self.accounts.of(owner.map(Arc::from).as_ref(), mount_point.map(Arc::from).as_ref())
    }

    /// Gives a queue other settings; nothing that is in it is lost by it.
    pub(super) fn redefine_queue(
        &self,
        queue: &Arc<QueueHandle>,
        definition: Definition,
        effects: &mut Effects,
    ) -> Result<(), DefineError> {
        check(&definition.config)?;
        let mut state = queue.lock();
        if state.definition == definition {
            return Ok(());
        }
        let (before, after) = (filters(&state.definition), filters(&definition));
        state.work.set_config(definition.config.clone());
        state.definition = definition;
        if self.journal.is_some() {
            let content = records::content_of_definition(&state.definition);
            effects.journal.record(Record::Work { stream: queue.number, body: None, content: content.into() });
            self.submit(effects);
        }
        drop(state);
        self.unbind(queue, before.iter().filter(|filter| !after.contains(filter)));
        self.bind(queue, &after);
        self.set_wishes(queue);
        queue.look_at(0);
        Ok(())
    }

    fn bind(&self, queue: &Arc<QueueHandle>, filters: &[TopicFilter]) {
        if filters.is_empty() {
            return;
        }
        let options =
            SubscriptionOptions { qos: QoS::ExactlyOnce, retain_as_published: true, ..SubscriptionOptions::default() };
        let mut change = self.router.change();
        for filter in filters {
            change.index.subscribe(filter, Receiver::Queue(queue.clone()), Subscription { options, identifier: None });
        }
    }

    pub(super) fn unbind<'a>(&self, queue: &QueueHandle, filters: impl Iterator<Item = &'a TopicFilter>) {
        let mut change = self.router.change();
        for filter in filters {
            change.index.unsubscribe(filter, queue.key);
        }
    }

    /// Binds a queue that was read back.
    pub(super) fn put_queue(&self, queue: Arc<QueueHandle>) {
        let filters = filters(&queue.lock().definition);
        self.queues.by_name.write().insert(queue.id.clone(), queue.clone());
        self.queues.by_number.write().insert(queue.number, queue.clone());
        self.bind(&queue, &filters);
        self.queues.count.fetch_add(1, Ordering::AcqRel);
    }

    /// Makes what is told of queues known to the journal at once; those who wait for it are told of with the rest.
    pub(in crate::broker) fn submit(&self, effects: &mut Effects) {
        if let Some(journal) = &self.journal {
            journal.submit_changes(&mut effects.journal);
        }
    }
}

fn check(config: &Config) -> Result<(), DefineError> {
    match config.check().into_iter().next() {
        None => Ok(()),
        Some(finding) => Err(DefineError::Wrong { key: finding.key, message: finding.message }),
    }
}

/// The filters of a queue as topics are matched against them.
pub(super) fn filters(definition: &Definition) -> Vec<TopicFilter> {
    let mount_point = definition.id.mount_point.as_deref().unwrap_or_default();
    definition.config.filters().filter_map(|filter| TopicFilter::new(&format!("{mount_point}{filter}")).ok()).collect()
}
