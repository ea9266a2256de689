//! The client's script for pages that look for it where a Node server has it (`server.client_bundle`).
//!
//! Read once, at the start, and held in memory: a file that is exchanged later is served after a restart.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use tracing::warn;

use super::ServeError;
use crate::http::{self, Body};

/// Names below the path under which pages look for it.
const NAMES: [&str; 2] = ["socket.io.js", "socket.io.min.js"];

/// What a page gets where there is no script.
const HINT: &str =
    "This gateway serves no client: load socket.io.min.js from your own site, or set server.client_bundle.\n";

/// The script, where one is configured.
#[derive(Debug)]
pub(super) struct Bundle {
    script: Option<Script>,
    /// The hint in the log was given.
    has_hinted: AtomicBool,
}

#[derive(Debug)]
struct Script {
    text: Bytes,
    etag: HeaderValue,
}

impl Bundle {
    /// Reads the script at `path`; `""` stands for none.
    pub(super) fn load(path: &str) -> Result<Self, ServeError> {
        let script = if path.is_empty() {
            None
        } else {
            let text = std::fs::read(path).map_err(|error| {
                ServeError::Unavailable(format!("server.client_bundle: cannot read {path}: {error}"))
            })?;
            Some(Script::new(text))
        };
        Ok(Self {
            script,
            has_hinted: AtomicBool::new(false),
        })
    }

    /// Whether the script is what `rest` of the path asks for.
    pub(super) fn is_at(rest: &str) -> bool {
        NAMES.contains(&rest)
    }

    /// The answer to a request for the script.
    pub(super) fn respond(&self, request: &Request<Incoming>) -> Response<Body> {
        let Some(script) = &self.script else {
            if !self.has_hinted.swap(true, Ordering::Relaxed) {
                let path = request.uri().path();
                warn!("a page asked for {path}, which is not served: set server.client_bundle to a socket.io.min.js");
            }
            return http::response(StatusCode::NOT_FOUND, "text/plain", HINT);
        };
        script.respond(request.method(), request.headers())
    }
}

impl Script {
    fn new(text: Vec<u8>) -> Self {
        let etag = format!("\"{:x}-{:016x}\"", text.len(), checksum(&text));
        Self {
            text: text.into(),
            etag: HeaderValue::try_from(etag).expect("quotes, a dash and hexadecimal digits may stand in a header"),
        }
    }

    fn respond(&self, method: &Method, headers: &HeaderMap) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = http::empty(StatusCode::METHOD_NOT_ALLOWED);
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let mut response = if self.is_known(headers) {
            http::empty(StatusCode::NOT_MODIFIED)
        } else {
            http::response(StatusCode::OK, "text/javascript; charset=utf-8", self.text.clone())
        };
        let fixed: [(HeaderName, HeaderValue); 3] = [
            (ETAG, self.etag.clone()),
            // Kept, but asked for each time: a new version is seen at once.
            (
                CACHE_CONTROL,
                HeaderValue::from_static("public, max-age=0, must-revalidate"),
            ),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        for (name, value) in fixed {
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// Whether the client has this script already (RFC 9110 §13.1.2).
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let known = headers.get_all(IF_NONE_MATCH).iter();
        known
            .filter_map(|list| list.to_str().ok())
            .flat_map(|list| list.split(','))
            .map(|tag| tag.trim())
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
    }
}

/// The same on every node that has the same file (FNV-1a). It tells versions apart, not forgeries.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_script_gets_it_not_again() {
        let script = Script::new(b"io = 1".to_vec());
        let etag = script.etag.to_str().unwrap().to_owned();
        for (known, expected) in [
            ("", StatusCode::OK),
            ("\"other\"", StatusCode::OK),
            ("*", StatusCode::NOT_MODIFIED),
            (&etag, StatusCode::NOT_MODIFIED),
            (&format!("\"other\", W/{etag}"), StatusCode::NOT_MODIFIED),
        ] {
            let headers = [(IF_NONE_MATCH, HeaderValue::from_str(known).unwrap())]
                .into_iter()
                .collect();
            let response = script.respond(&Method::GET, &headers);
            assert_eq!(response.status(), expected, "{known}");
            assert_eq!(response.headers()[ETAG], etag.as_str());
        }
        assert_eq!(
            script.respond(&Method::POST, &HeaderMap::new()).status(),
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
}
