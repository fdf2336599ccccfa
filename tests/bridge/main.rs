//! A bridge between two brokers: mosquitto on the other side, or another of ours, over a line that breaks.
#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod cut_line;
mod loops;
mod messages;
mod mosquitto;
mod poison;
mod reload;
mod topics;
