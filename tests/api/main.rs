//! The admin API as its users meet it: the program, and HTTP.
#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod access;
mod banned;
mod bridges;
mod clients;
mod config;
mod contract;
mod ctl;
mod document;
mod examples;
mod http;
mod lists;
mod operation;
mod publish;
mod queues;
mod schema;
mod trace;

use std::io::Write;
use std::process::{Command, Stdio};

use http::Http;
use support::Broker;

/// A broker without keys that knows the user `dave`, whose password is `evad`.
fn with_user() -> Broker {
    let folder = tempfile::tempdir().unwrap();
    let mut passwd = Command::new(env!("CARGO_BIN_EXE_dunlin"))
        .args(["passwd", "--stdin"])
        .arg(folder.path().join("users"))
        .arg("dave")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    passwd.stdin.take().unwrap().write_all(b"evad").unwrap();
    assert!(passwd.wait().unwrap().success());
    let config = "[[listeners]]\nname = \"tcp\"\nurl = \"tcp://127.0.0.1:0\"\n[auth]\npassword_file = \"@DIR@/users\"\n";
    Broker::with_config_in(folder, config)
}

/// A broker without keys, and its API.
fn open() -> (Broker, Http) {
    let broker = Broker::start();
    let api = Http::new(broker.admin.unwrap());
    (broker, api)
}
