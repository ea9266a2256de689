//! What nobody means: packets, payloads, frames and requests by chance, always the same ones.
//!
//! A session may end of it and must never end as a bug; nobody else may notice.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::client::frames::Frame;
use crate::client::http::{Connection, Request};
use crate::client::polling::Polling;
use crate::client::socket::{Client, Transport};
use crate::gateway::{ECHO, TestGateway};

/// Cases of each kind.
const CASES: usize = 300;

/// Packets that nearly are some.
const PACKETS: &str = concat!(
    r#"[0-6b4]?4?[0-7]?([0-9]{0,2}-)?(/[a-z?#é]{0,3},?)?[0-9]{0,3}"#,
    r#"(\[("(echo|join|publish|leave|connect|é|\\u0000|\\ud800)")?(,(\{"_placeholder":true,"num":[0-9-]{1,2}\}|[\[\]{}",:0-9a-z\\]{0,6})){0,3}\]?)?"#
);

/// v3 payloads that nearly are some.
const PAYLOADS: &str = r#"([0-9]{0,3}:?([0-6][a-zé€😀]{0,3}|42\["echo"\]|b4[A-Za-z0-9+/=]{0,5})?){0,4}"#;

/// Samples of a strategy, the same ones in every run.
fn samples<S: Strategy>(strategy: S) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..CASES)
        .map(|_case| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// Asserts that a client which was there all the time is undisturbed, that it is the only one left, and that nothing
/// ended as a bug.
async fn is_unmoved(gateway: &TestGateway, witness: &mut Client) {
    witness.does(json!(["join", "afterwards"])).await;
    gateway.reaches("roomcast_sockets{namespace=\"/\"}", 1.0).await;
    gateway.reaches("roomcast_disconnects_total{reason=\"bug\"}", 0.0).await;
    gateway.reaches("roomcast_outbox_bytes", 0.0).await;
}

#[tokio::test]
async fn packets_by_chance_end_their_session_at_most() {
    let gateway = TestGateway::start(ECHO).await;
    let mut witness = Client::new(&gateway).await;
    for (number, text) in samples(PACKETS).into_iter().enumerate() {
        let mut client = Client::join(&gateway, Transport::WebSocket, 3 + number as u8 % 2).await;
        let socket = client.socket();
        socket.send_text(&text).await;
        socket.send_text(r#"42999["echo","marker"]"#).await;
        loop {
            match socket.next().await {
                Frame::Text(answer) if answer == r#"43999["marker"]"# => break,
                Frame::Text(_) | Frame::Binary(_) => {}
                Frame::Close(None) | Frame::End => break,
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }
    is_unmoved(&gateway, &mut witness).await;
}

#[tokio::test]
async fn payloads_by_chance_are_taken_or_refused() {
    let gateway = TestGateway::start(ECHO).await;
    let mut witness = Client::new(&gateway).await;
    let texts = samples(PAYLOADS).into_iter().map(String::into_bytes);
    let binary = proptest::collection::vec(0_u8..=5, 0..12).prop_map(|bytes| {
        bytes
            .into_iter()
            .map(|byte| [0, 1, 2, 4, 0xff, b'4'][usize::from(byte)])
            .collect::<Vec<u8>>()
    });
    let bodies = texts.zip(samples(binary));
    for (text, binary) in bodies {
        for (eio, content_type, body) in [
            (3, "text/plain", &text),
            (3, "application/octet-stream", &binary),
            (4, "text/plain", &text),
            (4, "text/plain", &binary),
        ] {
            let mut polling = Polling::open(gateway.address, eio).await;
            let post = Request::post(&polling.target(), body.clone()).header("Content-Type", content_type);
            let response = polling.request(&post).await;
            assert!(matches!(response.status, 200 | 400), "{body:02x?}: {}", response.status);
            let last = polling.post_body(if eio == 4 { "1" } else { "1:1" }).await;
            assert!(matches!(last.status, 200 | 400), "{body:02x?}: {}", last.status);
        }
    }
    is_unmoved(&gateway, &mut witness).await;
}

#[tokio::test]
async fn frames_by_chance_end_their_session_at_most() {
    let gateway = TestGateway::start(ECHO).await;
    let mut witness = Client::new(&gateway).await;
    let first = proptest::sample::select(vec![0x01_u8, 0x81, 0x82, 0x88, 0x89, 0x8a, 0x00, 0x80, 0xc1, 0x83]);
    let second = proptest::sample::select(vec![0x80_u8, 0x81, 0x82, 0x85, 0xfe, 0xff, 0x02, 0xfd]);
    let rest = proptest::collection::vec(proptest::num::u8::ANY, 0..40);
    for (first, second, rest) in samples((first, second, rest)) {
        let mut client = Client::join(&gateway, Transport::WebSocket, 4).await;
        client
            .socket()
            .send_raw(&[&[first, second], rest.as_slice()].concat())
            .await;
    }
    is_unmoved(&gateway, &mut witness).await;
}

#[tokio::test]
async fn requests_by_chance_get_an_answer_or_the_end() {
    let gateway = TestGateway::start(ECHO).await;
    let mut witness = Client::new(&gateway).await;
    let line = "(GET|POST|OPTIONS|PUT|HEAD|X) /socket\\.io/[a-z/]{0,2}\\?((EIO|transport|sid|j|b64|t)=(2|3|4|polling|websocket|%[0-9a-f]{0,2}|[a-z0-9+é]{0,4})&?){0,5}";
    let headers = "((Connection|Upgrade|Origin|Sec-WebSocket-Key|Content-Length|Sec-WebSocket-Version|Accept-Encoding): (Upgrade|websocket|13|0|null|http://127\\.0\\.0\\.1|gzip;q=[0-9.]{0,3})\r\n){0,4}";
    for (line, headers) in samples((line, headers)) {
        let head = format!("{line} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", gateway.address);
        let mut connection = Connection::open(gateway.address).await;
        connection.write(head.as_bytes()).await;
        tokio::io::AsyncWriteExt::shutdown(&mut connection.stream)
            .await
            .unwrap();
        if !head.starts_with("HEAD") {
            let status = connection.try_response().await.map(|response| response.status);
            assert!(status.is_none_or(|status| status < 500), "{head:?}: {status:?}");
        }
    }
    is_unmoved(&gateway, &mut witness).await;
}
