//! Which proxies are believed when they say who the client is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use hyper::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

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
        let scheme = headers.get(X_FORWARDED_PROTO).filter(|_| self.trusts(peer));
        let scheme = scheme.and_then(|scheme| scheme.to_str().ok()).unwrap_or_default();
        // Several proxies make a list; the first entry is what the client used.
        matches!(scheme.split(',').next().map(str::trim), Some("https" | "wss"))
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
        for hop in lists.iter().rev().flat_map(|list| list.rsplit(',')) {
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

/// An address with or without a port, as proxies write them.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

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
    fn unix_sockets_are_trusted_by_name_alone() {
        let proxies = Proxies::new(&["127.0.0.0/8".into()]);
        let headers = [(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"))]
            .into_iter()
            .collect();
        assert_eq!(proxies.client(Hop::Unix, &headers), IpAddr::from(Ipv4Addr::LOCALHOST));
    }
}
