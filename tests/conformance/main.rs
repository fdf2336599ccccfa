//! Chapter by chapter through MQTT 5.0 and 3.1.1, from outside: one test per statement that can be seen on the wire.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod session_state;
mod smoke;
mod steps;
