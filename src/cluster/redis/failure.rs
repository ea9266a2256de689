//! Why Redis did not do what it was asked to: fred's errors, told apart.

use fred::error::{Error, ErrorKind};
use thiserror::Error as Fault;

/// Why a command has no result.
#[derive(Clone, Debug, PartialEq, Eq, Fault)]
pub enum Failure {
    /// There is no connection, or it was lost before the answer came.
    #[error("Redis is away")]
    Away,
    /// No answer within a second. The connection is dropped.
    #[error("Redis did not answer in time")]
    Timeout,
    /// Redis answered with an error, in these words; or too much waits for it already.
    #[error("Redis refused: {0}")]
    Refused(String),
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::Backpressure => Self::Refused("too many commands wait for it".into()),
            _ => match answer(error) {
                // It reads its data, or has lost its primary: as good as not there, and over soon.
                Some(words) if is_passing(words) => Self::Away,
                Some(words) => Self::Refused(words.to_owned()),
                None => Self::Away,
            },
        }
    }

    /// Whether we are connected to a Redis that must not be written to: a primary that became a replica.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self, Self::Refused(words) if words.starts_with("READONLY"))
    }
}

/// Why a connection could not be made, if only a person can help.
pub(super) fn refusal(error: &Error) -> Option<&str> {
    match error.kind() {
        ErrorKind::Tls => Some(error.details()),
        _ => answer(error).filter(|words| !is_passing(words)),
    }
}

fn is_passing(words: &str) -> bool {
    ["LOADING", "MASTERDOWN", "BUSY", "TRYAGAIN"]
        .iter()
        .any(|code| words.starts_with(code))
}

/// What Redis itself said. Its errors begin with a code in capitals, fred's do not.
fn answer(error: &Error) -> Option<&str> {
    let code = error.details().split(' ').next().unwrap_or_default();
    let is_code = code.len() >= 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    (is_code && *error.kind() != ErrorKind::IO).then(|| error.details())
}
