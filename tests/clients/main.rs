//! The world: clients that others wrote, each in its own language, against the broker as it is run.
//!
//! `tests/run` installs them; after that `cargo test --test clients` is enough.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod identity;
mod mosquitto;
mod mosquitto_v5;
mod program;
mod rumqttc;
mod scripts;
mod tls;
mod work_queues;
