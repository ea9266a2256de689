//! The demo page: two tabs that talk in a room, with nothing but what the gateway itself serves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};

use crate::http::{self, Body};

const PAGE: &str = include_str!("demo.html");

/// Stands in the page where the configured path belongs.
const PATH_TOKEN: &str = "__ROOMCAST_PATH__";

/// The page brings everything along and speaks to us alone.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page for a gateway that serves Socket.IO at `path`.
pub fn page(path: &str) -> String {
    let escaped = path
        .replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    PAGE.replace(PATH_TOKEN, &escaped)
}

/// Where a browser on this machine finds the page, when clients connect to `address`; nowhere without a port.
pub fn url(mut address: SocketAddr) -> Option<String> {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    (address.port() != 0).then(|| format!("http://{address}/"))
}

/// The answer with the page in it.
pub fn response(page: &str) -> Response<Body> {
    let mut response = http::response(StatusCode::OK, "text/html; charset=utf-8", page.to_owned());
    let fixed: [(HeaderName, &'static str); 3] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_an_address_that_a_browser_can_open() {
        for (address, expected) in [
            ("127.0.0.1:3000", Some("http://127.0.0.1:3000/")),
            ("192.0.2.1:80", Some("http://192.0.2.1:80/")),
            ("0.0.0.0:3000", Some("http://127.0.0.1:3000/")),
            ("[::]:3000", Some("http://[::1]:3000/")),
            ("0.0.0.0:0", None), // Unix sockets alone
        ] {
            assert_eq!(url(address.parse().unwrap()).as_deref(), expected);
        }
    }

    #[test]
    fn the_page_knows_the_path_and_nothing_breaks_out_of_it() {
        assert_eq!(PAGE.matches(PATH_TOKEN).count(), 1);
        let page = page("/a\"><script>/");
        assert!(page.contains("content=\"/a&quot;&gt;&lt;script&gt;/\""));
    }
}
