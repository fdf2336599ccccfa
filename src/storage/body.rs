use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::frame::FRAME_HEAD;
use super::journal::Item;
use super::record::{Publisher, Record};
use super::segment::{Place, Segment};
use crate::packet::{Message, PacketId, QoS, TopicFilter};

/// A message that is to survive, shared by all who wait for it: in memory until it is written, then on disk. When the last one lets go of
/// it, its bytes count as dead.
///
/// Until it is written, those who are done with it before just take themselves out: a message that nobody waits for any more when its
/// turn comes is not written at all.
#[derive(Debug)]
pub struct Body {
    state: Mutex<State>,
    expiry: Expiry,
    /// `bytes << 2 | QoS`: no message has more than 2^28 bytes.
    size: u32,
}

/// When a message expires, in tenths of a second after [`ORIGIN`], rounded up; 0 is never, and as good as never. Small, since there may be millions. One that has
/// expired before is found to have at the first second.
#[derive(Clone, Copy, Debug)]
struct Expiry(u32);

/// The instant from which expiry counts in this process: that of its first [`super::Clock`].
static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Expiry counts from here, unless it counts already.
pub(super) fn begin_time(at: Instant) {
    ORIGIN.get_or_init(|| at);
}

/// In milliseconds.
const TENTH: u128 = 100;

impl Expiry {
    fn of(expires_at: Option<Instant>) -> Self {
        let Some(at) = expires_at else { return Self(0) };
        let after = at.saturating_duration_since(*ORIGIN.get_or_init(|| at));
        Self(u32::try_from(after.as_millis().div_ceil(TENTH).max(1)).unwrap_or(0))
    }

    fn instant(self) -> Option<Instant> {
        let origin = ORIGIN.get().filter(|_| self.0 > 0)?;
        origin.checked_add(Duration::from_millis(u64::from(self.0) * TENTH as u64))
    }
}

#[derive(Debug)]
enum State {
    Pending(Box<Pending>),
    Stored { segment: Arc<Segment>, offset: u32 },
}

/// A body that is not on disk yet, with what will be written beside it.
#[derive(Debug)]
struct Pending {
    message: Message,
    recipients: SmallVec<[Recipient; 1]>,
    received: Option<Received>,
    retained: Option<Arc<Publisher>>,
    /// Streams of work queues that have it.
    holders: SmallVec<[u64; 2]>,
    /// It is written though its queues are done with it: something else is remembered with it.
    is_kept: bool,
    /// The journal has been told of it and has not had its turn yet.
    is_given: bool,
    /// A work queue will hand it out soon: it may stay in memory when it is written.
    is_wanted_soon: bool,
    /// It is being written there, or has been.
    place: Option<(Arc<Segment>, u32)>,
    /// It lies at its place, and is here besides until somebody takes it.
    is_written: bool,
}

impl Pending {
    /// Where it lies, once it is there.
    fn written_at(&self) -> Option<&(Arc<Segment>, u32)> {
        self.place.as_ref().filter(|_| self.is_written)
    }
}

/// Bytes of memory around the content of a message that is kept.
pub const AROUND: usize = 256;

/// Where a message is to be had.
#[derive(Debug)]
pub(super) enum Found {
    Here(Message),
    /// On disk only.
    There(Place),
}

/// A session that a message waits for.
#[derive(Clone, Debug)]
pub struct Recipient {
    pub session: u64,
    /// The place in the session's order.
    pub sequence: u64,
    pub qos: QoS,
    /// The RETAIN flag that this receiver sees.
    pub retain: bool,
    pub notes: Option<Arc<Notes>>,
}

/// A work queue that has a message.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    pub stream: u64,
    /// Both are written even if the queue is done with the message before that.
    pub is_kept: bool,
    /// The queue hands it out soon: it stays in memory until then, if there is room.
    pub is_wanted_soon: bool,
}

/// What few recipients have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    pub identifiers: SmallVec<[u32; 1]>,
    /// The whole filter of the shared subscription that chose the session.
    pub share: Option<TopicFilter>,
}

