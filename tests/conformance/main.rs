//! Chapter by chapter through MQTT 5.0 and 3.1.1, from outside: one test per statement that can be seen on the wire.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod acks;
mod auth;
mod connack;
mod connect;
mod data_types;
mod ping_disconnect;
mod publish;
mod session_state;
mod smoke;
mod steps;
mod subscribe;
mod unsubscribe;
mod wire;
