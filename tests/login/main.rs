//! Ways in besides passwords: tokens, a server that is asked, and what tenants see of each other.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod authorize;
mod chain;
mod hook;
mod jwks;
mod jwt;
mod queues;
mod signer;
mod tenants;
