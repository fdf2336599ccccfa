//! What broke other brokers, done to this one. `README.md` has the table: which row of what is known is which test.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod bytes;
mod connecting;
mod filters;
mod guessing;
mod memory;
mod siege;
