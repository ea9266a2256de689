//! Which proxies are believed when they say who the client is, and what they say: by `X-Forwarded-For`, `-Host` and
//! `-Proto`, or by `Forwarded` (RFC 7239) where none of those is there: a proxy that writes them leaves the other one to
//! the client.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use hyper::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Stands in `server.trusted_proxies` for whoever connects by a Unix socket.
pub const UNIX: &str = "unix";

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// An address.
    Address(IpAddr),
    /// A process on this machine, by a Unix socket.
    Unix,
}

impl Hop {
    /// The address, where there is one.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Unix => None,
        }
    }

    /// The address; that of this machine where there is none.
    fn address(self) -> IpAddr {
        match self {
            Self::Address(address) => address.to_canonical(),
            Self::Unix => Ipv4Addr::LOCALHOST.into(),
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Unix => f.write_str(UNIX),
        }
    }
}

/// `server.trusted_proxies`.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    networks: Vec<IpNet>,
    /// Unix sockets are trusted.
    unix: bool,
}

impl Proxies {
    /// Networks in CIDR notation, single addresses, or `unix`; what is none of these is left out, as the configuration
    /// was checked.
    pub fn new(networks: &[String]) -> Self {
        let parse = |text: &String| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
        Self {
            networks: networks.iter().filter_map(parse).collect(),
            unix: networks.iter().any(|network| network == UNIX),
        }
    }

    /// Whether forwarding headers from there are believed.
    pub fn trusts(&self, hop: Hop) -> bool {
        match hop {
            Hop::Unix => self.unix,
            Hop::Address(_) => self.networks.iter().any(|network| network.contains(&hop.address())),
        }
    }

    /// Whether a trusted proxy says that the client came to it by TLS.
    pub fn is_secure(&self, peer: Hop, headers: &HeaderMap) -> bool {
        if !self.trusts(peer) {
            return false;
        }
        let scheme = first(headers, &X_FORWARDED_PROTO).or_else(|| forwarded(headers, "proto").next());
        matches!(scheme, Some("https" | "wss"))
    }

    /// Puts the host that a trusted proxy says the client asked for into the place of the one that it asked itself for.
    pub fn name_host(&self, peer: Hop, headers: &mut HeaderMap) {
        if !self.trusts(peer) {
            return;
        }
        let host = first(headers, &X_FORWARDED_HOST).or_else(|| forwarded(headers, "host").next());
        if let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) {
            headers.insert(HOST, host);
        }
    }

    /// The client's address: the last one in `X-Forwarded-For` that is not a trusted proxy itself, as everything
    /// before it may be the client's own invention.
    pub fn client(&self, peer: Hop, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer.address();
        }
        let mut client = peer;
        let lists: Vec<_> = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .filter_map(|list| list.to_str().ok())
            .collect();
        let mut hops: Vec<_> = lists.iter().flat_map(|list| list.split(',')).collect();
        if hops.is_empty() {
            hops = forwarded(headers, "for").collect();
        }
        for hop in hops.into_iter().rev() {
            let Some(hop) = address(hop.trim()) else {
                break;
            };
            client = Hop::Address(hop);
            if !self.trusts(client) {
                break;
            }
        }
        client.address()
    }
}

/// The first of what several proxies made a list of: what the client said.
fn first<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim)
}

/// What each proxy says of this in `Forwarded`, the first one first.
fn forwarded<'a>(headers: &'a HeaderMap, wanted: &'a str) -> impl Iterator<Item = &'a str> {
    let older = [X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO];
    let is_older = older.iter().any(|name| headers.contains_key(name));
    let lists = headers.get_all(FORWARDED).iter().filter(move |_| !is_older);
    let lists = lists.filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).filter_map(move |element| {
        let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(value.trim_matches('"'))
    })
}

