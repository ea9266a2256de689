//! The gateway on the wire: real gateways in this process, and a raw client that speaks by hand.
//!
//! Every file is one topic; every test's name is a promise. `gateway.rs` starts gateways, `client/` holds the raw
//! client, `backend.rs` is an application with a webhook, `bridge.rs` brings the client to gateways that it cannot reach by itself, `process.rs` runs the built binary,
//! `observed.rs` keeps all that it writes, and `redis_server.rs` runs Redis.
//! Nothing here sleeps to let things settle: a test waits for a fact with a deadline, and shows that
//! something does *not* happen by what comes after it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(
    unreachable_pub,
    reason = "nothing is reachable in a test binary; `pub` marks what topics use"
)]

mod backend;
mod bridge;
mod client;
mod gateway;
mod observed;
mod process;
mod redis_server;

mod acks;
mod api;
mod api_cluster;
mod api_doors;
mod bench;
mod bench_refused;
mod binary;
mod bounds;
mod client_bundle;
mod close;
mod cluster;
mod cluster_faults;
mod cluster_members;
mod cluster_nodes;
mod cluster_order;
mod cluster_presence;
mod command_line;
mod compression;
mod connect;
mod cors;
mod drain;
mod errors;
mod forwarding;
mod forwarding_doors;
mod forwarding_drain;
mod garbage;
mod handshake;
mod health;
mod heartbeat;
mod ids;
mod jsonp;
mod limits;
mod limits_inside;
mod listeners;
mod logs;
mod members;
mod msgpack;
mod node_server;
mod order;
mod patience;
mod payload_v3;
mod payload_v4;
mod polling;
mod presence;
mod proxy_protocol;
mod redis_commands;
mod redis_cost;
mod redis_doors;
mod redis_faults;
mod rules;
mod rules_configured;
mod rules_refused;
mod secrets;
mod shown_ids;
mod slow_clients;
mod smuggling;
mod socketio_packets;
mod stamp;
mod streams;
mod supervisor;
mod token_end;
mod token_keys;
mod tokens;
mod upgrade;
mod user_sockets;
mod webhook_cluster;
mod webhook_events;
mod webhook_notices;
mod webhook_rooms;
mod webhooks;
mod websocket;
mod websocket_handshake;
mod wire_vectors;
