//! Roomcast: a standalone realtime gateway for Socket.IO clients of every generation.
//!
//! The modules in reading order, each of which may use those above it:
//!
//! - [`reason`], [`units`], [`url`], [`limits`], [`wish`]: words that all others share
//! - [`protocol`]: bytes to packets and back; pure
//! - [`tls`], [`bench`]: TLS towards others; clients by the thousand, to measure servers
//! - [`http`], [`metrics`]: what all answers have in common; every number that we count
//! - [`stream`], [`gate`], [`proxies`]: a connection, the strict reading of what comes in by it, whose address it has
//! - [`engine`]: Engine.IO; requests and WebSockets in, sessions out
//! - [`hub`]: who is here, in which rooms, and how a broadcast reaches them
//! - [`cluster`]: many nodes as one, over Redis
//! - [`backend`]: what we ask the application, or take its word for
//! - [`socketio`]: a client's life
//! - [`ops`]: what operators see
//! - [`config`]: all settings, in layers
//! - [`drain`], [`server`], [`cli`]: leaving, the composition root, the command line
//!
//! `ARCHITECTURE.md` tells the same story at more length.

pub mod backend;
pub mod bench;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod drain;
pub mod engine;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing; // what must hold for every input of all of them
pub mod gate;
pub mod http;
pub mod hub;
pub mod limits;
pub mod metrics;
pub mod ops;
pub mod protocol;
pub mod proxies;
pub mod reason;
pub mod server;
pub mod socketio;
pub mod stream;
pub mod tls;
pub mod units;
pub mod url;
pub mod wish;
