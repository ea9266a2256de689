//! What must hold for whatever proxies, or who pretends to be one, say about a client.

use std::net::{IpAddr, Ipv4Addr};

use hyper::header::{HeaderMap, HeaderValue};

use super::proxy_protocol::{NoHeader, V2_BYTES_MAX, parse};
use crate::proxies::{Hop, Proxies};

/// The first byte says whether the rest is a PROXY header with what follows it, or an `X-Forwarded-For`.
pub(crate) fn proxies(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    if mode % 2 == 0 {
        proxy_header(data);
    } else {
        forwarded_for(data);
    }
}

fn proxy_header(data: &[u8]) {
    match parse(data) {
        Ok(Some(header)) => {
            assert!(header.length <= data.len() && header.length <= V2_BYTES_MAX);
            assert_eq!(
                parse(&data[..header.length]),
                Ok(Some(header)),
                "what follows makes no difference"
            );
            for cut in 0..header.length {
                assert_eq!(parse(&data[..cut]), Ok(None), "it is read once it is whole");
            }
        }
        Ok(None) => assert!(data.len() < V2_BYTES_MAX, "what has no end is not waited for"),
        Err(NoHeader) => assert_eq!(
            parse(&[data, b"\r\n"].concat()),
            Err(NoHeader),
            "it does not get better"
        ),
    }
}

fn forwarded_for(data: &[u8]) {
    const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let trusted = Proxies::new(&["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()]);
    let headers = HeaderMap::from_iter([(hyper::header::HeaderName::from_static("x-forwarded-for"), value)]);
    let stranger = trusted.client(Hop::Address(STRANGER), &headers);
    assert_eq!(stranger, STRANGER, "who is no proxy speaks for nobody");
    let client = trusted.client(Hop::Address(PROXY), &headers);
    if !trusted.trusts(Hop::Address(client)) {
        // Whatever the client wrote before what the proxies add, it is who they say.
        for before in ["203.0.113.7", "10.0.0.2, 10.0.0.3", "nonsense"] {
            let list = [before.as_bytes(), b",", data].concat();
            let Ok(value) = HeaderValue::from_bytes(&list) else {
                continue;
            };
            let mut headers = headers.clone();
            headers.insert("x-forwarded-for", value);
            assert_eq!(trusted.client(Hop::Address(PROXY), &headers), client);
        }
    }
}
