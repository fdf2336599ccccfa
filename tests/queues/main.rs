//! Work queues from the outside: real brokers, clients of all versions, and each sentence that the guide says of queues.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, unused_imports)] // written for more users than there are here
#[path = "../rights/house.rs"]
mod rights_house;

mod bad_input;
mod changes;
mod coded;
mod consumers;
mod dead_letters;
mod dedup;
mod delay;
mod explicit;
mod house;
mod limits;
mod mount_points;
mod order;
mod publishing;
mod rights;
mod sessions;
mod withheld;
