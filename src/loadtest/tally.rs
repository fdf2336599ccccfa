//! Counters: plain ones that a worker counts in, and their shared copies that the others see.

use std::ops::{Index, IndexMut};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// CONNACK with success.
    Connected,
    /// Could not connect, or was refused.
    Refused,
    /// Connections ended as asked.
    Closed,
    /// Connections ended otherwise.
    Broken,
    /// Connections whose session was there.
    Resumed,
    /// Filters granted.
    Granted,
    /// Filters refused.
    Denied,
    Sent,
    /// PUBACK or PUBCOMP.
    Acknowledged,
    /// PUBACK or PUBREC with a reason of 0x80 or more.
    Rejected,
    /// PUBLISH that came, of any kind.
    Delivered,
    /// Those of them that came for the first time.
    Fresh,
    /// Deliveries that what was sent must lead to.
    Expected,
    /// Messages that nobody here sent to this subscriber.
    Unexpected,
    /// Messages that were due when publishers were told to stop, and could not be sent.
    HeldUp,
    /// Payload bytes that were sent.
    BytesSent,
    /// Payload bytes that came.
    BytesDelivered,
    /// Commands that a worker has carried out.
    Obeyed,
}

const FIGURES: usize = Figure::Obeyed as usize + 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally([u64; FIGURES]);

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, value)| *sum += value);
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        let mut difference = *self;
        difference.0.iter_mut().zip(before.0).for_each(|(value, before)| *value = value.saturating_sub(before));
        difference
    }
}

impl Index<Figure> for Tally {
    type Output = u64;

    fn index(&self, figure: Figure) -> &u64 {
        &self.0[figure as usize]
    }
}

impl IndexMut<Figure> for Tally {
    fn index_mut(&mut self, figure: Figure) -> &mut u64 {
        &mut self.0[figure as usize]
    }
}

/// A worker's tally as of its last turn.
#[derive(Debug, Default)]
pub(super) struct SharedTally([AtomicU64; FIGURES]);

impl SharedTally {
    /// What a command led to is to be seen by whoever sees that it was carried out: `Obeyed` is written last and read first.
    pub(super) fn store(&self, tally: &Tally) {
        self.0.iter().zip(tally.0).for_each(|(shared, value)| shared.store(value, Ordering::Release));
    }

    pub(super) fn load(&self) -> Tally {
        let obeyed = self.0[Figure::Obeyed as usize].load(Ordering::Acquire);
        let mut tally = Tally(std::array::from_fn(|index| self.0[index].load(Ordering::Relaxed)));
        tally[Figure::Obeyed] = obeyed;
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_and_subtract_figure_by_figure() {
        let (mut a, mut b) = (Tally::default(), Tally::default());
        a[Figure::Sent] = 3;
        b[Figure::Sent] = 5;
        b[Figure::BytesDelivered] = 7;
        let shared = SharedTally::default();
        shared.store(&b);
        assert_eq!(shared.load(), b);
        assert_eq!(b.since(&a)[Figure::Sent], 2);
        a.add(&b);
        assert_eq!((a[Figure::Sent], a[Figure::BytesDelivered], a[Figure::Connected]), (8, 7, 0));
    }
}
