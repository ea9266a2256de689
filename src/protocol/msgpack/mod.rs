//! Socket.IO packets in MessagePack, for clients that use socket.io-msgpack-parser: a map `{type, data, nsp, id}`.
//!
//! Everything else in this program sees such a packet as text with attachments: what comes in is rewritten as that, what
//! goes out is rewritten from that. No tree is built on either way, no length is believed before its bytes are there,
//! and nesting is bounded as in text. The messages between nodes are read and written with the same two walks.

mod date;
mod decode;
mod encode;
mod token;
mod transcode;

pub use decode::Decoded;
pub(crate) use encode::{encode, encode_behind, encode_value};
pub(crate) use token::{Dialect, Token};
pub(crate) use transcode::{Limits, Transcoder};

#[cfg(test)]
mod tests;
