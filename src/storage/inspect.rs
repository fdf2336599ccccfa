use super::backend::Backend;
use super::clock::Clock;
use super::error::StorageError;
use super::record::OnlineState;
use super::recovery::{Found, find, read_bodies};
use super::work::WorkState;

/// What is in a data directory, for people and scripts.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Summary {
    pub segments: usize,
    /// Bytes of all segments, space that is reserved included.
    pub segment_bytes: u64,
    pub checkpoint_bytes: u64,
    /// Bytes of a last batch that was not written to its end.
    pub torn_bytes: u64,
    pub sessions: Vec<SessionSummary>,
    /// Topics with a retained message, in order.
    pub retained: Vec<String>,
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct SessionSummary {
    pub client_id: String,
    pub username: Option<String>,
    pub mount_point: Option<String>,
    pub listener: String,
    /// It had a connection when the last record was written.
    pub online: bool,
    /// Milliseconds since the epoch; none while online, or if it never expires.
    pub expires_at: Option<u64>,
    pub subscriptions: Vec<String>,
    /// Messages that wait, or are not acknowledged to the end.
    pub messages: usize,
    /// QoS 2 messages that came in and were not released.
    pub received: usize,
    pub has_will: bool,
}

impl Summary {
    /// Reads a data directory and changes nothing. `work` folds what the work queues have told, and comes back with it.
    ///
    /// # Errors
    /// Damage, a newer format, what the operating system says.
    pub fn read(backend: &dyn Backend, work: Box<dyn WorkState>) -> Result<(Self, Box<dyn WorkState>), StorageError> {
        Ok(Self::of(find(backend, None, work, &mut |_, _| ())?))
    }

    /// The same, and reads the bodies of all messages that wait, as a start does. `clock` is for those that expire.
    ///
    /// # Errors
    /// As [`Self::read`], and if there is no journal at all.
    pub fn check(
        backend: &dyn Backend,
        work: Box<dyn WorkState>,
        clock: &Clock,
    ) -> Result<(Self, Box<dyn WorkState>), StorageError> {
        let mut found = find(backend, None, work, &mut |_, _| ())?;
        if found.segments.is_empty() {
            return Err(StorageError::Nothing);
        }
        read_bodies(&mut found, None, clock)?;
        Ok(Self::of(found))
    }

    fn of(found: Found) -> (Self, Box<dyn WorkState>) {
        let mut sessions: Vec<_> = found
            .state
            .sessions
            .values()
            .map(|session| SessionSummary {
                client_id: session.header.client_id.to_string(),
                username: session.header.username.as_deref().map(String::from),
                mount_point: session.header.mount_point.as_deref().map(String::from),
                listener: session.header.listener.to_string(),
                online: session.header.state == OnlineState::Online,
                expires_at: match session.header.state {
                    OnlineState::Online => None,
                    OnlineState::Offline { expires_at } => expires_at,
                },
                subscriptions: session.subscriptions.keys().map(ToString::to_string).collect(),
                messages: session.entries.len(),
                received: session.received.len(),
                has_will: session.header.will.is_some(),
            })
            .collect();
        sessions.sort_by(|one, other| (&one.mount_point, &one.client_id).cmp(&(&other.mount_point, &other.client_id)));
        let mut retained: Vec<_> = found.state.retained.keys().map(ToString::to_string).collect();
        retained.sort_unstable();
        let summary = Self {
            segments: found.segments.len(),
            segment_bytes: found.report.bytes,
            checkpoint_bytes: found.checkpoint.1,
            torn_bytes: found.report.torn,
            sessions,
            retained,
        };
        (summary, found.state.work)
    }
}
