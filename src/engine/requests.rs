//! The HTTP side of a session that polls: brings requests to the session's task and turns its replies into answers.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::oneshot;

use super::Engine;
use super::directory::{Entry, Mail, Mailbox, Post, Reply};
use super::polling::encode_counted;
use super::query::Query;
use super::refusal::Refusal;
use super::session::Session;
use crate::http::{self, Body, BodyError, read_body};
use crate::protocol::Version;
use crate::protocol::payload::{self, BINARY_TYPE, Payload, PayloadForm};

/// Bytes from which an answer is worth compressing, as in Node.
const COMPRESSED_BYTES_MIN: usize = 1024;

/// Bytes that a JSONP form may be longer than the payload in it: percent signs triple what they stand for.
const JSONP_GROWTH: usize = 3;

impl Session {
    /// The answer to the handshake that opened this session.
    pub(super) fn first_answer(&self, form: PayloadForm) -> Payload {
        let packets = self.outbox().take(1, 0);
        encode_counted(&packets, form, &self.rules)
    }
}

/// Answers a request for a session that is on polling.
pub(super) async fn answer(
    engine: &Engine,
    request: Request<Incoming>,
    query: &Query,
    entry: &Entry,
    mailbox: &Mailbox,
) -> Response<Body> {
    match *request.method() {
        Method::GET => {
            let asker = Asker::of(engine, request.headers());
            drop(request);
            poll(asker, query, entry, mailbox).await
        }
        // In a box, so that a poll which waits does not keep room for it.
        Method::POST => Box::pin(post(engine, request, query, entry, mailbox)).await,
        _ => http::empty(StatusCode::INTERNAL_SERVER_ERROR), // as Node
    }
}

async fn poll(asker: Asker, query: &Query, entry: &Entry, mailbox: &Mailbox) -> Response<Body> {
    let (reply, waiting) = oneshot::channel();
    if !mailbox.put(Mail::Poll(reply)) {
        return http::empty(StatusCode::BAD_REQUEST);
    }
    entry.outbox.wake();
    match waiting.await {
        Ok(Reply::Payload(payload)) => payload_response(asker, query, payload),
        Ok(reply) => reply_response(reply, asker),
        Err(_) => Refusal::UnknownSession.response(false), // the session ended
    }
}

/// Reports to the session's task that its POST was not read to the end, however that came.
struct PostGuard<'a> {
    entry: &'a Entry,
    mailbox: &'a Mailbox,
    is_read: bool,
}

impl Drop for PostGuard<'_> {
    fn drop(&mut self) {
        self.mailbox.end_post();
        if !self.is_read {
            break_session(self.entry, self.mailbox);
        }
    }
}

