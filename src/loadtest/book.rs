//! The ledgers of one receiver, or of a group of consumers that share what comes.

use std::collections::HashMap;
use std::ops::Range;

use super::ledger::{Faults, Ledger, Seen};
use super::stamp::Stamp;

#[derive(Debug)]
pub(super) enum Book {
    /// One receiver who gets all messages of these streams.
    Own { first: u32, ledgers: Vec<Ledger> },
    /// Consumers of whom one gets each message.
    Shared(SharedBook),
    /// A receiver who does not know who publishes, nor what others get if it shares with them.
    Open { ledgers: HashMap<(u32, u32), Ledger>, is_shared: bool },
}

#[derive(Debug)]
pub(super) struct SharedBook {
    first: u32,
    ledgers: Vec<Ledger>,
    /// For each consumer and stream one more than the highest sequence number that it got.
    next: Vec<Vec<u64>>,
    /// By stream.
    reordered: Vec<u64>,
}

impl Book {
    pub(super) fn own(streams: &Range<u32>) -> Self {
        Self::Own { first: streams.start, ledgers: ledgers(streams) }
    }

    pub(super) fn open(is_shared: bool) -> Self {
        Self::Open { ledgers: HashMap::new(), is_shared }
    }

    pub(super) fn shared(streams: &Range<u32>, consumers: usize) -> Self {
        let next = vec![vec![0; streams.len()]; consumers];
        Self::Shared(SharedBook { first: streams.start, ledgers: ledgers(streams), next, reordered: vec![0; streams.len()] })
    }

    /// `None` for a message that is not expected here at all. `run` is this run, `member` the consumer of a group.
    pub(super) fn note(&mut self, stamp: &Stamp, run: u32, member: usize) -> Option<Seen> {
        match self {
            Self::Own { first, ledgers } => {
                let index = stamp.stream.checked_sub(*first).filter(|_| stamp.run == run)?;
                Some(ledgers.get_mut(index as usize)?.note(stamp.sequence))
            }
            Self::Shared(book) => {
                let index = stamp.stream.checked_sub(book.first).filter(|_| stamp.run == run)?;
                book.note(index as usize, stamp.sequence, member)
            }
            Self::Open { ledgers, .. } => {
                let ledger = ledgers.entry((stamp.run, stamp.stream)).or_insert_with(|| Ledger::starting_at(stamp.sequence));
                Some(ledger.note(stamp.sequence))
            }
        }
    }

    /// The faults of each stream that has some. `sent` tells how many messages of a stream were sent.
    pub(super) fn faults(&self, sent: impl Fn(u32) -> u64) -> Vec<(u32, Faults)> {
        let mut all: Vec<(u32, Faults)> = match self {
            Self::Own { first, ledgers } => {
                (*first..).zip(ledgers).map(|(stream, ledger)| (stream, ledger.faults(sent(stream)))).collect()
            }
            Self::Shared(book) => book.faults(sent),
            Self::Open { ledgers, is_shared } => {
                let faults = |ledger: &Ledger| {
                    let faults = ledger.faults_so_far();
                    if *is_shared { Faults { lost: 0, ..faults } } else { faults }
                };
                ledgers.iter().map(|((_, stream), ledger)| (*stream, faults(ledger))).collect()
            }
        };
        all.retain(|(_, faults)| faults.any());
        all
    }
}

impl SharedBook {
    fn note(&mut self, index: usize, sequence: u64, member: usize) -> Option<Seen> {
        let seen = self.ledgers.get_mut(index)?.note(sequence);
        let next = self.next.get_mut(member)?.get_mut(index)?;
        if sequence >= *next {
            *next = sequence + 1;
        } else if seen != Seen::Doubled {
            self.reordered[index] += 1;
        }
        Some(seen)
    }

    /// Consumers are not in step with each other; only what one of them gets has an order.
    fn faults(&self, sent: impl Fn(u32) -> u64) -> Vec<(u32, Faults)> {
        let streams = (self.first..).zip(self.ledgers.iter().zip(&self.reordered));
        streams
            .map(|(stream, (ledger, reordered))| (stream, Faults { reordered: *reordered, ..ledger.faults(sent(stream)) }))
            .collect()
    }
}

fn ledgers(streams: &Range<u32>) -> Vec<Ledger> {
    streams.clone().map(|_| Ledger::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: u32 = 4;

    fn stamp(stream: u32, sequence: u64) -> Stamp {
        Stamp { run: RUN, stream, sequence, due: 0 }
    }

    #[test]
    fn a_receiver_has_a_ledger_for_each_of_its_streams() {
        let mut book = Book::own(&(10..12));
        assert_eq!(book.note(&stamp(10, 0), RUN, 0), Some(Seen::InOrder));
        assert_eq!(book.note(&stamp(11, 1), RUN, 0), Some(Seen::InOrder));
        assert_eq!(book.note(&stamp(9, 0), RUN, 0), None);
        assert_eq!(book.note(&stamp(12, 0), RUN, 0), None);
        assert_eq!(book.note(&stamp(10, 0), RUN + 1, 0), None, "of another run");
        let lost = Faults { lost: 1, ..Faults::default() };
        assert_eq!(book.faults(|stream| if stream == 10 { 1 } else { 2 }), [(11, lost)]);
    }

    #[test]
    fn consumers_share_the_messages_and_each_has_its_order() {
        let mut book = Book::shared(&(0..1), 2);
        for (member, sequence) in [(1, 2), (0, 0), (1, 3), (0, 1)] {
            book.note(&stamp(0, sequence), RUN, member);
        }
        assert_eq!(book.faults(|_| 4), [], "consumers need not be in step");
        assert_eq!(book.note(&stamp(0, 3), RUN, 0), Some(Seen::Doubled));
        book.note(&stamp(0, 5), RUN, 1);
        book.note(&stamp(0, 4), RUN, 1);
        assert_eq!(book.faults(|_| 7), [(0, Faults { lost: 1, doubled: 1, reordered: 1 })]);
    }

    #[test]
    fn a_receiver_who_knows_nobody_counts_from_what_comes_first() {
        let mut book = Book::open(false);
        for (stream, sequence) in [(1, 50), (1, 51), (2, 0), (1, 53)] {
            assert_eq!(book.note(&stamp(stream, sequence), 99, 0), Some(Seen::InOrder));
        }
        assert_eq!(book.faults(|_| unreachable!()), [(1, Faults { lost: 1, ..Faults::default() })]);
    }

    #[test]
    fn what_goes_to_other_members_is_not_lost() {
        let mut book = Book::open(true);
        for sequence in [3, 7, 9, 9] {
            book.note(&stamp(1, sequence), 99, 0);
        }
        assert_eq!(book.faults(|_| unreachable!()), [(1, Faults { doubled: 1, ..Faults::default() })]);
    }
}
