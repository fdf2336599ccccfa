use std::sync::Arc;

use smallvec::SmallVec;

use super::body::{Body, Notes, Recipient};
use super::codec::{Parts, Put};
use super::frame;
use super::segment::Place;
use super::session_record::{put_session, read_header};
use crate::packet::{Message, PacketId, QoS, RetainHandling, SubscriptionOptions, TopicFilter};

/// Something that changed and is to survive. Each can be replayed onto a state that has it already.
#[derive(Debug)]
pub enum Record {
    /// A session began, or its connection, expiry or will changed.
    Session {
        session: u64,
        header: Box<SessionHeader>,
    },
    /// A session is over, with all that belonged to it.
    SessionEnded {
        session: u64,
    },
    Subscribed {
        session: u64,
        filter: TopicFilter,
        options: SubscriptionOptions,
        identifier: Option<u32>,
        wish: ConsumerWish,
    },
    Unsubscribed {
        session: u64,
        filter: TopicFilter,
    },
    /// A message that is on disk waits for a session.
    Queued {
        recipient: Recipient,
        body: Arc<Body>,
    },
    /// A session is done with a message.
    Settled {
        session: u64,
        sequence: u64,
    },
    /// The client has sent PUBREC: the message is its own, PUBREL is due until PUBCOMP.
    Released {
        session: u64,
        sequence: u64,
    },
    /// A QoS 2 message came in under this identifier.
    Received {
        session: u64,
        packet_id: PacketId,
    },
    /// Its identifier is free again.
    Unreceived {
        session: u64,
        packet_id: PacketId,
    },
    /// A topic has no retained message any more.
    Unretained {
        topic: Box<str>,
    },
    /// Retained messages are still to be sent for a subscription, from this topic on.
    Replaying {
        session: u64,
        filter: TopicFilter,
        from: Option<Box<str>>,
    },
    /// All of them are sent.
    Replayed {
        session: u64,
        filter: TopicFilter,
    },
    /// Something of the work queues, whose content is theirs to read. One with a body that its stream has let go of before it was
    /// written (see [`Body::let_go`]) is not written either.
    Work {
        stream: u64,
        body: Option<Arc<Body>>,
        content: WorkContent,
    },
}

/// What a work queue has to say: short as it mostly is, it needs no memory of its own.
pub type WorkContent = SmallVec<[u8; 40]>;

/// What a subscription to a work queue asks for; nothing, if it is to any other filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerWish {
    /// Whether only a settle topic settles; `None`: as the queue says.
    pub is_explicit: Option<bool>,
    /// Unsettled messages at the same time.
    pub prefetch: Option<u16>,
}

/// A session without what it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionHeader {
    pub mount_point: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub username: Option<Arc<str>>,
    /// The listener whose users and rights it has.
    pub listener: Arc<str>,
    /// In seconds.
    pub expiry_interval: u32,
    pub state: OnlineState,
    pub will: Option<StoredWill>,
    /// Messages from here on have not been queued yet.
    pub next_sequence: u64,
    /// Messages from here on had never been sent when this was written; while online that is not known.
    pub first_unsent: u64,
    /// Counts up with every change: of several, told by several threads, the highest holds.
    pub revision: u64,
}

/// Whether a connection held the session when this was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlineState {
    Online,
    /// Milliseconds since the epoch; `None`: it never expires.
    Offline {
        expires_at: Option<u64>,
    },
}

/// A will, whose lifetime has not begun.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredWill {
    pub message: Message,
    /// In seconds.
    pub delay_interval: u32,
    /// In seconds.
    pub message_expiry_interval: Option<u32>,
    /// Milliseconds since the epoch; set once the connection is lost.
    pub due_at: Option<u64>,
}

/// Who published a retained message; `None` for the broker itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Publisher {
    pub client: Option<PublishingClient>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublishingClient {
    pub client_id: Arc<str>,
    pub username: Option<Arc<str>>,
    /// The listener whose rights it had.
    pub listener: Arc<str>,
}

