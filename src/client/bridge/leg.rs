use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use super::relay::Peer;
use super::topics::options;
use crate::client::{Options, Pipe, Stream};
use crate::packet::{
    ConnAck, ConnectReason, Decoder, Disconnect, DisconnectReason, MalformedPacket, Packet, PacketId, ProtocolVersion, QoS,
    RetainHandling, Subscribe, SubscriptionOptions, TopicFilter, Unsubscribe, UserProperties, encode,
};

/// One of a bridge's two connections, after CONNACK.
pub(super) struct Leg {
    pub(super) pipe: Pipe,
    pub(super) peer: Peer,
    /// How many unacknowledged messages it takes from us.
    pub(super) receive_maximum: u16,
    maximum_packet_size: u32,
    /// Bytes to come of a packet that is thrown away.
    skip: usize,
    keep_alive: Duration,
    last_sent: Instant,
    ping_due: Option<Instant>,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// Why a connection cannot be had, or is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum LegError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it sent what is no packet: {0}")]
    Malformed(#[from] MalformedPacket),
    #[error("it refuses the connection: {0}")]
    Refused(ConnectReason),
    #[error("it closed the connection")]
    Closed,
    #[error("its first packet is not CONNACK")]
    NoConnAck,
    #[error("it does not answer")]
    Silent,
    #[error("it sent DISCONNECT: {0}")]
    Disconnected(DisconnectReason),
}

/// Identifiers of SUBSCRIBE and UNSUBSCRIBE. Those of messages are the other side's own, whose sessions begin with the low
/// ones, and a window of so many is not open at once.
const SUBSCRIBE_ID: u16 = 65_535;
const UNSUBSCRIBE_ID: u16 = 65_534;

/// Unacknowledged messages that a broker is taken to bear which cannot tell (3.1 and 3.1.1): mosquitto bears so many with its
/// defaults, and acknowledges a QoS 2 message above that while it throws it away.
const UNTOLD_RECEIVE_MAXIMUM: u16 = 20;

impl Leg {
    /// Connects over `stream`. The caller bounds the time.
    pub(super) async fn open(stream: Box<dyn Stream>, options: &Options) -> Result<Self, LegError> {
        let mut pipe = Pipe::new(stream);
        options.encode(pipe.output());
        let decoder = decoder(options.version, options.maximum_packet_size);
        loop {
            poll_fn(|cx| pipe.poll_write(cx)).await?;
            if let Some((packet, length)) = decoder.decode(pipe.input())? {
                let Packet::ConnAck(connack) = packet else { return Err(LegError::NoConnAck) };
                if connack.reason.is_error() {
                    return Err(LegError::Refused(connack.reason));
                }
                let peer = Self::peer(&connack, options.version);
                let receive_maximum =
                    if peer.version.has_properties() { connack.properties.receive_maximum } else { UNTOLD_RECEIVE_MAXIMUM };
                let seconds = connack.properties.server_keep_alive.unwrap_or(options.keep_alive); // [MQTT-3.2.2-21]
                pipe.consume(length);
                return Ok(Self {
                    pipe,
                    peer,
                    receive_maximum,
                    maximum_packet_size: options.maximum_packet_size,
                    skip: 0,
                    keep_alive: Duration::from_secs(seconds.into()),
                    last_sent: Instant::now(),
                    ping_due: None,
                    timer: None,
                });
            }
            if !poll_fn(|cx| pipe.poll_read(cx)).await? {
                return Err(LegError::Closed);
            }
        }
    }

    fn peer(connack: &ConnAck<'_>, version: ProtocolVersion) -> Peer {
        Peer {
            version,
            maximum_qos: connack.properties.maximum_qos,
            maximum_packet_size: connack.properties.maximum_packet_size,
            session_present: connack.session_present,
        }
    }

    pub(super) fn decoder(&self) -> Decoder {
        decoder(self.peer.version, self.maximum_packet_size)
    }