async fn post(
    engine: &Engine,
    request: Request<Incoming>,
    query: &Query,
    entry: &Entry,
    mailbox: &Mailbox,
) -> Response<Body> {
    if !mailbox.begin_post() {
        break_session(entry, mailbox);
        return http::empty(StatusCode::BAD_REQUEST);
    }
    let mut guard = PostGuard {
        entry,
        mailbox,
        is_read: false,
    };
    let asker = Asker::of(engine, request.headers());
    let content_type = request.headers().get(CONTENT_TYPE);
    let is_binary = content_type.is_some_and(|value| value == BINARY_TYPE);
    if is_binary && entry.version == Version::V4 {
        return http::empty(StatusCode::BAD_REQUEST); // and the guard ends the session
    }
    let is_form = query.jsonp.is_some();
    let bytes_max = engine.config.max_payload.0;
    let body = read_body(
        request.into_body(),
        if is_form { bytes_max * JSONP_GROWTH } else { bytes_max },
    )
    .await;
    let body = match body {
        Ok(body) if is_form => payload::unwrap_jsonp(&body).unwrap_or_default().into(),
        Ok(body) => body,
        Err(BodyError::TooLarge) => {
            guard.is_read = true; // the session goes on, as in Node
            return http::empty(StatusCode::PAYLOAD_TOO_LARGE);
        }
        Err(BodyError::Broken) => return http::empty(StatusCode::BAD_REQUEST),
        Err(BodyError::Late) => return http::empty(StatusCode::REQUEST_TIMEOUT),
    };
    guard.is_read = true;
    if body.len() > bytes_max {
        return http::empty(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let (reply, waiting) = oneshot::channel();
    if !mailbox.put(Mail::Post(Post { body, is_binary, reply })) {
        return http::empty(StatusCode::BAD_REQUEST);
    }
    entry.outbox.wake();
    match waiting.await {
        Ok(reply) => reply_response(reply, asker),
        Err(_) => Refusal::UnknownSession.response(false),
    }
}

fn break_session(entry: &Entry, mailbox: &Mailbox) {
    mailbox.break_session();
    entry.outbox.wake();
}

fn reply_response(reply: Reply, asker: Asker) -> Response<Body> {
    let mut response = match reply {
        Reply::Ok => http::response(StatusCode::OK, "text/html", "ok"),
        Reply::Payload(_) | Reply::Refused => http::empty(StatusCode::BAD_REQUEST),
        Reply::Malformed => Refusal::BadRequest.response(false),
        Reply::Gone => Refusal::UnknownSession.response(false),
    };
    asker.add_header(&mut response);
    response
}

/// The answer to a poll or a polling handshake.
pub(super) fn payload_response(asker: Asker, query: &Query, payload: Payload) -> Response<Body> {
    let (content_type, body) = match &query.jsonp {
        Some(index) => (
            "text/javascript; charset=UTF-8",
            payload::wrap_jsonp(index, &payload.body),
        ),
        None if payload.binary => (BINARY_TYPE, payload.body),
        None => ("text/plain; charset=UTF-8", payload.body),
    };
    let encoding = asker.encoding.filter(|_| body.len() >= COMPRESSED_BYTES_MIN);
    let mut response = match encoding.and_then(|encoding| Some((encoding, encoding.compress(&body)?))) {
        Some((encoding, compressed)) => {
            let mut response = http::response(StatusCode::OK, content_type, compressed);
            response
                .headers_mut()
                .insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
            response
        }
        None => http::response(StatusCode::OK, content_type, body),
    };
    asker.add_header(&mut response);
    response
}

/// What an answer goes by. The request's headers lie in the buffer that they were read into, so a poll that kept them
/// would keep it, too.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    encoding: Option<Encoding>,
    is_old_explorer: bool,
}

impl Asker {
    pub(super) fn of(engine: &Engine, headers: &HeaderMap) -> Self {
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        Self {
            encoding: if engine.config.http_compression {
                accepted_encoding(headers)
            } else {
                None
            },
            is_old_explorer: agent.is_some_and(|agent| agent.contains(";MSIE") || agent.contains("Trident/")),
        }
    }

    /// Old Internet Explorers must not mistake chat text for an attack on the page.
    fn add_header(self, response: &mut Response<Body>) {
        if self.is_old_explorer {
            response.headers_mut().insert(
                HeaderName::from_static("x-xss-protection"),
                HeaderValue::from_static("0"),
            );
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    fn compress(self, body: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(body).ok()?;
                encoder.finish().ok()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(body).ok()?;
                encoder.finish().ok()
            }
        }
    }
}

/// Gzip where the client takes it, else deflate.
fn accepted_encoding(headers: &HeaderMap) -> Option<Encoding> {
    let accepted = headers.get(ACCEPT_ENCODING)?.to_str().ok()?;
    let takes = |name: &str| {
        accepted.split(',').any(|item| {
            let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
            coding.trim().eq_ignore_ascii_case(name) && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        })
    };
    if takes("gzip") {
        Some(Encoding::Gzip)
    } else if takes("deflate") {
        Some(Encoding::Deflate)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_encodings_are_honoured() {
        for (accepted, expected) in [
            ("gzip, deflate, br", Some(Encoding::Gzip)),
            ("deflate", Some(Encoding::Deflate)),
            ("gzip;q=0, deflate;q=0.5", Some(Encoding::Deflate)),
            ("br", None),
            ("identity", None),
        ] {
            let headers = [(ACCEPT_ENCODING, HeaderValue::from_static(accepted))]
                .into_iter()
                .collect();
            assert_eq!(accepted_encoding(&headers), expected, "{accepted}");
        }
        assert_eq!(accepted_encoding(&HeaderMap::new()), None);
    }
}
