use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::packet::Message;

/// Which delivery of which work queue a packet is: what its queue needs to know it again by. A session only carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errand {
    pub queue: u64,
    /// From the queue's dead letters.
    pub is_dead: bool,
    pub consumer: u64,
    pub seq: u64,
    pub number: u16,
}

/// What became of an errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The client was never sent it.
    Unsent,
    /// The client may have it, and will not answer any more.
    Unanswered,
    /// The client has answered with this code, or something stands for that.
    Answered(u8),
}

/// Whoever gave a session an errand.
pub trait Returns: fmt::Debug + Send + Sync {
    /// The session is done with it. Called under the session's lock at times: nothing may be locked but what is locked last. `is_seen`:
    /// whoever let go of it looks at the queue anyway.
    fn returned(&self, errand: Errand, fate: Fate, is_seen: bool);
}

/// A message that a work queue has lent to a session. Whatever way the session lets go of it, the queue is told: what the client has
/// answered, or nothing if it was not sent, or is gone.
pub struct Work {
    message: Message,
    errand: Errand,
    returns: Arc<dyn Returns>,
    /// The code, [`UNSENT`] or [`UNANSWERED`].
    code: AtomicU16,
}

const UNSENT: u16 = 0x100;
const UNANSWERED: u16 = 0x101;
/// On top of a code.
const SEEN: u16 = 0x200;

impl Work {
    pub fn new(message: Message, errand: Errand, returns: Arc<dyn Returns>) -> Arc<Self> {
        Arc::new(Self { message, errand, returns, code: AtomicU16::new(UNSENT) })
    }

    pub const fn errand(&self) -> &Errand {
        &self.errand
    }

    /// As this client gets it.
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// From here on the client may have it.
    pub fn sent(&self) {
        self.code.store(UNANSWERED, Ordering::Relaxed);
    }

    /// The client's answer, or what stands for one.
    pub fn answer(&self, code: u8) {
        self.code.store(code.into(), Ordering::Relaxed);
    }

    /// The same, by someone who will look at the queue.
    pub fn answer_seen(&self, code: u8) {
        self.code.store(SEEN | u16::from(code), Ordering::Relaxed);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let code = *self.code.get_mut();
        let fate = match code & !SEEN {
            UNSENT => Fate::Unsent,
            code => u8::try_from(code).map_or(Fate::Unanswered, Fate::Answered),
        };
        self.returns.returned(self.errand, fate, code & SEEN != 0);
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("errand", &self.errand).finish_non_exhaustive()
    }
}
