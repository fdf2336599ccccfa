#![doc = include_str!("ARCHITECTURE.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admin;
pub mod auth;
pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
pub mod loadtest;
pub mod metrics;
pub mod packet;
pub mod queue;
pub mod remote;
pub mod routing;
pub mod server;
pub mod session;
pub mod storage;
pub mod transport;
pub mod units;
