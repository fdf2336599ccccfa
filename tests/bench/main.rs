//! `dunlin bench` against the broker: each scenario in small, what is counted, and how it ends. Nothing here asserts a time, but that
//! patience is not measured.

#[path = "../support/mod.rs"]
mod support;

mod comparison;
mod fake;
mod faults;
mod interrupting;
mod program;
mod scenarios;
mod wires;
