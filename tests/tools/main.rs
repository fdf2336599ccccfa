//! `dunlin pub` and `dunlin sub` as their users meet them: beside mosquitto's own clients, with the same arguments and the
//! same output.
#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod documents;
mod faults;
mod interchangeable;
mod options;
mod scripted;
mod tool;
