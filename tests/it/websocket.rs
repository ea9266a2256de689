//! WebSocket frames: what RFC 6455 allows, and how what it forbids is answered.

use serde_json::json;

use crate::client::frames::{
    BINARY, BINARY_START, CLOSE, CONTINUATION, CONTINUATION_END, Frame, PING, PONG, TEXT, TEXT_START, WebSocket, frame,
    promise, unmasked_frame,
};
use crate::client::http::{Connection, Request};
use crate::client::payload::Packet;
use crate::client::socket::{Client, Transport};
use crate::gateway::{ECHO, TestGateway};

const TARGET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A WebSocket whose session is in `/`.
async fn joined(gateway: &TestGateway) -> WebSocket {
    let mut socket = WebSocket::open(gateway.address, TARGET).await;
    assert!(socket.text().await.starts_with("0{"));
    socket.send_text("40").await;
    assert!(socket.text().await.starts_with("40{"));
    socket
}

#[tokio::test]
async fn a_message_may_come_in_fragments_with_control_frames_between() {
    let gateway = TestGateway::start(ECHO).await;
    let mut socket = joined(&gateway).await;
    let message = "421[\"echo\",\"é€😀\"]".as_bytes();
    socket.send_frame(TEXT_START, &message[..12]).await;
    socket.send_frame(PING, b"between").await;
    for byte in &message[12..] {
        socket.send_frame(CONTINUATION, &[*byte]).await;
    }
    socket.send_frame(PONG, b"").await;
    socket.send_frame(CONTINUATION_END, b"").await;
    assert_eq!(socket.next().await, Frame::Pong(b"between".to_vec()));
    assert_eq!(socket.text().await, "431[\"é€😀\"]");
}

