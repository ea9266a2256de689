//! Why a session or a socket ended: one closed list for logs, metrics, webhooks and the dashboard.

use std::fmt;

/// The reason a session or a socket ended. Its text is a promise: dashboards and alerts hold on to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client said goodbye.
    ClientLeft,
    /// The connection was closed under the session.
    TransportClosed,
    /// The connection broke, or the client used its transport wrongly.
    TransportError,
    /// The heartbeat did not come in time.
    PingTimeout,
    /// No namespace was joined in time.
    ConnectTimeout,
    /// Bytes that are not the protocol.
    Malformed,
    /// A message above `max_payload`.
    TooLarge,
    /// More waited for the client than its outbox may hold.
    TooSlow,
    /// A flood of pings or frames.
    RateLimited,
    /// The token's time is over.
    TokenExpired,
    /// The client may not be here.
    Denied,
    /// Something that the client needs did not answer.
    Unavailable,
    /// Ended through the API or by a peer.
    Kicked,
    /// The node is draining.
    Draining,
    /// The node has stopped.
    Shutdown,
    /// An invariant of ours was broken.
    Bug,
}

impl Reason {
    /// All of them, so that each has its series in the metrics from the start.
    pub const ALL: [Self; 16] = [
        Self::ClientLeft,
        Self::TransportClosed,
        Self::TransportError,
        Self::PingTimeout,
        Self::ConnectTimeout,
        Self::Malformed,
        Self::TooLarge,
        Self::TooSlow,
        Self::RateLimited,
        Self::TokenExpired,
        Self::Denied,
        Self::Unavailable,
        Self::Kicked,
        Self::Draining,
        Self::Shutdown,
        Self::Bug,
    ];

    /// The name in logs, metric labels and webhooks.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientLeft => "client_left",
            Self::TransportClosed => "transport_closed",
            Self::TransportError => "transport_error",
            Self::PingTimeout => "ping_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::RateLimited => "rate_limited",
            Self::TokenExpired => "token_expired",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Kicked => "kicked",
            Self::Draining => "draining",
            Self::Shutdown => "shutdown",
            Self::Bug => "bug",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
