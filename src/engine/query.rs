//! The query string of an Engine.IO request.

use hyper::Request;

use super::config::TransportName;
use crate::protocol::Version;
use crate::protocol::ids::Sid;

/// What the protocol reads from a query. Where a key stands twice the last one counts, as in Node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// `EIO`: 4, or 2 and 3, which are one protocol.
    pub(super) version: Option<Version>,
    /// `EIO=2`: browsers with Socket.IO clients 1.0, which encode text twice on WebSocket as well.
    pub(super) is_eio2: bool,
    /// `transport`, where it is one that we know.
    pub(super) transport: Option<TransportName>,
    /// `sid`: absent or empty in a handshake.
    pub(super) sid: Option<String>,
    /// `j`: the digits of a JSONP index.
    pub(super) jsonp: Option<String>,
    /// `b64`: the client cannot take binary.
    pub(super) base64: bool,
    /// `t` has the form of Socket.IO clients up to 1.3, whose browser bundles read nothing but binary payloads.
    pub(super) is_ancient: bool,
}

impl Query {
    /// The query of a request.
    pub fn of<B>(request: &Request<B>) -> Self {
        Self::parse(request.uri().query().unwrap_or_default())
    }

    /// The session that the request is for; `None` for a handshake, and where it is no id of any node.
    pub fn session(&self) -> Option<Sid> {
        self.sid.as_deref().and_then(Sid::parse)
    }

    /// Whether the request wants a new session.
    pub fn is_handshake(&self) -> bool {
        self.sid.is_none()
    }

    pub(super) fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "EIO" => {
                    parsed.is_eio2 = value == "2";
                    parsed.version = match &*value {
                        "4" => Some(Version::V4),
                        "2" | "3" => Some(Version::V3),
                        _ => None,
                    }
                }
                "transport" => {
                    parsed.transport = match &*value {
                        "polling" => Some(TransportName::Polling),
                        "websocket" => Some(TransportName::Websocket),
                        _ => None,
                    }
                }
                "sid" => parsed.sid = (!value.is_empty()).then(|| value.into_owned()),
                "j" => parsed.jsonp = Some(value.chars().filter(char::is_ascii_digit).collect()),
                "b64" => parsed.base64 = !value.is_empty(),
                "t" => parsed.is_ancient = is_ancient(&value),
                _ => {}
            }
        }
        parsed
    }
}

/// Milliseconds, a dash and a counter; later clients send one number in another base.
fn is_ancient(timestamp: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    timestamp
        .split_once('-')
        .is_some_and(|(millis, counter)| is_number(millis) && is_number(counter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_keys_counts() {
        let query = Query::parse("EIO=3&transport=polling&EIO=4&transport=websocket&sid=a&sid=b&x=y");
        assert_eq!(query.version, Some(Version::V4));
        assert_eq!(query.transport, Some(TransportName::Websocket));
        assert_eq!(query.sid.as_deref(), Some("b"));
    }

    #[test]
    fn values_are_looked_up_in_lists() {
        for (text, version) in [
            ("EIO=4", Some(Version::V4)),
            ("EIO=3", Some(Version::V3)),
            ("EIO=2", Some(Version::V3)),
            ("EIO=5", None),
            ("EIO=04", None),
        ] {
            assert_eq!(Query::parse(text).version, version, "{text}");
        }
        for transport in ["__proto__", "constructor", "webtransport", "Polling", ""] {
            assert_eq!(
                Query::parse(&format!("transport={transport}")).transport,
                None,
                "{transport}"
            );
        }
        assert_eq!(Query::parse("j=abc7").jsonp.as_deref(), Some("7"));
        for (text, ancient) in [
            ("t=1400000000000-3", true),
            ("t=Lq3x-1", false),
            ("t=-", false),
            ("t=abc", false),
            ("t=1-2-3", false),
        ] {
            assert_eq!(Query::parse(text).is_ancient, ancient, "{text}");
        }
        assert!(Query::parse("b64=1").base64 && !Query::parse("b64=").base64);
    }
}
