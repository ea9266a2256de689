//! What series are told apart by: closed sets, never anything that a client sends.

use serde::{Deserialize, Serialize};

/// A transport in labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP long polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// A session was opened.
    Accepted,
    /// The request was not one.
    BadRequest,
    /// Its origin may not connect.
    Forbidden,
    /// Its protocol is not served.
    UnsupportedProtocol,
    /// Its transport is not served.
    UnknownTransport,
    /// The node is full, draining, or has no randomness.
    Unavailable,
}

/// How an upgrade from polling to WebSocket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// The session goes on on the WebSocket.
    Done,
    /// It was not finished in time.
    TimedOut,
    /// The probing connection broke or said something else.
    Failed,
}

/// Who sent a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client.
    Client,
    /// The application, by the HTTP API.
    Api,
    /// Another server on the same Redis.
    Cluster,
    /// The application, in its answer to a webhook.
    Backend,
}

/// Who published what the relay hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publisher {
    /// A gateway.
    Roomcast,
    /// A Node.js server.
    Node,
    /// Something that only publishes.
    Emitter,
}

/// What came of a request for a session of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// Its owner answered.
    Answered,
    /// No gateway that is there has such sessions.
    UnknownOwner,
    /// Its owner is there, but no connection to it.
    Unreachable,
    /// The connection to its owner broke before an answer came.
    Broken,
    /// Its client did not wait for the answer.
    Aborted,
    /// Its owner did not believe that it came from a gateway, or we did not.
    Refused,
}

/// A question to all other servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Who is in a room.
    Members,
    /// Which sockets there are.
    Sockets,
    /// Which rooms there are.
    Rooms,
    /// What gateways say of themselves.
    Nodes,
    /// Whether one gateway drains.
    Drain,
    /// No question: sockets join or leave rooms, or go.
    Order,
    /// An event that clients answer.
    Acks,
}

/// What came of a question to all other servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Questioned {
    /// All have answered.
    Complete,
    /// Some have not, in time.
    Partial,
    /// It was not asked, as too many were under way.
    RateLimited,
}

/// A limit that somebody met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `limits.connections`, of connections or of sessions.
    Connections,
    /// `limits.connections_per_ip`.
    ConnectionsPerIp,
    /// `limits.sockets_per_user`.
    SocketsPerUser,
    /// `limits.handshakes_per_second`.
    HandshakesPerSecond,
    /// `limits.events_per_second`.
    EventsPerSecond,
    /// Heartbeats and pings, which no setting changes.
    ControlPackets,
    /// Events that wait while an earlier one of their socket is not done.
    WaitingEvents,
    /// Questions to other servers that are under way at once.
    Questions,
}

/// Why an event of a client was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A pattern, `members_only` or a private room says no.
    Forbidden,
    /// The arguments are not what the event takes.
    BadRequest,
    /// More events than `limits.events_per_second`.
    RateLimited,
    /// A limit on sizes or counts.
    TooLarge,
    /// No rule names it, or one drops it.
    NoRule,
    /// Redis or the backend is away, and nothing can be done without.
    Unavailable,
    /// The backend did not answer in time.
    Timeout,
    /// The socket's token is over, and no new one has come.
    Expired,
    /// A volatile packet that a client could not take at once.
    Volatile,
}

/// What an event of a client does, in labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Joins rooms.
    Join,
    /// Leaves rooms.
    Leave,
    /// Relays to named rooms.
    Publish,
    /// Relays where the rule says.
    Broadcast,
    /// Says who is in a room.
    Members,
    /// Takes a new token.
    Refresh,
    /// Answers with the arguments.
    Ack,
    /// Hands it to the application.
    Webhook,
    /// Appends to a stream in Redis.
    Stream,
    /// Nothing.
    Drop,
}

