use std::collections::VecDeque;
use std::sync::Arc;

use super::queued::Queued;
use crate::packet::Message;
use crate::storage::Body;

/// The messages of a session that are in memory though they are stored, in the order in which they will be sent: the next ones of a long
/// queue, whose rest is on disk.
#[derive(Debug, Default)]
pub struct Window {
    messages: VecDeque<(Arc<Body>, Message)>,
    bytes: usize,
}

/// What is kept in memory of one session's queue.
const MESSAGES_MAX: usize = 512;
const BYTES_MAX: usize = 256 << 10;

impl Window {
    /// The message of `queued`, from memory: its own, or the one that was put here for it.
    pub fn take(&mut self, queued: &Queued) -> Option<Message> {
        let Some(body) = queued.body() else { return queued.message() };
        while let Some((first, message)) = self.messages.pop_front() {
            self.bytes -= message.len();
            if Arc::ptr_eq(&first, body) {
                return Some(message);
            }
            // It was put here for one that has left the queue on another way.
        }
        queued.message()
    }

    /// Keeps the message of one that was queued just now, if all stored ones before it are here too and there is room.
    pub fn follow(&mut self, stored_before: usize, body: &Arc<Body>, message: &Message) {
        if self.messages.len() == stored_before && self.has_room() {
            self.put(body.clone(), message.clone());
        }
    }

    pub fn put(&mut self, body: Arc<Body>, message: Message) {
        self.bytes += message.len();
        self.messages.push_back((body, message));
    }

    pub fn has_room(&self) -> bool {
        self.messages.len() < MESSAGES_MAX && self.bytes < BYTES_MAX
    }

    /// Of those that come next, the ones to be read from disk together.
    pub fn wanted<'a>(next: impl Iterator<Item = &'a Queued>) -> Vec<Arc<Body>> {
        let mut bytes = 0;
        let mut bodies = Vec::new();
        for body in next.filter_map(Queued::body) {
            if bodies.len() >= MESSAGES_MAX || bytes >= BYTES_MAX {
                break;
            }
            bytes += body.size();
            bodies.push(body.clone());
        }
        bodies
    }
}
