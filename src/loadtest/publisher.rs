//! The sending side of a client, without a socket: bytes to an out-buffer, acknowledgements in.

use std::time::Duration;

use super::clock;
use super::frame::{self, kind};
use super::stamp::{STAMP_LENGTH, Stamp};

/// No more than this is put into an out-buffer at once, so that large payloads do not pile up here.
pub(super) const OUT_MAX: usize = 256 * 1024;

/// Nanoseconds. What was due longer ago than this and is not sent waits for the broker; a turn takes less.
const HELD_UP_AFTER: u64 = 10_000_000;

/// Times that are noted for the messages that one publisher could not send.
const DUES_MAX: u64 = 1000;

/// The messages of one publisher to one topic.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// The topic with its length before it, as PUBLISH has it.
    topic: Box<[u8]>,
    /// How many deliveries each message leads to, as far as receivers are ours.
    pub(super) receivers: u32,
    pub(super) sent: u64,
}

impl Stream {
    pub(super) fn new(id: u32, topic: &str, receivers: usize) -> Self {
        let length = u16::try_from(topic.len()).expect("topics of the load tester are short");
        let topic = [&length.to_be_bytes()[..], topic.as_bytes()].concat().into();
        Self { id, topic, receivers: u32::try_from(receivers).unwrap_or(u32::MAX), sent: 0 }
    }

    pub(super) fn topic(&self) -> String {
        String::from_utf8_lossy(&self.topic[2..]).into_owned()
    }
}

/// What one publisher is to do from now on.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// Of the payload; 0 for none at all, which clears a retained message.
    pub(super) size: usize,
    pub(super) pacing: Pacing,
    /// How many messages are left to send.
    pub(super) left: u64,
    /// Whether a window holds what is not delivered, besides what is not acknowledged.
    pub(super) awaits_deliveries: bool,
    /// Deliveries that may be outstanding besides.
    pub(super) backlog: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Pacing {
    /// So many under way at most. Under way is what is not acknowledged, or not delivered to receivers that are ours.
    Window(u32),
    /// One at `next`, and then at every interval.
    Every { interval: u64, next: u64 },
}

impl Pacing {
    pub(super) fn every(interval: Duration, first: u64) -> Self {
        Self::Every { interval: clock::nanoseconds(interval).max(1), next: first }
    }
}

/// What a call of `fill` sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) messages: u64,
    pub(super) payload_bytes: u64,
    pub(super) expected: u64,
}

/// Messages that were due one after the other, and are not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldUp {
    first: u64,
    interval: u64,
    pub(super) count: u64,
    /// Deliveries that each would have led to while it was waited for.
    pub(super) receivers: u64,
    pub(super) qos: u8,
}

impl HeldUp {
    /// When they were due, with how many there are: one by one, or so many together that it takes no longer than a turn.
    pub(super) fn dues(self) -> impl Iterator<Item = (u64, u64)> {
        let size = self.count.div_ceil(DUES_MAX).max(1);
        (0..self.count.div_ceil(size)).map(move |group| {
            let index = group * size;
            (self.first + index * self.interval, size.min(self.count - index))
        })
    }
}

/// What an acknowledgement turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acked {
    /// The exchange goes on: PUBREL was written.
    Received,
    /// The exchange is over; when its message was due.
    Done { due: u64 },
    /// It is over, and the broker did not take the message.
    Rejected { due: u64 },
    /// Nobody asked.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) streams: Vec<Stream>,
    next_stream: usize,
    pub(super) orders: Option<Orders>,
    is_v5: bool,
    run: u32,
    /// Of what it sent last; it is the same in a whole run.
    qos: u8,
    /// Deliveries that its messages must lead to.
    pub(super) expected: u64,
    pub(super) exchanges: Exchanges,
    /// The last time that its worker was asked to wake it at.
    pub(super) scheduled: u64,
}

impl Publisher {
    pub(super) fn new(streams: Vec<Stream>, run: u32, is_v5: bool) -> Self {
        let exchanges = Exchanges::default();
        Self { streams, next_stream: 0, orders: None, is_v5, run, qos: 0, expected: 0, exchanges, scheduled: 0 }
    }