    /// `retained` says of each filter whether its retained messages are to come; older brokers send them always.
    pub(super) fn subscribe(&mut self, filters: Vec<(TopicFilter, QoS)>, retained: impl Fn(&TopicFilter) -> RetainHandling) {
        let Some(packet_id) = PacketId::new(SUBSCRIBE_ID).filter(|_| !filters.is_empty()) else { return };
        let with_options = |(filter, qos)| {
            let retain_handling = retained(&filter);
            (filter, SubscriptionOptions { retain_handling, ..options(qos) })
        };
        let filters = filters.into_iter().map(with_options).collect();
        let user_properties = UserProperties::default();
        let subscribe = Subscribe { packet_id, subscription_identifier: None, user_properties, filters };
        encode(&Packet::Subscribe(subscribe), self.peer.version, self.pipe.output());
    }

    pub(super) fn unsubscribe(&mut self, filters: Vec<TopicFilter>) {
        let Some(packet_id) = PacketId::new(UNSUBSCRIBE_ID).filter(|_| !filters.is_empty()) else { return };
        let unsubscribe = Unsubscribe { packet_id, user_properties: UserProperties::default(), filters };
        encode(&Packet::Unsubscribe(unsubscribe), self.peer.version, self.pipe.output());
    }

    /// Waits for SUBACK. What else comes is thrown away: what is not acknowledged comes again over the next connection.
    pub(super) async fn subscribed(&mut self) -> Result<(), LegError> {
        loop {
            poll_fn(|cx| self.pipe.poll_write(cx)).await?;
            while let Some((packet, length)) = self.decoder().decode(self.pipe.input())? {
                let is_answer = matches!(packet, Packet::SubAck(_));
                self.pipe.consume(length);
                if is_answer {
                    return Ok(());
                }
            }
            poll_fn(|cx| self.poll_read(cx)).await?;
        }
    }

    /// Writes what waits.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LegError>> {
        if self.pipe.waiting() > 0 {
            self.last_sent = Instant::now();
        }
        self.pipe.poll_write(cx).map_err(LegError::from)
    }

    /// Reads once.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LegError>> {
        match ready!(self.pipe.poll_read(cx))? {
            true => Poll::Ready(Ok(())),
            false => Poll::Ready(Err(LegError::Closed)),
        }
    }

    /// The packet that `bytes` begin with is to be thrown away, the rest of it when that comes. Returns how many of them it is.
    pub(super) fn throw_away(&mut self, bytes: &[u8], packet_length: usize) -> usize {
        self.skip = packet_length;
        self.skipped(bytes)
    }

    /// How many of the bytes that were read belong to a packet that is thrown away.
    pub(super) fn skipped(&mut self, bytes: &[u8]) -> usize {
        let count = self.skip.min(bytes.len());
        self.skip -= count;
        count
    }

    /// The server has answered a PINGREQ.
    pub(super) fn pinged(&mut self) {
        self.ping_due = None;
    }

    /// Sends PINGREQ when it is time `[MQTT-3.1.2-20]`; fails when the answer does not come. `Ready(Ok)` when it has written
    /// something.
    pub(super) fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LegError>> {
        if self.keep_alive.is_zero() {
            return Poll::Pending;
        }
        // What is due later than expected, since something was sent, costs no new timer until the old one fires.
        loop {
            let at = self.ping_due.unwrap_or(self.last_sent + self.keep_alive);
            let timer = match &mut self.timer {
                Some((set, timer)) if *set <= at => timer,
                _ => &mut self.timer.insert((at, Box::pin(sleep_until(at.into())))).1,
            };
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
            if at <= Instant::now() {
                break;
            }
        }
        if self.ping_due.is_some() {
            return Poll::Ready(Err(LegError::Silent));
        }
        encode(&Packet::PingReq, self.peer.version, self.pipe.output());
        self.ping_due = Some(Instant::now() + self.keep_alive);
        Poll::Ready(Ok(()))
    }

    /// Says goodbye and ends the stream. The caller bounds the time.
    pub(super) async fn close(mut self) {
        encode(
            &Packet::Disconnect(Disconnect::new(DisconnectReason::NormalDisconnection)),
            self.peer.version,
            self.pipe.output(),
        );
        let _ = poll_fn(|cx| self.pipe.poll_close(cx)).await; // it is over anyway
    }
}

fn decoder(version: ProtocolVersion, maximum_packet_size: u32) -> Decoder {
    Decoder {
        version: Some(version),
        maximum_packet_size,
        user_properties_max: usize::MAX, // The packet's size bounds them: a message that is not taken comes again for ever.
        filters_max: usize::MAX,
        peer: crate::packet::Peer::Server,
    }
}
