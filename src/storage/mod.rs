//! What survives a crash: an append-only journal with one committer, the state that it folds into, and the bodies of messages that lie
//! on disk until they are wanted. `FORMAT.md` has the files byte by byte.
//!
//! The broker changes its state in memory and tells the [`Journal`] what changed; a [`Committer`] writes what was told in one batch,
//! syncs once, and hands back all who waited for it. A checkpoint is a walk over the state while the broker goes on: recovery reads the
//! newest one and replays the segments since. Segments before it are kept for the bodies that still live in them.

pub mod backend;
mod body;
mod checkpoint;
mod clock;
mod codec;
mod commit;
mod config;
mod error;
#[cfg(test)]
pub mod fake;
mod frame;
mod inspect;
mod journal;
mod maintain;
mod reader;
mod record;
mod recovery;
mod scan;
mod segment;
mod session_record;
mod state;
#[cfg(test)]
mod tests;
mod work;

pub use backend::{Backend, FileBackend, StoreFile};
pub use body::{AROUND, Body, Holder, Notes, Recipient};
pub use checkpoint::{Walk, Walker};
pub use clock::Clock;
pub use codec::{Parts, Put};
pub use commit::{Committed, Committer};
pub use config::{Durability, Level, TopicLevel};
pub use error::{Damage, StorageError};
pub use inspect::{SessionSummary, Summary};
pub use journal::{Item, Journal, Transaction};
pub use maintain::{Held, Keeper};
pub use reader::load;
pub use record::{ConsumerWish, OnlineState, Publisher, PublishingClient, Record, SessionHeader, StoredWill};
pub use recovery::{Opened, Recover, open};
pub use segment::{Place, Segment};
pub use state::{EntryState, RetainedState, SessionState, State};
pub use work::{NoWork, Tell, WorkState};
