//! What stands in `config/` beside the configs: packages, units, manifests, rules, a dashboard; and moving over from mosquitto.
#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod health;
mod image;
mod importing;
mod kubernetes;
mod monitoring;
mod service;
mod tools;