impl PublishingClient {
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_text(&self.client_id);
        out.put_option(self.username.as_deref());
        out.put_text(&self.listener);
    }

    /// Takes its bytes off the front.
    pub fn read(parts: &mut Parts<'_>) -> Option<Self> {
        Some(Self { client_id: parts.text()?.into(), username: parts.option()?.map(Arc::from), listener: parts.text()?.into() })
    }
}

pub(super) mod kind {
    pub const BODY: u8 = 1;
    pub const COMMIT: u8 = 2;
    pub const SESSION: u8 = 3;
    pub const SESSION_ENDED: u8 = 4;
    pub const SUBSCRIBED: u8 = 5;
    pub const UNSUBSCRIBED: u8 = 6;
    pub const QUEUED: u8 = 7;
    pub const SETTLED: u8 = 8;
    pub const RELEASED: u8 = 9;
    pub const RECEIVED: u8 = 10;
    pub const UNRECEIVED: u8 = 11;
    pub const RETAINED: u8 = 12;
    pub const UNRETAINED: u8 = 13;
    pub const RELOCATED: u8 = 14;
    pub const REPLAYING: u8 = 15;
    pub const REPLAYED: u8 = 16;
    pub const CHECKPOINT: u8 = 17;
    pub const CHECKPOINT_END: u8 = 18;
    pub const REMOVED: u8 = 19;
    pub const WORK: u8 = 20;
}

/// A record as it is read back: bodies are the places where they lie.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    /// The content is read when it is wanted.
    Body,
    /// The end of a batch that began at `start` of the same file; all before the batch was on disk when it was written, if `is_synced`.
    Commit {
        start: u32,
        is_synced: bool,
    },
    Session(u64, Box<SessionHeader>),
    SessionEnded(u64),
    Subscribed(u64, TopicFilter, SubscriptionOptions, Option<u32>, ConsumerWish),
    Unsubscribed(u64, TopicFilter),
    Queued(Recipient, Place),
    Settled(u64, u64),
    Released(u64, u64),
    Received(u64, PacketId),
    Unreceived(u64, PacketId),
    Retained {
        place: Place,
        topic: Box<str>,
        publisher: Publisher,
    },
    Unretained(Box<str>),
    Relocated {
        from: Place,
        to: Place,
    },
    Replaying(u64, TopicFilter, Option<Box<str>>),
    Replayed(u64, TopicFilter),
    /// The beginning of a checkpoint: replay goes on with this segment.
    Checkpoint {
        segment: u64,
        next_session: u64,
    },
    /// Its end, with the number of records in between.
    CheckpointEnd(u64),
    /// Nobody waits for anything in this segment any more: its file may be gone.
    Removed(u64),
    Work {
        stream: u64,
        place: Option<Place>,
        content: Box<[u8]>,
    },
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        let parts = |one: &Self| (one.session, one.sequence, one.qos, one.retain, one.notes.clone());
        parts(self) == parts(other)
    }
}

