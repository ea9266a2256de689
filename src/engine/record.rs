//! What is kept of the request by which a session began: for those who ask other servers about their sockets, and for
//! those who want to know whose it is.
//!
//! The record is JSON in the shape of a Node server's `socket.handshake`, without `auth`, which is a socket's and not a session's.
//! Only made where there is somebody to ask, as it is the largest thing that an idle client would cost.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, ORIGIN};
use hyper::{HeaderMap, Request};
use serde_json::{Map, Value, json};

use super::Engine;
use super::handshake::Peer;
use super::session::Session;

/// Names of days and months, as JavaScript's `Date` writes them; 1970 began on a Thursday.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

const SECONDS_PER_DAY: u64 = 86_400;

impl Engine {
    /// The record of a request, where somebody may ask for it.
    pub(super) fn record<B>(&self, request: &Request<B>, peer: &Peer) -> Option<Arc<str>> {
        let kept = self.recorded.as_ref()?;
        Some(record(request.uri(), request.headers(), peer, kept))
    }

    /// The token of a request, where somebody may ask for it: that of its query, else that of its `Authorization`.
    pub(super) fn token<B>(&self, request: &Request<B>) -> Option<Box<str>> {
        if !self.keeps_tokens {
            return None;
        }
        let query = request.uri().query().unwrap_or_default();
        token_in_query(query).or_else(|| bearer(request.headers()))
    }
}

impl Session {
    /// What is kept of the handshake, where somebody may ask for it: JSON without `auth`.
    pub fn record(&self) -> Option<&Arc<str>> {
        self.record.as_ref()
    }

    /// The token that came with the handshake, where somebody may ask for it.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

/// The parameter `token` of a query; where it stands twice the last one counts, as for all others. An empty one is none.
pub fn token_in_query(query: &str) -> Option<Box<str>> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let token = pairs.filter(|(key, _)| key == "token").last()?.1;
    (!token.is_empty()).then(|| token.into())
}

fn bearer(headers: &HeaderMap) -> Option<Box<str>> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.into())
}

/// The record of a request. Of its headers those in `kept` are in it.
fn record(uri: &hyper::Uri, headers: &HeaderMap, peer: &Peer, kept: &[HeaderName]) -> Arc<str> {
    let texts = kept.iter().filter_map(|name| {
        let value = header(headers, name)?;
        Some((name.as_str().to_owned(), Value::from(value)))
    });
    let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let query = query.map(|(key, value)| (key.into_owned(), Value::from(value.into_owned())));
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let json = json!({
        "headers": texts.collect::<Map<_, _>>(),
        "time": date(now),
        "address": peer.address.to_string(),
        "xdomain": headers.contains_key(ORIGIN),
        "secure": peer.is_secure,
        "issued": now.as_millis() as u64,
        "url": uri.path_and_query().map_or("/", |url| url.as_str()),
        "query": query.collect::<Map<_, _>>(),
    });
    json.to_string().into()
}

/// A header as Node's servers have it: all of one name joined, and bytes that are no UTF-8 as Latin-1.
fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = |value: &HeaderValue| match str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    };
    let texts: Vec<_> = headers.get_all(name).iter().map(text).collect();
    let between = if *name == COOKIE { "; " } else { ", " };
    (!texts.is_empty()).then(|| texts.join(between))
}

/// A time since 1970 as JavaScript's `Date` prints it, in UTC.
fn date(since: Duration) -> String {
    let seconds = since.as_secs();
    let text = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string(); // 2026-11-22T17:31:02Z
    let month: usize = text[5..7].parse().unwrap_or(1);
    let day = DAYS[(seconds / SECONDS_PER_DAY % 7) as usize];
    format!(
        "{day} {} {} {} {} GMT+0000 (Coordinated Universal Time)",
        MONTHS[(month - 1) % MONTHS.len()],
        &text[8..10],
        &text[..4],
        &text[11..19]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_kept_whole() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (COOKIE, &b"sid=1"[..]),
            (COOKIE, "n=\u{e9}".as_bytes()),
            (ORIGIN, b"\xe9"),
            (AUTHORIZATION, b"a"),
            (AUTHORIZATION, b"b"),
        ] {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        for (name, expected) in [
            (COOKIE, Some("sid=1; n=\u{e9}")),
            (ORIGIN, Some("\u{e9}")),
            (AUTHORIZATION, Some("a, b")),
            (hyper::header::HOST, None),
        ] {
            assert_eq!(header(&headers, &name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_token_is_in_the_query_or_in_the_authorization() {
        for (query, expected) in [
            ("EIO=4&token=a.b.c&x=1", Some("a.b.c")),
            ("token=a&token=b", Some("b")),
            ("token=a%2Bb+c", Some("a+b c")),
            ("token=a&token=", None),
            ("Token=a", None),
            ("", None),
        ] {
            assert_eq!(token_in_query(query).as_deref(), expected, "{query}");
        }
        for (value, expected) in [
            ("Bearer a.b.c", Some("a.b.c")),
            ("bearer  a.b.c ", Some("a.b.c")),
            ("Basic a.b.c", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("a.b.c", None),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, hyper::header::HeaderValue::from_static(value))]);
            assert_eq!(bearer(&headers).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn dates_are_written_as_javascript_does() {
        assert_eq!(
            date(Duration::from_secs(1_795_368_662)),
            "Sun Nov 22 2026 17:31:02 GMT+0000 (Coordinated Universal Time)"
        );
        assert_eq!(
            date(Duration::ZERO),
            "Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)"
        );
    }
}
