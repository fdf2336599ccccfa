use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use super::{Event, Failure, Machine, Pipe, Stream};

/// A [`Machine`] on a stream: moves the bytes and asks the clock.
pub struct Link<'a> {
    pub machine: &'a mut Machine,
    pipe: Pipe,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
    /// The stream did not take all that was to be written.
    is_held_up: bool,
    written_at: Instant,
}

/// How long a caller that takes its time with each event keeps what it is done with from being acknowledged.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Failure(#[from] Failure),
    #[error("the server has closed the connection")]
    Closed,
}

impl<'a> Link<'a> {
    /// Sends the CONNECT of `machine` over `stream`.
    pub fn new(machine: &'a mut Machine, stream: Box<dyn Stream>) -> Self {
        let now = Instant::now();
        machine.connect(now);
        Self { machine, pipe: Pipe::new(stream), timer: None, is_held_up: false, written_at: now }
    }

    /// The next thing that happens; the message before is acknowledged. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Event, LinkError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same; `None` as soon as fewer than `bytes` wait to be written, if more do now.
    pub async fn next_or_room(&mut self, bytes: usize) -> Result<Option<Event>, LinkError> {
        let was_full = self.waiting() >= bytes;
        poll_fn(|cx| match self.poll_next(cx) {
            Poll::Ready(event) => Poll::Ready(event.map(Some)),
            Poll::Pending if was_full && self.waiting() < bytes => Poll::Ready(Ok(None)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, LinkError>> {
        loop {
            let now = Instant::now();
            if now.saturating_duration_since(self.written_at) >= WRITE_INTERVAL {
                // Before an event is taken, which an error would lose.
                self.machine.catch_up(now);
                if let Poll::Ready(Err(error)) = self.poll_write(cx, now) {
                    return Poll::Ready(Err(error));
                }
            }
            if let Some(event) = self.machine.poll_event(now) {
                return Poll::Ready(Ok(event));
            }
            let used = self.machine.receive(self.pipe.input(), now)?;
            self.pipe.consume(used);
            if used > 0 {
                continue;
            }
            // Only now: what the packets of one read have brought about goes out together.
            if let Poll::Ready(Err(error)) = self.poll_write(cx, now) {
                return Poll::Ready(Err(error));
            }
            match self.pipe.poll_read(cx) {
                Poll::Ready(Ok(true)) => {
                    self.machine.shows_life(now);
                    // A server that never stops sending does not keep PINGREQ from going out.
                    if self.machine.is_connected() {
                        self.machine.handle_timeout(now)?;
                    }
                    continue;
                }
                Poll::Ready(Ok(false)) => return Poll::Ready(Err(LinkError::Closed)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {}
            }
            if self.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
            self.machine.handle_timeout(Instant::now())?;
        }
    }

    /// Writes what the machine has to say. That it goes on after it was held up is a sign of life.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Result<(), LinkError>> {
        self.written_at = now;
        self.machine.take_output(self.pipe.output());
        let before = self.pipe.waiting();
        let written = self.pipe.poll_write(cx);
        if self.is_held_up && self.pipe.waiting() < before {
            self.machine.shows_life(now);
        }
        self.is_held_up = written.is_pending();
        written.map_err(LinkError::from)
    }

    /// Ready when a timeout is due. What is due later than expected, since something was sent, costs no new timer until the old one fires.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(at) = self.machine.poll_timeout() else {
                self.timer = None;
                return Poll::Pending;
            };
            let timer = match &mut self.timer {
                Some((set, timer)) if *set <= at => timer,
                _ => &mut self.timer.insert((at, Box::pin(sleep_until(at.into())))).1,
            };
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
            if at <= Instant::now() {
                return Poll::Ready(());
            }
        }
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.pipe.waiting() + self.machine.output_len()
    }

    /// Writes what the machine has to say.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        poll_fn(|cx| self.poll_write(cx, Instant::now())).await
    }

