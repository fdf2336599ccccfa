//! Servers outside that are asked about clients: the HTTP hook of `[auth.http]`, and where the keys of tokens come from.
//!
//! Nothing here lies on the way of a message. Every wait has an end, every answer a largest size, and no answer means no.

mod breaker;
mod connector;
mod http;
mod http_hook;
mod keys;
mod login_cache;

pub use http::{HttpClient, HttpError};
pub use http_hook::HttpHook;
pub use keys::KeyFetcher;