impl Record {
    /// Appends its frame. A `Queued` must be written behind its body.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Session { session, header } => put_session(out, *session, header),
            Self::SessionEnded { session } => frame::put(out, kind::SESSION_ENDED, |out| out.put_varint(*session)),
            Self::Subscribed { session, filter, options, identifier, wish } => {
                put_subscribed(out, *session, filter, *options, *identifier, *wish);
            }
            Self::Unsubscribed { session, filter } => put_filter(out, kind::UNSUBSCRIBED, *session, filter),
            Self::Queued { recipient, body } => {
                // A body that was skipped since nobody waited for it has no place, and then nobody waits for this either.
                if let Some(place) = body.place() {
                    put_queued(out, recipient, place);
                }
            }
            Self::Settled { session, sequence } => put_numbers(out, kind::SETTLED, &[*session, *sequence]),
            Self::Released { session, sequence } => put_numbers(out, kind::RELEASED, &[*session, *sequence]),
            Self::Received { session, packet_id } => {
                put_numbers(out, kind::RECEIVED, &[*session, packet_id.get().into()]);
            }
            Self::Unreceived { session, packet_id } => {
                put_numbers(out, kind::UNRECEIVED, &[*session, packet_id.get().into()]);
            }
            Self::Unretained { topic } => frame::put(out, kind::UNRETAINED, |out| out.put_text(topic)),
            Self::Replaying { session, filter, from } => frame::put(out, kind::REPLAYING, |out| {
                out.put_varint(*session);
                out.put_text(filter.as_str());
                out.put_option(from.as_deref());
            }),
            Self::Replayed { session, filter } => put_filter(out, kind::REPLAYED, *session, filter),
            Self::Work { stream, body, content } => match body.as_ref().map(|body| body.place_for(*stream)) {
                None => put_work(out, *stream, None, content),
                Some(Some(place)) => put_work(out, *stream, Some(place), content),
                Some(None) => {}
            },
        }
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Session { header, .. } => {
                64 + header.client_id.len() + header.will.as_ref().map_or(0, |will| will.message.len())
            }
            Self::Subscribed { filter, .. } | Self::Unsubscribed { filter, .. } | Self::Replayed { filter, .. } => {
                24 + filter.as_str().len()
            }
            Self::Replaying { filter, from, .. } => 24 + filter.as_str().len() + from.as_ref().map_or(0, |from| from.len()),
            Self::Unretained { topic } => 24 + topic.len(),
            Self::Work { content, .. } => 32 + content.len(),
            Self::Queued { .. }
            | Self::SessionEnded { .. }
            | Self::Settled { .. }
            | Self::Released { .. }
            | Self::Received { .. }
            | Self::Unreceived { .. } => 32,
        }
    }
}

fn put_numbers(out: &mut Vec<u8>, kind: u8, numbers: &[u64]) {
    frame::put(out, kind, |out| numbers.iter().for_each(|number| out.put_varint(*number)));
}

fn put_filter(out: &mut Vec<u8>, kind: u8, session: u64, filter: &TopicFilter) {
    frame::put(out, kind, |out| {
        out.put_varint(session);
        out.put_text(filter.as_str());
    });
}

fn put_place(out: &mut Vec<u8>, place: Place) {
    out.put_varint(place.segment);
    out.extend_from_slice(&place.offset.to_le_bytes());
}

pub(super) fn put_subscribed(
    out: &mut Vec<u8>,
    session: u64,
    filter: &TopicFilter,
    options: SubscriptionOptions,
    identifier: Option<u32>,
    wish: ConsumerWish,
) {
    frame::put(out, kind::SUBSCRIBED, |out| {
        out.put_varint(session);
        out.push(options_byte(options));
        out.put_varint(identifier.unwrap_or(0).into()); // [MQTT-3.8.2.1.2]: zero is none
        out.put_text(filter.as_str());
        if wish != ConsumerWish::default() {
            out.push(wish.is_explicit.map_or(0, |is_explicit| 1 + u8::from(is_explicit)));
            out.put_varint(wish.prefetch.unwrap_or(0).into());
        }
    });
}

fn read_wish(parts: &mut Parts<'_>) -> Option<ConsumerWish> {
    if parts.is_empty() {
        return Some(ConsumerWish::default());
    }
    let is_explicit = match parts.u8()? {
        0 => None,
        1 => Some(false),
        2 => Some(true),
        _ => return None,
    };
    Some(ConsumerWish { is_explicit, prefetch: Some(parts.number()?).filter(|prefetch| *prefetch > 0) })
}

/// `QoS | no local << 2 | retain as published << 3 | retain handling << 4`, as in SUBSCRIBE (3.8.3.1).
fn options_byte(options: SubscriptionOptions) -> u8 {
    let SubscriptionOptions { qos, no_local, retain_as_published, retain_handling } = options;
    qos as u8 | u8::from(no_local) << 2 | u8::from(retain_as_published) << 3 | (retain_handling as u8) << 4
}

fn read_options(byte: u8) -> Option<SubscriptionOptions> {
    let retain_handling = match byte >> 4 {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return None,
    };
    let (no_local, retain_as_published) = (byte & 4 != 0, byte & 8 != 0);
    Some(SubscriptionOptions { qos: QoS::from_bits(byte & 3)?, no_local, retain_as_published, retain_handling })
}

