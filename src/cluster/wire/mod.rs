//! The messages of @socket.io/redis-adapter and of its predecessors and emitters: what stands on which Redis channel.
//!
//! Pure: no I/O, no clock, no tokio. Nothing on these channels is authenticated, so every message is read as if it came
//! from anybody: a wrong one is an error that says why, never more. Written is what version 8 of the adapter writes, byte
//! for byte, and to those who ask in an older form an answer in that form.

mod ask;
mod broadcast;
mod channels;
mod names;
mod object;
mod request;
mod response;

pub use ask::{Ask, Dialect, Request, Selection};
pub use broadcast::{Broadcast, Tail, decode_broadcast, encode_tail, message, peek_uid};
pub use channels::{Channels, Place};
pub use names::Names;
pub use request::{decode_request, encode_request};
pub use response::{Answer, Handshake, RemoteSocket, Response, decode_response, encode_response};

use crate::protocol::json::{DEPTH_MAX, JsonError};
use crate::protocol::msgpack::Limits;
use crate::protocol::socket::PacketError;

/// What a message may hold. Its own levels come on top of its data's. Clients take far fewer attachments: this bounds what a
/// small message can make us allocate.
const LIMITS: Limits = Limits {
    levels_max: DEPTH_MAX + 3,
    attachments_max: 1000,
};

/// Why a message cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Neither MessagePack nor within bounds.
    #[error("no MessagePack, or more than {} levels or {} binary values", LIMITS.levels_max, LIMITS.attachments_max)]
    MessagePack,
    /// Not the JSON of a message.
    #[error("no JSON of a message: {0}")]
    Json(String),
    /// Something in it is missing, or something else.
    #[error("{0}")]
    Shape(&'static str),
    /// A packet that is no event.
    #[error("a packet of type {0}, and only events (2) are broadcast")]
    PacketType(u64),
    /// A kind of request or answer that we do not know.
    #[error("a message of type {0}, which is unknown")]
    MessageType(u64),
}

impl From<PacketError> for WireError {
    fn from(_: PacketError) -> Self {
        Self::MessagePack
    }
}

impl From<JsonError> for WireError {
    fn from(error: JsonError) -> Self {
        Self::Json(error.to_string())
    }
}

impl From<serde_json::Error> for WireError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

#[cfg(test)]
mod tests;
