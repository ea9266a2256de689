//! Engine.IO.

pub mod config;
