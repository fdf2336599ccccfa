//! JSON Web Tokens (RFC 7519) as passwords: which keys may have signed one, and what is in it.
//!
//! The signatures are checked by ring, which TLS uses too. The crates for this bring a second stack of cryptography, or want ours to be
//! written down for them; what is left besides is this. Nothing here waits or reads a clock.

mod algorithm;
mod files;
mod key_set;
mod tokens;

pub use algorithm::Algorithm;
pub use files::KeyFileError;
pub use key_set::{InvalidKey, KeySet};
pub use tokens::{Token, TokenError, TokenRules, Tokens, looks_like_a_token};
