//! Roomcast: a standalone realtime gateway for Socket.IO clients.
pub mod limits;
pub mod http;
pub mod metrics;
pub mod engine;
pub mod protocol;
pub mod reason;
pub mod units;
