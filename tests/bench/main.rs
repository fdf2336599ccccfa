//! `dunlin bench` against the broker: each scenario in small, what is counted, and how it ends. Nothing here asserts a time.

#[path = "../support/mod.rs"]
mod support;

mod comparison;
mod faults;
mod program;
mod scenarios;
mod wires;
