//! The dashboard in headless Chromium: each test starts a broker, gives it something to show, and runs one script of `scenarios/`.
#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[allow(dead_code)] // it is of the tests with real clients, and this one needs a part of it
#[path = "../clients/program.rs"]
mod program;
#[path = "../support/mod.rs"]
mod support;

mod acting;
mod house;
mod keys;
mod looking;
mod talking;
