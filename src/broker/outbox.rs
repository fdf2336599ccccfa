use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use super::effects::Effects;
use super::handle::SessionHandle;
use crate::session::OutBuffer;

/// Writing to a plain socket without waiting, from whichever task has something to say.
pub trait DirectWrite: Send + Sync {
    /// As `write_vectored`; `WouldBlock` when the socket takes nothing now.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// The write side of a connection. Whoever holds the token writes, outside the lock; all others only append, and the holder looks
/// again before it lets go: many senders to one receiver make few writes.
pub struct Outbox {
    pub buffer: OutBuffer,
    /// Bytes that the holder of the token is writing.
    taken: usize,
    is_taken: bool,
    /// The socket takes nothing: only the connection's own task tries again, when it is told to.
    pub blocked_since: Option<Instant>,
    /// Through which others may write; `None` where bytes must pass a layer that only the connection's task has.
    direct: Option<Arc<dyn DirectWrite>>,
    /// When the oldest byte in the buffer was put there.
    pub waiting_since: Option<Instant>,
    /// The connection's task waits for the token.
    is_awaited: bool,
    /// A write failed: nothing more is kept.
    pub is_broken: bool,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("len", &self.len()).field("blocked_since", &self.blocked_since).finish_non_exhaustive()
    }
}

/// The bytes that the holder of the token writes.
pub type Taken = OutBuffer;

impl Outbox {
    pub fn new(direct: Option<Arc<dyn DirectWrite>>) -> Self {
        Self {
            buffer: OutBuffer::default(),
            taken: 0,
            is_taken: false,
            blocked_since: None,
            direct,
            waiting_since: None,
            is_awaited: false,
            is_broken: false,
        }
    }

    /// Bytes that the peer has not taken yet.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.taken
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the token and what there is to write; `None` if another one holds it, who will look again, or there is nothing.
    pub fn take(&mut self) -> Option<Taken> {
        if self.is_taken || self.buffer.is_empty() {
            return None;
        }
        self.is_taken = true;
        self.taken = self.buffer.len();
        Some(std::mem::take(&mut self.buffer))
    }

    /// [`Self::take`] for the connection's own task: whoever holds the token wakes it.
    pub fn take_or_wait(&mut self) -> Option<Taken> {
        self.is_awaited |= self.is_taken;
        self.take()
    }

    /// Takes all that is unwritten, and the token for good, as the connection ends: what others append from here on is not written
    /// behind DISCONNECT. `None` while another one is writing, who will wake the connection's task.
    pub fn take_rest(&mut self) -> Option<OutBuffer> {
        if self.is_taken {
            self.is_awaited = true;
            return None;
        }
        self.is_taken = true;
        Some(std::mem::take(&mut self.buffer))
    }

    /// Gives the token back with what was not written.
    pub fn give_back(&mut self, mut rest: Taken) {
        self.is_taken = false;
        self.taken = 0;
        if !rest.is_empty() {
            rest.append_buffer(std::mem::take(&mut self.buffer));
            self.buffer = rest;
        }
    }
}

/// How many slices one write takes at most.
pub const SLICES_MAX: usize = 64;
/// After this many rounds the sender leaves the rest to the connection's own task.
const ROUNDS_MAX: usize = 4;

/// Writes what `handle`'s connection has to send, from the task of a sender, or wakes the connection's own task to do it.
pub fn flush(handle: &SessionHandle, may_write: bool, now: Instant, batch: &mut Effects) -> Option<Instant> {
    let mut waited = None;
    let (epoch, direct, mut taken) = handle.lock(|slot| {
        let online = slot.online.as_mut()?;
        online.is_dirty = false;
        let outbox = &mut online.outbox;
        if outbox.blocked_since.is_some() || online.is_notified {
            return None; // Its own task will see to it.
        }
        match outbox.direct.clone().filter(|_| may_write) {
            Some(direct) => {
                let taken = outbox.take()?;
                waited = outbox.waiting_since.take();
                Some((online.epoch, direct, taken))
            }
            None => {
                if !outbox.buffer.is_empty() {
                    online.notify();
                }
                None
            }
        }
    })?;
    for round in 1.. {
        let result = write_some(&*direct, &mut taken);
        let next = handle.lock(|slot| {
            let is_current = slot.is_online(epoch);
            let outbox = &mut slot.connection(epoch)?.outbox;
            outbox.give_back(std::mem::take(&mut taken));
            let is_awaited = std::mem::take(&mut outbox.is_awaited);
            match result {
                Ok(true) => {}
                Ok(false) => outbox.blocked_since = Some(now),
                Err(_) => outbox.is_broken = true,
            }
            if is_current && matches!(result, Ok(true)) {
                slot.fill(now, batch);
                slot.report(batch);
            }
            let has_replay = is_current && slot.has_more_to_fetch();
            let has_room_again = is_current && slot.has_room_again();
            let online = slot.connection(epoch)?;
            let has_more = !online.outbox.buffer.is_empty();
            if round < ROUNDS_MAX && matches!(result, Ok(true)) && has_more && !is_awaited {
                return online.outbox.take();
            }
            // Its own task also tells work queues that they need not hold back any more.
            let ends_hold = online.holds_work || has_room_again;
            if has_more || is_awaited || has_replay || ends_hold || !matches!(result, Ok(true)) {
                online.notify();
            }
            None
        });
        match next {
            Some(more) => taken = more,
            None => break,
        }
    }
    waited
}

/// Writes until all is written (`true`) or the socket takes nothing more (`false`).
fn write_some(direct: &dyn DirectWrite, taken: &mut Taken) -> io::Result<bool> {
    while !taken.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = taken.slices(&mut slices);
        match direct.try_write(&slices[..used]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => taken.advance(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
