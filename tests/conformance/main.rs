//! Chapter by chapter through MQTT 5.0 and 3.1.1, from outside: one test per statement that can be seen on the wire.

#![allow(clippy::unwrap_used, clippy::unit_arg)] // a test may fail anywhere, and says so inside a closure

#[path = "../support/mod.rs"]
mod support;

mod acks;
mod auth;
mod connack;
mod connect;
mod connect_properties;
mod connect_session;
mod connect_will;
mod data_types;
mod flow_control;
mod ordering;
mod ping_disconnect;
mod properties;
mod publish;
mod publish_alias;
mod publish_properties;
mod publish_retained;
mod qos;
mod request_response;
mod session_state;
mod shared_subscriptions;
mod smoke;
mod steps;
mod subscribe;
mod topics;
mod unsubscribe;
mod websocket;
mod wills;
mod wire;
