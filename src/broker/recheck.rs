use std::sync::Arc;
use std::time::Instant;

use super::Broker;
use super::asking;
use super::effects::Effects;
use super::handle::SessionHandle;
use super::subscribe::{Ending, right_needed};
use crate::auth::{Action, Opinion, RightAnswer};
use crate::metrics::{Denied, DropReason};
use crate::packet::{DisconnectReason, TopicFilter};

impl Broker {
    /// Rights were read anew: what was granted before and is not any more goes. Users that are gone are disconnected, anonymous
    /// clients too where they are not let in any more; subscriptions that nothing readable can match end, queued messages that may
    /// not be read are dropped, and retained messages whose publisher may not publish them any more are forgotten. Messages that
    /// were sent and not acknowledged are looked at when the client comes back: until then it may acknowledge them.
    pub fn recheck_rights(self: &Arc<Self>, now: Instant) {
        let sessions = self.registry.all();
        for handle in &sessions {
            self.recheck_login(handle);
            handle.forget_answers();
            if !handle.rights.is_unrestricted() {
                self.recheck_session(handle, now);
            }
        }
        let forgotten = self.retained.retain(
            |message, by| by.is_none_or(|by| by.may_publish(message.topic())),
            |topic, body| self.tell_unretained(topic, body),
        );
        tracing::info!(sessions = sessions.len(), retained_forgotten = forgotten, "rights checked again");
        let asked: Vec<_> = sessions.into_iter().filter(|handle| handle.rights.is_asking()).collect();
        if !asked.is_empty() {
            tokio::spawn(self.clone().ask_again(asked));
        }
    }

    /// What somebody outside has said about subscriptions and wills is asked again: what is refused now goes. Where there is no answer
    /// all stays as it is.
    async fn ask_again(self: Arc<Self>, sessions: Vec<Arc<SessionHandle>>) {
        let mut unanswered = 0;
        for handle in &sessions {
            let Some(hook) = handle.rights.hook() else { continue };
            let (subscribed, will) = handle.lock(|slot| {
                let filters: Vec<TopicFilter> = slot.session.subscriptions.keys().cloned().collect();
                (filters, slot.will.as_ref().map(|will| Arc::<str>::from(will.topic().as_str())))
            });
            let mut topics = asking::whole_filters(handle, subscribed.iter());
            topics.extend(
                will.into_iter().filter(|topic| handle.is_asked_about_will(topic)).map(|topic| (Action::Publish, topic)),
            );
            let answers = asking::ask_all(handle, &*hook, topics).await;
            unanswered += answers.iter().filter(|(.., answer)| *answer == RightAnswer::Unavailable).count();
            let denied: Vec<_> = answers.into_iter().filter(|(.., answer)| *answer == RightAnswer::Deny).collect();
            self.take_away(handle, &subscribed, &denied);
        }
        if unanswered > 0 {
            tracing::warn!(unanswered, "rights could not be asked again; subscriptions and wills stay as they were");
        }
    }

    fn take_away(&self, handle: &SessionHandle, subscribed: &[TopicFilter], denied: &[(Action, Arc<str>, RightAnswer)]) {
        let is_denied = |wanted: Action, topic: &str| denied.iter().any(|(action, of, _)| *action == wanted && &**of == topic);
        let mut effects = Effects::default();
        for filter in subscribed {
            if right_needed(filter).is_some_and(|right| is_denied(Action::Subscribe, right.as_str())) {
                self.remove_subscription(handle, (filter, Ending::TakenAway), Instant::now(), &mut effects);
            }
        }
        handle.lock(|slot| {
            if slot.will.take_if(|will| is_denied(Action::Publish, will.topic().as_str())).is_some() {
                self.metrics.authorization_denied.count(Denied::Will);
                handle.store_header(slot, self, &mut effects);
            }
            slot.report(&mut effects);
        });
        self.tell_effects(&mut effects);
    }

    fn recheck_login(&self, handle: &SessionHandle) {
        let authenticator = handle.rights.authenticator();
        let username = handle.principal.username.as_deref();
        handle.lock(|slot| {
            if let Some(online) = slot.online.as_mut().filter(|online| !authenticator.still_lets_in(online.by, username)) {
                online.close(DisconnectReason::NotAuthorized);
            }
        });
    }

    pub(super) fn recheck_session(&self, handle: &Arc<SessionHandle>, now: Instant) {
        let mut effects = Effects::default();
        let brought = handle.brought();
        let asker = brought.asker(&handle.principal);
        let filters: Vec<TopicFilter> = handle.lock(|slot| slot.session.subscriptions.keys().cloned().collect());
        for filter in filters {
            if right_needed(&filter).is_some_and(|right| handle.rights.on_subscribe(&asker, &right) == Opinion::Denied) {
                self.remove_subscription(handle, (&filter, Ending::TakenAway), now, &mut effects);
            }
        }
        handle.lock(|slot| {
            // Those on disk are looked at when they are read.
            let dropped = slot.session.outbound.extract(|queued| handle.may_get(queued));
            slot.session.outbound.settle(&dropped);
            effects.dropped(DropReason::NotAuthorized, dropped.len() as u64);
            slot.tell_of_room();
            slot.report(&mut effects);
        });
        self.tell_effects(&mut effects);
    }
}
