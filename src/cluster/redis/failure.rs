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
                Some(words) if !is_passing(words) => Self::Refused(words.to_owned()),
                _ => Self::Away,
            },
        }
    }

    /// Whether we are connected to a Redis that must not be written to: a primary that became a replica.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self, Self::Refused(words) if words.starts_with("READONLY"))
    }
}

/// Why a connection could not be made, if only a person can help.
pub(super) fn refusal(error: &Error) -> Option<String> {
    let words = error.details();
    if words.contains("InvalidCertificate") {
        return Some(format!("its certificate is not trusted: {words}"));
    }
    if words.starts_with("Missing primary address") {
        return Some("Sentinel knows no service of this name".to_owned());
    }
    if *error.kind() == ErrorKind::Tls {
        return Some(words.to_owned());
    }
    answer(error).filter(|words| !is_passing(words)).map(str::to_owned)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_says_is_told_from_what_fred_says() {
        let refused = |words: &str| Failure::Refused(words.to_owned());
        for (kind, words, failure, needs_a_person) in [
            (
                ErrorKind::Unknown,
                "NOPERM this user",
                refused("NOPERM this user"),
                true,
            ),
            (ErrorKind::Auth, "WRONGPASS invalid", refused("WRONGPASS invalid"), true),
            (
                ErrorKind::Sentinel,
                "NOAUTH Authentication",
                refused("NOAUTH Authentication"),
                true,
            ),
            (
                ErrorKind::Unknown,
                "OOM command not allowed",
                refused("OOM command not allowed"),
                true,
            ),
            (ErrorKind::Unknown, "LOADING Redis is loading", Failure::Away, false),
            (ErrorKind::Unknown, "MASTERDOWN Link", Failure::Away, false),
            (ErrorKind::Unknown, "Client is not initialized.", Failure::Away, false),
            (ErrorKind::Canceled, "Canceled.", Failure::Away, false),
            (
                ErrorKind::IO,
                "Os { code: 111, kind: ConnectionRefused }",
                Failure::Away,
                false,
            ),
            (
                ErrorKind::IO,
                "Custom { error: InvalidCertificate(Expired) }",
                Failure::Away,
                true,
            ),
            (
                ErrorKind::Sentinel,
                "Missing primary address in response",
                Failure::Away,
                true,
            ),
            (ErrorKind::Timeout, "Request timed out.", Failure::Timeout, false),
            (ErrorKind::Unknown, "", Failure::Away, false),
        ] {
            let error = Error::new(kind, words);
            assert_eq!(Failure::of(&error), failure, "{words}");
            assert_eq!(refusal(&error).is_some(), needs_a_person, "{words}");
        }
        assert!(refused("READONLY You can't write").is_read_only());
        assert!(!refused("NOPERM").is_read_only());
    }
}
