//! Version 3's payloads: lengths in UTF-16 units, bytes, and the double encoding of clients 1.x.

use serde_json::{Value, json};

use crate::client::http::{Request, Response};
use crate::client::payload::{Packet, SocketPacket, decode, encode, encode_v3_binary};
use crate::client::polling::{Polling, packets};
use crate::gateway::{ECHO, TestGateway};

const WORDS: &str = "a é € 😀 \u{2028} \u{7f}";

async fn joined(gateway: &TestGateway, query: &str) -> Polling {
    let mut polling = Polling::open_with(gateway.address, 3, query).await;
    polling.join_root().await;
    polling
}

async fn post_bytes(polling: &mut Polling, body: Vec<u8>) -> Response {
    let request = Request::post(&polling.target(), body).header("Content-Type", "application/octet-stream");
    polling.request(&request).await
}

fn header_of_one_attachment() -> Packet {
    Packet::text(r#"451-7["echo",{"_placeholder":true,"num":0}]"#)
}

#[tokio::test]
async fn lengths_count_utf_16_units() {
    let gateway = TestGateway::start(ECHO).await;
    let mut polling = joined(&gateway, "").await;
    let event = format!(r#"421["echo","{WORDS}"]"#);
    let units = event.encode_utf16().count();
    assert_ne!(units, event.len());
    assert_ne!(units, event.chars().count());
    polling.post_body(format!("{units}:{event}1:2")).await.is_ok();
    let mut answers = Vec::new();
    while answers.len() < 2 {
        answers.extend(polling.poll().await);
    }
    // The heartbeat may be answered first.
    answers.sort_by_key(|packet| packet.as_text() == "3");
    assert_eq!(SocketPacket::parse(answers[0].as_text()).data, json!([WORDS]));
    assert_eq!(answers[1], Packet::text("3"));
}

#[tokio::test]
async fn text_to_v3_clients_is_ascii_so_that_every_generation_reads_it() {
    let gateway = TestGateway::start(ECHO).await;
    for query in ["", "&b64=1", "&t=OqZt1Ab", "&b64=1&t=1500000000000-0"] {
        let mut polling = joined(&gateway, query).await;
        polling
            .post_packets(&[Packet::Text(format!(r#"421["echo","{WORDS}"]"#))])
            .await
            .is_ok();
        let response = polling.get().await;
        let answer = packets(3, &response).remove(0);
        assert!(answer.as_text().is_ascii(), "{query}: {answer:?}");
        assert_eq!(SocketPacket::parse(answer.as_text()).data, json!([WORDS]), "{query}");
    }
}

#[tokio::test]
async fn text_of_1x_clients_is_decoded_twice() {
    let gateway = TestGateway::start(ECHO).await;
    let mut polling = joined(&gateway, "").await;
    let once = format!(r#"421["echo","{WORDS}"]"#);
    let twice: String = once.bytes().map(char::from).collect();
    polling
        .post_body(format!("{}:{twice}", twice.chars().count()))
        .await
        .is_ok();
    let answer = polling.poll().await.remove(0);
    assert_eq!(SocketPacket::parse(answer.as_text()).data, json!([WORDS]));
}

#[tokio::test]
async fn text_that_only_looks_like_latin_1_is_left_alone() {
    let gateway = TestGateway::start(ECHO).await;
    for words in ["é", "naïve café", "ÿÿÿ", "Ã", "é€"] {
        let mut polling = joined(&gateway, "").await;
        polling
            .post_packets(&[Packet::Text(format!(r#"421["echo","{words}"]"#))])
            .await
            .is_ok();
        let answer = polling.poll().await.remove(0);
        assert_eq!(SocketPacket::parse(answer.as_text()).data, json!([words]));
    }
}

#[tokio::test]
async fn a_binary_payload_mixes_text_and_bytes() {
    let gateway = TestGateway::start(ECHO).await;
    let mut polling = joined(&gateway, "").await;
    let bytes = Packet::Binary(vec![0, 1, 4, 0xff, 0x1e]);
    let payload = [
        Packet::Text(format!(r#"421["echo","{WORDS}"]"#)),
        header_of_one_attachment(),
        bytes.clone(),
        Packet::text(r#"422["echo"]"#),
    ];
    post_bytes(&mut polling, encode_v3_binary(&payload)).await.is_ok();
    let mut answers = Vec::new();
    while answers.len() < 4 {
        answers.extend(polling.poll().await);
    }
    assert_eq!(SocketPacket::parse(answers[0].as_text()).data, json!([WORDS]));
    assert_eq!(answers[1], Packet::text(r#"461-7[{"_placeholder":true,"num":0}]"#));
    assert_eq!(answers[2], bytes);
    assert_eq!(answers[3], Packet::text("432[]"));
}

#[tokio::test]
async fn an_answer_is_bytes_only_where_it_holds_bytes() {
    let gateway = TestGateway::start(ECHO).await;
    let mut polling = joined(&gateway, "").await;
    polling.post(&[r#"421["echo"]"#]).await;
    assert_eq!(
        polling.get().await.header("content-type"),
        Some("text/plain; charset=UTF-8")
    );
    polling
        .post_packets(&[header_of_one_attachment(), Packet::Binary(vec![9])])
        .await
        .is_ok();
    let response = polling.get().await;
    assert_eq!(response.header("content-type"), Some("application/octet-stream"));
    let answer = br#"461-7[{"_placeholder":true,"num":0}]"#;
    let expected = [&[0, 3, 6, 0xff], answer.as_slice(), &[1, 2, 0xff, 4, 9]].concat();
    assert_eq!(response.body, expected);
}

#[tokio::test]
async fn the_first_generations_get_bytes_always() {
    let gateway = TestGateway::start(ECHO).await;
    for eio in [2, 3] {
        let mut connection = crate::client::http::Connection::open(gateway.address).await;
        let target = format!("/socket.io/?EIO={eio}&transport=polling&t=1500000000000-0");
        let response = connection.request(&Request::get(&target)).await;
        assert_eq!(response.header("content-type"), Some("application/octet-stream"));
        let packets = decode(3, "application/octet-stream", &response.body);
        let open: Value = serde_json::from_str(&packets[0].as_text()[1..]).unwrap();
        assert_eq!(open["upgrades"], json!(["websocket"]));
        if packets.len() == 1 {
            let sid = open["sid"].as_str().unwrap();
            let next = Request::get(&format!("{target}&sid={sid}").replace("0-0", "0-1"));
            assert_eq!(connection.request(&next).await.body, b"\x00\x02\xff40");
        } else {
            assert_eq!(packets[1], Packet::text("40"));
        }
    }
}

#[tokio::test]
async fn clients_without_binary_get_base64_for_as_long_as_the_session_lasts() {
    let gateway = TestGateway::start(ECHO).await;
    for query in ["&b64=1", "&b64=true", "&b64=0", "&b64=1&t=1500000000000-0"] {
        let mut polling = joined(&gateway, query).await;
        polling
            .post_packets(&[header_of_one_attachment(), Packet::Binary(vec![1, 2, 3, 4])])
            .await
            .is_ok();
        let response = polling.get().await;
        assert_eq!(
            response.header("content-type"),
            Some("text/plain; charset=UTF-8"),
            "{query}"
        );
        assert_eq!(
            response.text(),
            "36:461-7[{\"_placeholder\":true,\"num\":0}]10:b4AQIDBA==",
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_empty_b64_is_none() {
    let gateway = TestGateway::start(ECHO).await;
    let mut polling = joined(&gateway, "&b64=").await;
    polling
        .post_packets(&[header_of_one_attachment(), Packet::Binary(vec![1])])
        .await
        .is_ok();
    assert_eq!(
        polling.get().await.header("content-type"),
        Some("application/octet-stream")
    );
}

#[tokio::test]
async fn empty_items_are_skipped() {
    let gateway = TestGateway::plain().await;
    for body in ["0:1:2", "1:20:", "0:0:0:1:2"] {
        let mut polling = joined(&gateway, "").await;
        polling.post_body(body).await.is_ok();
        assert_eq!(polling.poll().await, [Packet::text("3")], "{body}");
    }
}

#[tokio::test]
async fn a_text_payload_that_is_none_is_a_bad_request_and_ends_the_session() {
    let gateway = TestGateway::plain().await;
    for body in [
        "",
        "2",
        "40",
        ":",
        ":2",
        "x:2",
        "2:2",
        "1:22",
        "1:2 ",
        "1:2x",
        "1e0:2",
        "+1:2",
        "-1:2",
        " 1:2",
        "0x1:2",
        "1.0:2",
        "1:9",
        "1:x",
        "99999999999999999999:2",
        "18446744073709551617:2",
        "2:4😀",
        "3:😀",
        "1::2",
    ] {
        let mut polling = joined(&gateway, "").await;
        let response = polling.post_body(body).await;
        assert_eq!(response.status, 400, "{body:?}");
        response.is_error(400, 3, "Bad request");
        polling.is_gone().await;
    }
    let mut polling = joined(&gateway, "").await;
    polling
        .post_body(format!("{}1:2", "0".repeat(1000)))
        .await
        .is_error(400, 3, "Bad request");
    let mut polling = joined(&gateway, "").await;
    polling
        .post_body(b"2:4\xff".as_slice())
        .await
        .is_error(400, 3, "Bad request");
}

#[tokio::test]
async fn a_binary_payload_that_is_none_is_a_bad_request_and_ends_the_session() {
    let gateway = TestGateway::plain().await;
    let long = [&[0], [9; 400].as_slice(), &[0xff, b'2']].concat();
    let bodies: [&[u8]; 12] = [
        b"",
        b"\x00",
        b"\x00\x01",
        b"\x00\x01\xff",
        b"\x00\x02\xff2",
        b"\x00\x0a\xff2222222222",
        b"\x00\x01\xff9",
        b"\x02\x01\xff2",
        b"\x00\x02\xff4\xff",
        b"\x00\xff2",
        b"\x01\x01\xff\x09",
        &long,
    ];
    for body in bodies {
        let mut polling = joined(&gateway, "").await;
        let response = post_bytes(&mut polling, body.to_vec()).await;
        assert_eq!(response.status, 400, "{body:02x?}");
        response.is_error(400, 3, "Bad request");
        polling.is_gone().await;
    }
}

#[tokio::test]
async fn only_that_exact_content_type_means_bytes() {
    let gateway = TestGateway::plain().await;
    for content_type in [
        "application/octet-stream; charset=binary",
        "application/octet",
        "text/plain",
    ] {
        let mut polling = joined(&gateway, "").await;
        let request = Request::post(&polling.target(), "1:2").header("Content-Type", content_type);
        polling.request(&request).await.is_ok();
        assert_eq!(polling.poll().await, [Packet::text("3")]);
    }
}

#[tokio::test]
async fn escaped_lone_surrogates_pass_through() {
    let gateway = TestGateway::start(ECHO).await;
    for (eio, event) in [(3, r#"421["echo","\ud800"]"#), (4, r#"421["echo","\ud800"]"#)] {
        let mut polling = Polling::open(gateway.address, eio).await;
        polling.join_root().await;
        polling.post_body(encode(eio, &[Packet::text(event)])).await.is_ok();
        let answer = polling.poll().await.remove(0);
        assert_eq!(answer.as_text().to_ascii_lowercase(), r#"431["\ud800"]"#);
    }
}
