//! Requests that two readers (a proxy and we) could read differently: one refusal, then the end of the connection.
//!
//! Two equal lengths and lines that end in a bare line feed are not here: hyper reads both in the one way that there is.

use std::net::SocketAddr;

use tokio::task::JoinSet;

use crate::client::http::Connection;
use crate::client::polling::Polling;
use crate::gateway::TestGateway;

const TARGET: &str = "/socket.io/?EIO=4&transport=polling";

/// Sends bytes and says what is wrong with the reaction, if anything.
async fn wrong(address: SocketAddr, bytes: &[u8]) -> Option<String> {
    let mut connection = Connection::open(address).await;
    connection.write(bytes).await;
    if let Some(response) = connection.try_response().await
        && !matches!(response.status, 400 | 405 | 411 | 501 | 505)
    {
        return Some(format!("answered with {}", response.status));
    }
    let rest = connection.end().await;
    (!rest.is_empty()).then(|| format!("answered twice: {}", String::from_utf8_lossy(&rest)))
}

/// Asserts that each of these is refused; all at once, and the failures are named.
async fn all_refused(gateway: &TestGateway, rows: Vec<(&'static str, String)>) {
    let mut checks = JoinSet::new();
    let address = gateway.address;
    for (what, request) in rows {
        checks.spawn(async move {
            let check = tokio::spawn(async move { wrong(address, request.as_bytes()).await });
            let outcome = check.await.unwrap_or_else(|_| Some("left open".into()));
            outcome.map(|outcome| format!("{what}: {outcome}"))
        });
    }
    let failed: Vec<_> = checks.join_all().await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{failed:#?}");
    Polling::open(address, 4).await.is_alive().await;
}

#[tokio::test]
async fn there_must_be_one_host() {
    let gateway = TestGateway::plain().await;
    let host = gateway.address;
    let get = |headers: String| format!("GET {TARGET} HTTP/1.1\r\n{headers}\r\n");
    let rows = vec![
        ("no Host", get(String::new())),
        ("two Hosts", get(format!("Host: {host}\r\nHost: evil.example\r\n"))),
        ("twice the same Host", get(format!("Host: {host}\r\nHost: {host}\r\n"))),
        (
            "another authority",
            format!("GET http://evil.example{TARGET} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ),
    ];
    all_refused(&gateway, rows).await;
}

#[tokio::test]
async fn a_host_that_is_none_is_refused() {
    let gateway = TestGateway::plain().await;
    let get = |host: &str| format!("GET {TARGET} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let rows = vec![
        ("a path", get("a/b")),
        ("a user", get("user@a")),
        ("a list", get("a, b")),
        ("a space", get("a b")),
    ];
    all_refused(&gateway, rows).await;
}

#[tokio::test]
async fn bodies_must_have_one_length() {
    let gateway = TestGateway::plain().await;
    let host = gateway.address;
    let polling = Polling::open(host, 4).await;
    let smuggled = format!("GET {TARGET} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let post = |headers: &str, body: &str| {
        format!(
            "POST {} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n\r\n{body}{smuggled}",
            polling.target()
        )
    };
    let rows = vec![
        (
            "a length and chunks",
            post("Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ),
        (
            "chunks and a length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 4", "0\r\n\r\n"),
        ),
        ("two lengths", post("Content-Length: 1\r\nContent-Length: 2", "3")),
        ("a list of lengths", post("Content-Length: 1, 1", "3")),
        ("a signed length", post("Content-Length: +1", "3")),
        ("a negative length", post("Content-Length: -1", "3")),
        (
            "an unknown coding",
            post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        ),
        ("identity", post("Transfer-Encoding: identity", "3")),
        ("chunked in disguise", post("Transfer-Encoding: xchunked", "0\r\n\r\n")),
        (
            "two codings",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"),
        ),
        ("a bad chunk", post("Transfer-Encoding: chunked", "zz\r\n")),
    ];
    all_refused(&gateway, rows).await;
}

#[tokio::test]
async fn requests_that_ask_have_no_body() {
    let gateway = TestGateway::plain().await;
    let host = gateway.address;
    let get = |headers: &str, body: &str| format!("GET {TARGET} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n\r\n{body}");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 4";
    let rows = vec![
        ("a body with a length", get("Content-Length: 4", "body")),
        (
            "a body in chunks",
            get("Transfer-Encoding: chunked", "4\r\nbody\r\n0\r\n\r\n"),
        ),
        (
            "an upgrade with a body",
            get(upgrade, "body").replace("polling", "websocket"),
        ),
    ];
    all_refused(&gateway, rows).await;
}

#[tokio::test]
async fn requests_of_http_1_0_have_no_chunks() {
    let gateway = TestGateway::plain().await;
    let polling = Polling::open(gateway.address, 4).await;
    let request = format!(
        "POST {} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        polling.target()
    );
    all_refused(&gateway, vec![("HTTP/1.0 with chunks", request)]).await;
}

#[tokio::test]
async fn lines_must_be_lines() {
    let gateway = TestGateway::plain().await;
    let host = gateway.address;
    let get = |header: &str| format!("GET {TARGET} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n\r\n");
    let rows = vec![
        ("a folded header", get("X-A: a\r\n b")),
        ("a space before the colon", get("X-A : a")),
        ("a header without a name", get(": a")),
        ("a header without a colon", get("X-A")),
        ("a zero byte", get("X-A: a\0b")),
        ("a bare carriage return", get("X-A: a\rX-B: b")),
    ];
    all_refused(&gateway, rows).await;
}

#[tokio::test]
async fn methods_of_proxies_are_none_of_ours() {
    let gateway = TestGateway::plain().await;
    let host = gateway.address;
    let rows = vec![
        (
            "CONNECT",
            "CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\n\r\n".into(),
        ),
        ("TRACE", format!("TRACE {TARGET} HTTP/1.1\r\nHost: {host}\r\n\r\n")),
    ];
    all_refused(&gateway, rows).await;
}
