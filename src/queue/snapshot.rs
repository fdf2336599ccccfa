use super::change::{Change, Record};
use super::entry::{Entry, State};
use super::machine::Queue;

impl<B: Clone> Queue<B> {
    /// The shortest list of changes that rebuilds the queue as it is.
    pub(super) fn snapshot(&self) -> impl Iterator<Item = Change<B>> + '_ {
        let reserved = Change::Reserved { until: self.reserved.max(self.next_seq) };
        let paused = self.is_paused.then_some(Change::Paused);
        let blocked = self.ready.blocked.iter().map(|(key, by)| Change::KeyBlocked { key: *key, by: *by });
        let seen = self.dedup.iter().map(|(at, id)| Change::Seen { id, at });
        let messages = self.entries.iter().map(|entry| Change::Enqueued(self.record_of(entry)));
        std::iter::once(reserved).chain(paused).chain(blocked).chain(seen).chain(messages)
    }

    /// One message as it is, in one change: for a journal that moves what lives out of an old segment.
    pub(super) fn snapshot_of(&self, seq: u64) -> Option<Change<B>> {
        let id = self.entries.find(seq)?;
        Some(Change::Enqueued(self.record_of(&self.entries.slab[id])))
    }

    fn record_of(&self, entry: &Entry<B>) -> Record<B> {
        let last_client = self.last_client(entry).cloned();
        let is_leased = entry.state == State::Leased;
        let course = self.entries.course_of(entry);
        Record {
            // Also a delay that is over: it says where among the others of its key the message stands.
            not_before: (!is_leased && course.until > entry.enqueued_at).then_some(course.until),
            expires_at: course.expires_at.some(),
            key: self.ready.key(entry.key),
            attempts: course.attempts.into(),
            busy: course.busy,
            leases: course.leases,
            is_first: entry.is_first,
            lease: last_client.clone().filter(|_| is_leased).map(|client| (client, course.until)),
            last_client,
            last_code: course.code(),
            dead: self.letters.get(&entry.seq).cloned(),
            ..Record::new(entry.body.clone(), entry.seq, entry.size, entry.enqueued_at)
        }
    }
}