/// The QoS 2 exchange that a message came in by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub session: u64,
    pub packet_id: PacketId,
}

/// Bytes of a body's content before topic, properties and payload: flags (1), lengths (2 + 4), expiry (8).
pub(super) const BODY_HEAD: usize = 15;

impl Body {
    pub fn new(message: Message) -> Arc<Self> {
        let expiry = Expiry::of(message.expires_at);
        let size = (message.len() as u32) << 2 | message.qos as u32;
        let pending = Pending {
            message,
            recipients: SmallVec::new(),
            received: None,
            retained: None,
            holders: SmallVec::new(),
            is_kept: false,
            is_given: false,
            is_wanted_soon: false,
            place: None,
            is_written: false,
        };
        Arc::new(Self { state: Mutex::new(State::Pending(Box::new(pending))), expiry, size })
    }

    /// One that lies on disk already; it counts as live there.
    pub(super) fn stored(segment: Arc<Segment>, offset: u32, size: u32, qos: QoS, expires_at: Option<Instant>) -> Arc<Self> {
        segment.add_live(frame_length(size));
        let state = Mutex::new(State::Stored { segment, offset });
        Arc::new(Self { state, expiry: Expiry::of(expires_at), size: size << 2 | qos as u32 })
    }

    /// Bytes of topic, properties and payload.
    pub const fn size(&self) -> usize {
        (self.size >> 2) as usize
    }

