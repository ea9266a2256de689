//! The gateway on the wire: real gateways in this process, and a raw client that speaks by hand.
//!
//! Every file is one topic; every test's name is a promise. `gateway.rs` starts gateways, `client/` holds the raw
//! client. Nothing here sleeps to let things settle: a test waits for a fact with a deadline, and shows that
//! something does *not* happen by what comes after it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(
    unreachable_pub,
    reason = "nothing is reachable in a test binary; `pub` marks what topics use"
)]

mod client;
mod gateway;

mod acks;
mod binary;
mod bounds;
mod close;
mod compression;
mod connect;
mod cors;
mod drain;
mod errors;
mod garbage;
mod handshake;
mod health;
mod heartbeat;
mod ids;
mod jsonp;
mod msgpack;
mod order;
mod patience;
mod payload_v3;
mod payload_v4;
mod polling;
mod rules;
mod rules_configured;
mod rules_refused;
mod smuggling;
mod socketio_packets;
mod upgrade;
mod websocket;
mod websocket_handshake;