/// What the application is asked or told, in labels, settings and on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub enum Webhook {
    /// Whether a client may enter a namespace.
    #[serde(rename = "connect")]
    Connect,
    /// A socket entered.
    #[serde(rename = "connected")]
    Connected,
    /// An event of a client.
    #[serde(rename = "event")]
    Event,
    /// A socket is gone.
    #[serde(rename = "disconnect")]
    Disconnect,
    /// A socket joined rooms.
    #[serde(rename = "join")]
    Join,
    /// A socket left rooms.
    #[serde(rename = "leave")]
    Leave,
    /// A room got its first member.
    #[serde(rename = "room.occupied")]
    RoomOccupied,
    /// A room lost its last member.
    #[serde(rename = "room.vacated")]
    RoomVacated,
    /// A gateway died.
    #[serde(rename = "node.lost")]
    NodeLost,
}

/// Why a call to the application came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WebhookFailure {
    /// It could not be reached, or hung up before it answered.
    Connection,
    /// It did not answer in time.
    Timeout,
    /// It was not asked in time, as too many calls were under way.
    Busy,
    /// A proxy before it says that it is away: 502, 503 or 504.
    Gateway,
    /// Another status that is no answer.
    Status,
    /// It wants to be asked elsewhere.
    Redirect,
    /// What it says is not what an answer is made of.
    Invalid,
    /// It says too much.
    TooLarge,
    /// Its answer broke off.
    Cut,
    /// It was not asked, as it failed too often.
    CircuitOpen,
    /// It was not told, as too much waits.
    Overflow,
    /// An action of its answer was not done.
    Action,
}

/// Binds a label enum to the texts of its series.
macro_rules! label {
    ($name:ident { $($variant:ident => $text:literal),+ $(,)? }) => {
        impl $name {
            pub(super) const LABELS: &'static [&'static str] = &[$($text),+];

            /// The text in labels, logs and acks.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

label!(Transport { Polling => "polling", WebSocket => "websocket" });
label!(Handshake {
    Accepted => "accepted", BadRequest => "bad_request", Forbidden => "forbidden",
    UnsupportedProtocol => "unsupported_protocol", UnknownTransport => "unknown_transport", Unavailable => "unavailable",
});
label!(Upgrade { Done => "done", TimedOut => "timed_out", Failed => "failed" });
label!(Origin { Client => "client", Api => "api", Cluster => "cluster", Backend => "backend" });
label!(Refusal {
    Forbidden => "forbidden", BadRequest => "bad_request", RateLimited => "rate_limited", TooLarge => "too_large", NoRule => "no_rule",
    Unavailable => "unavailable", Timeout => "timeout", Expired => "expired", Volatile => "volatile",
});
label!(Action {
    Join => "join", Leave => "leave", Publish => "publish", Broadcast => "broadcast", Members => "members", Refresh => "refresh", Ack => "ack",
    Webhook => "webhook", Stream => "stream", Drop => "drop",
});

label!(Limit {
    Connections => "connections", ConnectionsPerIp => "connections_per_ip", SocketsPerUser => "sockets_per_user",
    HandshakesPerSecond => "handshakes_per_second", EventsPerSecond => "events_per_second",
    ControlPackets => "control_packets", WaitingEvents => "waiting_events", Questions => "questions",
});
label!(Forwarded {
    Answered => "answered", UnknownOwner => "unknown_owner", Unreachable => "unreachable", Broken => "broken",
    Aborted => "aborted", Refused => "refused",
});
label!(Question {
    Members => "members", Sockets => "sockets", Rooms => "rooms", Nodes => "nodes", Drain => "drain",
    Order => "order", Acks => "acks",
});
label!(Questioned { Complete => "complete", Partial => "partial", RateLimited => "rate_limited" });
label!(Publisher { Roomcast => "roomcast", Node => "node", Emitter => "emitter" });
label!(Webhook {
    Connect => "connect", Connected => "connected", Event => "event", Disconnect => "disconnect", Join => "join", Leave => "leave",
    RoomOccupied => "room.occupied", RoomVacated => "room.vacated", NodeLost => "node.lost",
});
label!(WebhookFailure {
    Connection => "connection", Timeout => "timeout", Busy => "busy", Gateway => "gateway", Status => "status",
    Redirect => "redirect", Invalid => "invalid", TooLarge => "too_large", Cut => "cut", CircuitOpen => "circuit_open",
    Overflow => "overflow", Action => "action",
});