    /// The QoS it was published with.
    pub const fn qos(&self) -> QoS {
        match self.size & 3 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    pub fn is_expired(&self, now: Instant) -> bool {
        self.expiry.instant().is_some_and(|expiry| expiry <= now)
    }

    pub fn expires_at(&self) -> Option<Instant> {
        self.expiry.instant()
    }

    /// The message, while it is in memory.
    pub fn message(&self) -> Option<Message> {
        match &*self.state.lock() {
            State::Pending(pending) => Some(pending.message.clone()),
            State::Stored { .. } => None,
        }
    }

    /// The message, or where to read it. One that is in memory besides its place on disk goes from there when as many have asked for it as
    /// work queues have it: whoever asks keeps it.
    pub(super) fn find(&self) -> Found {
        let mut state = self.state.lock();
        match &mut *state {
            State::Pending(pending) => {
                let message = pending.message.clone();
                if pending.is_written {
                    pending.holders.pop();
                    let place = pending.place.take_if(|_| pending.holders.is_empty());
                    if let Some((segment, offset)) = place {
                        segment.take_recent(self.weight());
                        *state = State::Stored { segment, offset };
                    }
                }
                Found::Here(message)
            }
            State::Stored { segment, offset } => Found::There(place_in(segment, *offset)),
        }
    }

    /// One more session waits for it. Returns what the journal must be told, if it does not know yet.
    #[must_use]
    pub fn add(self: &Arc<Self>, recipient: Recipient) -> Option<Item> {
        self.tell(|pending| match pending {
            Some(pending) => {
                pending.recipients.push(recipient);
                None
            }
            None => Some(Record::Queued { recipient, body: self.clone() }),
        })
    }

    /// A session is done with it. `false`: it is written already, so that a [`Record::Settled`] must tell.
    #[must_use]
    pub fn settle(&self, session: u64, sequence: u64) -> bool {
        match &mut *self.state.lock() {
            State::Pending(pending) if pending.place.is_none() => {
                pending.recipients.retain(|there| (there.session, there.sequence) != (session, sequence));
                true
            }
            State::Pending(_) | State::Stored { .. } => false,
        }
    }

    /// It came in by a QoS 2 exchange that must not be taken twice: both are written together. Only for one that is not written yet.
    #[must_use]
    pub fn came_by(self: &Arc<Self>, session: u64, packet_id: PacketId) -> Option<Item> {
        self.tell(|pending| {
            let pending = pending.expect("a body is told how it came before it is given to the journal");
            pending.received = Some(Received { session, packet_id });
            None
        })
    }

    /// It is the retained message of its topic. Only for one that is not written yet.
    #[must_use]
    pub fn retain(self: &Arc<Self>, publisher: Arc<Publisher>) -> Option<Item> {
        self.tell(|pending| {
            let pending = pending.expect("a body is told what it is before it is given to the journal");
            pending.retained = Some(publisher);
            None
        })
    }

    /// A work queue has it, and says so by a [`Record::Work`] of its stream, told behind it.
    #[must_use]
    pub fn hold(self: &Arc<Self>, holder: Holder) -> Option<Item> {
        self.tell(|pending| {
            if let Some(pending) = pending {
                pending.holders.push(holder.stream);
                pending.is_kept |= holder.is_kept;
                pending.is_wanted_soon |= holder.is_wanted_soon;
            }
            None
        })
    }

    /// A work queue is done with it. `true`: the record that said it was there will not be written, so nothing need be said of its end.
    #[must_use]
    pub fn let_go(&self, stream: u64) -> bool {
        match &mut *self.state.lock() {
            State::Pending(pending) if pending.place.is_none() && !pending.is_kept => {
                pending.holders.retain(|holder| *holder != stream);
                true
            }
            State::Pending(_) | State::Stored { .. } => false,
        }
    }

    /// Where it lies, or is being written to, for a work queue's record of this stream; `None` if that is not to be written.
    pub(super) fn place_for(&self, stream: u64) -> Option<Place> {
        match &*self.state.lock() {
            State::Pending(pending) if !pending.is_written && !pending.holders.contains(&stream) => None,
            State::Pending(pending) => pending.place.as_ref().map(|(segment, offset)| place_in(segment, *offset)),
            State::Stored { segment, offset } => Some(place_in(segment, *offset)),
        }
    }

    /// Another one is its topic's retained message, or none: if it is not written before that, it need not be. The journal must be told
    /// together with what takes its place, and not before: otherwise a crash in between leaves neither.
    #[must_use]
    pub fn unretain(self: &Arc<Self>) -> Item {
        Item::Superseded(self.clone())
    }

    pub(super) fn forget_retained(&self) {
        if let State::Pending(pending) = &mut *self.state.lock()
            && pending.place.is_none()
        {
            pending.retained = None;
        }
    }

    /// Where it lies, or is being written to.
    pub fn place(&self) -> Option<Place> {
        match &*self.state.lock() {
            State::Pending(pending) => pending.place.as_ref().map(|(segment, offset)| place_in(segment, *offset)),
            State::Stored { segment, offset } => Some(place_in(segment, *offset)),
        }
    }

    /// Where it lies, once it is there.
    pub(super) fn stored_at(&self) -> Option<Place> {
        match &*self.state.lock() {
            State::Pending(pending) => pending.written_at().map(|(segment, offset)| place_in(segment, *offset)),
            State::Stored { segment, offset } => Some(place_in(segment, *offset)),
        }
    }

    /// The file to read it from, once it is there. All threads count the file's holders in one place: who only asks where it lies takes
    /// [`Self::stored_at`].
    pub(super) fn stored_in(&self) -> Option<(Arc<Segment>, u32)> {
        match &*self.state.lock() {
            State::Pending(pending) => pending.written_at().cloned(),
            State::Stored { segment, offset } => Some((segment.clone(), *offset)),
        }
    }

    /// Whether the identifier that it came under has been written, or is just being.
    pub fn is_receipt_written(&self) -> bool {
        match &*self.state.lock() {
            State::Pending(pending) => pending.received.is_none(),
            State::Stored { .. } => true,
        }
    }

    /// Whether it is still to be written as a retained message.
    pub(super) fn is_wanted_unwritten(&self) -> bool {
        match &*self.state.lock() {
            State::Pending(pending) if pending.is_written => false,
            State::Pending(pending) => pending.retained.is_some() || !pending.holders.is_empty() || pending.place.is_some(),
            State::Stored { .. } => false,
        }
    }

    /// The session that it waits for, the first if there are several; 0 if there is none.
    pub(super) fn first_session(&self) -> u64 {
        match &*self.state.lock() {
            State::Pending(pending) => pending.recipients.first().map_or(0, |recipient| recipient.session),
            State::Stored { .. } => 0,
        }
    }

    /// Bytes of its frame.
    pub(super) fn frame_length(&self) -> u64 {
        frame_length(self.size >> 2)
    }

    /// What it costs to keep it in memory, roughly: the content, and what is around it.
    const fn weight(&self) -> u64 {
        (self.size() + AROUND) as u64
    }

    /// Gives what is to be written to `write`, if there is anything, and marks it as being written at the place that it names.
    pub(super) fn begin_write(&self, write: impl FnOnce(Unwritten<'_>) -> Option<(Arc<Segment>, u32)>) {
        let mut state = self.state.lock();
        let State::Pending(pending) = &mut *state else { return };
        debug_assert!(pending.place.is_none(), "a body is written once");
        pending.is_given = false;
        let (recipients, received) = (std::mem::take(&mut pending.recipients), pending.received.take());
        let retained = pending.retained.take();
        let (message, retained, is_held) = (&pending.message, retained.as_ref(), !pending.holders.is_empty());
        let unwritten = Unwritten { message, recipients: &recipients, received, retained, is_held };
        pending.place = write(unwritten);
    }

    /// What was being written is there. From now on it is read from disk, unless it is wanted soon and `room` has bytes left for it.
    pub(super) fn finish_write(&self, room: &mut u64) {
        let mut state = self.state.lock();
        let State::Pending(pending) = &mut *state else { return };
        let Some((segment, offset)) = pending.place.take() else { return };
        segment.add_live(self.frame_length());
        let weight = self.weight();
        if pending.is_wanted_soon && *room >= weight && !pending.holders.is_empty() {
            *room -= weight;
            segment.add_recent(weight);
            pending.place = Some((segment, offset));
            pending.is_written = true;
        } else {
            *state = State::Stored { segment, offset };
        }
    }

    /// It lies somewhere else now.
    pub(super) fn move_to(&self, segment: Arc<Segment>, offset: u32) {
        segment.add_live(self.frame_length());
        let old = std::mem::replace(&mut *self.state.lock(), State::Stored { segment, offset });
        self.leave(&old);
    }

    /// What it was counted by, where it lay.
    fn leave(&self, old: &State) {
        match old {
            State::Pending(pending) => {
                if let Some((segment, _)) = pending.written_at() {
                    segment.take_live(self.frame_length());
                    segment.take_recent(self.weight());
                }
            }
            State::Stored { segment, .. } => segment.take_live(self.frame_length()),
        }
    }

    /// Works on what is still to be written, `None` if it is written. Returns what the journal must be told.
    fn tell(self: &Arc<Self>, work: impl FnOnce(Option<&mut Pending>) -> Option<Record>) -> Option<Item> {
        match &mut *self.state.lock() {
            State::Pending(pending) if pending.place.is_none() => {
                let record = work(Some(pending));
                debug_assert!(record.is_none(), "what is pending is written with its body");
                (!std::mem::replace(&mut pending.is_given, true)).then(|| Item::Body(self.clone()))
            }
            State::Pending(_) | State::Stored { .. } => work(None).map(Item::Record),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.leave(&self.state.lock());
    }
}

fn place_in(segment: &Segment, offset: u32) -> Place {
    Place { segment: segment.number, offset }
}

/// What one body asks to be written.
#[derive(Debug)]
pub(super) struct Unwritten<'a> {
    pub message: &'a Message,
    pub recipients: &'a [Recipient],
    pub received: Option<Received>,
    pub retained: Option<&'a Arc<Publisher>>,
    pub is_held: bool,
}

pub(super) const fn frame_length(size: u32) -> u64 {
    (FRAME_HEAD + BODY_HEAD) as u64 + size as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_on_disk_costs_little_memory() {
        // The counts of an Arc come on top.
        assert!(size_of::<Body>() + 16 <= 48, "{}", size_of::<Body>());
    }
}
