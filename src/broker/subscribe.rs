use std::sync::Arc;
use std::time::Instant;

use super::Broker;
use super::effects::Effects;
use super::handle::{Receiver, SessionHandle, Slot};
use super::log_limiter::excerpt;
use super::queues::{consumer_filter, right_to_consume, wish_of};
use super::quotas::Quota;
use crate::auth::RightAnswer;
use crate::metrics::{Denied, Limit};
use crate::packet::{
    RetainHandling, Subscribe, SubscribeReason, SubscriptionOptions, TopicFilter, Unsubscribe, UnsubscribeReason,
};
use crate::routing;
use crate::session::{Limits, Replay, Session, Subscription};
use crate::storage::ConsumerWish;

impl Broker {
    /// Makes the subscriptions of one SUBSCRIBE, each on its own: one code per filter, in their order `[MQTT-3.8.4-5]`. And why one was
    /// refused, if there is something to say.
    pub(super) fn subscribe(
        &self,
        handle: &Arc<SessionHandle>,
        subscribe: &Subscribe<'_>,
        limits: &Limits,
        now: Instant,
        effects: &mut Effects,
    ) -> (Vec<SubscribeReason>, Option<&'static str>) {
        let (mut why_refused, wish) = (None, wish_of(subscribe.user_properties));
        let mut one = |(filter, options): &(TopicFilter, SubscriptionOptions)| {
            let identifier = subscribe.subscription_identifier;
            let made = match consumer_filter(filter) {
                None => {
                    let made = self.subscribe_one(handle, filter, *options, identifier, limits, effects);
                    made.map_err(|reason| (reason, None))
                }
                Some(parsed) => {
                    let made = self.consume(handle, (filter, parsed), (*options, identifier, wish), limits, now, effects);
                    made.map_err(|(reason, why)| {
                        self.metrics.queue_refusals.increment();
                        (reason, Some(why))
                    })
                }
            };
            made.unwrap_or_else(|(reason, why)| {
                if let Some(suppressed) = self.log_limiter.allow("subscription refused", now) {
                    let (client, filter) = (&**handle.client_id(), excerpt(filter.as_str()));
                    tracing::info!(client, filter, %reason, why, suppressed, "subscription refused");
                }
                why_refused = why_refused.or(why);
                reason
            })
        };
        let reasons = subscribe.filters.iter().map(&mut one).collect();
        (reasons, why_refused)
    }

    fn subscribe_one(
        &self,
        handle: &Arc<SessionHandle>,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        identifier: Option<u32>,
        limits: &Limits,
        effects: &mut Effects,
    ) -> Result<SubscribeReason, SubscribeReason> {
        if handle.stored_as.is_some() && self.journal.as_ref().is_some_and(|journal| !journal.has_room()) {
            self.metrics.storage.refused.increment();
            return Err(SubscribeReason::QuotaExceeded);
        }
        if let Err(limit) = limits.check_topic(filter.as_str()) {
            self.metrics.limit_hits.count(limit);
            return Err(SubscribeReason::TopicFilterInvalid);
        }
        let shared = filter.shared().transpose().map_err(|_| SubscribeReason::TopicFilterInvalid)?;
        let inner = shared.as_ref().map_or(filter, |shared| &shared.filter);
        let inner = mounted(inner, handle.mount_point.as_deref())?;
        self.check_subscribe(handle, &inner)?;
        let filter = match &shared {
            None => inner,
            Some(shared) => TopicFilter::new(&format!("$share/{}/{}", shared.share_name, inner))
                .map_err(|_| SubscribeReason::TopicFilterInvalid)?,
        };
        let subscription = Subscription { options, identifier, wish: ConsumerWish::default() };
        let replays = |is_new: bool| {
            // 4.8.2: no retained messages for shared subscriptions.
            shared.is_none()
                && match options.retain_handling {
                    RetainHandling::Send => true,
                    RetainHandling::SendIfNew => is_new,
                    RetainHandling::DoNotSend => false,
                }
        };
        self.add_subscription(handle, &filter, subscription, limits.max_subscriptions, replays, effects)?;
        Ok(granted(options))
    }

    /// Whether a client may subscribe to a whole filter, without `$share/NAME/`.
    pub(super) fn check_subscribe(&self, handle: &SessionHandle, filter: &TopicFilter) -> Result<(), SubscribeReason> {
        let reason = match handle.may_subscribe(filter) {
            RightAnswer::Allow => return Ok(()),
            RightAnswer::Deny => SubscribeReason::NotAuthorized,
            RightAnswer::Unavailable => SubscribeReason::UnspecifiedError,
        };
        self.metrics.authorization_denied.count(Denied::Subscribe);
        Err(reason)
    }

    /// Index and session change together: a session that ends meanwhile leaves nothing behind.
    fn add_subscription(
        &self,
        handle: &Arc<SessionHandle>,
        filter: &TopicFilter,
        subscription: Subscription,
        subscriptions_max: usize,
        replays: impl FnOnce(bool) -> bool,
        effects: &mut Effects,
    ) -> Result<(), SubscribeReason> {
        let mut change = self.router.change();
        let is_new = handle.lock(|slot| {
            if slot.is_ended {
                return Err(SubscribeReason::UnspecifiedError);
            }
            let session = &mut slot.session;
            let is_new = !session.subscriptions.contains_key(filter);
            if is_new {
                self.take_subscription(handle, session, subscriptions_max)?;
            }
            session.subscriptions.insert(filter.clone(), subscription);
            if replays(is_new) {
                session.replays.retain(|replay| replay.filter != *filter);
                session.replays.push(Replay { filter: filter.clone(), from: None, is_held: handle.stored_as.is_some() });
            }
            handle.store_subscription(slot, filter, self);
            slot.report(effects);
            Ok(is_new)
        })?;
        let entry = routing::Subscription { options: subscription.options, identifier: subscription.identifier };
        let was_new = change.index.subscribe(filter, Receiver::Session(handle.clone()), entry);
        debug_assert_eq!(is_new, was_new);
        Ok(())
    }

