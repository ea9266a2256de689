//! The protocol's errors, and requests that are none.

use crate::client::frames::WebSocket;
use crate::client::http::{Connection, Request, request};
use crate::client::polling::Polling;
use crate::gateway::TestGateway;

#[tokio::test]
async fn every_error_has_its_code_and_its_message() {
    let gateway = TestGateway::start("engine.eio3 = false").await;
    for (asked, status, code, message) in [
        (Request::get("/socket.io/?EIO=4"), 400, 0, "Transport unknown"),
        (
            Request::get("/socket.io/?EIO=4&transport=polling&sid=x"),
            400,
            1,
            "Session ID unknown",
        ),
        (
            Request::post("/socket.io/?EIO=4&transport=polling&sid=x", "40"),
            400,
            1,
            "Session ID unknown",
        ),
        (
            Request::post("/socket.io/?EIO=4&transport=polling", "40"),
            400,
            2,
            "Bad handshake method",
        ),
        (
            Request::get("/socket.io/?EIO=4&transport=websocket"),
            400,
            3,
            "Bad request",
        ),
        (
            Request::get("/socket.io/?EIO=4&transport=polling").header("Origin", "https://e.example"),
            403,
            4,
            "Forbidden",
        ),
        (
            Request::get("/socket.io/?EIO=3&transport=polling"),
            400,
            5,
            "Unsupported protocol version",
        ),
    ] {
        let response = request(gateway.address, &asked).await;
        assert_eq!(response.status, status, "{asked:?}: {}", response.text());
        response.is_error(status, code, message);
    }
}

#[tokio::test]
async fn a_refused_upgrade_says_why_in_its_body() {
    let gateway = TestGateway::start("engine.eio3 = false").await;
    for (upgrade, message) in [
        (Request::upgrade("/socket.io/?EIO=4"), "Transport unknown"),
        (
            Request::upgrade("/socket.io/?EIO=4&transport=websocket&sid=x"),
            "Session ID unknown",
        ),
        (
            Request::upgrade("/socket.io/?EIO=4&transport=websocket").header("Origin", "https://e.example"),
            "Forbidden",
        ),
        (
            Request::upgrade("/socket.io/?EIO=3&transport=websocket"),
            "Unsupported protocol version",
        ),
    ] {
        let mut connection = Connection::open(gateway.address).await;
        let response = connection.request(&upgrade).await;
        assert_eq!((response.status, response.text()), (400, message), "{upgrade:?}");
        assert_eq!(
            response.header("connection").map(str::to_ascii_lowercase).as_deref(),
            Some("close")
        );
        assert!(response.header("content-type").unwrap().starts_with("text/html"));
        assert_eq!(
            response.header("content-length"),
            Some(message.len().to_string().as_str())
        );
        assert_eq!(connection.end().await, b"", "nothing follows the answer");
    }
}

#[tokio::test]
async fn refused_handshakes_are_counted_and_leave_nothing() {
    let gateway = TestGateway::plain().await;
    for _round in 0..20 {
        request(gateway.address, &Request::get("/socket.io/?EIO=4&transport=x")).await;
        let upgrade = Request::upgrade("/socket.io/?EIO=4&transport=websocket&sid=x");
        assert!(WebSocket::try_open(gateway.address, &upgrade).await.is_err());
    }
    for series in ["websocket\",protocol=\"4", "polling\",protocol=\"4"] {
        gateway
            .reaches(&format!("roomcast_connections{{transport=\"{series}\"}}"), 0.0)
            .await;
    }
}

#[tokio::test]
async fn what_is_not_http_ends_without_harm() {
    let gateway = TestGateway::plain().await;
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for bytes in [
        preface,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n\r\n",
        b"\r\n\r\n\0\0\0\0",
    ] {
        let mut connection = Connection::open(gateway.address).await;
        connection.write(bytes).await;
        connection.write(b"\r\n\r\n").await;
        let status = connection.try_response().await.map(|response| response.status);
        assert!(matches!(status, None | Some(400 | 505)), "{bytes:?}: {status:?}");
    }
    Polling::open(gateway.address, 4).await.is_alive().await;
}

#[tokio::test]
async fn a_head_without_measure_is_refused() {
    let gateway = TestGateway::plain().await;
    let long = "x".repeat(100_000);
    let target = format!("/socket.io/?EIO=4&transport=polling&token={long}");
    let status = request(gateway.address, &Request::get(&target)).await.status;
    assert!(matches!(status, 400 | 414 | 431), "{status}");
    let mut many = Request::upgrade("/socket.io/?EIO=4&transport=websocket");
    for n in 0..300 {
        many = many.header(&format!("X-{n}"), "y");
    }
    let status = request(gateway.address, &many).await.status;
    assert!(matches!(status, 400 | 431), "{status}");
    let token = "x".repeat(8_000);
    let target = format!("/socket.io/?EIO=4&transport=polling&token={token}");
    assert_eq!(
        request(gateway.address, &Request::get(&target)).await.status,
        200,
        "tokens travel in queries"
    );
}
