//! What operators see.

pub mod admin;
pub mod logging;
