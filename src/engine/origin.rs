//! Which pages may connect: CORS for polling and the same judgement for WebSocket, which CORS does not protect.
//!
//! Without an `Origin` a request comes from no page (phones, Node, curl) and is accepted, unless the browser says
//! otherwise: a `<script>` of a foreign page sends none, and could read what a JSONP poll answers.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERER, VARY,
};
use hyper::{Response, StatusCode};

use crate::http::{self, Body};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins that may connect beside our own host.
#[derive(Debug)]
pub(super) struct Origins {
    listed: Vec<String>,
    any: bool,
}

/// What a request's origin comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Accepted, and no page is told so.
    NoOrigin,
    /// Accepted; the page's browser is told by CORS headers.
    Allowed(HeaderValue),
    /// Refused.
    Refused,
    /// The header is not text.
    Invalid,
}

impl Origins {
    pub(super) fn new(origins: &[String]) -> Self {
        Self {
            listed: origins.to_vec(),
            any: origins.iter().any(|origin| origin == "*"),
        }
    }

    /// Judges a request. `is_script` says that the answer would be a script (JSONP).
    pub(super) fn judge(&self, headers: &HeaderMap, is_script: bool) -> Verdict {
        let Some(header) = headers.get(ORIGIN) else {
            return if self.accepts_without_origin(headers, is_script) {
                Verdict::NoOrigin
            } else {
                Verdict::Refused
            };
        };
        match header.to_str() {
            Err(_) => Verdict::Invalid,
            Ok(origin) if self.accepts(origin, headers) => Verdict::Allowed(detached(header)),
            Ok(_) => Verdict::Refused,
        }
    }

    fn accepts_without_origin(&self, headers: &HeaderMap, is_script: bool) -> bool {
        let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
        let from_page = match site {
            Some(b"cross-site" | b"same-site") => true,
            Some(b"same-origin") => false,
            _ => is_script,
        };
        if !from_page {
            return true;
        }
        let referer = headers
            .get(REFERER)
            .and_then(|referer| referer.to_str().ok())
            .and_then(origin_of);
        self.accepts(referer.unwrap_or("null"), headers)
    }

    fn accepts(&self, origin: &str, headers: &HeaderMap) -> bool {
        if self.any || self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        match (origin.split_once("://"), host) {
            (Some((_, authority)), Some(host)) => is_same_host(authority, host),
            _ => false,
        }
    }
}

/// Scheme and authority of a URL.
fn origin_of(url: &str) -> Option<&str> {
    let authority_at = url.find("://")? + 3;
    let end = url[authority_at..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |end| authority_at + end);
    Some(&url[..end])
}

/// The same name, and the same port where both carry one; on loopback any port, as in development pages are served
/// beside us.
fn is_same_host(one: &str, other: &str) -> bool {
    let ((name, port), (other_name, other_port)) = (split_port(one), split_port(other));
    if name.is_empty() {
        return false;
    }
    let is_same_port = match (port, other_port) {
        (Some(port), Some(other_port)) => port == other_port || is_loopback(name),
        _ => true,
    };
    name.eq_ignore_ascii_case(other_name) && is_same_port
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => (name, Some(port)),
        _ => (authority, None),
    }
}

fn is_loopback(name: &str) -> bool {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The value in memory of its own: others lie in the buffer that the request was read into, and keep it.
fn detached(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// Tells the page's browser that the page may read the answer. The origin is echoed, as `*` would keep the credentials
/// out that 2.x clients send.
pub(super) fn add_headers(response: &mut Response<Body>, verdict: &Verdict) {
    if let Verdict::Allowed(origin) = verdict {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        let vary = match headers.contains_key(VARY) {
            true => "Origin, Access-Control-Request-Headers",
            false => "Origin",
        };
        headers.insert(VARY, HeaderValue::from_static(vary));
    }
}

/// The answer to a preflight request.
pub(super) fn preflight(request: &HeaderMap) -> Response<Body> {
    let mut response = http::empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE"),
    );
    if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        headers.insert(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn accepted(origins: &[&str], pairs: &[(&'static str, &'static str)], is_script: bool) -> bool {
        let origins = Origins::new(&origins.iter().map(ToString::to_string).collect::<Vec<_>>());
        matches!(
            origins.judge(&headers(pairs), is_script),
            Verdict::NoOrigin | Verdict::Allowed(_)
        )
    }

    #[test]
    fn pages_of_our_own_host_may_connect() {
        for (origin, host, expected) in [
            ("https://chat.example", "chat.example", true),
            ("http://chat.example", "chat.example:8080", true),
            ("http://chat.example:8080", "chat.example:8080", true),
            ("http://CHAT.example", "chat.example", true),
            ("http://chat.example:8080", "chat.example:9090", false),
            ("http://evil.example", "chat.example", false),
            ("http://chat.example.evil.example", "chat.example", false),
            ("http://localhost:8080", "localhost:3000", true),
            ("http://127.0.0.1:8080", "localhost:3000", false),
            ("http://[::1]:8080", "[::1]:3000", true),
            ("http://evil.example:3000", "localhost:3000", false),
            ("http://localhost:8080", "chat.example", false),
            ("null", "chat.example", false),
            ("chat.example", "chat.example", false),
            ("http://", "", false),
        ] {
            assert_eq!(
                accepted(&[], &[("origin", origin), ("host", host)], false),
                expected,
                "{origin} at {host}"
            );
        }
    }

    #[test]
    fn other_origins_must_be_listed() {
        let evil = [("origin", "https://other.example"), ("host", "chat.example")];
        assert!(!accepted(&[], &evil, false));
        assert!(accepted(&["https://other.example"], &evil, false));
        assert!(!accepted(&["http://other.example"], &evil, false));
        assert!(accepted(&["*"], &evil, false));
        assert!(accepted(
            &["null"],
            &[("origin", "null"), ("host", "chat.example")],
            false
        ));
    }

    #[test]
    fn without_an_origin_the_browser_is_asked() {
        let host = ("host", "chat.example");
        for (pairs, is_script, expected) in [
            (vec![], false, true),
            (vec![("sec-fetch-site", "same-origin")], true, true),
            (vec![("sec-fetch-site", "none")], false, true),
            (vec![("sec-fetch-site", "cross-site")], false, false),
            (vec![("sec-fetch-site", "same-site")], false, false),
            (
                vec![
                    ("sec-fetch-site", "same-site"),
                    ("referer", "https://chat.example/page?x"),
                ],
                true,
                true,
            ),
            (
                vec![("sec-fetch-site", "cross-site"), ("referer", "https://evil.example/")],
                true,
                false,
            ),
            (vec![], true, false),
            (vec![("referer", "https://chat.example")], true, true),
        ] {
            let pairs: Vec<_> = pairs.into_iter().chain([host]).collect();
            assert_eq!(accepted(&[], &pairs, is_script), expected, "{pairs:?}");
        }
        assert!(accepted(&["null"], &[host], true));
    }
}
