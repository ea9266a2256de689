//! What operators see: health, metrics, the API, logs, and the demo page.

pub mod admin;
pub mod api;
pub mod demo;
pub mod health;
pub mod logging;