    /// Room for one subscription more, in the session and for its user.
    pub(super) fn take_subscription(
        &self,
        handle: &SessionHandle,
        session: &Session,
        subscriptions_max: usize,
    ) -> Result<(), SubscribeReason> {
        let taken = if session.subscriptions.len() >= subscriptions_max {
            Err(Limit::MaxSubscriptions)
        } else {
            handle.account.as_ref().map_or(Ok(()), |account| account.take(Quota::Subscriptions))
        };
        taken.map_err(|limit| {
            self.metrics.limit_hits.count(limit);
            SubscribeReason::QuotaExceeded
        })
    }

    /// Ends the subscriptions of one UNSUBSCRIBE; an unknown one is acknowledged too `[MQTT-3.10.4-5]`.
    pub(super) fn unsubscribe(
        &self,
        handle: &SessionHandle,
        unsubscribe: &Unsubscribe<'_>,
        now: Instant,
        effects: &mut Effects,
    ) -> Vec<UnsubscribeReason> {
        let mut one = |filter: &TopicFilter| {
            let Ok(filter) = mounted_whole(filter, handle.mount_point.as_deref()) else {
                return UnsubscribeReason::TopicFilterInvalid;
            };
            if self.remove_subscription(handle, (&filter, Ending::Unsubscribed), now, effects) {
                UnsubscribeReason::Success
            } else {
                UnsubscribeReason::NoSubscriptionExisted
            }
        };
        unsubscribe.filters.iter().map(&mut one).collect()
    }

    pub(super) fn remove_subscription(
        &self,
        handle: &SessionHandle,
        (filter, how): (&TopicFilter, Ending),
        now: Instant,
        effects: &mut Effects,
    ) -> bool {
        if consumer_filter(filter).is_some() {
            return self.remove_consumer(handle, (filter, how), now, effects);
        }
        let mut change = self.router.change();
        let was_there = handle.lock(|slot| {
            slot.session.replays.retain(|replay| replay.filter != *filter);
            let was_there = self.drop_subscription(handle, slot, filter);
            slot.report(effects);
            was_there
        });
        if was_there {
            change.index.unsubscribe(filter, handle.key);
        }
        was_there
    }
}

impl Broker {
    /// What all of them have in common: the session, its user and the journal know of it no more.
    fn drop_subscription(&self, handle: &SessionHandle, slot: &mut Slot, filter: &TopicFilter) -> bool {
        let was_there = slot.session.subscriptions.remove(filter).is_some();
        if was_there {
            handle.account.iter().for_each(|account| account.give_back(Quota::Subscriptions, 1));
            handle.store_subscription(slot, filter, self);
        }
        was_there
    }

    fn remove_consumer(
        &self,
        handle: &SessionHandle,
        (filter, how): (&TopicFilter, Ending),
        now: Instant,
        effects: &mut Effects,
    ) -> bool {
        let (was_there, membership) = handle.lock(|slot| {
            let was_there = self.drop_subscription(handle, slot, filter);
            slot.report(effects);
            (was_there, slot.forget_membership(filter))
        });
        match membership {
            Some(membership) => self.end_consumer(handle, (&membership, how), effects, now),
            None => _ = self.queues.forget_deserted(handle, filter),
        }
        was_there
    }
}

/// Why a subscription is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its client wants it so: what a work queue has lent it, it may finish.
    Unsubscribed,
    /// It is not, or no more, to have it.
    TakenAway,
}

fn granted(options: SubscriptionOptions) -> SubscribeReason {
    use crate::packet::QoS;
    match options.qos {
        QoS::AtMostOnce => SubscribeReason::GrantedQos0,
        QoS::AtLeastOnce => SubscribeReason::GrantedQos1,
        QoS::ExactlyOnce => SubscribeReason::GrantedQos2,
    }
}

/// The filter that the client of a subscription must have the right to; `None`: nobody has such a subscription.
pub(super) fn right_needed(filter: &TopicFilter) -> Option<TopicFilter> {
    match (consumer_filter(filter), filter.shared()) {
        (Some(parsed), _) => right_to_consume(&parsed.ok()?),
        (None, Some(shared)) => Some(shared.ok()?.filter),
        (None, None) => Some(filter.clone()),
    }
}

pub(super) fn mounted(filter: &TopicFilter, mount_point: Option<&str>) -> Result<TopicFilter, SubscribeReason> {
    match mount_point {
        None => Ok(filter.clone()),
        Some(mount_point) => {
            TopicFilter::new(&format!("{mount_point}{filter}")).map_err(|_| SubscribeReason::TopicFilterInvalid)
        }
    }
}

fn mounted_whole(filter: &TopicFilter, mount_point: Option<&str>) -> Result<TopicFilter, SubscribeReason> {
    if consumer_filter(filter).is_some() {
        return Ok(filter.clone()); // Queues of a mount point are found by it.
    }
    match filter.shared() {
        None => mounted(filter, mount_point),
        Some(Err(_)) => Err(SubscribeReason::TopicFilterInvalid),
        Some(Ok(shared)) => {
            let inner = mounted(&shared.filter, mount_point)?;
            TopicFilter::new(&format!("$share/{}/{inner}", shared.share_name)).map_err(|_| SubscribeReason::TopicFilterInvalid)
        }
    }
}