pub(super) fn put_queued(out: &mut Vec<u8>, recipient: &Recipient, place: Place) {
    frame::put(out, kind::QUEUED, |out| {
        let Recipient { session, sequence, qos, retain, notes } = recipient;
        out.put_varint(*session);
        out.put_varint(*sequence);
        out.push(*qos as u8 | u8::from(*retain) << 2 | u8::from(notes.is_some()) << 3);
        put_place(out, place);
        if let Some(notes) = notes {
            out.put_varint(notes.identifiers.len() as u64);
            notes.identifiers.iter().for_each(|identifier| out.put_varint((*identifier).into()));
            out.put_option(notes.share.as_ref().map(TopicFilter::as_str));
        }
    });
}

pub(super) fn put_work(out: &mut Vec<u8>, stream: u64, place: Option<Place>, content: &[u8]) {
    frame::put(out, kind::WORK, |out| {
        out.put_varint(stream);
        out.push(place.is_some().into());
        if let Some(place) = place {
            put_place(out, place);
        }
        out.extend_from_slice(content);
    });
}

pub(super) fn put_retained(out: &mut Vec<u8>, topic: &str, publisher: &Publisher, place: Place) {
    frame::put(out, kind::RETAINED, |out| {
        put_place(out, place);
        out.put_text(topic);
        match &publisher.client {
            None => out.push(0),
            Some(client) => {
                out.push(1);
                client.write(out);
            }
        }
    });
}

pub(super) fn put_relocated(out: &mut Vec<u8>, from: Place, to: Place) {
    frame::put(out, kind::RELOCATED, |out| {
        put_place(out, from);
        put_place(out, to);
    });
}

pub(super) fn put_removed(out: &mut Vec<u8>, segment: u64) {
    put_numbers(out, kind::REMOVED, &[segment]);
}

pub(super) fn put_commit(out: &mut Vec<u8>, start: u32, is_synced: bool) {
    frame::put(out, kind::COMMIT, |out| {
        out.extend_from_slice(&start.to_le_bytes());
        out.push(is_synced.into());
    });
}

/// A message with all that is sent on. `expires_at` is in milliseconds since the epoch.
pub(super) fn put_message(out: &mut Vec<u8>, message: &Message, expires_at: Option<u64>) {
    let (topic_length, properties_length, bytes) = message.parts();
    out.push(message.qos as u8 | u8::from(message.retain) << 2);
    out.extend_from_slice(&topic_length.to_le_bytes());
    out.extend_from_slice(&properties_length.to_le_bytes());
    out.extend_from_slice(&expires_at.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// What [`put_message`] wrote, as far as it is known without looking into it.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredMessage<'a> {
    pub qos: QoS,
    pub retain: bool,
    pub topic_length: u16,
    pub properties_length: u32,
    pub expires_at: Option<u64>,
    pub bytes: &'a [u8],
}

pub(super) fn read_message<'a>(parts: &mut Parts<'a>) -> Option<StoredMessage<'a>> {
    let flags = parts.u8()?;
    let (topic_length, properties_length) = (parts.u16()?, parts.u32()?);
    let expires_at = Some(parts.u64()?).filter(|at| *at > 0);
    let (qos, retain) = (QoS::from_bits(flags & 3)?, flags & 4 != 0);
    let bytes = std::mem::take(&mut parts.0);
    Some(StoredMessage { qos, retain, topic_length, properties_length, expires_at, bytes })
}

impl Told {
    /// Reads the content of a frame; `None` if it is not what its kind says, or of no known kind.
    pub(super) fn read(kind: u8, content: &[u8]) -> Option<Self> {
        let mut parts = Parts(content);
        let told = Self::read_parts(kind, &mut parts)?;
        (parts.is_empty() || told == Self::Body).then_some(told)
    }

