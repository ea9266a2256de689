//! Roomcast: a standalone realtime gateway for Socket.IO clients.
pub mod limits;
pub mod protocol;
pub mod reason;
pub mod units;
