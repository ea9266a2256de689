//! Socket.IO.

pub mod config;
