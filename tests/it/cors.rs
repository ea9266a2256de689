//! Who may connect from where, and what browsers are told about it.

use crate::client::frames::WebSocket;
use crate::client::http::{Connection, Request, Response, request};
use crate::client::polling::Polling;
use crate::gateway::TestGateway;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

fn with(request: Request, headers: &[(&str, &str)]) -> Request {
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(name, value))
}

/// Asserts that a request with these headers is accepted or refused on both transports.
async fn check(gateway: &TestGateway, headers: &[(&str, &str)], allowed: bool) {
    let polling = request(gateway.address, &with(Request::get(POLLING), headers)).await;
    let websocket = WebSocket::try_open(gateway.address, &with(Request::upgrade(WEBSOCKET), headers)).await;
    if allowed {
        assert_eq!(polling.status, 200, "{headers:?}: {}", polling.text());
        assert!(websocket.is_ok(), "{headers:?}");
    } else {
        assert_eq!(polling.status, 403, "{headers:?}: {}", polling.text());
        polling.is_error(403, 4, "Forbidden");
        let refused = websocket.expect_err(&format!("{headers:?}"));
        assert_eq!((refused.status, refused.text()), (400, "Forbidden"), "{headers:?}");
    }
}

#[tokio::test]
async fn without_a_list_only_our_own_host_may_connect() {
    let gateway = TestGateway::plain().await;
    for (headers, allowed) in [
        (&[][..], true),
        (&[("Origin", "http://127.0.0.1:1")], true),
        (&[("Origin", "https://127.0.0.1")], true),
        (&[("Origin", "http://localhost:3000")], false),
        (&[("Origin", "https://evil.example")], false),
        (&[("Origin", "https://127.0.0.1.evil.example")], false),
        (&[("Origin", "null")], false),
        (&[("Origin", "nonsense")], false),
        (&[("Origin", "")], false),
        (&[("Host", "app.example"), ("Origin", "https://app.example")], true),
        (
            &[("Host", "app.example:8443"), ("Origin", "https://app.example:8443")],
            true,
        ),
        (&[("Host", "app.example:8443"), ("Origin", "https://app.example")], true),
        (&[("Host", "app.example"), ("Origin", "http://app.example:8080")], true),
        (
            &[("Host", "app.example:8443"), ("Origin", "https://app.example:9443")],
            false,
        ),
        (&[("Host", "APP.example"), ("Origin", "https://app.EXAMPLE")], true),
        (&[("Host", "app.example"), ("Origin", "https://www.app.example")], false),
    ] {
        check(&gateway, headers, allowed).await;
    }
}

#[tokio::test]
async fn where_the_browser_hides_the_origin_it_says_how_far_away_the_page_is() {
    let gateway = TestGateway::plain().await;
    for (headers, allowed) in [
        (&[("Sec-Fetch-Site", "same-origin")][..], true),
        (&[("Sec-Fetch-Site", "none")], true),
        (&[("Sec-Fetch-Site", "cross-site")], false),
        (&[("Sec-Fetch-Site", "same-site")], false),
        (
            &[("Sec-Fetch-Site", "cross-site"), ("Referer", "https://evil.example/")],
            false,
        ),
        (
            &[("Sec-Fetch-Site", "same-site"), ("Referer", "http://127.0.0.1/page")],
            true,
        ),
    ] {
        check(&gateway, headers, allowed).await;
    }
}