/// An address with or without a port, as proxies write them.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_name_the_client() {
        let proxies = Proxies::new(&["10.0.0.0/8".into(), "::1".into(), UNIX.into()]);
        for (peer, forwarded, expected) in [
            ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
            ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.2.2.2", "203.0.113.9"),
            ("10.0.0.1", "nonsense, 10.2.2.2", "10.2.2.2"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("::1", "[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
            (UNIX, "203.0.113.9", "203.0.113.9"),
            (UNIX, "", "127.0.0.1"),
        ] {
            let headers = [(X_FORWARDED_FOR, HeaderValue::from_str(forwarded).unwrap())]
                .into_iter()
                .collect();
            let hop = peer.parse().map_or(Hop::Unix, Hop::Address);
            let client = proxies.client(hop, &headers);
            assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded}");
        }
    }

    #[test]
    fn only_trusted_proxies_say_that_the_client_came_by_tls() {
        let proxies = Proxies::new(&["10.0.0.0/8".into()]);
        for (peer, scheme, expected) in [
            ("10.0.0.1", "https", true),
            ("10.0.0.1", "wss, http", true),
            ("10.0.0.1", "http, https", false),
            ("10.0.0.1", "", false),
            ("192.0.2.1", "https", false),
        ] {
            let headers = [(X_FORWARDED_PROTO, HeaderValue::from_static(scheme))]
                .into_iter()
                .collect();
            let peer = Hop::Address(peer.parse().unwrap());
            assert_eq!(proxies.is_secure(peer, &headers), expected, "{peer} {scheme}");
        }
    }

    #[test]
    fn forwarded_is_read_where_the_older_headers_are_missing() {
        let proxies = Proxies::new(&["10.0.0.0/8".into(), "2001:db8::/32".into()]);
        let told = |fields: &[(HeaderName, &'static str)]| {
            let fields = fields
                .iter()
                .map(|(name, text)| (name.clone(), HeaderValue::from_static(text)));
            let mut headers: HeaderMap = fields.collect();
            let peer = Hop::Address([10, 0, 0, 1].into());
            let (client, is_secure) = (proxies.client(peer, &headers), proxies.is_secure(peer, &headers));
            proxies.name_host(peer, &mut headers);
            let host = headers.get(HOST).map(|host| host.to_str().unwrap().to_owned());
            (client.to_string(), host, is_secure)
        };
        for (forwarded, client, host, is_secure) in [
            (
                "for=192.0.2.60;proto=https;host=chat.example.com",
                "192.0.2.60",
                Some("chat.example.com"),
                true,
            ),
            ("For=\"[2001:db9::1]:4711\"; Proto=http", "2001:db9::1", None, false),
            (
                "for=1.1.1.1;host=a, for=192.0.2.43:80;host=b, for=\"[2001:db8::2]\"",
                "192.0.2.43",
                Some("a"),
                false,
            ),
            ("for=_hidden, for=10.2.2.2", "10.2.2.2", None, false),
            ("for=unknown", "10.0.0.1", None, false),
            (";;=,", "10.0.0.1", None, false),
        ] {
            let expected = (client.to_owned(), host.map(str::to_owned), is_secure);
            assert_eq!(told(&[(FORWARDED, forwarded)]), expected, "{forwarded}");
        }
        let both = [
            (FORWARDED, "for=1.1.1.1;host=a;proto=https"),
            (X_FORWARDED_FOR, "192.0.2.1"),
            (HOST, "b"),
        ];
        assert_eq!(told(&both), ("192.0.2.1".into(), Some("b".into()), false));
    }

    #[test]
    fn only_trusted_proxies_name_the_host() {
        let proxies = Proxies::new(&["10.0.0.0/8".into()]);
        for (peer, told, expected) in [
            ("10.0.0.1", "chat.example, inner.example", "chat.example"),
            ("192.0.2.1", "chat.example", "10.0.0.7:3000"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("10.0.0.7:3000"));
            headers.insert(X_FORWARDED_HOST, HeaderValue::from_static(told));
            proxies.name_host(Hop::Address(peer.parse().unwrap()), &mut headers);
            assert_eq!(headers[HOST], expected, "{peer}");
        }
    }

    #[test]
    fn unix_sockets_are_trusted_by_name_alone() {
        let proxies = Proxies::new(&["127.0.0.0/8".into()]);
        let headers = [(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"))]
            .into_iter()
            .collect();
        assert_eq!(proxies.client(Hop::Unix, &headers), IpAddr::from(Ipv4Addr::LOCALHOST));
    }
}
