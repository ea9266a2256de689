//! Requests that two readers (a proxy and we) could read differently: one refusal, then the end of the connection.

use std::net::SocketAddr;

use tokio::task::JoinSet;

use crate::client::http::{Connection, Request};
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
        ("twice one length", post("Content-Length: 1\r\nContent-Length: 1", "3")),
        (
            "twice one length, one of them small",
            post("Content-Length: 1\r\ncontent-length:1", "3"),
        ),
        (
            "a length and chunks that end in time",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ),
        (
            "chunks twice",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ),
        (
            "a chunk whose size ends in a bare line feed",
            post("Transfer-Encoding: chunked", "1\n3\r\n0\r\n\r\n"),
        ),
        (
            "a chunk that is longer than it says",
            post("Transfer-Encoding: chunked", "1\r\n33\r\n0\r\n\r\n"),
        ),
        (
            "a trailer that ends in a bare line feed",
            post("Transfer-Encoding: chunked", "1\r\n3\r\n0\r\nX: y\n\r\n"),
        ),
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
        ("a header that ends in a bare line feed", get("X-A: a\nX-B: b")),
        ("a head that ends in a bare line feed", get("X-A: a\r\n\nX-B: b")),
        (
            "a request line that ends in a bare line feed",
            get("X-A: a").replacen("\r\n", "\n", 1),
        ),
        ("nothing but bare line feeds", get("X-A: a").replace("\r\n", "\n")),
        ("an empty line that is a bare line feed", format!("\n{}", get("X-A: a"))),
    ];
    all_refused(&gateway, rows).await;
}

#[tokio::test]
async fn later_requests_of_a_connection_are_read_as_strictly() {
    let gateway = TestGateway::plain().await;
    let address = gateway.address;
    let mut polling = Polling::open(address, 4).await;
    let get = Request::get("/livez").bytes(address);
    let post = Request::post(&polling.target(), "6").bytes(address);
    let mut chunked = Request::new("POST", &polling.target())
        .header("Transfer-Encoding", "chunked")
        .bytes(address);
    chunked.extend_from_slice(b"1\r\n6\r\n0\r\n\r\n");
    for before in [get, post, chunked] {
        for pipelined in [false, true] {
            let mut connection = Connection::open(address).await;
            let bad = format!("GET /livez HTTP/1.1\r\nHost: {address}\nX-A: a\r\n\r\n");
            if pipelined {
                connection.write(&[&before, bad.as_bytes()].concat()).await;
                // The answer to the good one may be lost with the connection; there is none but a refusal to the bad one.
                let answers = String::from_utf8(connection.end().await).unwrap();
                let good = answers.matches("HTTP/1.1 200").count();
                assert!(good <= 1 && answers.matches("HTTP/1.1").count() <= 2, "{answers}");
            } else {
                connection.write(&before).await;
                assert_eq!(connection.response().await.status, 200);
                connection.write(bad.as_bytes()).await;
                assert_eq!(connection.response().await.status, 400);
                assert!(connection.end().await.is_empty());
            }
        }
    }
    polling.is_alive().await;
}

#[tokio::test]
async fn nothing_is_read_behind_a_websocket_that_was_refused() {
    let gateway = TestGateway::plain().await;
    let address = gateway.address;
    let get = Request::get("/livez").bytes(address);
    let unknown = Request::upgrade("/socket.io/?EIO=4&transport=unknown");
    let no_connection = Request::get("/livez").header("Upgrade", "h2c, WebSocket");
    for request in [Request::upgrade("/livez"), unknown, no_connection] {
        let mut connection = Connection::open(address).await;
        connection.write(&[request.bytes(address), get.clone()].concat()).await;
        let response = connection.response().await;
        assert_ne!(response.status, 101);
        assert_eq!(response.header("connection"), Some("close"), "{request:?}");
        assert!(connection.end().await.is_empty(), "{request:?}");
    }
}

#[tokio::test]
async fn heads_have_their_bounds() {
    let gateway = TestGateway::plain().await;
    let address = gateway.address;
    let headers = |count: usize| (0..count).fold(Request::get("/livez"), |get, n| get.header(&format!("X-{n}"), "a"));
    for (what, request, status) in [
        (
            "a long target",
            Request::get(&format!("/livez?{}", "a".repeat(16_000))),
            200,
        ),
        (
            "a longer target",
            Request::get(&format!("/livez?{}", "a".repeat(17_000))),
            414,
        ),
        (
            "a long head",
            Request::get("/livez").header("X-A", &"a".repeat(30_000)),
            200,
        ),
        (
            "a longer head",
            Request::get("/livez").header("X-A", &"a".repeat(33_000)),
            431,
        ),
        ("many headers", headers(99), 200),
        ("more headers", headers(100), 431),
    ] {
        let mut connection = Connection::open(address).await;
        connection.send(&request).await;
        match connection.try_response().await {
            Some(response) => assert_eq!(response.status, status, "{what}"),
            // The answer is lost where the connection is reset because of what nobody read.
            None => assert_eq!(status, 431, "{what}"),
        }
    }
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
