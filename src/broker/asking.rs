//! Questions to whoever is behind the hook, asked before a packet is handled. The packet waits in the read buffer, and those behind
//! it; when the answers are there it is read again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::{StreamExt, stream};
use tokio::sync::oneshot;

use super::client::Client;
use super::handle::SessionHandle;
use super::queues::{NeededToPublish, consumer_filter, right_to_consume};
use super::subscribe::{mounted, right_needed};
use crate::auth::{Action, Hook, Opinion, RightAnswer, RightQuestion};
use crate::metrics::Limit;
use crate::packet::{Packet, Publish, TopicFilter, TopicName};
use crate::queue::topics::Form;

/// Answers to the questions that one packet has raised.
pub type Answers = Vec<(Action, Arc<str>, RightAnswer)>;

/// What the packet that comes next waits for. Packets of an authentication that is under way may come before and behind it (4.12.1).
#[derive(Debug)]
pub enum Question {
    /// Somebody outside is asked, under this revision of the rights.
    Asked(oneshot::Receiver<Answers>, u64),
    Answered(Answers),
}

/// Questions of one packet that are asked at the same time.
const AT_ONCE: usize = 8;

impl Client {
    /// Whether the packet must wait: it is given again once its questions are answered.
    pub(super) fn must_ask(&mut self, packet: &Packet<'_>, now: Instant) -> bool {
        let Some(hold) = &self.hold else { return false };
        let handle = hold.handle.clone();
        if !handle.rights.is_asking() {
            return false;
        }
        if let Some(Question::Answered(answers)) = self.question.take().map(|question| *question) {
            handle.set_current(answers);
            return false;
        }
        let topics: Vec<(Action, Arc<str>)> = match packet {
            Packet::Publish(publish) => self.publish_topics(publish),
            Packet::Subscribe(subscribe) => filters(&handle, subscribe.filters.iter().map(|(filter, _)| filter)),
            _ => return false,
        };
        let revision = handle.rights.revision();
        let mut known = Answers::new();
        let mut open = Vec::new();
        for (action, topic) in topics {
            match (action == Action::Publish).then(|| handle.cached(&topic, now)).flatten() {
                Some((topic, answer)) => known.push((action, topic, answer)),
                None => open.push((action, topic)),
            }
        }
        let Some(hook) = handle.rights.hook().filter(|_| !open.is_empty()) else {
            handle.set_current(known);
            return false;
        };
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            let answers = ask_all(&handle, &*hook, open).await;
            let _ = sender.send(answers); // the client has gone
        });
        self.question = Some(Box::new(Question::Asked(receiver, revision)));
        true
    }

    /// Whether a packet waits for answers.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self.question.as_deref(), Some(Question::Asked(..)))
    }

    /// Looks whether the answers are there.
    pub(super) fn poll_question(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(Question::Asked(receiver, revision)) = self.question.as_deref_mut() else { return };
        let Poll::Ready(result) = Pin::new(receiver).poll(cx) else { return };
        // If nobody has answered, nothing is granted.
        let (answers, revision) = (result.unwrap_or_default(), *revision);
        self.keep_answers(&answers, revision, now);
        self.question = Some(Box::new(Question::Answered(answers)));
    }

    /// What was asked before rights were read anew counts for its own packet alone.
    fn keep_answers(&self, answers: &Answers, revision: u64, now: Instant) {
        let Some(hold) = self.hold.as_ref().filter(|hold| hold.handle.rights.revision() == revision) else { return };
        if let Some(hook) = hold.handle.rights.hook() {
            for (_, topic, answer) in answers.iter().filter(|(action, _, answer)| is_kept(*action, *answer)) {
                if hold.handle.keep_answer(topic.clone(), *answer, hook.memory(), now) {
                    self.broker.metrics.limit_hits.count(Limit::HttpMaxCached);
                }
            }
        }
    }

    /// The whole topics that a PUBLISH needs the right to, and that the files leave open.
    fn publish_topics(&self, publish: &Publish<'_>) -> Vec<(Action, Arc<str>)> {
        let (Some(hold), Some(own)) = (&self.hold, self.connection.topic_of(publish)) else { return Vec::new() };
        let handle = &hold.handle;
        let Ok(topic) = TopicName::new(&own) else { return Vec::new() };
        let NeededToPublish { topic, queue } = NeededToPublish::of(topic);
        let mount_point = handle.mount_point.as_deref().unwrap_or_default();
        let mounted = topic.map(|topic| format!("{mount_point}{topic}"));
        let whole = mounted.into_iter().chain(queue.map(|topic| topic.as_str().to_owned()));
        let brought = handle.brought();
        let asker = brought.asker(&handle.principal);
        let is_open =
            |whole: &String| TopicName::new(whole).is_ok_and(|topic| handle.rights.on_publish(&asker, topic) == Opinion::Ask);
        whole.filter(is_open).map(|whole| (Action::Publish, whole.into())).collect()
    }
}

