//! What we ask the application, or take its word for: tokens that it signed.
//!
//! Knows no sockets and no rooms: it says what a token is worth, and what comes of that is decided above.

mod binary;
pub mod config;
mod fetch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod jwks;
mod keys;
mod token;
pub mod webhook;

#[cfg(test)]
mod tests;

pub use binary::{BinaryError, extract, inline};
pub use config::Config;
pub use jwks::Location;
pub use keys::{public_key_problem, set_problem};
pub use token::{Claims, Flaw, Grant, Judged, Tokens, Verdict, now};
