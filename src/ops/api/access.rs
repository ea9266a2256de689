//! Who may use the API: whoever shows a key. Without keys, programs of this machine, but no pages of other sites that a
//! browser on it shows.
//!
//! A page can have its own name point to 127.0.0.1 (DNS rebinding), but cannot change the `Host` by which it asks; and
//! whatever it sends to another site carries its `Origin`.

use std::net::IpAddr;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN};

use super::answer::Failure;
use crate::http::Secret;

/// The scheme of a key, with the space behind it.
const BEARER: &[u8] = b"Bearer ";

/// Judges a request of `peer`, `None` for a Unix socket: which of the keys it showed, counted from 1; `None` where there
/// are none.
pub(super) fn judge(keys: &[Secret], headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Option<usize>, Failure> {
    if keys.is_empty() {
        return judge_origin(headers, peer).map(|()| None);
    }
    let shown = headers.get(AUTHORIZATION).and_then(bearer).unwrap_or_default();
    // All are looked at, so that the time tells nothing of which one it is.
    let numbered = keys.iter().zip(1..);
    let matching = numbered.fold(None, |found, (key, number)| {
        let matches = key.matches(shown);
        if matches { Some(number) } else { found }
    });
    let unauthorized = || Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", "a bearer key is needed");
    matching.map(Some).ok_or_else(unauthorized)
}

fn bearer(header: &HeaderValue) -> Option<&[u8]> {
    let (scheme, key) = header.as_bytes().split_at_checked(BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER).then_some(key)
}

fn judge_origin(headers: &HeaderMap, peer: Option<IpAddr>) -> Result<(), Failure> {
    let forbidden = |message| Failure::new(StatusCode::FORBIDDEN, "forbidden", message);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    // No browser reaches a Unix socket.
    if peer.is_some() && !is_loopback(host) {
        let message = "without admin.keys the Host must be a loopback name or address, such as localhost";
        return Err(forbidden(message));
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let own = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    if own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
        Ok(())
    } else {
        Err(forbidden("without admin.keys pages of other origins are refused"))
    }
}

/// Whether a `Host` names this machine by a name or an address that stands for no other.
fn is_loopback(host: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        let has_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return has_port && is_loopback_address(address);
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return false,
        None => host,
    };
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    name == "localhost" || name.ends_with(".localhost") || (!name.contains(':') && is_loopback_address(name))
}

fn is_loopback_address(text: &str) -> bool {
    text.parse::<IpAddr>()
        .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PEER: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()));
        fields.collect()
    }

    #[test]
    fn a_key_is_found_by_its_number_and_nothing_else_is_one() {
        let keys = ["first".to_owned(), "second".to_owned()].map(Secret::from);
        for (shown, expected) in [
            ("Bearer first", Some(1)),
            ("bearer second", Some(2)),
            ("Bearer secon", None),
            ("Bearer  first", None),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic first", None),
            ("first", None),
            ("", None),
        ] {
            let judged = judge(&keys, &headers(&[("authorization", shown)]), PEER);
            assert_eq!(judged.clone().ok().flatten(), expected, "{shown}");
            if expected.is_none() {
                assert_eq!(judged.unwrap_err().status, StatusCode::UNAUTHORIZED);
            }
        }
        assert!(judge(&keys, &HeaderMap::new(), PEER).is_err());
        assert!(judge(&keys, &HeaderMap::new(), None).is_err());
        // With keys it does not matter by which name the gateway is asked.
        let elsewhere = [
            ("authorization", "Bearer first"),
            ("host", "gateway"),
            ("origin", "http://a"),
        ];
        assert_eq!(judge(&keys, &headers(&elsewhere), PEER), Ok(Some(1)));
    }

    #[test]
    fn without_keys_the_host_must_be_this_machine() {
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:3001", true),
            ("localhost.", true),
            ("a.localhost:80", true),
            ("127.0.0.1:3001", true),
            ("127.8.9.10", true),
            ("[::1]:3001", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("", false),
            ("evil.example", false),
            ("evil.example:3001", false),
            ("localhost.evil.example", false),
            ("evillocalhost", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1:", false),
            ("127.0.0.1:80:80", false),
            ("::1", false),
            ("[::1", false),
            ("[::1]x", false),
            ("[::2]", false),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
        ] {
            let judged = judge(&[], &headers(&[("host", host)]), PEER);
            assert_eq!(judged.is_ok(), expected, "{host:?}");
            assert!(judge(&[], &headers(&[("host", host)]), None).is_ok());
        }
    }

    #[test]
    fn without_keys_pages_of_other_origins_are_refused() {
        for (origin, expected) in [
            ("http://127.0.0.1:3001", true),
            ("http://127.0.0.1", false),
            ("http://localhost:3001", false),
            ("https://127.0.0.1:3001", false),
            ("http://evil.example", false),
            ("null", false),
            ("", false),
        ] {
            let headers = headers(&[("host", "127.0.0.1:3001"), ("origin", origin)]);
            for peer in [PEER, None] {
                assert_eq!(judge(&[], &headers, peer).is_ok(), expected, "{origin:?}");
            }
        }
    }
}
