//! What an acknowledgement is worth: the real binary is killed, its disk fails, fills up and forgets, its files are cut and garbled;
//! what it had acknowledged must be there, once and in order. `README.md` beside this file says what each part proves.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod backup;
mod dying;
mod failures;
mod faults;
mod files;
mod fixtures;
mod full_disk;
mod house;
mod kill;
mod login;
mod model;
mod publisher;
mod queue_worker;
mod queues;
mod restart;
mod retained;
mod slow_disk;
#[allow(dead_code)] // those of the chapters of the specification, of which some are taken here too
#[path = "../conformance/steps.rs"]
mod steps;
mod subscriber;
mod tail;
mod wills;
mod wire;
mod world;
