use std::sync::Arc;

use super::Broker;
use super::handle::SessionHandle;
use crate::metrics::{Batch, DropReason};
use crate::packet::{DisconnectReason, TopicFilter};

impl Broker {
    /// Rights were read anew: what was granted before and is not any more goes. Users that are gone are disconnected, subscriptions
    /// that nothing readable can match end, queued messages that may not be read are dropped, and retained messages whose publisher
    /// may not publish them any more are forgotten.
    pub fn recheck_rights(&self) {
        let sessions = self.registry.all();
        for handle in &sessions {
            if handle.rights.is_unrestricted() && handle.principal.username.is_none() {
                continue;
            }
            self.recheck_session(handle);
        }
        let forgotten = self
            .retained
            .retain(|message, publisher| publisher.is_none_or(|(who, rights)| rights.may_publish(who, message.topic())));
        tracing::info!(sessions = sessions.len(), retained_forgotten = forgotten, "rights checked again");
    }

    fn recheck_session(&self, handle: &Arc<SessionHandle>) {
        let authenticator = handle.rights.authenticator();
        if handle.principal.username.as_deref().is_some_and(|user| !authenticator.has_user(user)) {
            handle.lock(|slot| {
                if let Some(online) = slot.online.as_mut().filter(|online| online.is_by_password) {
                    online.close(DisconnectReason::NotAuthorized);
                }
            });
        }
        let filters: Vec<TopicFilter> = handle.lock(|slot| slot.session.subscriptions.keys().cloned().collect());
        for filter in filters {
            let shared = filter.shared().and_then(Result::ok);
            let inner = shared.as_ref().map_or(&filter, |shared| &shared.filter);
            if !handle.rights.may_subscribe(&handle.principal, inner) {
                self.remove_subscription(handle, &filter);
            }
        }
        let mut batch = Batch::default();
        let dropped = handle.lock(|slot| {
            let dropped = slot.session.outbound.queue.extract(|queued| handle.may_read(queued.message.topic()));
            slot.report(&mut batch);
            dropped
        });
        batch.dropped(DropReason::NotAuthorized, dropped.len() as u64);
        self.metrics.add(&mut batch);
    }
}
