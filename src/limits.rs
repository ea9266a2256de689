//! `[limits]`: what one client may make this node hold.

use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// `[limits]`. A count of 0 means none, unless said otherwise.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Connections of this node; 0 = the file-descriptor limit less 256.
    pub connections: usize,
    /// Rooms that a client may be in by its own `join`.
    pub rooms_per_socket: usize,
    /// Bytes of a room's name.
    pub room_name_bytes: usize,
    /// Namespaces that one client may be in at once.
    pub namespaces_per_client: usize,
    /// Live namespaces that exist through a pattern, on this node.
    pub pattern_namespaces: usize,
    /// Binary attachments of one packet.
    pub attachments: usize,
    /// Bytes that may wait for one client before it is cut as too slow.
    pub outbox: ByteSize,
}
