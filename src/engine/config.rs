//! `[engine]`: how Engine.IO is spoken.

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Span};

/// `[engine]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The transports that clients may use.
    pub transports: Vec<TransportName>,
    /// Whether clients 1.x and 2.x (Engine.IO v3) are served.
    pub eio3: bool,
    /// Time between heartbeats.
    pub ping_interval: Span,
    /// Time in which a heartbeat must be answered.
    pub ping_timeout: Span,
    /// Time in which an upgrade to WebSocket must be finished.
    pub upgrade_timeout: Span,
    /// Time until the first namespace must be joined.
    pub connect_timeout: Span,
    /// Bytes of one message, its attachments included.
    pub max_payload: ByteSize,
    /// Name of a cookie that holds the session id; empty = none.
    pub cookie: String,
    /// Whether answers to polling requests are compressed.
    pub http_compression: bool,
}

/// A transport by its name in the query string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportName {
    /// HTTP long polling.
    Polling,
    /// WebSocket.
    Websocket,
}

impl TransportName {
    /// The name in query strings, metric labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::Websocket => "websocket",
        }
    }
}
