//! Which proxies are believed when they say who the client is.

use std::net::IpAddr;

use hyper::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// `server.trusted_proxies`.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Networks in CIDR notation, or single addresses; what is neither is left out, as the configuration was checked.
    pub fn new(networks: &[String]) -> Self {
        let parse = |text: &String| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
        Self(networks.iter().filter_map(parse).collect())
    }

    /// Whether forwarding headers from this address are believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// The client's address: the last one in `X-Forwarded-For` that is not a trusted proxy itself, as everything
    /// before it may be the client's own invention.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer.to_canonical();
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
            client = hop;
            if !self.trusts(hop) {
                break;
            }
        }
        client.to_canonical()
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
        let proxies = Proxies::new(&["10.0.0.0/8".into(), "::1".into()]);
        for (peer, forwarded, expected) in [
            ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
            ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.2.2.2", "203.0.113.9"),
            ("10.0.0.1", "nonsense, 10.2.2.2", "10.2.2.2"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("::1", "[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ] {
            let headers = [(X_FORWARDED_FOR, HeaderValue::from_str(forwarded).unwrap())]
                .into_iter()
                .collect();
            let client = proxies.client(peer.parse().unwrap(), &headers);
            assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded}");
        }
    }
}
