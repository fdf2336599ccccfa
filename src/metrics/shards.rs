use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::batch::{Batch, SLOTS};

/// Threads beyond this number share a shard; more would only make reading slower.
const SHARDS: usize = 16;

/// The sum of all batches, spread so that threads do not pull one cache line back and forth.
#[derive(Debug)]
pub(super) struct Shards(Box<[Shard]>);

/// Two cache lines wide, because processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Shard([AtomicU64; SLOTS]);

impl Default for Shards {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Shard(std::array::from_fn(|_| AtomicU64::new(0)))).collect())
    }
}

impl Shards {
    pub(super) fn add(&self, batch: &mut Batch) {
        if !batch.touched {
            return;
        }
        for (sum, slot) in self.0[shard_of_thread()].0.iter().zip(&batch.slots) {
            if *slot != 0 {
                sum.fetch_add(*slot, Relaxed); // wraps, as the levels need it
            }
        }
        *batch = Batch::default();
    }

    pub(super) fn sum(&self) -> Batch {
        let mut total = Batch::default();
        for shard in &self.0 {
            for (slot, sum) in total.slots.iter_mut().zip(&shard.0) {
                *slot = slot.wrapping_add(sum.load(Relaxed));
            }
        }
        total
    }
}

fn shard_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Relaxed) % SHARDS));
    MINE.get()
}

#[cfg(test)]
mod tests {
    use super::super::{DropReason, PacketType};
    use super::*;

    #[test]
    fn batches_of_many_threads_add_up() {
        let shards = Shards::default();
        std::thread::scope(|scope| {
            for _ in 0..SHARDS + 3 {
                scope.spawn(|| {
                    let mut batch = Batch::default();
                    for round in 0..100 {
                        batch.packet_received(PacketType::Publish);
                        batch.bytes_received(round);
                        shards.add(&mut batch);
                    }
                });
            }
        });
        let threads = SHARDS as u64 + 3;
        assert_eq!(shards.sum().packets_received(PacketType::Publish), threads * 100);
        assert_eq!(shards.sum().total_bytes_received(), threads * 4950);
    }

    #[test]
    fn what_one_thread_queues_another_may_take() {
        let shards = Shards::default();
        let mut batch = Batch::default();
        batch.queued(5, 500);
        shards.add(&mut batch);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut batch = Batch::default();
                batch.unqueued(3, 300);
                shards.add(&mut batch);
            });
        });
        assert_eq!((shards.sum().queued_messages(), shards.sum().queued_bytes()), (2, 200));
    }

    #[test]
    fn an_added_batch_is_empty_and_is_not_added_again() {
        let shards = Shards::default();
        let mut batch = Batch::default();
        batch.dropped(DropReason::TooLarge, 1);
        shards.add(&mut batch);
        shards.add(&mut batch);
        assert_eq!(shards.sum().messages_dropped(DropReason::TooLarge), 1);
    }
}
