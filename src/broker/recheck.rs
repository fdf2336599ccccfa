use std::sync::Arc;
use std::time::Instant;

use super::Broker;
use super::effects::Effects;
use super::handle::SessionHandle;
use super::queues::right_to_consume;
use crate::metrics::DropReason;
use crate::packet::{DisconnectReason, TopicFilter};

impl Broker {
    /// Rights were read anew: what was granted before and is not any more goes. Users that are gone are disconnected, anonymous
    /// clients too where they are not let in any more; subscriptions that nothing readable can match end, queued messages that may
    /// not be read are dropped, and retained messages whose publisher may not publish them any more are forgotten. Messages that
    /// were sent and not acknowledged are looked at when the client comes back: until then it may acknowledge them.
    pub fn recheck_rights(&self, now: Instant) {
        let sessions = self.registry.all();
        for handle in &sessions {
            self.recheck_login(handle);
            if !handle.rights.is_unrestricted() {
                self.recheck_session(handle, now);
            }
        }
        let forgotten = self.retained.retain(
            |message, by| by.is_none_or(|by| by.rights.may_publish(&by.principal, message.topic())),
            |topic, body| self.tell_unretained(topic, body),
        );
        tracing::info!(sessions = sessions.len(), retained_forgotten = forgotten, "rights checked again");
    }

    fn recheck_login(&self, handle: &SessionHandle) {
        let authenticator = handle.rights.authenticator();
        let is_welcome = match handle.principal.username.as_deref() {
            Some(user) => authenticator.has_user(user),
            None => authenticator.lets_anonymous_in(),
        };
        if is_welcome {
            return;
        }
        handle.lock(|slot| {
            if let Some(online) = slot.online.as_mut().filter(|online| !online.is_by_certificate) {
                online.close(DisconnectReason::NotAuthorized);
            }
        });
    }

    fn recheck_session(&self, handle: &Arc<SessionHandle>, now: Instant) {
        let mut effects = Effects::default();
        let filters: Vec<TopicFilter> = handle.lock(|slot| slot.session.subscriptions.keys().cloned().collect());
        for filter in filters {
            let shared = filter.shared().and_then(Result::ok);
            let of_queue = right_to_consume(&filter);
            let inner = of_queue.as_ref().unwrap_or_else(|| shared.as_ref().map_or(&filter, |shared| &shared.filter));
            if !handle.rights.may_subscribe(&handle.principal, inner) {
                self.remove_subscription(handle, &filter, now, &mut effects);
            }
        }
        handle.lock(|slot| {
            // Those on disk are looked at when they are read.
            let dropped = slot.session.outbound.extract(|queued| handle.may_get(queued));
            slot.session.outbound.settle(&dropped);
            effects.dropped(DropReason::NotAuthorized, dropped.len() as u64);
            slot.report(&mut effects);
        });
        self.tell_effects(&mut effects);
    }
}
