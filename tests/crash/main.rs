//! What an acknowledgement is worth: the real binary is killed, its disk fails, fills up and forgets, its files are cut and garbled;
//! what it had acknowledged must be there, once and in order. `README.md` beside this file says what each part proves.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod dice;
mod faults;
mod house;
mod kill;
mod login;
mod model;
mod publisher;
mod retained;
mod subscriber;
mod wills;
mod wire;
mod world;