#[tokio::test]
async fn bytes_may_come_in_fragments() {
    let gateway = TestGateway::start(ECHO).await;
    let mut socket = joined(&gateway).await;
    socket.send_text(r#"451-1["echo",{"_placeholder":true,"num":0}]"#).await;
    socket.send_frame(BINARY_START, &[1, 2]).await;
    socket.send_frame(CONTINUATION, &[]).await;
    socket.send_frame(CONTINUATION_END, &[3]).await;
    assert_eq!(socket.text().await, r#"461-1[{"_placeholder":true,"num":0}]"#);
    assert_eq!(socket.next().await, Frame::Binary(vec![1, 2, 3]));
}

#[tokio::test]
async fn a_ping_is_answered_with_its_own_bytes_and_a_pong_with_nothing() {
    let gateway = TestGateway::plain().await;
    let mut socket = joined(&gateway).await;
    for payload in [vec![], b"hello".to_vec(), vec![0xff; 125]] {
        socket.send_frame(PONG, &payload).await;
        socket.send_frame(PING, &payload).await;
        assert_eq!(socket.next().await, Frame::Pong(payload));
    }
}

#[tokio::test]
async fn messages_of_every_length_form_are_read_and_written() {
    let gateway = TestGateway::start(ECHO).await;
    let mut socket = joined(&gateway).await;
    for length in [
        0, 100, 112, 113, 114, 1_000, 65_520, 65_521, 65_522, 65_535, 65_536, 500_000,
    ] {
        let words = "x".repeat(length);
        socket.send_text(&format!(r#"421["echo","{words}"]"#)).await;
        assert!(socket.text().await == format!(r#"431["{words}"]"#), "{length}");
    }
}

#[tokio::test]
async fn a_frame_may_dribble_in() {
    let gateway = TestGateway::start(ECHO).await;
    let mut dribbling = joined(&gateway).await;
    let mut other = joined(&gateway).await;
    for byte in frame(TEXT, format!(r#"421["echo","{}"]"#, "x".repeat(200)).as_bytes()) {
        dribbling.send_raw(&[byte]).await;
        other.send_text(r#"421["echo"]"#).await;
        assert_eq!(other.text().await, "431[]");
    }
    assert_eq!(dribbling.text().await, format!(r#"431["{}"]"#, "x".repeat(200)));
}

#[tokio::test]
async fn frames_may_come_in_one_piece_with_the_upgrade() {
    let gateway = TestGateway::plain().await;
    let mut connection = Connection::open(gateway.address).await;
    let upgrade = Request::upgrade(TARGET).bytes(gateway.address);
    connection
        .write(&[upgrade, frame(TEXT, b"40"), frame(TEXT, b"40/marker,")].concat())
        .await;
    let response = connection.response().await;
    assert_eq!(response.status, 101);
    let mut socket = WebSocket { connection, response };
    assert!(socket.text().await.starts_with("0{"));
    assert!(socket.text().await.starts_with("40{"));
    assert!(socket.text().await.starts_with("44/marker,"));
}

#[tokio::test]
async fn a_bad_frame_in_one_piece_with_the_upgrade_closes_with_1002() {
    let gateway = TestGateway::plain().await;
    for reserved in [0x10, 0x20, 0x40, 0x70] {
        let mut connection = Connection::open(gateway.address).await;
        let upgrade = Request::upgrade(TARGET).bytes(gateway.address);
        connection
            .write(&[upgrade, frame(TEXT | reserved, b"40")].concat())
            .await;
        let response = connection.response().await;
        assert_eq!(response.status, 101);
        let mut socket = WebSocket { connection, response };
        assert_eq!(socket.close_code().await, Some(1002));
    }
    joined(&gateway).await;
}

#[tokio::test]
async fn frames_that_break_the_rules_close_with_1002() {
    let gateway = TestGateway::plain().await;
    let start = frame(TEXT_START, b"4");
    for (what, bytes) in [
        ("no mask", unmasked_frame(TEXT, b"40")),
        ("an unmasked ping", unmasked_frame(PING, b"")),
        ("RSV1", frame(TEXT | 0x40, b"40")),
        ("RSV2", frame(TEXT | 0x20, b"40")),
        ("RSV3", frame(BINARY | 0x10, b"40")),
        ("RSV on a control frame", frame(PING | 0x40, b"")),
        ("opcode 3", frame(0x83, b"")),
        ("opcode 7", frame(0x87, b"")),
        ("opcode 11", frame(0x8b, b"")),
        ("opcode 15", frame(0x8f, b"")),
        ("a long ping", frame(PING, &[0; 126])),
        ("a long pong", frame(PONG, &[0; 126])),
        (
            "a long close",
            frame(CLOSE, &[3, 232].iter().chain(&[b'x'; 124]).copied().collect::<Vec<_>>()),
        ),
        ("a ping in fragments", frame(0x09, b"")),
        ("a continuation of nothing", frame(CONTINUATION, b"4")),
        ("the end of nothing", frame(CONTINUATION_END, b"4")),
        ("text inside a message", [start.clone(), frame(TEXT, b"40")].concat()),
        (
            "a start inside a message",
            [start.clone(), frame(TEXT_START, b"4")].concat(),
        ),
        ("bytes inside a message", [start, frame(BINARY, b"4")].concat()),
    ] {
        let mut socket = joined(&gateway).await;
        socket.send_raw(&bytes).await;
        assert_eq!(socket.close_code().await, Some(1002), "{what}");
    }
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 0.0).await;
}

#[tokio::test]
async fn close_frames_that_break_the_rules_close_with_1002_or_1007() {
    let gateway = TestGateway::plain().await;
    let codes = [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    let payloads = codes.iter().map(|code| (code.to_be_bytes().to_vec(), 1002));
    let others = [(vec![3], 1002), (vec![3, 232, 0xff, 0xfe], 1007)];
    for (payload, expected) in payloads.chain(others) {
        let mut socket = joined(&gateway).await;
        socket.send_frame(CLOSE, &payload).await;
        assert_eq!(socket.close_code().await, Some(expected), "{payload:02x?}");
    }
}

#[tokio::test]
async fn a_close_frame_is_answered_with_one_and_ends_the_session() {
    let gateway = TestGateway::plain().await;
    let payloads: [&[u8]; 5] = [
        b"",
        &[3, 232],
        &[3, 233, b'b', b'y', b'e'],
        &[0x0b, 0xb8],
        &[0x13, 0x87],
    ];
    for payload in payloads {
        let mut socket = joined(&gateway).await;
        socket.send_frame(CLOSE, payload).await;
        assert!(matches!(socket.next().await, Frame::Close(_)), "{payload:02x?}");
        assert_eq!(socket.next().await, Frame::End);
    }
    gateway.has_ended("transport_closed", 5.0).await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes_with_1007() {
    let gateway = TestGateway::plain().await;
    let overlong: &[u8] = b"42[\"\xc0\xaf\"]";
    for bytes in [
        overlong,
        b"42[\"\xed\xa0\x80\"]",
        b"42[\"\xff\"]",
        b"42[\"\xe2\x82",
        b"4\xf4\x90\x80\x80",
    ] {
        let mut socket = joined(&gateway).await;
        socket.send_frame(TEXT, bytes).await;
        assert_eq!(socket.close_code().await, Some(1007), "{bytes:02x?}");
    }
    let mut socket = joined(&gateway).await;
    socket.send_frame(TEXT_START, b"42[\"\xe2\x82").await;
    socket.send_frame(CONTINUATION_END, b"\"]").await;
    assert_eq!(socket.close_code().await, Some(1007), "cut between fragments");
}

#[tokio::test]
async fn the_end_of_the_tcp_connection_ends_the_session() {
    let gateway = TestGateway::plain().await;
    drop(joined(&gateway).await);
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 0.0).await;

    let mut half_closed = joined(&gateway).await;
    tokio::io::AsyncWriteExt::shutdown(&mut half_closed.connection.stream)
        .await
        .unwrap();
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 0.0).await;
    half_closed.connection.end().await;
}

#[tokio::test]
async fn a_connection_that_ends_inside_a_frame_ends_the_session() {
    let gateway = TestGateway::plain().await;
    for cut in [1, 2, 6, 20] {
        let mut socket = joined(&gateway).await;
        let bytes = frame(TEXT, br#"421["join","a room that nobody hears of"]"#);
        socket.send_raw(&bytes[..cut]).await;
        drop(socket);
    }
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 0.0).await;
}

#[tokio::test]
async fn engine_packets_that_are_none_end_the_session_without_a_code() {
    let gateway = TestGateway::plain().await;
    for text in ["", "9", "x", "hello", "4"] {
        let mut socket = joined(&gateway).await;
        socket.send_text(text).await;
        assert_eq!(socket.close_code().await, None, "{text:?}");
    }
    gateway.has_ended("malformed", 5.0).await;
}

#[tokio::test]
async fn a_client_without_binary_gets_bytes_as_base64_text() {
    let gateway = TestGateway::start(ECHO).await;
    for (eio, expected) in [(4, "bAQI="), (3, "b4AQI=")] {
        let mut client = Client::open_with(&gateway, Transport::WebSocket, eio, "&b64=1").await;
        client.enter("/").await;
        let header = Packet::text(r#"451-1["echo",{"_placeholder":true,"num":0}]"#);
        client.send_packets(&[header, Packet::text(expected)]).await;
        assert_eq!(client.text().await, r#"461-1[{"_placeholder":true,"num":0}]"#);
        assert_eq!(client.text().await, expected);
    }
}

#[tokio::test]
async fn base64_text_is_taken_from_everybody() {
    let gateway = TestGateway::start(ECHO).await;
    for (eio, base64) in [(4, "bAQI="), (3, "b4AQI="), (4, "bAQI")] {
        let mut client = Client::join(&gateway, Transport::WebSocket, eio).await;
        client.send(r#"451-1["echo",{"_placeholder":true,"num":0}]"#).await;
        client.send(base64).await;
        assert_eq!(client.packet().await.attachments, 1);
        assert_eq!(client.next().await, Packet::Binary(vec![1, 2]));
    }
}

#[tokio::test]
async fn bytes_of_v3_clients_begin_with_their_type() {
    let gateway = TestGateway::start(ECHO).await;
    let bytes: [&[u8]; 3] = [b"", b"\x09", b"\xff\x01\x02"];
    for bytes in bytes {
        let mut client = Client::join(&gateway, Transport::WebSocket, 3).await;
        client.send(r#"451-1["echo",{"_placeholder":true,"num":0}]"#).await;
        client.socket().send_binary(bytes).await;
        client.is_closed().await;
    }
}

#[tokio::test]
async fn one_broken_client_does_not_disturb_another() {
    let gateway = TestGateway::plain().await;
    let mut good = Client::new(&gateway).await;
    good.does(json!(["join", "r"])).await;
    let mut bad = joined(&gateway).await;
    bad.send_raw(&promise(TEXT, u64::MAX)).await;
    assert!(matches!(bad.close_code().await, Some(1002 | 1009)));
    good.does(json!(["join", "s"])).await;
}
