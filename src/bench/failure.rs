//! Why a connection was not made or did not last. The texts are the reasons in the report, so they are few and short.

use std::borrow::Cow;
use std::io;

/// What went wrong with one connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It was not ready in time.
    #[error("no connection within {} s", super::CONNECT_TIMEOUT.as_secs())]
    Late,
    /// An answer did not come in time.
    #[error("no acknowledgement within {0} s")]
    Unanswered(u64),
    /// The system said so.
    #[error("{}", words(.0))]
    Io(#[from] io::Error),
    /// TLS was not to be had.
    #[error("TLS: {0}")]
    Tls(String),
    /// An answer of HTTP that is none of the protocol.
    #[error("HTTP {status}{}{message}", if .message.is_empty() { "" } else { ": " })]
    Status {
        /// The status.
        status: u16,
        /// What the server says about it.
        message: String,
    },
    /// The namespace refused.
    #[error("refused: {0}")]
    Refused(String),
    /// The server closed the WebSocket.
    #[error("closed by the server{}", .0.map(|code| format!(" ({code})")).unwrap_or_default())]
    Closed(Option<u16>),
    /// The connection ended without a word.
    #[error("the connection ended")]
    Ended,
    /// The server put the client out of the namespace.
    #[error("disconnected by the server")]
    Disconnected,
    /// What came cannot be used.
    #[error("{0}")]
    Protocol(&'static str),
}

/// A few words for an error of the system.
fn words(error: &io::Error) -> Cow<'static, str> {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => "connection refused".into(),
        Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted => "connection reset".into(),
        Kind::UnexpectedEof => "the connection ended".into(),
        Kind::AddrInUse | Kind::AddrNotAvailable => "no free port".into(),
        _ => {
            // Without "(os error 24)" behind it.
            let text = error.to_string();
            let plain = text.split(" (os error").next().unwrap_or(&text);
            plain.to_lowercase().into()
        }
    }
}

impl Failure {
    /// An answer of HTTP, of whose body the beginning is kept.
    pub(super) fn status(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let json = serde_json::from_str::<serde_json::Value>(&text).ok();
        let message = json.as_ref().and_then(|json| json["message"].as_str()).unwrap_or(&text);
        let message = message.lines().next().unwrap_or_default().trim();
        Self::Status {
            status,
            message: if message.starts_with('<') {
                String::new() // a page for people
            } else {
                message.chars().take(80).collect()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_short_and_say_what_happened() {
        for (failure, expected) in [
            (Failure::Late, "no connection within 20 s"),
            (io::Error::from_raw_os_error(111).into(), "connection refused"),
            (io::Error::from_raw_os_error(24).into(), "too many open files"),
            (Failure::Closed(None), "closed by the server"),
            (Failure::Closed(Some(1001)), "closed by the server (1001)"),
            (
                Failure::status(400, br#"{"code":5,"message":"Unsupported protocol version"}"#),
                "HTTP 400: Unsupported protocol version",
            ),
            (Failure::status(502, b"<html>\n<head>"), "HTTP 502"),
            (Failure::status(503, b"full\nvery"), "HTTP 503: full"),
        ] {
            assert_eq!(failure.to_string(), expected);
        }
    }
}