    /// Writes what is left, ends the stream, and waits until the server has done so too: a socket that is closed before all was read may
    /// take with it what was written last. The caller bounds the time.
    pub async fn close(mut self) -> Result<(), LinkError> {
        self.flush().await?;
        poll_fn(|cx| self.pipe.poll_close(cx)).await?;
        while poll_fn(|cx| self.pipe.poll_read(cx)).await? {
            let unread = self.pipe.input().len();
            self.pipe.consume(unread);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::client::{Message, Options};
    use crate::packet::{
        ConnAck, ConnAckProperties, ConnectReason, Decoder, Delivery, DisconnectReason, Packet, PacketId, Peer,
        ProtocolVersion, Publish, PublishProperties, QoS, TopicName, UserProperties, encode,
    };

    const VERSION: ProtocolVersion = ProtocolVersion::V5;

    /// The server's end of the stream.
    struct Server(DuplexStream);

    impl Server {
        /// Sends CONNACK and, in one piece with it, messages with these identifiers.
        async fn lets_in_and_sends(&mut self, ids: impl Iterator<Item = u16>) {
            let mut bytes = Vec::new();
            let properties = ConnAckProperties::default();
            let connack = ConnAck { session_present: false, reason: ConnectReason::Success, properties };
            encode(&Packet::ConnAck(connack), VERSION, &mut bytes);
            for id in ids {
                let publish = Publish {
                    dup: false,
                    retain: false,
                    delivery: Delivery::AtLeastOnce(PacketId::new(id).unwrap()),
                    topic: Some(TopicName::new("a").unwrap()),
                    properties: PublishProperties::default(),
                    payload: b"x",
                };
                encode(&Packet::Publish(publish), VERSION, &mut bytes);
            }
            self.0.write_all(&bytes).await.unwrap();
        }

        /// What has come since the last time, in a few words.
        async fn has_got(&mut self) -> Vec<String> {
            let mut bytes = vec![0; 4096];
            let mut words = Vec::new();
            let count = {
                // What is there is there at once.
                let read = self.0.read(&mut bytes);
                tokio::select! { biased; count = read => count.unwrap(), () = std::future::ready(()) => 0 }
            };
            let mut rest = &bytes[..count];
            while !rest.is_empty() {
                let version = (rest[0] >> 4 != 1).then_some(VERSION);
                let (user_properties_max, filters_max) = (9, 9);
                let decoder =
                    Decoder { version, maximum_packet_size: u32::MAX, user_properties_max, filters_max, peer: Peer::Client };
                let (packet, length) = decoder.decode(rest).unwrap().unwrap();
                words.push(match &packet {
                    Packet::PubAck(ack) => format!("PUBACK {}", ack.packet_id),
                    packet => packet.packet_type().name().into(),
                });
                rest = &rest[length..];
            }
            words
        }
    }

    fn message_id(event: Result<Event, LinkError>) -> u16 {
        match event {
            Ok(Event::Message(message)) => message.packet_id.unwrap().get(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_message_that_was_not_taken_is_not_acknowledged() {
        let (ours, theirs) = duplex(4096);
        let (mut machine, mut server) = (Machine::new(Options::default(), Instant::now()), Server(theirs));
        let mut link = Link::new(&mut machine, Box::new(ours));
        server.lets_in_and_sends(1..=16).await;
        assert!(matches!(link.next().await, Ok(Event::Connected { .. })));
        assert_eq!(message_id(link.next().await), 1);
        assert_eq!(server.has_got().await, ["CONNECT"], "nobody has said that it is done with");
        assert_eq!(message_id(link.next().await), 2);
        let (user_properties, now) = (UserProperties::default(), Instant::now());
        link.machine.disconnect(DisconnectReason::NormalDisconnection, None, user_properties, now);
        link.flush().await.unwrap();
        assert_eq!(server.has_got().await, ["PUBACK 1", "PUBACK 2", "DISCONNECT"]);
    }

    /// Else a server would end the connection of a caller that needs a minute for what has come at once, and all would come again.
    #[tokio::test]
    async fn a_caller_that_takes_its_time_with_each_message_acknowledges_it_meanwhile() {
        let (ours, theirs) = duplex(4096);
        let (mut machine, mut server) = (Machine::new(Options::default(), Instant::now()), Server(theirs));
        let mut link = Link::new(&mut machine, Box::new(ours));
        server.lets_in_and_sends(1..=3).await;
        assert!(matches!(link.next().await, Ok(Event::Connected { .. })));
        assert_eq!(message_id(link.next().await), 1);
        assert_eq!(server.has_got().await, ["CONNECT"]);
        link.written_at -= WRITE_INTERVAL;
        assert_eq!(message_id(link.next().await), 2);
        assert_eq!(server.has_got().await, ["PUBACK 1"]);
    }

    #[tokio::test]
    async fn acknowledgements_go_out_together_before_the_next_read() {
        let (ours, theirs) = duplex(4096);
        let (mut machine, mut server) = (Machine::new(Options::default(), Instant::now()), Server(theirs));
        let mut link = Link::new(&mut machine, Box::new(ours));
        server.lets_in_and_sends(1..=3).await;
        assert!(matches!(link.next().await, Ok(Event::Connected { .. })));
        assert_eq!(server.has_got().await, ["CONNECT"]);
        link.written_at += Duration::from_secs(3600); // however slow this machine is
        for id in 1..=3 {
            assert_eq!(message_id(link.next().await), id);
            assert!(server.has_got().await.is_empty(), "more messages wait");
        }
        tokio::select! { biased; event = link.next() => panic!("{event:?}"), () = std::future::ready(()) => {} }
        assert_eq!(server.has_got().await, ["PUBACK 1", "PUBACK 2", "PUBACK 3"]);
    }

    #[tokio::test]
    async fn what_goes_on_after_it_was_held_up_is_a_sign_of_life() {
        async fn is_held_up(link: &mut Link<'_>, now: Instant) -> bool {
            poll_fn(|cx| Poll::Ready(link.poll_write(cx, now).is_pending())).await
        }
        let (ours, theirs) = duplex(1024);
        let (mut machine, mut server) = (Machine::new(Options::default(), Instant::now()), Server(theirs));
        let mut link = Link::new(&mut machine, Box::new(ours));
        server.lets_in_and_sends(std::iter::empty()).await;
        assert!(matches!(link.next().await, Ok(Event::Connected { .. })));
        let large = Message { topic: "a".into(), payload: vec![0; 10_000], qos: QoS::AtLeastOnce, ..Message::default() };
        link.machine.publish(large, Instant::now()).unwrap();
        assert!(is_held_up(&mut link, Instant::now()).await);
        let ping_at = link.machine.poll_timeout().unwrap();
        link.machine.handle_timeout(ping_at).unwrap();
        let due = link.machine.poll_timeout().unwrap();
        let later = ping_at + (due - ping_at) / 2;
        assert!(is_held_up(&mut link, later).await);
        assert_eq!(link.machine.poll_timeout(), Some(due), "nothing has gone on");
        server.0.read_exact(&mut [0; 512]).await.unwrap();
        assert!(is_held_up(&mut link, later).await);
        assert_eq!(link.machine.poll_timeout(), Some(later + (due - ping_at)));
    }
}
