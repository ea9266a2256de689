//! Roomcast: a standalone realtime gateway for Socket.IO clients (only what the configuration needs).

pub mod reason;
pub mod units;

pub mod limits;

pub mod http;

pub mod engine;

pub mod socketio;

pub mod ops;

pub mod config;

pub mod drain;

pub mod server;

pub mod cli;
