//! The HTTP side of a WebSocket: what is an upgrade, and what is answered to one.

use crate::client::frames::{Frame, WebSocket};
use crate::client::http::{Connection, Request, request};
use crate::client::polling::Polling;
use crate::gateway::TestGateway;

#[tokio::test]
async fn an_upgrade_anywhere_else_is_refused_and_harms_nobody() {
    let gateway = TestGateway::plain().await;
    for target in ["/other/", "/other/?EIO=4&transport=websocket"] {
        let mut connection = Connection::open(gateway.address).await;
        connection.send(&Request::upgrade(target)).await;
        let answer = connection.try_response().await;
        assert!(answer.is_none_or(|answer| answer.status >= 400), "{target}");
    }
    let h2c = Request::get("/socket.io/?EIO=4&transport=websocket")
        .header("Connection", "Upgrade, HTTP2-Settings")
        .header("Upgrade", "h2c")
        .header("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA");
    assert_eq!(request(gateway.address, &h2c).await.status, 400);
    Polling::open(gateway.address, 4).await.is_alive().await;
}

#[tokio::test]
async fn the_websocket_handshake_is_rfc_6455s() {
    let gateway = TestGateway::plain().await;
    let target = "/socket.io/?EIO=4&transport=websocket";
    let offer = Request::upgrade(target)
        .header("Sec-WebSocket-Protocol", "chat, superchat")
        .header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
    let socket = WebSocket::try_open(gateway.address, &offer).await.unwrap();
    let answer = &socket.response;
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(
        answer.header("upgrade").map(str::to_ascii_lowercase).as_deref(),
        Some("websocket")
    );
    assert_eq!(
        answer.header("connection").map(str::to_ascii_lowercase).as_deref(),
        Some("upgrade")
    );
    assert_eq!(
        answer.header("sec-websocket-protocol"),
        Some("chat"),
        "the first one offered"
    );
    assert_eq!(answer.header("sec-websocket-extensions"), None);

    let plain = WebSocket::open(gateway.address, target).await;
    assert_eq!(plain.response.header("sec-websocket-protocol"), None);
}

#[tokio::test]
async fn an_upgrade_that_is_not_rfc_6455s_is_refused() {
    let gateway = TestGateway::plain().await;
    let target = "/socket.io/?EIO=4&transport=websocket";
    let without_key = Request::get(target)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13");
    for (what, upgrade) in [
        (
            "version 8",
            Request::upgrade(target).header("Sec-WebSocket-Version", "8"),
        ),
        (
            "a short key",
            Request::upgrade(target).header("Sec-WebSocket-Key", "c2hvcnQ="),
        ),
        ("no key", without_key),
        (
            "no Connection: Upgrade",
            Request::upgrade(target).header("Connection", "keep-alive"),
        ),
    ] {
        let refused = WebSocket::try_open(gateway.address, &upgrade).await.expect_err(what);
        assert!(matches!(refused.status, 400 | 426), "{what}: {}", refused.status);
    }
}

#[tokio::test]
async fn an_extension_that_nobody_knows_is_ignored() {
    let gateway = TestGateway::plain().await;
    for extension in ["constructor", "__proto__; a=b", "x-webkit-deflate-frame"] {
        let offer =
            Request::upgrade("/socket.io/?EIO=4&transport=websocket").header("Sec-WebSocket-Extensions", extension);
        let mut socket = WebSocket::try_open(gateway.address, &offer).await.unwrap();
        assert_eq!(socket.response.header("sec-websocket-extensions"), None);
        assert!(matches!(socket.next().await, Frame::Text(text) if text.starts_with("0{")));
    }
}
