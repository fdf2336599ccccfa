//! Who gets in, and what they may do: row by row what broke elsewhere.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod anonymous;
mod house;
mod login;
mod passwords;
mod patterns;
mod publishing;
mod reload;
mod sessions;
mod subscribing;
mod wills;