    /// Writes as many messages as may be sent now. `delivered` are the deliveries of its messages until now.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, filler: &[u8], now: u64, delivered: u64) -> Filled {
        let mut filled = Filled::default();
        while out.len() < OUT_MAX
            && let Some(due) = self.due(now, delivered)
        {
            self.send(out, filler, due, &mut filled);
        }
        filled
    }

    /// When the next paced message is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        match self.orders.as_ref()? {
            Orders { left: 0, .. } | Orders { pacing: Pacing::Window(_), .. } => None,
            Orders { pacing: Pacing::Every { next, .. }, .. } => Some(*next),
        }
    }

    /// What should have been sent by now, of an open loop that the broker holds up.
    pub(super) fn held_up(&self, now: u64) -> Option<HeldUp> {
        let orders = self.orders.as_ref()?;
        let Pacing::Every { interval, next } = orders.pacing else { return None };
        let late = now.saturating_sub(HELD_UP_AFTER).checked_sub(next)?;
        let count = (late / interval + 1).min(orders.left);
        let receivers = if orders.awaits_deliveries { self.receivers() } else { 0 };
        (count > 0).then_some(HeldUp { first: next, interval, count, receivers, qos: orders.qos })
    }

    /// Whether something is sent only when deliveries have been made.
    pub(super) fn waits_for_deliveries(&self, delivered: u64) -> bool {
        let Some(Orders { left: 1.., pacing: Pacing::Window(window), awaits_deliveries: true, backlog, .. }) = self.orders
        else {
            return false;
        };
        !self.has_room(window, backlog, delivered)
    }

    pub(super) fn handle_ack(&mut self, kind: u8, id: u16, reason: u8, out: &mut Vec<u8>) -> Acked {
        let fits = if self.qos == 1 { kind == kind::PUBACK } else { kind != kind::PUBACK };
        let Some(due) = self.exchanges.due(id).filter(|_| fits) else { return Acked::Unknown };
        if reason >= 0x80 {
            self.exchanges.end(id);
            // Nobody gets it, so nothing is to wait for it.
            self.expected = self.expected.saturating_sub(self.receivers());
            return Acked::Rejected { due };
        }
        if kind == kind::PUBREC {
            frame::write_ack(out, kind::PUBREL, id);
            return Acked::Received;
        }
        self.exchanges.end(id);
        Acked::Done { due }
    }

    /// When the next message is due, if it may be sent now.
    fn due(&self, now: u64, delivered: u64) -> Option<u64> {
        let orders = self.orders.as_ref().filter(|orders| orders.left > 0)?;
        if orders.qos > 0 && self.exchanges.is_full() {
            return None;
        }
        match orders.pacing {
            Pacing::Every { next, .. } => (next <= now).then_some(next),
            Pacing::Window(window) => {
                let is_taken = !orders.awaits_deliveries || self.has_room(window, orders.backlog, delivered);
                (is_taken && self.exchanges.open() < window as usize).then_some(now)
            }
        }
    }

    /// All receivers of a message count together: one of them may be further behind while others are ahead.
    fn has_room(&self, window: u32, backlog: u64, delivered: u64) -> bool {
        let receivers = self.receivers();
        receivers == 0 || self.expected.saturating_sub(delivered) < u64::from(window) * receivers + backlog
    }

    /// Of each message: all streams of a publisher have as many.
    fn receivers(&self) -> u64 {
        u64::from(self.streams[self.next_stream].receivers)
    }

    fn send(&mut self, out: &mut Vec<u8>, filler: &[u8], due: u64, filled: &mut Filled) {
        let Some(orders) = &mut self.orders else { return };
        orders.left -= 1;
        self.qos = orders.qos;
        if let Pacing::Every { interval, next } = &mut orders.pacing {
            *next += *interval;
        }
        let streams = self.streams.len();
        let stream = &mut self.streams[self.next_stream];
        self.next_stream = if self.next_stream + 1 == streams { 0 } else { self.next_stream + 1 };
        let id = if orders.qos > 0 { self.exchanges.begin(due) } else { None };
        let flags = orders.qos << 1 | u8::from(orders.retain);
        frame::write_publish(out, flags, &stream.topic, id, self.is_v5, orders.size);
        if orders.size >= STAMP_LENGTH {
            Stamp { run: self.run, stream: stream.id, sequence: stream.sent, due }.write(out);
            out.extend_from_slice(&filler[..orders.size - STAMP_LENGTH]);
            stream.sent += 1;
            let receivers = u64::from(stream.receivers);
            self.expected += receivers;
            filled.expected += receivers;
        }
        filled.messages += 1;
        filled.payload_bytes += orders.size as u64;
    }
}

/// Messages that wait for their acknowledgement, by Packet Identifier.
#[derive(Debug)]
pub(super) struct Exchanges {
    /// When each was due; 0 for one that is free. Index 0 is identifier 1.
    due: Vec<u64>,
    free: Vec<u16>,
    max: u16,
}

impl Default for Exchanges {
    fn default() -> Self {
        Self { due: Vec::new(), free: Vec::new(), max: u16::MAX }
    }
}