    fn read_parts(kind: u8, parts: &mut Parts<'_>) -> Option<Self> {
        Some(match kind {
            kind::BODY => Self::Body,
            kind::COMMIT => Self::Commit { start: parts.u32()?, is_synced: parts.u8()? == 1 },
            kind::SESSION => {
                let session = parts.counted()?;
                Self::Session(session, Box::new(read_header(parts)?))
            }
            kind::SESSION_ENDED => Self::SessionEnded(parts.counted()?),
            kind::SUBSCRIBED => {
                let session = parts.counted()?;
                let options = read_options(parts.u8()?)?;
                let identifier = Some(parts.number()?).filter(|identifier| *identifier > 0);
                Self::Subscribed(session, read_filter(parts)?, options, identifier, read_wish(parts)?)
            }
            kind::UNSUBSCRIBED => Self::Unsubscribed(parts.counted()?, read_filter(parts)?),
            kind::QUEUED => read_queued(parts)?,
            kind::SETTLED => Self::Settled(parts.counted()?, parts.counted()?),
            kind::RELEASED => Self::Released(parts.counted()?, parts.counted()?),
            kind::RECEIVED => Self::Received(parts.counted()?, PacketId::new(parts.number()?)?),
            kind::UNRECEIVED => Self::Unreceived(parts.counted()?, PacketId::new(parts.number()?)?),
            kind::RETAINED => read_retained(parts)?,
            kind::UNRETAINED => Self::Unretained(parts.text()?.into()),
            kind::RELOCATED => read_relocated(parts)?,
            kind::REPLAYING => {
                let session = parts.counted()?;
                Self::Replaying(session, read_filter(parts)?, parts.option()?.map(Box::from))
            }
            kind::REPLAYED => Self::Replayed(parts.counted()?, read_filter(parts)?),
            kind::CHECKPOINT => Self::Checkpoint { segment: parts.counted()?, next_session: parts.counted()? },
            kind::CHECKPOINT_END => Self::CheckpointEnd(parts.counted()?),
            kind::REMOVED => Self::Removed(parts.counted()?),
            kind::WORK => {
                let stream = parts.counted()?;
                let place = match parts.u8()? {
                    0 => None,
                    1 => Some(read_place(parts)?),
                    _ => return None,
                };
                Self::Work { stream, place, content: std::mem::take(&mut parts.0).into() }
            }
            _ => return None,
        })
    }
}

fn read_place(parts: &mut Parts<'_>) -> Option<Place> {
    Some(Place { segment: parts.counted()?, offset: parts.u32()? })
}

/// Bodies are copied to where the journal is written: forward, and so never round in a circle.
fn read_relocated(parts: &mut Parts<'_>) -> Option<Told> {
    let (from, to) = (read_place(parts)?, read_place(parts)?);
    (from < to).then_some(Told::Relocated { from, to })
}

fn read_filter(parts: &mut Parts<'_>) -> Option<TopicFilter> {
    TopicFilter::new(parts.text()?).ok()
}

fn read_queued(parts: &mut Parts<'_>) -> Option<Told> {
    let (session, sequence, flags) = (parts.counted()?, parts.counted()?, parts.u8()?);
    let place = read_place(parts)?;
    let notes = if flags & 8 == 0 {
        None
    } else {
        let count: usize = parts.number()?;
        let identifiers = (0..count).map(|_| parts.number()).collect::<Option<SmallVec<[u32; 1]>>>()?;
        let share = parts.option()?.map(TopicFilter::new).transpose().ok()?;
        Some(Arc::new(Notes { identifiers, share }))
    };
    let (qos, retain) = (QoS::from_bits(flags & 3)?, flags & 4 != 0);
    Some(Told::Queued(Recipient { session, sequence, qos, retain, notes }, place))
}

fn read_retained(parts: &mut Parts<'_>) -> Option<Told> {
    let place = read_place(parts)?;
    let topic = parts.text()?.into();
    let client = match parts.u8()? {
        0 => None,
        1 => Some(PublishingClient::read(parts)?),
        _ => return None,
    };
    Some(Told::Retained { place, topic, publisher: Publisher { client } })
}

impl StoredMessage<'_> {
    /// The message, copied; `None` if its parts do not make one.
    pub(super) fn message(&self, expires_at: Option<std::time::Instant>) -> Option<Message> {
        let Self { qos, retain, topic_length, properties_length, bytes, .. } = *self;
        Message::from_parts(topic_length, properties_length, bytes, qos, retain, expires_at)
    }
}
