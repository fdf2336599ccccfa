//! What holds after each step.

use super::*;
use crate::routing::Subscriber;

impl World {
    /// What holds whenever nothing moves.
    pub(super) fn check(&mut self) {
        self.wills.sort_unstable();
        self.truth.wills.sort_unstable();
        assert_eq!(self.wills, self.truth.wills, "wills");
        self.check_sessions();
        self.check_index();
        self.check_gauges();
        self.check_ends();
    }

    fn check_sessions(&mut self) {
        let sessions = self.house.broker.registry.all();
        assert_eq!(sessions.len(), self.truth.live().count() + 1, "sessions");
        for handle in sessions {
            if !self.handles.iter().any(|known| std::ptr::eq(known.as_ptr(), &*handle)) {
                self.handles.push(Arc::downgrade(&handle));
            }
            let Some(device) = self.devices.iter().position(|device| device.id == **handle.client_id()) else { continue };
            let name = self.truth.of_device(device).expect("a session that must be");
            let truth = &self.truth.sessions[name];
            handle.lock(|slot| {
                assert!(!slot.is_ended && slot.past().is_none_or(|past| past.evicted.is_empty()));
                assert_eq!(slot.online.is_some(), truth.online.is_some(), "whether {} is online", self.devices[device].id);
                let mut filters: Vec<_> = slot.session.subscriptions.keys().map(TopicFilter::as_str).collect();
                filters.sort_unstable();
                assert!(filters.iter().eq(truth.subscriptions.keys()), "subscriptions: {filters:?}");
                assert_eq!(slot.session.received_len(), truth.received.len());
                let outbound = &slot.session.outbound;
                assert!(outbound.inflight.len() <= usize::from(MAX_INFLIGHT), "{outbound:?}");
                assert!(outbound.queue.len() <= slot.limits.max_queued_messages, "{outbound:?}");
                let Some(online) = &slot.online else { return };
                let is_blocked = self.tasks[truth.online.unwrap()].socket.is_awaited();
                assert_eq!(online.outbox.blocked_since.is_some(), is_blocked, "whether it is blocked");
                let blocked_for = online.outbox.blocked_since.map_or(Duration::ZERO, |since| self.house.now - since);
                assert!(blocked_for <= 2 * PATIENCE + TICK, "stuck for too long");
                assert!(online.outbox.is_empty() || is_blocked, "something is unwritten and nobody was woken");
                let device = &self.devices[device];
                let waits_for_device = is_blocked || device.task != truth.online || !device.owed.is_empty();
                assert!(outbound.queue.is_empty() || waits_for_device, "nobody was woken: {outbound:?} {online:?}");
            });
        }
    }

    fn check_index(&self) {
        let (mut ordinary, mut shared) = (1, 0); // the watcher's own
        for (_, session) in self.truth.live() {
            let count = session.subscriptions.keys().filter(|filter| filter.starts_with("$share/")).count();
            shared += count;
            ordinary += session.subscriptions.len() - count;
        }
        let index = self.house.broker.router.change();
        assert_eq!((index.index.len(), index.index.shared_len()), (ordinary + shared, shared), "subscriptions in the index");
        for topic in TOPICS {
            let matches = index.index.matches(TopicName::new(topic).unwrap());
            let mut found: Vec<_> = matches
                .recipients
                .iter()
                .map(|recipient| {
                    let handle = recipient.subscriber.session().expect("there are no queues here");
                    assert_eq!(handle.key, recipient.subscriber.key());
                    handle.client_id().to_string()
                })
                .collect();
            found.sort_unstable();
            let mut expected: Vec<_> = self
                .truth
                .live()
                .filter(|(_, session)| session.subscriptions.keys().any(|filter| truth::is_match(filter, topic)))
                .map(|(_, session)| self.devices[session.device].id.clone())
                .collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "recipients of {topic}");
        }
    }

    fn check_gauges(&self) {
        let broker = &self.house.broker;
        broker.measure(self.house.now);
        let (mut queued, mut bytes, mut inflight) = (0, 0, 0);
        for handle in broker.registry.all() {
            handle.lock(|slot| {
                queued += slot.session.outbound.queue.len() as u64;
                bytes += slot.session.outbound.queue.bytes() as u64;
                inflight += slot.session.outbound.inflight.len() as u64;
            });
        }
        let traffic = broker.metrics.traffic();
        assert_eq!((traffic.queued_messages(), traffic.queued_bytes(), traffic.inflight_messages()), (queued, bytes, inflight));
        let online = self.truth.live().filter(|(_, session)| session.online.is_some()).count() as u64 + 1;
        let all = self.truth.live().count() as u64 + 1;
        let metrics = &broker.metrics;
        assert_eq!((metrics.sessions.online.get(), metrics.sessions.offline.get()), (online, all - online), "sessions");
        assert_eq!(metrics.retained_messages.get(), self.truth.retained.len() as u64);
        let lost: Vec<_> =
            DropReason::ALL.iter().filter(|reason| reason.is_loss() && **reason != DropReason::SessionGone).collect();
        let lost = lost.into_iter().filter(|reason| **reason != DropReason::SlowConsumer);
        let lost = lost.filter(|reason| !self.is_narrow || **reason != DropReason::QueueFull);
        assert_eq!(lost.map(|reason| traffic.messages_dropped(*reason)).sum::<u64>(), 0, "lost in spite of all the room");
    }

    /// Those who say nothing are ended in time.
    fn check_ends(&self) {
        for device in self.devices.iter().filter(|device| device.is_welcome) {
            let task = &self.tasks[device.task.unwrap()];
            if task.state != TaskState::Open {
                continue;
            }
            let since = |instant: Option<Instant>| instant.map_or(Duration::ZERO, |at| self.house.now - at);
            assert!(device.keep_alive == 0 || since(device.silent_since) <= Duration::from_secs(16), "silent for too long");
        }
    }
}
