//! What the clients of one worker use together while they have their turn.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::book::Book;
use super::frame::Publish;
use super::latency::Times;
use super::ledger::Seen;
use super::publisher::HeldUp;
use super::shared::Shared;
use super::stamp::Stamp;
use super::tally::{Figure, Tally};

pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    /// Which worker this is.
    pub(super) worker: usize,
    pub(super) now: u64,
    measured_from: u64,
    pub(super) tally: Tally,
    pub(super) times: AllTimes,
    pub(super) books: Vec<Book>,
    /// What payloads are filled up with.
    pub(super) filler: Vec<u8>,
    /// Deliveries to one publisher's account that have not been told to it yet.
    delivered: (u32, u64),
    /// Publishers here that wait no longer.
    pub(super) ready: Vec<usize>,
}

/// The histograms of a run.
#[derive(Clone, Debug)]
pub(super) struct AllTimes {
    /// From when a message was due until a subscriber had it.
    pub(super) delivery: Times,
    /// From when a message was due until the broker had acknowledged it.
    pub(super) ack: Times,
    /// From the first byte to CONNACK.
    pub(super) connect: Times,
}

impl AllTimes {
    pub(super) fn new() -> Self {
        Self { delivery: Times::new(), ack: Times::new(), connect: Times::new() }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.delivery.add(&other.delivery);
        self.ack.add(&other.ack);
        self.connect.add(&other.connect);
    }
}

impl Desk {
    pub(super) fn new(shared: Arc<Shared>, worker: usize, books: Vec<Book>) -> Self {
        Self {
            shared,
            worker,
            now: 0,
            measured_from: u64::MAX,
            tally: Tally::default(),
            times: AllTimes::new(),
            books,
            filler: Vec::new(),
            delivered: (0, 0),
            ready: Vec::new(),
        }
    }

    /// At the start of each turn.
    pub(super) fn begin(&mut self, now: u64) {
        self.now = now;
        self.measured_from = self.shared.measured_from.load(Ordering::Relaxed);
    }

    pub(super) fn count(&mut self, figure: Figure) {
        self.tally[figure] += 1;
    }

    /// A subscriber got a message.
    pub(super) fn note_delivery(&mut self, publish: &Publish<'_>, book: usize, member: usize) {
        self.tally[Figure::Delivered] += 1;
        self.tally[Figure::BytesDelivered] += publish.payload.len() as u64;
        let stamp = Stamp::read(publish.payload);
        let run = self.shared.run;
        let seen = stamp.and_then(|stamp| Some((stamp, self.books.get_mut(book)?.note(&stamp, run, member)?)));
        let Some((stamp, seen)) = seen else {
            self.tally[Figure::Unexpected] += 1;
            return;
        };
        if seen == Seen::Doubled {
            return;
        }
        self.tally[Figure::Fresh] += 1;
        if stamp.due >= self.measured_from {
            self.times.delivery.note(self.now.saturating_sub(stamp.due));
        }
        if stamp.run == run {
            self.credit(stamp.stream);
        }
    }

    pub(super) fn note_ack(&mut self, due: u64) {
        self.tally[Figure::Acknowledged] += 1;
        if due >= self.measured_from {
            self.times.ack.note(self.now.saturating_sub(due));
        }
    }

    /// Messages that could not be sent: what becomes of them takes no less time than they wait already.
    pub(super) fn note_held_up(&mut self, held_up: HeldUp) {
        self.tally[Figure::HeldUp] += held_up.count;
        for (due, count) in held_up.dues().filter(|(due, _)| *due >= self.measured_from) {
            let waited = self.now.saturating_sub(due);
            self.times.delivery.note_many(waited, count * held_up.receivers);
            if held_up.qos > 0 {
                self.times.ack.note_many(waited, count);
            }
        }
    }

    /// Deliveries come in runs of one publisher; it is told once for each.
    fn credit(&mut self, stream: u32) {
        let Some(publisher) = self.shared.publisher_of.get(stream as usize).copied() else { return };
        if self.delivered.0 != publisher {
            self.settle();
            self.delivered.0 = publisher;
        }
        self.delivered.1 += 1;
    }

    /// Tells the publisher whose deliveries were counted last.
    pub(super) fn settle(&mut self) {
        let (publisher, count) = self.delivered;
        if count == 0 {
            return;
        }
        self.delivered.1 = 0;
        let Some(flight) = self.shared.flights.get(publisher as usize) else { return };
        if flight.add(count) {
            if flight.worker == self.worker {
                self.ready.push(flight.client);
            } else {
                self.shared.mailboxes[flight.worker].post(flight.client);
            }
        }
    }
}
