//! The journal on a disk that forgets what was not synced.

mod commit;
mod model;
mod promises;
mod recent;
mod records;
mod recovery;
mod small_broker;
mod space;
mod work;

use std::sync::Arc;
use std::time::Instant;

use super::fake::FakeBackend;
use super::*;
use crate::packet::{ForwardedProperties, Message, MessageView, QoS, TopicName};
use crate::units::ByteSize;

/// Milliseconds since the epoch at which all tests happen.
const WALL: u64 = 1_700_000_000_000;

fn config(segment_size: u64) -> Durability {
    Durability { segment_size: ByteSize(segment_size), min_free_space: ByteSize(0), ..Durability::default() }
}

/// Opens what is in `backend`, for waiters that are numbers.
fn open_with(backend: &FakeBackend, config: &Durability, recover: Option<Recover>) -> Result<Opened<u64>, StorageError> {
    let clock = Clock::new(Instant::now(), WALL);
    open(Arc::new(backend.clone()), config, recover, (clock, Instant::now), Arc::default(), Box::new(NoWork), &mut |_, _| ())
}

fn message(topic: &str, payload: &[u8], qos: QoS) -> Message {
    let topic = TopicName::new(topic).unwrap();
    let properties = ForwardedProperties::read(&[]).unwrap();
    Message::new(MessageView { topic, properties, payload }, qos, false, None)
}
