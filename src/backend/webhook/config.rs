//! `[webhook]`: where the application is asked and told, and of what.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize, Serializer};

use crate::http::Secret;
use crate::metrics::Webhook as Kind;
use crate::units::Span;
use crate::url::{self, Masked};

/// `[webhook]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the application listens; empty = there are no webhooks.
    pub url: Url,
    /// What requests are signed with; several while one replaces another.
    pub secret: Secrets,
    /// What the application is asked and told.
    pub events: Vec<Kind>,
    /// Headers of handshakes that are passed on.
    pub headers: Vec<String>,
    /// How long an answer is waited for.
    pub timeout: Span,
    /// Calls that are under way at once.
    pub concurrency: usize,
    /// How often a notice that was not taken is sent again.
    pub retries: u32,
}

/// A URL that may hold a password, which is never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Url(String);

/// One secret or several.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged, expecting = "must be a text, or a list of texts")]
pub enum Secrets {
    /// One; empty = none.
    One(Secret),
    /// Several, none of them empty.
    Many(Vec<Secret>),
}

/// Where requests go.
#[derive(Clone)]
pub(super) struct Place {
    /// The URL without its user and password.
    pub(super) uri: Uri,
    /// What these come to.
    pub(super) authorization: Option<HeaderValue>,
}

impl Config {
    /// Whether there is anybody to call.
    pub fn is_on(&self) -> bool {
        !self.url.0.is_empty()
    }

    /// Whether the application is asked or told this.
    pub fn wants(&self, kind: Kind) -> bool {
        self.is_on() && self.events.contains(&kind)
    }

    /// The headers of handshakes that are kept. What is no header's name was refused before.
    pub fn header_names(&self) -> Box<[HeaderName]> {
        self.headers.iter().filter_map(|name| name.parse().ok()).collect()
    }
}

impl Url {
    /// What is wrong with it, if anything is.
    pub fn problem(&self) -> Option<String> {
        self.place().err()
    }

    pub(super) fn place(&self) -> Result<Place, String> {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        if !matches!(scheme, "http" | "https") {
            return Err("must begin with http:// or https://".into());
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (user, host) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(user, host)| (Some(user), host));
        let target = target.split('#').next().unwrap_or_default(); // a fragment is never sent
        let uri: Uri = format!("{scheme}://{host}{target}")
            .parse()
            .map_err(|_| "is not a URL".to_owned())?;
        if uri.host().is_none_or(str::is_empty) || host.contains('@') {
            return Err("has no host".into());
        }
        if host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'))
            && uri.port_u16().is_none_or(|port| port == 0)
        {
            return Err("has a port that is none".into());
        }
        let authorization = match user {
            None => None,
            Some(user) => Some(basic(user)?),
        };
        Ok(Place { uri, authorization })
    }
}

/// `user:password` of a URL as a header.
fn basic(user: &str) -> Result<HeaderValue, String> {
    let user = if user.contains(':') {
        user.to_owned()
    } else {
        format!("{user}:")
    };
    let fault = "has a `%` in its user or password without two hexadecimal digits behind it";
    let bytes = url::decoded(&user).ok_or(fault)?;
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(bytes)))
        .map_err(|_| "has a user or password that cannot be sent".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Display for Url {
    /// The URL, `***` in the place of its password and of what its query says, where keys use to be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = Masked {
            url: &self.0,
            hides_user: true,
            hides: |_| true,
        };
        masked.fmt(f)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Secrets {
    /// All of them; an empty single one is none.
    pub fn list(&self) -> &[Secret] {
        match self {
            Self::One(secret) if secret.expose().is_empty() => &[],
            Self::One(secret) => std::slice::from_ref(secret),
            Self::Many(secrets) => secrets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_sent_and_not_shown() {
        for (url, shown, sent) in [
            ("http://a/hook", "http://a/hook", None),
            ("https://u:p%40ss@a:8/x", "https://u:***@a:8/x", Some("u:p@ss")),
            ("https://key@a", "https://***@a", Some("key:")),
            ("http://a/?key=s&b&c=d", "http://a/?key=***&***&c=***", None),
            ("http://[::1]:80/", "http://[::1]:80/", None),
            ("http://[::1]/", "http://[::1]/", None),
        ] {
            let url = Url(url.into());
            assert_eq!(url.to_string(), shown);
            let place = url.place().unwrap_or_else(|problem| panic!("{url}: {problem}"));
            let sent = sent.map(|sent| format!("Basic {}", STANDARD.encode(sent)));
            assert_eq!(
                place.authorization.map(|value| value.to_str().unwrap().to_owned()),
                sent
            );
            assert!(!place.uri.to_string().contains('@'));
        }
        for url in [
            "ftp://a/",
            "a/hook",
            "http://",
            "http:///x",
            "http://a b/",
            "http://a:x/",
            "http://u%4@a/",
        ] {
            assert!(Url(url.into()).problem().is_some(), "{url}");
        }
    }

    #[test]
    fn secrets_are_one_or_many() {
        for (text, count) in [("''", 0), ("'a'", 1), ("['a', 'b']", 2), ("[]", 0)] {
            #[derive(Deserialize)]
            struct File {
                secret: Secrets,
            }
            let value = text.replace('\'', "\"");
            let file: File = serde_json::from_str(&format!("{{\"secret\":{value}}}")).unwrap();
            assert_eq!(file.secret.list().len(), count, "{text}");
        }
    }
}