#[tokio::test]
async fn listed_origins_may_connect_beside_our_own_host() {
    let gateway =
        TestGateway::start(r#"server.origins = ["https://app.example", "http://dev.example:8080", "null"]"#).await;
    for (origin, allowed) in [
        ("https://app.example", true),
        ("http://dev.example:8080", true),
        ("null", true),
        ("http://127.0.0.1", true),
        ("http://app.example", false),
        ("https://app.example:444", false),
        ("http://dev.example", false),
        ("https://app.example.evil.example", false),
    ] {
        check(&gateway, &[("Origin", origin)], allowed).await;
    }
}

#[tokio::test]
async fn a_star_lets_everybody_in() {
    let gateway = TestGateway::start("server.origins = [\"*\"]").await;
    for origin in ["https://any.example", "null", "http://localhost:5173"] {
        check(&gateway, &[("Origin", origin)], true).await;
    }
    check(&gateway, &[("Sec-Fetch-Site", "cross-site")], true).await;
}

#[tokio::test]
async fn the_host_that_a_trusted_proxy_forwards_is_ours() {
    let forwarded = [("X-Forwarded-Host", "app.example"), ("Origin", "https://app.example")];
    check(&TestGateway::plain().await, &forwarded, false).await;
    let behind = TestGateway::start("server.trusted_proxies = [\"127.0.0.0/8\"]").await;
    check(&behind, &forwarded, true).await;
    let elsewhere = TestGateway::start("server.trusted_proxies = [\"10.0.0.0/8\"]").await;
    check(&elsewhere, &forwarded, false).await;
}

#[tokio::test]
async fn every_request_of_a_session_is_checked() {
    let gateway = TestGateway::plain().await;
    let mut polling = Polling::open(gateway.address, 4).await;
    let evil = [("Origin", "https://evil.example")];
    let get = with(Request::get(&polling.target()), &evil);
    request(gateway.address, &get).await.is_error(403, 4, "Forbidden");
    let post = with(Request::post(&polling.target(), "1"), &evil);
    request(gateway.address, &post).await.is_error(403, 4, "Forbidden");
    let upgrade = with(Request::upgrade(&polling.upgrade_target()), &evil);
    let refused = WebSocket::try_open(gateway.address, &upgrade).await.unwrap_err();
    assert_eq!((refused.status, refused.text()), (400, "Forbidden"));
    polling.is_alive().await;
}

#[track_caller]
fn is_told(response: &Response, origin: &str) {
    assert_eq!(
        response.header("access-control-allow-origin"),
        Some(origin),
        "{:?}",
        response.headers
    );
    assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
    let vary = response.list("vary");
    assert!(vary.contains(&"origin".into()), "Vary: {vary:?}");
}

#[tokio::test]
async fn every_answer_tells_an_allowed_origin_that_it_may_read_it() {
    for origins in [r#"["https://app.example"]"#, r#"["*"]"#] {
        let gateway = TestGateway::start(&format!("server.origins = {origins}")).await;
        let app = [("Origin", "https://app.example")];
        let opened = request(gateway.address, &with(Request::get(POLLING), &app)).await;
        is_told(&opened, "https://app.example");
        let polling = Polling::open(gateway.address, 4).await;
        let posted = request(gateway.address, &with(Request::post(&polling.target(), "40"), &app)).await;
        posted.is_ok();
        is_told(&posted, "https://app.example");
        is_told(
            &request(gateway.address, &with(Request::get(&polling.target()), &app)).await,
            "https://app.example",
        );
        let unknown = Request::get("/socket.io/?EIO=4&transport=polling&sid=x");
        let unknown = request(gateway.address, &with(unknown, &app)).await;
        unknown.is_unknown_session();
        is_told(&unknown, "https://app.example");
        let websocket = WebSocket::try_open(gateway.address, &with(Request::upgrade(WEBSOCKET), &app)).await;
        is_told(&websocket.unwrap().response, "https://app.example");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_readably() {
    let gateway = TestGateway::start("server.origins = [\"https://app.example\"]").await;
    let polling = Polling::open(gateway.address, 4).await;
    let post = Request::post(&polling.target(), "").header("Content-Length", "100000000");
    let response = request(gateway.address, &post.header("Origin", "https://app.example")).await;
    assert_eq!(response.status, 413);
    is_told(&response, "https://app.example");
}

#[tokio::test]
async fn a_page_without_an_origin_is_told_nothing() {
    let gateway = TestGateway::plain().await;
    let response = request(gateway.address, &Request::get(POLLING)).await;
    assert!(
        !response
            .headers
            .iter()
            .any(|(name, _)| name.starts_with("access-control-")),
        "{:?}",
        response.headers
    );
}

#[tokio::test]
async fn a_refused_origin_cannot_read_that_it_is() {
    let gateway = TestGateway::start("server.origins = [\"https://app.example\"]").await;
    let evil = Request::get(POLLING).header("Origin", "https://evil.example");
    let response = request(gateway.address, &evil).await;
    assert_eq!(response.status, 403);
    assert_eq!(response.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_preflight_is_answered_with_what_it_asks_for() {
    let gateway = TestGateway::start("server.origins = [\"https://app.example\"]").await;
    let preflight = Request::new("OPTIONS", POLLING)
        .header("Origin", "https://app.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,x-custom");
    let response = request(gateway.address, &preflight).await;
    assert_eq!(response.status, 204);
    is_told(&response, "https://app.example");
    assert_eq!(
        response.header("access-control-allow-headers"),
        Some("content-type,x-custom")
    );
    let methods = response.header("access-control-allow-methods").unwrap();
    for method in ["GET", "POST"] {
        assert!(methods.contains(method), "{methods}");
    }
}

#[tokio::test]
async fn a_preflight_of_an_origin_that_is_not_allowed_grants_nothing() {
    let gateway = TestGateway::plain().await;
    let preflight = Request::new("OPTIONS", POLLING)
        .header("Origin", "https://evil.example")
        .header("Access-Control-Request-Method", "POST");
    let response = request(gateway.address, &preflight).await;
    assert!(
        !response
            .headers
            .iter()
            .any(|(name, _)| name.starts_with("access-control-")),
        "{:?}",
        response.headers
    );
}

#[tokio::test]
async fn an_origin_with_forbidden_bytes_is_a_bad_request() {
    let gateway = TestGateway::start("server.origins = [\"*\"]").await;
    for origin in [b"http://a\x01b".as_slice(), b"http://a\x7fb", b"http://a\x0bb"] {
        let mut connection = Connection::open(gateway.address).await;
        let head = format!("GET {POLLING} HTTP/1.1\r\nHost: {}\r\nOrigin: ", gateway.address);
        connection.write(&[head.as_bytes(), origin, b"\r\n\r\n"].concat()).await;
        assert_eq!(connection.response().await.status, 400, "{origin:02x?}");
    }
}
