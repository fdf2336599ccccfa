//! Chapter by chapter through MQTT 5.0 and 3.1.1, from outside: one test per statement that can be seen on the wire.

#[path = "../support/mod.rs"]
mod support;

mod flow_control;
mod ordering;
mod qos;
mod request_response;
mod session_state;
mod shared_subscriptions;
mod smoke;
mod steps;
mod topics;
mod websocket;
mod wills;
