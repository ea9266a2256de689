//! The protocol's errors: why a request is not what it wants to be.

use hyper::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

use crate::http::{self, Body};
use crate::metrics::Handshake;

/// Seconds after which a refused client should come back.
const RETRY_AFTER_SECONDS: &str = "2";

/// The protocol's errors, by Node's numbers and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownTransport,
    UnknownSession,
    BadMethod,
    BadRequest,
    Forbidden,
    UnsupportedProtocol,
    /// Ours alone: 503, for a node that is draining.
    Unavailable,
}

impl Refusal {
    fn code(self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSession => 1,
            Self::BadMethod => 2,
            Self::BadRequest | Self::Unavailable => 3,
            Self::Forbidden => 4,
            Self::UnsupportedProtocol => 5,
        }
    }

    /// Its words.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSession => "Session ID unknown",
            Self::BadMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedProtocol => "Unsupported protocol version",
            Self::Unavailable => "Service unavailable",
        }
    }

    /// What the metrics call it.
    pub(super) fn result(self) -> Handshake {
        match self {
            Self::UnknownTransport => Handshake::UnknownTransport,
            Self::UnknownSession | Self::BadMethod | Self::BadRequest => Handshake::BadRequest,
            Self::Forbidden => Handshake::Forbidden,
            Self::UnsupportedProtocol => Handshake::UnsupportedProtocol,
            Self::Unavailable => Handshake::Unavailable,
        }
    }

    /// The answer; a refused upgrade gets the bare words, as from Node.
    pub(super) fn response(self, is_upgrade: bool) -> Response<Body> {
        let status = match self {
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Forbidden if !is_upgrade => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        };
        let mut response = if is_upgrade {
            let mut response = http::response(status, "text/html", self.message());
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
            response
        } else {
            http::json(status, &json!({"code": self.code(), "message": self.message()}))
        };
        if self == Self::Unavailable {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}
