//! Who got what: each message of a stream is expected once and in order.

use std::collections::BTreeMap;

/// Gaps that one ledger remembers; those before are given up as lost, so that a broker that drops every second message of a
/// long run does not fill the memory here.
const GAPS_MAX: usize = 10_000;

/// What a message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The next one, or one further on.
    InOrder,
    /// One that was missing until now.
    Late,
    /// One that had come already.
    Doubled,
}

/// The messages of one stream as one receiver, or a group of receivers, got them.
///
/// 16 bytes while all is well: a receiver may have a hundred thousand of them.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// One more than the highest sequence number that came.
    next: u64,
    trouble: Option<Box<Trouble>>,
}

#[derive(Debug, Default)]
struct Trouble {
    /// First missing sequence number of each gap, and the first that is not missing any more.
    gaps: BTreeMap<u64, u64>,
    given_up: u64,
    doubled: u64,
    late: u64,
}

/// What was wrong in a ledger at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) reordered: u64,
}

impl Faults {
    pub(super) const fn any(&self) -> bool {
        self.lost + self.doubled + self.reordered > 0
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
    }
}

impl Ledger {
    /// A ledger whose stream was under way when the receiver came: what was before its first message is not missed.
    pub(super) fn starting_at(sequence: u64) -> Self {
        Self { next: sequence, trouble: None }
    }

    pub(super) fn note(&mut self, sequence: u64) -> Seen {
        if sequence == self.next {
            self.next += 1;
            return Seen::InOrder;
        }
        let trouble = self.trouble.get_or_insert_default();
        if sequence > self.next {
            trouble.open_gap(self.next, sequence);
            self.next = sequence + 1;
            return Seen::InOrder;
        }
        trouble.fill(sequence)
    }

    /// What is wrong if so many messages were sent on this stream.
    pub(super) fn faults(&self, sent: u64) -> Faults {
        let not_reached = sent.saturating_sub(self.next);
        let Some(trouble) = &self.trouble else { return Faults { lost: not_reached, ..Faults::default() } };
        let in_gaps: u64 = trouble.gaps.iter().map(|(start, end)| end - start).sum();
        Faults { lost: not_reached + trouble.given_up + in_gaps, doubled: trouble.doubled, reordered: trouble.late }
    }

    /// What is wrong up to the last message that came, where nobody knows how many were sent.
    pub(super) fn faults_so_far(&self) -> Faults {
        self.faults(self.next)
    }
}

impl Trouble {
    fn open_gap(&mut self, start: u64, end: u64) {
        if self.gaps.len() == GAPS_MAX
            && let Some((start, end)) = self.gaps.pop_first()
        {
            self.given_up += end - start;
        }
        self.gaps.insert(start, end);
    }

    fn fill(&mut self, sequence: u64) -> Seen {
        let gap = self.gaps.range(..=sequence).next_back().map(|(start, end)| (*start, *end));
        let Some((start, end)) = gap.filter(|(_, end)| sequence < *end) else {
            self.doubled += 1;
            return Seen::Doubled;
        };
        self.gaps.remove(&start);
        if start < sequence {
            self.gaps.insert(start, sequence);
        }
        if sequence + 1 < end {
            self.gaps.insert(sequence + 1, end);
        }
        self.late += 1;
        Seen::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(sequences: &[u64]) -> Ledger {
        let mut ledger = Ledger::default();
        for sequence in sequences {
            ledger.note(*sequence);
        }
        ledger
    }

    fn faults(lost: u64, doubled: u64, reordered: u64) -> Faults {
        Faults { lost, doubled, reordered }
    }

    #[test]
    fn all_in_order_is_no_fault() {
        assert_eq!(noted(&[0, 1, 2, 3]).faults(4), faults(0, 0, 0));
        assert_eq!(noted(&[]).faults(0), faults(0, 0, 0));
    }

    #[test]
    fn what_never_came_is_lost_in_the_middle_and_at_the_end() {
        assert_eq!(noted(&[0, 2, 5]).faults(8), faults(5, 0, 0));
        assert_eq!(noted(&[]).faults(3), faults(3, 0, 0));
        assert_eq!(noted(&[0, 2, 5]).faults_so_far(), faults(3, 0, 0));
    }

    #[test]
    fn what_came_twice_is_doubled_even_after_a_gap() {
        assert_eq!(noted(&[0, 0, 1, 1, 1]).faults(2), faults(0, 3, 0));
        assert_eq!(noted(&[0, 3, 3, 0]).faults(4), faults(2, 2, 0));
    }

    #[test]
    fn what_came_late_is_reordered_and_not_lost() {
        assert_eq!(noted(&[0, 2, 1, 3]).faults(4), faults(0, 0, 1));
        assert_eq!(noted(&[5, 2, 0, 1, 4, 3]).faults(6), faults(0, 0, 5));
        assert_eq!(noted(&[5, 2, 2]).faults(6), faults(4, 1, 1));
    }

    #[test]
    fn a_late_one_says_so() {
        let mut ledger = noted(&[0, 2]);
        assert_eq!(ledger.note(1), Seen::Late);
        assert_eq!(ledger.note(1), Seen::Doubled);
        assert_eq!(ledger.note(3), Seen::InOrder);
    }

    #[test]
    fn a_late_comer_does_not_miss_what_was_before() {
        let mut ledger = Ledger::starting_at(100);
        ledger.note(100);
        ledger.note(102);
        assert_eq!(ledger.faults_so_far(), faults(1, 0, 0));
    }

    #[test]
    fn the_oldest_gaps_are_given_up_and_stay_counted() {
        let many = GAPS_MAX as u64 + 50;
        let odd: Vec<_> = (0..many).map(|index| index * 2 + 1).collect();
        let ledger = noted(&odd);
        assert_eq!(ledger.faults_so_far(), faults(many, 0, 0));
        assert_eq!(ledger.trouble.unwrap().gaps.len(), GAPS_MAX);
    }
}
