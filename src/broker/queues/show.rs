use std::sync::Arc;

use parking_lot::MutexGuard;

use super::PIECE;
use super::handle::QueueHandle;
use super::records::{self, COMMON};
use crate::broker::Broker;
use crate::broker::author::Author;
use crate::queue::{DelayedChange, Showing};
use crate::storage::Walker;

/// Bytes of records from which a piece ends before that: names of clients are long if they like.
const PIECE_BYTES: usize = 256 << 10;

impl Broker {
    /// Shows all queues to a checkpoint, in pieces: those who publish and consume wait for one piece at the most.
    pub(in crate::broker) fn show_queues(&self, walker: &mut Walker<'_>) {
        if let Some(bytes) = *self.queues.secret_bytes.lock() {
            walker.work(COMMON, None, &records::content_of_secret(bytes));
        }
        let mut content = Vec::new();
        for queue in self.queues.all() {
            show_queue(&queue, walker, &mut content);
        }
        self.show_delayed(walker, &mut content);
    }

    fn show_delayed(&self, walker: &mut Walker<'_>, content: &mut Vec<u8>) {
        let mut next = Some(0);
        while let Some(from) = next {
            let waiting = self.queues.delayed.lock();
            let mut see = |change: DelayedChange<_, Arc<Author>>| {
                let change = change.map_owner(|author| author.owner());
                records::write_delayed(&change, content);
                walker.work(COMMON, change.body(), content);
            };
            if from == 0 {
                see(waiting.messages.snapshot_of_numbers());
            }
            next = waiting.messages.show(from, PIECE, see);
            MutexGuard::unlock_fair(waiting);
            walker.pause();
        }
    }
}

/// What is told of the queue meanwhile is replayed onto what is shown: also that it is gone.
fn show_queue(queue: &Arc<QueueHandle>, walker: &mut Walker<'_>, content: &mut Vec<u8>) {
    let mut showing = Showing::new();
    let (mut is_begun, mut has_more) = (false, true);
    while has_more {
        let mut state = queue.lock();
        if state.is_deleted {
            return;
        }
        if !std::mem::replace(&mut is_begun, true) {
            walker.work(queue.number, None, &records::content_of_definition(&state.definition));
        }
        let mut bytes = 0;
        has_more = state.work.show(&mut showing, PIECE, |part, change| {
            records::write_change(part, &change, content);
            walker.work(queue.number, records::body_of(change).as_ref(), content);
            bytes += content.len();
            bytes < PIECE_BYTES
        });
        // Whoever waits is next: otherwise this thread would have the lock again before they wake.
        MutexGuard::unlock_fair(state);
        walker.pause();
    }
}
