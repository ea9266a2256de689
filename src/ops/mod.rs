//! What operators see: health, metrics, logs, and the demo page.

pub mod admin;
pub mod demo;
pub mod health;
pub mod logging;