impl Exchanges {
    /// The broker's Receive Maximum.
    pub(super) fn set_max(&mut self, max: u16) {
        self.max = max.max(1);
    }

    pub(super) fn open(&self) -> usize {
        self.due.len() - self.free.len()
    }

    fn is_full(&self) -> bool {
        self.open() >= usize::from(self.max)
    }

    fn begin(&mut self, due: u64) -> Option<u16> {
        let due = due.max(1);
        if let Some(id) = self.free.pop() {
            self.due[usize::from(id) - 1] = due;
            return Some(id);
        }
        self.due.push(due);
        u16::try_from(self.due.len()).ok()
    }

    fn due(&self, id: u16) -> Option<u64> {
        let due = *self.due.get(usize::from(id).checked_sub(1)?)?;
        (due != 0).then_some(due)
    }

    fn end(&mut self, id: u16) {
        self.due[usize::from(id) - 1] = 0;
        self.free.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::Frame;
    use super::*;

    const FILLER: [u8; 100] = [b'.'; 100];

    fn publisher(qos: u8, pacing: Pacing, left: u64, receivers: usize) -> Publisher {
        let mut publisher = Publisher::new(vec![Stream::new(5, "a", receivers), Stream::new(6, "b", receivers)], 9, false);
        publisher.orders = Some(Orders { qos, retain: false, size: 40, pacing, left, awaits_deliveries: true, backlog: 0 });
        publisher
    }

    fn stamps(mut out: &[u8]) -> Vec<(u32, u64, u64)> {
        let mut stamps = Vec::new();
        while let Some(frame) = Frame::next(out).unwrap() {
            let publish = frame.publish(false).unwrap();
            assert_eq!(publish.payload.len(), 40);
            let stamp = Stamp::read(publish.payload).unwrap();
            stamps.push((stamp.stream, stamp.sequence, stamp.due));
            out = &out[frame.whole.len()..];
        }
        stamps
    }

    #[test]
    fn topics_take_turns_and_count_for_themselves() {
        let (mut publisher, mut out) = (publisher(0, Pacing::Window(10), 3, 0), Vec::new());
        let filled = publisher.fill(&mut out, &FILLER, 77, 0);
        assert_eq!(filled, Filled { messages: 3, payload_bytes: 120, expected: 0 });
        assert_eq!(stamps(&out), [(5, 0, 77), (6, 0, 77), (5, 1, 77)]);
        assert_eq!(publisher.fill(&mut out, &FILLER, 78, 0), Filled::default());
    }

    #[test]
    fn a_window_opens_with_acknowledgements() {
        let (mut publisher, mut out) = (publisher(1, Pacing::Window(2), 9, 0), Vec::new());
        assert_eq!(publisher.fill(&mut out, &FILLER, 7, 0).messages, 2);
        assert_eq!(publisher.handle_ack(kind::PUBACK, 2, 0, &mut out), Acked::Done { due: 7 });
        assert_eq!(publisher.handle_ack(kind::PUBACK, 2, 0, &mut out), Acked::Unknown);
        assert_eq!(publisher.handle_ack(kind::PUBACK, 0, 0, &mut out), Acked::Unknown);
        assert_eq!(publisher.handle_ack(kind::PUBACK, 1, 0x97, &mut out), Acked::Rejected { due: 7 });
        assert_eq!(publisher.fill(&mut out, &FILLER, 8, 0).messages, 2);
        assert_eq!(publisher.exchanges.open(), 2);
    }

    #[test]
    fn a_rejected_message_takes_no_room_in_the_window() {
        let (mut publisher, mut out) = (publisher(1, Pacing::Window(2), 9, 3), Vec::new());
        assert_eq!(publisher.fill(&mut out, &FILLER, 7, 0).messages, 2);
        assert_eq!(publisher.handle_ack(kind::PUBACK, 1, 0x97, &mut out), Acked::Rejected { due: 7 });
        assert!(!publisher.waits_for_deliveries(0));
        assert_eq!(publisher.fill(&mut out, &FILLER, 8, 0).messages, 1);
    }

    #[test]
    fn an_acknowledgement_of_another_qos_is_none() {
        for (qos, kinds) in [(1, &[kind::PUBREC, kind::PUBCOMP][..]), (2, &[kind::PUBACK][..])] {
            let (mut publisher, mut out) = (publisher(qos, Pacing::Window(1), 9, 0), Vec::new());
            publisher.fill(&mut out, &FILLER, 7, 0);
            for kind in kinds {
                assert_eq!(publisher.handle_ack(*kind, 1, 0, &mut out), Acked::Unknown, "{kind} for QoS {qos}");
            }
        }
    }

    #[test]
    fn an_exchange_of_qos_2_ends_with_pubcomp() {
        let (mut publisher, mut out) = (publisher(2, Pacing::Window(1), 9, 0), Vec::new());
        publisher.fill(&mut out, &FILLER, 7, 0);
        out.clear();
        assert_eq!(publisher.handle_ack(kind::PUBREC, 1, 0, &mut out), Acked::Received);
        assert_eq!(out, [0x62, 2, 0, 1]);
        assert_eq!(publisher.fill(&mut out, &FILLER, 8, 0).messages, 0);
        assert_eq!(publisher.handle_ack(kind::PUBCOMP, 1, 0, &mut out), Acked::Done { due: 7 });
        assert_eq!(publisher.fill(&mut out, &FILLER, 8, 0).messages, 1);
    }

    #[test]
    fn a_window_opens_with_deliveries_to_all_receivers() {
        let (mut publisher, mut out) = (publisher(0, Pacing::Window(2), 9, 3), Vec::new());
        assert_eq!(publisher.fill(&mut out, &FILLER, 7, 0), Filled { messages: 2, payload_bytes: 80, expected: 6 });
        assert!(publisher.waits_for_deliveries(0));
        assert!(!publisher.waits_for_deliveries(3));
        assert_eq!(publisher.fill(&mut out, &FILLER, 8, 3).messages, 1);
    }

    #[test]
    fn what_is_to_wait_takes_no_room_in_the_window() {
        let (mut publisher, mut out) = (publisher(0, Pacing::Window(2), 20, 1), Vec::new());
        publisher.orders.as_mut().unwrap().backlog = 5;
        assert_eq!(publisher.fill(&mut out, &FILLER, 7, 0).messages, 7);
        assert!(publisher.waits_for_deliveries(0));
        assert_eq!(publisher.fill(&mut out, &FILLER, 8, 3).messages, 3);
    }

    #[test]
    fn an_open_loop_keeps_the_times_that_were_meant() {
        let (mut publisher, mut out) = (publisher(0, Pacing::every(Duration::from_nanos(10), 100), 4, 1), Vec::new());
        assert_eq!(publisher.fill(&mut out, &FILLER, 99, 0).messages, 0);
        assert_eq!(publisher.next_due(), Some(100));
        assert_eq!(publisher.fill(&mut out, &FILLER, 125, 0).messages, 3);
        assert_eq!(stamps(&out), [(5, 0, 100), (6, 0, 110), (5, 1, 120)]);
        assert_eq!(publisher.fill(&mut out, &FILLER, 200, 0).messages, 1);
        assert_eq!(publisher.next_due(), None);
    }

    #[test]
    fn the_brokers_receive_maximum_holds_an_open_loop_back() {
        let (mut publisher, mut out) = (publisher(1, Pacing::every(Duration::from_nanos(1), 1), 100, 0), Vec::new());
        publisher.exchanges.set_max(3);
        assert_eq!(publisher.fill(&mut out, &FILLER, 50, 0).messages, 3);
        publisher.handle_ack(kind::PUBACK, 1, 0, &mut Vec::new());
        out.clear();
        assert_eq!(publisher.fill(&mut out, &FILLER, 60, 0).messages, 1);
        assert_eq!(stamps(&out), [(6, 1, 4)], "due as it was meant, however late it goes");
    }

    #[test]
    fn what_was_due_and_is_held_up_is_known_with_its_times() {
        let (second, late) = (1_000_000_000, HELD_UP_AFTER);
        let (mut publisher, mut out) = (publisher(1, Pacing::every(Duration::from_secs(1), second), 100, 2), Vec::new());
        publisher.exchanges.set_max(1);
        assert_eq!(publisher.held_up(second), None, "due just now");
        assert_eq!(publisher.fill(&mut out, &FILLER, second, 0).messages, 1);
        assert_eq!(publisher.held_up(2 * second + late - 1), None);
        let held_up = publisher.held_up(4 * second + late).unwrap();
        assert_eq!((held_up.count, held_up.receivers, held_up.qos), (3, 2, 1));
        assert!(held_up.dues().eq([(2 * second, 1), (3 * second, 1), (4 * second, 1)]));
        assert_eq!(publisher.held_up(1000 * second).unwrap().count, 99, "no more than it was to send");
        let many = HeldUp { first: 5, interval: 10, count: 10 * DUES_MAX + 1, receivers: 1, qos: 0 };
        assert!(many.dues().count() as u64 <= DUES_MAX);
        assert_eq!(many.dues().map(|(_, count)| count).sum::<u64>(), many.count);
        assert_eq!(many.dues().last(), Some((5 + 9999 * 10, 2)), "eleven together, and the rest");
    }
}