/// What nobody could say is asked again; what was said about a subscription holds for as long as that does.
fn is_kept(action: Action, answer: RightAnswer) -> bool {
    action == Action::Publish && answer != RightAnswer::Unavailable
}

/// What the filters of a SUBSCRIBE need the right to and the files leave open: with their mount point and without `$share/NAME/`; of a
/// consumer the queue, and what it would be bound to.
fn filters<'a>(handle: &SessionHandle, filters: impl Iterator<Item = &'a TopicFilter>) -> Vec<(Action, Arc<str>)> {
    let whole = |filter: &TopicFilter| mounted(filter, handle.mount_point.as_deref()).ok();
    let needed = filters.flat_map(|filter| match (consumer_filter(filter), filter.shared()) {
        (Some(Ok(consumer)), _) => {
            let bound = if let Form::Bound(bound) = &consumer.form { whole(bound) } else { None };
            [right_to_consume(&consumer), bound]
        }
        (None, None) => [whole(filter), None],
        (None, Some(Ok(shared))) => [whole(&shared.filter), None],
        (Some(Err(_)), _) | (None, Some(Err(_))) => [None, None],
    });
    open_filters(handle, needed.flatten())
}

/// What subscriptions need the right to and the files leave open.
pub(super) fn whole_filters<'a>(
    handle: &SessionHandle,
    filters: impl Iterator<Item = &'a TopicFilter>,
) -> Vec<(Action, Arc<str>)> {
    open_filters(handle, filters.filter_map(right_needed))
}

fn open_filters(handle: &SessionHandle, filters: impl Iterator<Item = TopicFilter>) -> Vec<(Action, Arc<str>)> {
    let brought = handle.brought();
    let asker = brought.asker(&handle.principal);
    let open = filters.filter(|filter| handle.rights.on_subscribe(&asker, filter) == Opinion::Ask);
    open.map(|filter| (Action::Subscribe, filter.as_str().into())).collect()
}

/// Asks about whole topics, some at a time, and gives the answers in any order.
pub(super) async fn ask_all(handle: &SessionHandle, hook: &dyn Hook, topics: Vec<(Action, Arc<str>)>) -> Answers {
    let ask = |(action, topic): (Action, Arc<str>)| {
        let answer = hook.authorize(question(handle, action, &topic));
        async move { (action, topic, answer.await) }
    };
    stream::iter(topics.into_iter().map(ask)).buffer_unordered(AT_ONCE).collect().await
}

fn question(handle: &SessionHandle, action: Action, topic: &Arc<str>) -> RightQuestion {
    let own = handle.mount_point.as_deref().and_then(|mount_point| topic.strip_prefix(mount_point));
    RightQuestion {
        client_id: handle.principal.client_id.clone(),
        username: handle.principal.username.clone(),
        listener: handle.listener.clone(),
        mount_point: handle.mount_point.clone(),
        action,
        topic: own.map_or_else(|| topic.clone(), Into::into),
    }
}
