//! What all our HTTP answers have in common: bodies of known size, bounded and timed reading, secrets.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Version};
use serde::{Deserialize, Serialize, Serializer};

/// The body of an answer: our own, whole, or one that another node's answer brings along as it comes.
pub type Body = Either<Full<Bytes>, Incoming>;

/// A body of these bytes.
pub fn body(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// Bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Longest target of a request, with its query, where tokens travel.
const TARGET_BYTES_MAX: usize = 16 * 1024;

/// Time in which a request's body must have come: long enough for a phone on a bad link.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than it may be.
    #[error("the body is too large")]
    TooLarge,
    /// It broke off, or its chunks are none.
    #[error("the body is broken")]
    Broken,
    /// It did not come in time.
    #[error("the body did not arrive in time")]
    Late,
}

/// Reads a body of at most `bytes_max` bytes, counted as they come.
///
/// # Errors
/// When it is longer, breaks off, or takes more than 15 seconds.
pub async fn read_body(body: Incoming, bytes_max: usize) -> Result<Bytes, BodyError> {
    let collected = tokio::time::timeout(BODY_TIMEOUT, collect(body, bytes_max)).await;
    collected.unwrap_or(Err(BodyError::Late))
}

/// The same, for as long as it takes: its caller does not wait for ever.
///
/// # Errors
/// When it is longer, or breaks off.
pub async fn collect(body: Incoming, bytes_max: usize) -> Result<Bytes, BodyError> {
    // A length that is announced is judged before a byte of it has come.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(BodyError::TooLarge);
    }
    copy(body, bytes_max).await
}

/// Copies what comes: each piece keeps the whole buffer that it was read into, which is kilobytes for a single byte.
async fn copy(mut body: Incoming, bytes_max: usize) -> Result<Bytes, BodyError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        let Some(piece) = frame.data_ref() else { continue };
        if piece.len() > bytes_max - bytes.len() {
            return Err(BodyError::TooLarge);
        }
        bytes.extend_from_slice(piece);
    }
    Ok(bytes.into())
}

/// Whether a proxy before us could take this request for another one than we do: then it is not answered but refused,
/// and the connection closed (request smuggling). What shows in the bytes alone is refused by the [`gate`](crate::gate),
/// and what hyper refuses itself is not looked at again.
fn is_ambiguous(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    let hosts = headers.get_all(HOST).iter().count();
    let needs_host = request.version() != Version::HTTP_10;
    if hosts > 1 || (needs_host && hosts == 0) || headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return true;
    }
    let is_no_host = |host: &HeaderValue| {
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(byte);
        host.as_bytes().is_empty() || !host.as_bytes().iter().all(is_allowed)
    };
    if headers.get(HOST).is_some_and(is_no_host) {
        return true;
    }
    let is_elsewhere = |authority: &Authority| headers.get(HOST).is_none_or(|host| host != authority.as_str());
    if request.uri().authority().is_some_and(is_elsewhere) {
        return true;
    }
    let coding = headers.get(TRANSFER_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || !needs_host) {
        return true;
    }
    match *request.method() {
        Method::CONNECT | Method::TRACE => true,
        Method::GET | Method::HEAD => !request.body().is_end_stream(),
        _ => false,
    }
}

/// The answer to a request that is not even looked at, and the end of its connection; `None` for all others.
pub fn refuse(request: &Request<Incoming>) -> Option<Response<Body>> {
    let (status, why) = if is_ambiguous(request) {
        (StatusCode::BAD_REQUEST, "ambiguous request\n")
    } else if request
        .uri()
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX)
    {
        (StatusCode::URI_TOO_LONG, "the target is too long\n")
    } else if head_bytes(request) > HEAD_BYTES_MAX {
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too long\n")
    } else {
        return None;
    };
    let mut response = response(status, "text/plain", why);
    close(&mut response);
    Some(response)
}

/// The length of a head, about. hyper takes a longer one where it comes in few pieces.
fn head_bytes(request: &Request<Incoming>) -> usize {
    let fields = request.headers().iter();
    let fields: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    fields + request.uri().path_and_query().map_or(0, |target| target.as_str().len())
}

/// Lets the connection end with this answer.
pub fn close(response: &mut Response<Body>) {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}

/// Whether an `Upgrade` names a WebSocket, alone or among others.
pub fn is_websocket(upgrade: &[u8]) -> bool {
    let wanted = b"websocket";
    upgrade
        .windows(wanted.len())
        .any(|part| part.eq_ignore_ascii_case(wanted))
}

/// Whether a request asks for a WebSocket in any way. What follows it has not passed the gate: where it is not granted,
/// the connection must end.
pub fn asks_for_websocket(headers: &HeaderMap) -> bool {
    headers
        .get_all(UPGRADE)
        .iter()
        .any(|value| is_websocket(value.as_bytes()))
}

/// An answer with this content type, not to be kept by caches.
pub fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(self::body(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// An answer in JSON.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    response(status, "application/json", value.to_string())
}

/// Counts a connection for as long as it is held.
#[derive(Debug)]
pub struct Lease(Arc<AtomicUsize>);

impl Lease {
    /// Counts nothing.
    pub fn free() -> Self {
        Self(Arc::new(AtomicUsize::new(1)))
    }

    /// Counts one more; `None` when there are `max` already.
    pub fn take(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let lease = Self(Arc::clone(count)); // counts down again where it is not given out
        (before < max).then_some(lease)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A secret: prints as `***` and is compared in constant time.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Whether `shown` is this secret. The time it takes tells at most whether the lengths agree.
    pub fn matches(&self, shown: &[u8]) -> bool {
        let own = self.0.as_bytes();
        if own.len() != shown.len() {
            return false;
        }
        // `black_box` keeps the compiler from leaving the loop at the first difference.
        let difference = own
            .iter()
            .zip(shown)
            .fold(0, |difference, (a, b)| black_box(difference | (a ^ b)));
        difference == 0
    }

    /// The secret itself, for checks of the configuration and for signing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "***" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_but_never_printed() {
        let secret = Secret::from("open sesame".to_owned());
        for (shown, expected) in [
            ("open sesame", true),
            ("open sesamf", false),
            ("open", false),
            ("", false),
        ] {
            assert_eq!(secret.matches(shown.as_bytes()), expected, "{shown}");
        }
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(
            serde_json::to_string(&[secret, Secret::from(String::new())]).unwrap(),
            r#"["***",""]"#
        );
    }
}
