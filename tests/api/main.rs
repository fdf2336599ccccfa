//! The admin API as its users meet it: the program, and HTTP.
#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod access;
mod banned;
mod clients;
mod ctl;
mod document;
mod http;
mod lists;
mod operation;
mod publish;
mod schema;
mod trace;

use http::Http;
use support::Broker;

/// A broker without keys, and its API.
fn open() -> (Broker, Http) {
    let broker = Broker::start();
    let api = Http::new(broker.admin.unwrap());
    (broker, api)
}
