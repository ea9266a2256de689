//! Answers of the API: JSON, with a status that says what came of it.

use std::borrow::Cow;

use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::http::{self, Body, BodyError};

/// What a request is answered with: JSON.
pub(super) type Answer = Result<Vec<u8>, Failure>;

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// One word for programs.
    pub(super) code: Cow<'static, str>,
    /// A sentence for people.
    pub(super) message: String,
    /// The methods that there are, where that is the point.
    pub(super) allow: Option<&'static str>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            allow: None,
        }
    }

    /// Something is wrong with a field or a parameter.
    pub(super) fn field(name: &str, message: impl std::fmt::Display) -> Self {
        Self::bad_request(format!("`{name}` {message}"))
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let body = json!({"error": self.code, "message": self.message});
        let mut response = http::json(self.status, &body);
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let (status, code) = match error {
            BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            BodyError::Broken => (StatusCode::BAD_REQUEST, "bad_request"),
            BodyError::Late => (StatusCode::REQUEST_TIMEOUT, "timeout"),
        };
        Self::new(status, code, error.to_string())
    }
}

/// An answer in JSON.
pub(super) fn json_of(value: &impl Serialize) -> Answer {
    serde_json::to_vec(value).map_err(|problem| {
        tracing::error!("cannot write an answer: {problem}");
        let message = "the answer cannot be written";
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    })
}
