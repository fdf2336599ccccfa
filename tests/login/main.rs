//! Ways in besides passwords: tokens, a server that is asked, and what tenants see of each other.

#![allow(clippy::unwrap_used)] // a test may fail anywhere

#[path = "../support/mod.rs"]
mod support;

mod answers;
#[allow(dead_code)] // here nobody but the servers that are asked has certificates
#[path = "../transports/authority.rs"]
mod authority;
mod authorize;
mod chain;
mod hook;
mod https;
mod jwks;
mod jwt;
mod queues;
mod signer;
mod tenants;
